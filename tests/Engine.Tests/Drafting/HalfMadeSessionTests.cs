using System.Runtime.CompilerServices;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Tests.Decoding;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>A drafter's session that is refused half-way is nobody's to dispose: what it took goes with it. Alone: what it measures belongs to the whole process.</summary>
[Collection(nameof(NoParallelMemory))]
public sealed class HalfMadeSessionTests
{
    private const int Rounds = 50;

    // The rows of the text's tokens are 160 KB of what a round takes, and their repacked form at least 2 MB: either, kept every time, is far past it.
    private const long MostGrowth = 1 << 20;

    [Fact]
    public void What_a_half_made_session_took_is_given_back()
    {
        // Target layer inference needs the target's cache, which is found missing only after the text's own rows of the LM head, the caches and the activations are there.
        TinyModels tiny = TinyModels.Instance;
        using Drafter drafter = tiny.Model.OpenDrafter(DraftVocabularyTests.Checkpoint([3, 1, 2], 3), new DrafterOptions { TargetLayerInference = 1 });
        int[] text = [.. Enumerable.Range(0, tiny.Model.Config.VocabularySize)];
        DraftContext context = new()
        {
            Backend = tiny.Model.Backend,
            Target = tiny.Model.Target,
            Sequence = new SequenceState(text, cache: null) { Count = text.Length },
            Tree = TreeSettings.Default,
            MaxTokens = text.Length,
            ChunkRows = 64,
        };
        using (DraftHead? rows = drafter.Head!.OfText(text))
        {
            Assert.Equal(text.Length - 3, rows?.Tokens.Length);
        }

        // The first rounds warm up what grows once, and whatever else the process takes, it does not take it every time: what is kept of a session is.
        Refuse(drafter, context);
        long grown = long.MaxValue;
        for (int attempt = 0; attempt < 5 && grown >= MostGrowth; attempt++)
        {
            long before = CudaLeakTests.OutsideTheHeap();
            Refuse(drafter, context);
            grown = CudaLeakTests.OutsideTheHeap() - before;
        }

        Assert.True(grown < MostGrowth, $"{Rounds} half-made sessions kept {grown} bytes outside the managed heap, expected less than {MostGrowth}");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Refuse(Drafter drafter, DraftContext context)
    {
        for (int round = 0; round < Rounds; round++)
        {
            Assert.Throws<InputException>(() => drafter.CreateSession(context));
        }
    }
}
