using Xunit;

namespace LowLevelSpec.Models.Tests.Files;

public class RealFileTests
{
    public static TheoryData<string, string> Drafters { get; } = new()
    {
        { "llama-plain", "moa" }, { "llama-plain", "moa-tli1" }, { "llama-plain", "moa-tli3" }, { "llama-plain", "moa-random" }, { "llama-plain", "eagle" },
        { "llama3-scaled", "moa" }, { "llama3-scaled", "moa-tli1" }, { "llama3-scaled", "moa-tli3" }, { "llama3-scaled", "eagle" },
        { "qwen2", "moa" }, { "qwen2", "moa-tli1" }, { "qwen2", "moa-tli3" }, { "qwen2", "eagle" },
        { "uneven-lsa", "moa" }, { "uneven-lsa", "moa-tli1" }, { "uneven-lsa", "eagle" },
    };

    [Theory]
    [MemberData(nameof(Drafters))]
    public void Golden_targets_and_drafters_open(string name, string drafter)
    {
        using ModelFile target = ModelFile.Open(SharedFolder.Require("golden", name, "target"));
        using DrafterFile file = DrafterFile.Open(SharedFolder.Require("golden", name, drafter), target.Tensors.Config);
        bool eagle = drafter == "eagle", qwen = name == "qwen2";
        Assert.Equal(eagle ? DrafterKind.Eagle : DrafterKind.Moa, file.Kind);
        Assert.Equal(file.AllTensors.Sum(static t => t.Elements), file.ParameterCount);
        if (eagle)
        {
            Assert.Equal(qwen, file.Eagle!.Layer.QueryBias is not null);
            Assert.Null(file.Eagle.FcBias);
            return;
        }

        MoaTensors moa = file.Moa!;
        Assert.Equal(qwen, moa.SelfAttention.QueryBias is not null);
        Assert.Equal(qwen, moa.LayerSelfAttention!.ValueBias is not null);
        Assert.Null(moa.CrossAttention.QueryBias);
        Assert.Null(moa.TargetLayerInference);
        Assert.Null(file.TrainedLength);
    }

    [Theory]
    [InlineData("llama-plain", 4, 48, 1, 96, 2, 80, 64, 16)]
    [InlineData("llama3-scaled", 2, 40, 3, 72, 2, 64, 48, 8)]
    [InlineData("qwen2", 2, 40, 2, 72, 1, 64, 32, 8)]
    [InlineData("uneven-lsa", 3, 40, 1, 48, 3, 48, 96, 10)]
    public void Golden_drafter_sizes_follow_from_shapes(string name, int lsaKv, int lsaMlp, int saKv, int saMlp, int caKv, int caMlp, int kvSize, int lsaHead)
    {
        using ModelFile model = ModelFile.Open(SharedFolder.Require("golden", name, "target"));
        LlamaConfig target = model.Tensors.Config;
        using DrafterFile file = DrafterFile.Open(SharedFolder.Require("golden", name, "moa"), target);
        int e = target.HiddenSize, h = target.Heads;
        Assert.Equal(kvSize, target.KvSize);
        Assert.Equal(new DrafterLayerConfig(kvSize, h, lsaKv, lsaHead, lsaMlp), file.Moa!.LayerSelfAttentionConfig);
        Assert.Equal(new DrafterLayerConfig(e, h, saKv, e / h, saMlp), file.Moa.SelfAttentionConfig);
        Assert.Equal(new DrafterLayerConfig(e, h, caKv, e / h, caMlp), file.Moa.CrossAttentionConfig);
        Assert.Equal(target.RopeTheta, file.Moa.RopeTheta);
        Assert.Equal(target.RmsNormEpsilon, file.Moa.RmsNormEpsilon);
    }

    [Fact]
    public void Golden_configs_are_read()
    {
        using ModelFile scaled = ModelFile.Open(SharedFolder.Require("golden", "llama3-scaled", "target")), qwen = ModelFile.Open(SharedFolder.Require("golden", "qwen2", "target"));
        Assert.Equal(new RopeScaling(8, 1, 4, 32), scaled.Tensors.Config.RopeScaling);
        Assert.True(scaled.Tensors.Config.TiedEmbeddings);
        Assert.Equal(500f, scaled.Tensors.Config.RopeTheta);
        Assert.Equal(0, scaled.Tensors.Config.BeginToken);
        Assert.Equal([1], scaled.Tensors.Config.EndTokens);
        Assert.Equal(512, scaled.Tensors.Config.ContextLength);
        Assert.True(qwen.Tensors.Config.AttentionBias);
        Assert.NotNull(qwen.Tensors.Layers[3].QueryBias);
    }

