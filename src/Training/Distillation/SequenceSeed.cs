using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Training.Distillation;

/// <summary>A seed per sequence of a distillation, from the counter's upper half, which the samplers' own streams leave at zero.</summary>
internal static class SequenceSeed
{
    // What a seed is for, in the counter's third word.
    private const uint Turn = 1, Answer = 2;

    /// <summary>Of the user turn that the target writes itself.</summary>
    public static ulong OfTurn(ulong seed, long index) => Of(seed, index, Turn);

    /// <summary>Of an answer.</summary>
    public static ulong OfAnswer(ulong seed, long index) => Of(seed, index, Answer);

    private static ulong Of(ulong seed, long index, uint purpose)
    {
        RandomStream.Block block = RandomStream.Philox(new RandomStream.Block((uint)index, (uint)(index >> 32), purpose, 0), (uint)seed, (uint)(seed >> 32));
        return ((ulong)block.W1 << 32) | block.W0;
    }
}
