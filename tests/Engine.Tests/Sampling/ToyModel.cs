using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Engine.Tests.Sampling;

/// <summary>A target whose logits are a function of the whole context and of nothing else.</summary>
internal static class ToyModel
{
    /// <summary>Logits in [-3, 3) after <paramref name="context"/>; same context, same bits.</summary>
    public static float[] Logits(int vocabularySize, IReadOnlyList<int> context)
    {
        ulong key = 0x5EED;
        foreach (int token in context)
        {
            key = unchecked((key ^ (uint)token) * 0x9E3779B97F4A7C15) + 1;
        }

        float[] logits = new float[vocabularySize];
        for (int id = 0; id < vocabularySize; id++)
        {
            logits[id] = (float)(6 * RandomStream.Uniform(key, id)) - 3;
        }

        return logits;
    }
}
