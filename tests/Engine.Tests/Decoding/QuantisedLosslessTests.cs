using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Tests.Backends;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>The promise of docs/lossless.md for quantised targets, in either arithmetic.</summary>
public sealed class QuantisedLosslessTests
{
    private const int Vocabulary = 96, Hidden = 256, Layers = 2, Heads = 4, KvHeads = 2, Intermediate = 256, Context = 512;

    public static TheoryData<TensorType, Arithmetic> Cases
    {
        get
        {
            TheoryData<TensorType, Arithmetic> cases = [];
            foreach (TensorType type in IntegerReference.Types)
            {
                cases.Add(type, Arithmetic.Auto);
            }

            cases.Add(TensorType.Q4_1, Arithmetic.Exact);
            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Speculative_text_equals_plain_text(TensorType type, Arithmetic arithmetic)
    {
        string path = Path.Combine(TinyModels.Instance.Folder, $"{type}-{arithmetic}.gguf");
        Write(path, type);
        int[] prompt = [.. Enumerable.Range(0, 70).Select(static i => i * i % 23)];
        List<IReadOnlyList<int>> texts = [];
        foreach (int threads in (int[])[1, 2])
        {
            using LanguageModel model = LanguageModel.Open(path, new EngineOptions { Threads = threads, Arithmetic = arithmetic });
            using Drafter lookup = model.OpenDrafter("lookup");
            GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = 120, IgnoreEndTokens = true };
            texts.Add(model.Generate(request).OutputIds);
            foreach (TreeSettings tree in (TreeSettings[])[new(2, 1, 1), new(8, 1, 7), new(12, 4, 40)])
            {
                GenerationResult speculative = model.Generate(request with { Drafter = lookup, Tree = tree });
                Assert.True(speculative.Statistics.DraftedNodes > 0);
                texts.Add(speculative.OutputIds);
            }

            // A context rebuilt by prefill goes on as it was decoded.
            IReadOnlyList<int> head = [.. prompt, .. texts[0].Take(60)];
            Assert.Equal(texts[0].Skip(60), model.Generate(request with { PromptIds = [.. head], MaxNewTokens = 60 }).OutputIds);
        }

        Assert.All(texts, text => Assert.Equal(texts[0], text));
    }

    /// <summary>Writes a small random Llama model as GGUF, its matrices in <paramref name="type"/>.</summary>
    internal static void Write(string path, TensorType type)
    {
        GgufWriter writer = new();
        writer.Set("general.architecture", "llama");
        writer.Set("llama.context_length", (uint)Context);
        writer.Set("llama.embedding_length", (uint)Hidden);
        writer.Set("llama.block_count", (uint)Layers);
        writer.Set("llama.feed_forward_length", (uint)Intermediate);
        writer.Set("llama.attention.head_count", (uint)Heads);
        writer.Set("llama.attention.head_count_kv", (uint)KvHeads);
        writer.Set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
        writer.Set("llama.rope.dimension_count", (uint)(Hidden / Heads));
        writer.Set("llama.rope.freq_base", 10000f);
        writer.Set("llama.vocab_size", (uint)Vocabulary);
        int seed = 1, kv = Hidden / Heads * KvHeads;
        void Matrix(string name, int rows, int columns, float deviation) => writer.Add(name, type, [rows, columns], Bench.Values(rows * columns, seed++, deviation).AsSpan());
        void Gain(string name) => writer.Add(name, TensorType.F32, [Hidden], Enumerable.Repeat(1f, Hidden).ToArray().AsSpan());
        Matrix("token_embd.weight", Vocabulary, Hidden, 1);
        for (int l = 0; l < Layers; l++)
        {
            Gain($"blk.{l}.attn_norm.weight");
            Matrix($"blk.{l}.attn_q.weight", Hidden, Hidden, 0.06f);
            Matrix($"blk.{l}.attn_k.weight", kv, Hidden, 0.06f);
            Matrix($"blk.{l}.attn_v.weight", kv, Hidden, 0.06f);
            Matrix($"blk.{l}.attn_output.weight", Hidden, Hidden, 0.06f);
            Gain($"blk.{l}.ffn_norm.weight");
            Matrix($"blk.{l}.ffn_gate.weight", Intermediate, Hidden, 0.06f);
            Matrix($"blk.{l}.ffn_up.weight", Intermediate, Hidden, 0.06f);
            Matrix($"blk.{l}.ffn_down.weight", Hidden, Intermediate, 0.06f);
        }

        Gain("output_norm.weight");
        Matrix("output.weight", Vocabulary, Hidden, 0.1f);
        writer.Write(path);
    }
}
