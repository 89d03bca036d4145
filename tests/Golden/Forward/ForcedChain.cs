using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.Golden;

/// <summary>A drafter's logits along a chain that is given, not the one it would draft.</summary>
internal static class ForcedChain
{
    private const int ChunkRows = 128;

    /// <summary>
    /// Logits [draft, V]: row i after prefix and draft[0..i], the prefix verified, draft[0] the root. The drafter's own drafting code runs, as a chain;
    /// after each step's logits are read, the next given token's logit is raised above all others, so that the chain goes on with it.
    /// </summary>
    public static GoldenTensor Logits(LanguageModel model, Drafter drafter, int[] prefix, int[] draft)
    {
        IBackend backend = model.Backend;
        int vocabulary = model.Config.VocabularySize;
        TreeSettings tree = new(draft.Length + 1, 1, draft.Length);
        int[] tokens = [.. prefix, .. draft];
        using KvCache cache = model.Target.CreateCache(tokens.Length + DraftSlack.Rows(tree));
        using TargetPass pass = new(backend, model.Target, ChunkRows, 1);
        SequenceState sequence = new(tokens, cache) { Count = prefix.Length };
        using DraftSession session = drafter.CreateSession(new DraftContext
        {
            Backend = backend,
            Target = model.Target,
            Sequence = sequence,
            Tree = tree,
            MaxTokens = tokens.Length,
            ChunkRows = ChunkRows,
        });
        Verify(pass, session, sequence, prefix);

        sequence.Count = prefix.Length + 1;
        float[] logits = new float[draft.Length * vocabulary];
        int step = 0;
        session.Trace = (stage, value) =>
        {
            if (stage == "logits")
            {
                Span<float> row = logits.AsSpan(step * vocabulary, vocabulary);
                backend.Read(value, row);
                if (++step < draft.Length)
                {
                    float[] forced = row.ToArray();
                    forced[draft[step]] = forced.Max() + 1;
                    backend.Write(forced, value);
                }
            }
        };
        session.Draft(new DraftTree());
        return GoldenTensor.Of(logits, step, vocabulary);
    }

    private static void Verify(TargetPass pass, DraftSession session, SequenceState sequence, int[] prefix)
    {
        PassBatch batch = new(ChunkRows, 1);
        for (int first = 0; first < prefix.Length; first += ChunkRows)
        {
            int count = Math.Min(ChunkRows, prefix.Length - first);
            batch.Clear();
            for (int i = first; i < first + count; i++)
            {
                batch.AddCausal(sequence.Cache, new TokenId(prefix[i]), new Position(i), new CacheRow(i));
            }

            pass.Forward(batch);
            sequence.Cache.Length = first + count;
            session.Observe(new VerifiedRows { First = first, Hidden = pass.Hidden, HiddenRows = Enumerable.Range(0, count).ToArray(), IsPrefill = true });
        }
    }
}