    [Theory]
    [InlineData("llama-plain")]
    [InlineData("llama3-scaled")]
    [InlineData("qwen2")]
    [InlineData("uneven-lsa")]
    public void Golden_vectors_open(string name)
    {
        foreach (string path in Directory.GetFiles(SharedFolder.Require("golden", name), "*.safetensors"))
        {
            using SafetensorsFile file = SafetensorsFile.Open(path);
            Assert.Equal(file.AllTensors.Count, file.Tensors.Count);
            Assert.NotEmpty(file.Tensors);
        }
    }

    [Fact]
    public void A_drafter_of_another_golden_target_is_refused_by_shape()
    {
        using ModelFile target = ModelFile.Open(SharedFolder.Require("golden", "llama3-scaled", "target"));
        string drafter = SharedFolder.Require("golden", "llama-plain", "moa");
        string message = Assert.Throws<ModelFileException>(() => DrafterFile.Open(drafter, target.Tensors.Config)).Message;
        Assert.Contains("self_attention.self_attn.k_proj.weight", message, StringComparison.Ordinal);
        Assert.Contains("[16, 64]", message, StringComparison.Ordinal);
        Assert.Contains("another target", message, StringComparison.Ordinal);
    }

    [Fact]
    public void SmolLM2_opens_with_permuted_queries_and_keys()
    {
        string path = SharedFolder.Require("models", "smollm2-135m-instruct");
        using ModelFile model = ModelFile.Open(path);
        using GgufFile raw = GgufFile.Open(Directory.GetFiles(path, "*.gguf").Single());
        LlamaConfig config = model.Tensors.Config;
        Assert.Equal((30, 576, 9, 3, 64, 1536, 49152), (config.Layers, config.HiddenSize, config.Heads, config.KvHeads, config.HeadSize, config.IntermediateSize, config.VocabularySize));
        Assert.Equal((100000f, 1e-5f, 8192), (config.RopeTheta, config.RmsNormEpsilon, config.ContextLength));
        Assert.Equal([2], config.EndTokens);
        Assert.Equal(("gguf", 272, 98_362_432L), (model.Format, model.TensorCount, model.FileBytes));
        Assert.Equal(134_515_008, model.ParameterCount);
        Assert.True(config.TiedEmbeddings);
        Assert.Equal(49152, Assert.IsType<string[]>(model.GgufMetadata!["tokenizer.ggml.tokens"]).Length);
        float[] logical = new float[576], stored = new float[576];
        foreach ((TensorView view, int heads) in new[] { (model.Tensors.Layers[4].Query, 9), (model.Tensors.Layers[4].Key, 3) })
        {
            Assert.Equal((heads, TensorType.Q4_1), (view.InterleavedHeads, view.Type));
            foreach (int row in (int[])[0, 1, 31, 32, 33, 63, 64, 100, view.Rows - 1])
            {
                int head = row / 64, half = row % 64 / 32, i = row % 32;
                Dequantizer.Row(view, row, logical);
                Dequantizer.Row(raw.Get(view.Name), (head * 64) + (2 * i) + half, stored);
                Assert.Equal(stored, logical);
                Assert.All(logical, static x => Assert.InRange(x, -20f, 20f));
            }
        }
    }

    [Fact]
    public void SmolLM2s_drafter_opens_for_the_gguf_target()
    {
        using ModelFile model = ModelFile.Open(SharedFolder.Require("models", "smollm2-135m-instruct"));
        using DrafterFile file = DrafterFile.Open(SharedFolder.Require("models", "smollm2-135m-instruct-moa"), model.Tensors.Config);
        Assert.Equal(new DrafterLayerConfig(384, 9, 3, 42, 384), file.Moa!.LayerSelfAttentionConfig);
        Assert.Equal(TensorType.BF16, file.Moa.SelfAttention.Query.Type);
        Assert.Equal([378, 384], file.Moa.LayerSelfAttention!.Query.Shape);
        Assert.Equal(100000f, file.Moa.RopeTheta);
    }
}
