using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Engine.Tiny;
using LowLevelSpec.Golden;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>What integer arithmetic costs in quality: a real model reads an English text in both arithmetics.</summary>
public sealed class ArithmeticTests(ITestOutputHelper output)
{
    [Fact]
    public void Integer_arithmetic_predicts_a_text_as_well_as_f32()
    {
        string? folder = new SharedFiles(AppContext.BaseDirectory).Find("models", "smollm2-135m-instruct");
        string? path = folder is null ? null : Directory.EnumerateFiles(folder, "*.gguf").FirstOrDefault();
        Assert.SkipWhen(path is null, "there is no shared/models/smollm2-135m-instruct beside or above the repository");
        (double exact, int[] chosen) = Read(path!, Arithmetic.Exact);
        (double integer, int[] alike) = Read(path!, Arithmetic.Auto);
        double agreement = chosen.Zip(alike, static (a, b) => a == b ? 1.0 : 0).Average();
        output.WriteLine($"{chosen.Length} tokens, perplexity {Math.Exp(exact):F3} in f32, {Math.Exp(integer):F3} in integers, same first choice {agreement:P1}");
        Assert.True(Math.Abs(integer - exact) < 0.02, $"nats per token {exact:F4} in f32, {integer:F4} in integers");
        Assert.True(agreement > 0.9, $"{agreement:P1}");
    }

    /// <summary>Mean negative log-likelihood in nats, and the most likely token at each place.</summary>
    private static (double Nats, int[] Chosen) Read(string path, Arithmetic arithmetic)
    {
        using LanguageModel model = LanguageModel.Open(path, new EngineOptions { Threads = 2, Arithmetic = arithmetic });
        int[] tokens = [.. model.Tokenizer!.Encode(string.Join('\n', TinyText.Paragraphs)).Take(400)];
        int n = tokens.Length - 1;
        using KvCache cache = model.Target.CreateCache(n);
        using TargetPass pass = new(model.Backend, model.Target, n, n);
        PassBatch batch = new(n, 1);
        for (int i = 0; i < n; i++)
        {
            batch.AddCausal(cache, new TokenId(tokens[i]), new Position(i), new CacheRow(i));
        }

        pass.Forward(batch);
        float[] logits = new float[n * model.Config.VocabularySize];
        model.Backend.Read(pass.Logits(0, n), logits);
        int[] chosen = new int[n];
        double nats = 0;
        for (int i = 0; i < n; i++)
        {
            ReadOnlySpan<float> row = logits.AsSpan(i * model.Config.VocabularySize, model.Config.VocabularySize);
            double largest = double.NegativeInfinity, sum = 0;
            for (int t = 0; t < row.Length; t++)
            {
                if (row[t] > largest)
                {
                    (largest, chosen[i]) = (row[t], t);
                }
            }

            foreach (float value in row)
            {
                sum += Math.Exp(value - largest);
            }

            nats += largest + Math.Log(sum) - row[tokens[i + 1]];
        }

        return (nats / n, chosen);
    }
}
