using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.Golden;

/// <summary>The target's logits at every position of a given text: what it would write after each prefix of it.</summary>
internal static class TeacherForcing
{
    private const int ChunkRows = 128;

    /// <summary>Calls <paramref name="visit"/> with each position from <paramref name="first"/> on and the logits after it.</summary>
    public static void Run(LanguageModel model, int[] ids, int first, Action<int, float[]> visit)
    {
        using KvCache cache = model.Target.CreateCache(ids.Length);
        using TargetPass pass = new(model.Backend, model.Target, ChunkRows, 1);
        PassBatch batch = new(ChunkRows, 1);
        float[] logits = new float[model.Config.VocabularySize];
        for (int start = 0; start < ids.Length; start += ChunkRows)
        {
            int count = Math.Min(ChunkRows, ids.Length - start);
            batch.Clear();
            for (int i = start; i < start + count; i++)
            {
                batch.AddCausal(cache, new TokenId(ids[i]), new Position(i), new CacheRow(i));
            }

            pass.Forward(batch);
            cache.Length = start + count;
            for (int i = Math.Max(start, first); i < start + count; i++)
            {
                model.Backend.Read(pass.Logits(i - start, 1), logits);
                visit(i, logits);
            }
        }
    }

    /// <summary>The two best logits' ids and their distance.</summary>
    public static (int Best, float Gap) TopTwo(ReadOnlySpan<float> logits)
    {
        int best = 0, second = -1;
        for (int i = 1; i < logits.Length; i++)
        {
            if (logits[i] > logits[best])
            {
                (best, second) = (i, best);
            }
            else if (second < 0 || logits[i] > logits[second])
            {
                second = i;
            }
        }

        return (best, second < 0 ? float.PositiveInfinity : logits[best] - logits[second]);
    }
}
