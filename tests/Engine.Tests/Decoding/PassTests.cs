using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>One forward pass for everything: rows of several sequences, of prefill, decoding and trees side by side give the bits they give alone.</summary>
public sealed class PassTests
{
    private static readonly LanguageModel Model = TinyModels.Instance.Model;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(33)]
    public void Prefill_in_any_chunks_gives_the_same_logits(int chunk)
    {
        int[] tokens = [.. Enumerable.Range(0, 50).Select(static i => (i * 37) % 640)];
        float[][] one = Run(tokens, 1), other = Run(tokens, chunk), whole = Run(tokens, tokens.Length);
        for (int i = 0; i < tokens.Length; i++)
        {
            AssertSameBits(one[i], other[i]);
            AssertSameBits(one[i], whole[i]);
        }
    }

    [Fact]
    public void Rows_of_several_sequences_and_a_tree_share_a_pass()
    {
        int[] first = [.. Enumerable.Range(0, 20)], second = [.. Enumerable.Range(100, 31)], third = [9, 8, 7, 6];
        float[][] aloneFirst = Run(first, 20), aloneSecond = Run(second, 31);
        float[][] branchA = Run([.. third, 50, 51], 6), branchB = Run([.. third, 60, 61], 6);

        using TargetPass pass = new(Model.Backend, Model.Target, 64, 64);
        using KvCache a = Model.Target.CreateCache(40), b = Model.Target.CreateCache(40), c = Model.Target.CreateCache(40);
        PassBatch batch = new(64, 64);
        Feed(pass, batch, c, third);

        // Interleaved: prefill of two sequences, one row each in turn, and a tree of four nodes over a third sequence's prefix.
        batch.Clear();
        List<(float[] Expected, int Row)> expected = [];
        for (int i = 0; i < 31; i++)
        {
            if (i < 20)
            {
                expected.Add((aloneFirst[i], batch.AddCausal(a, new(first[i]), new(i), new(i))));
            }

            expected.Add((aloneSecond[i], batch.AddCausal(b, new(second[i]), new(i), new(i))));
            switch (i)
            {
                case 3:
                    expected.Add((branchA[4], batch.AddTree(c, new(50), new(4), new(4), 4, [4])));
                    break;
                case 5:
                    expected.Add((branchB[4], batch.AddTree(c, new(60), new(4), new(5), 4, [5])));
                    break;
                case 9:
                    expected.Add((branchA[5], batch.AddTree(c, new(51), new(5), new(6), 4, [4, 6])));
                    break;
                case 12:
                    expected.Add((branchB[5], batch.AddTree(c, new(61), new(5), new(7), 4, [5, 7])));
                    break;
            }
        }

        pass.Forward(batch);
        Matrix logits = pass.Logits(0, batch.Count);
        float[] row = new float[Model.Config.VocabularySize];
        foreach ((float[] bits, int index) in expected)
        {
            Model.Backend.Read(logits.Slice(index, 1), row);
            AssertSameBits(bits, row);
        }

        // Keeping branch B leaves a cache that goes on like the linear one.
        Model.Backend.KeepRows(c, new CacheRow(4), [5, 7]);
        Assert.Equal(6, c.Length);
        batch.Clear();
        batch.AddCausal(c, new(62), new(6), new(6));
        pass.Forward(batch);
        Model.Backend.Read(pass.Logits(0, 1), row);
        AssertSameBits(Run([.. third, 60, 61, 62], 7)[6], row);
    }

    /// <summary>Logits of every token, fed in chunks.</summary>
    private static float[][] Run(int[] tokens, int chunk)
    {
        using TargetPass pass = new(Model.Backend, Model.Target, chunk, chunk);
        using KvCache cache = Model.Target.CreateCache(tokens.Length);
        PassBatch batch = new(chunk, 1);
        List<float[]> logits = [];
        for (int first = 0; first < tokens.Length; first += chunk)
        {
            int count = Math.Min(chunk, tokens.Length - first);
            Feed(pass, batch, cache, tokens.AsSpan(first, count));
            for (int i = 0; i < count; i++)
            {
                float[] row = new float[Model.Config.VocabularySize];
                Model.Backend.Read(pass.Logits(i, 1), row);
                logits.Add(row);
            }
        }

        return [.. logits];
    }

    private static void Feed(TargetPass pass, PassBatch batch, KvCache cache, ReadOnlySpan<int> tokens)
    {
        int first = cache.Length;
        batch.Clear();
        for (int i = 0; i < tokens.Length; i++)
        {
            batch.AddCausal(cache, new(tokens[i]), new(first + i), new(first + i));
        }

        pass.Forward(batch);
        cache.Length = first + tokens.Length;
    }

    private static void AssertSameBits(float[] expected, float[] actual)
    {
        Assert.All(expected, static x => Assert.True(float.IsFinite(x)));
        Assert.Equal(expected.Select(BitConverter.SingleToInt32Bits), actual.Select(BitConverter.SingleToInt32Bits));
    }
}
