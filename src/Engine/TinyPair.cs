using LowLevelSpec.Engine.Tiny;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine;

/// <summary>
/// Generates a tiny target with drafters from a seed, so that the demo and every test run with nothing from outside. The target is built,
/// not trained: its LM head scores the tokens that follow the current one in a small text, and its random layers make the
/// choice depend on the context. The drafters share that head and lack those layers, so they often guess right.
/// </summary>
public static class TinyPair
{
    private const string ChatTemplate =
        "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}" +
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

    /// <summary>Id of the first control token, which ends a text.</summary>
    private const int EndToken = 0;

    private static readonly string[] ControlTokens = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

    /// <summary>
    /// Writes the folders target, moa, eagle, independent and moa-random below <paramref name="directory"/> (about 3 MB in all), a few seconds of work.
    /// </summary>
    /// <exception cref="InputException">The directory can't be written.</exception>
    public static void Write(string directory, ulong seed)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        try
        {
            Write(directory, new TinyRandom(seed));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{directory}: can't write the tiny pair here: {e.Message}", e);
        }
    }

    private static void Write(string directory, TinyRandom random)
    {
        BpeTrainer bpe = new(TinyText.Paragraphs, 640, ControlTokens);
        TinySizes sizes = new(bpe.Count, 128, 4, 8, 4, 256, 1024);
        string target = Path.Combine(directory, "target");
        Directory.CreateDirectory(target);
        bpe.Write(target, ChatTemplate);
        float[] embedding = random.Normal(sizes.Vocabulary * sizes.Hidden, 1);
        float[] head = Head(sizes, embedding, Tokenizer.Open(target)!);
        TinyWriter.Target(target, sizes, embedding, head, 0.35, random, TensorType.BF16, EndToken);
        TinyWriter.Moa(Path.Combine(directory, "moa"), sizes, 0.1, random, TensorType.BF16);
        TinyWriter.Eagle(Path.Combine(directory, "eagle"), sizes, 0.1, random, TensorType.BF16);
        TinyWriter.Target(Path.Combine(directory, "independent"), sizes with { Layers = 1, Intermediate = 128 }, embedding, head, 0.1, random, TensorType.BF16, EndToken);
        TinyWriter.Moa(Path.Combine(directory, "moa-random"), sizes, 40, random, TensorType.BF16);
    }

    /// <summary>lm_head[w] = sum over the tokens t that w follows in the text of log(1 + count) * embedding[t], scaled so that a followed token's logit is a few units.</summary>
    private static float[] Head(TinySizes sizes, float[] embedding, Tokenizer tokenizer)
    {
        Dictionary<(int Before, int After), int> counts = [];
        foreach (string paragraph in TinyText.Paragraphs)
        {
            int[] ids = [.. tokenizer.Encode(paragraph), EndToken];
            for (int i = 0; i + 1 < ids.Length; i++)
            {
                counts[(ids[i], ids[i + 1])] = counts.GetValueOrDefault((ids[i], ids[i + 1])) + 1;
            }
        }

        float[] head = new float[sizes.Vocabulary * sizes.Hidden];
        foreach (((int before, int after), int count) in counts)
        {
            float weight = (4f + MathF.Log(count)) / sizes.Hidden;
            for (int i = 0; i < sizes.Hidden; i++)
            {
                head[(after * sizes.Hidden) + i] += weight * embedding[(before * sizes.Hidden) + i];
            }
        }

        return head;
    }
}
