using System.Text.Json.Nodes;
using Xunit;

namespace LowLevelSpec.Models.Tests.Files;

public class DrafterFileTests
{
    [Fact]
    public void A_moa_spec_config_gives_its_own_numbers()
    {
        using TempFolder folder = new();
        using DrafterFile file = DrafterFile.Open(TinyCheckpoint.MoaSpec().Save(folder.Path, TensorType.BF16), TinyCheckpoint.TargetConfig);
        Assert.Equal(DrafterKind.Moa, file.Kind);
        Assert.Equal((2048, 1, 1e-4f, 500f), (file.TrainedLength, file.Moa!.TargetLayerInference, file.Moa.RmsNormEpsilon, file.Moa.RopeTheta));
        Assert.Equal(new DrafterLayerConfig(32, 4, 1, 8, 40), file.Moa.CrossAttentionConfig);
        Assert.Equal(29, file.TensorCount);
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("qwen2")]
    public void A_copy_of_the_targets_config_will_do(string type)
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Moa(type);
        tiny.Add("self_attention.self_attn.rotary_emb.inv_freq", 4);
        tiny.Save(folder.Path);
        using DrafterFile file = DrafterFile.Open(folder["model.safetensors"], TinyCheckpoint.TargetConfig);
        Assert.Equal(new DrafterLayerConfig(32, 4, 2, 8, 16), file.Moa!.LayerSelfAttentionConfig);
        Assert.Equal(type == "qwen2", file.Moa.LayerSelfAttention!.KeyBias is not null);
        Assert.Null(file.Moa.CrossAttention.KeyBias);
        Assert.Null(file.TrainedLength);
    }

    [Fact]
    public void Layer_self_attention_can_be_disabled_and_numbers_default_to_the_targets()
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Moa(lsa: false).With("disable_LSA", true).With("rope_theta", null).With("rms_norm_eps", null);
        using DrafterFile file = DrafterFile.Open(tiny.Save(folder.Path), TinyCheckpoint.TargetConfig with { RopeTheta = 77, RmsNormEpsilon = 0.5f });
        Assert.Null(file.Moa!.LayerSelfAttention);
        Assert.Null(file.Moa.LayerSelfAttentionConfig);
        Assert.Equal((77f, 0.5f), (file.Moa.RopeTheta, file.Moa.RmsNormEpsilon));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Eagle_opens_with_and_without_a_bias(bool bias)
    {
        using TempFolder folder = new();
        using DrafterFile file = DrafterFile.Open(TinyCheckpoint.Eagle(bias).Save(folder.Path), TinyCheckpoint.TargetConfig);
        Assert.Equal(DrafterKind.Eagle, file.Kind);
        Assert.Equal(new DrafterLayerConfig(32, 4, 1, 8, 48), file.Eagle!.LayerConfig);
        Assert.Equal(bias, file.Eagle.FcBias is not null);
    }

    [Fact]
    public void Independent_drafters_open_from_safetensors_and_gguf()
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Target();
        tiny.ToGguf(TensorType.Q4_0).Write(folder["d.gguf"]);
        foreach (string path in new[] { folder["d.gguf"], tiny.Save(folder["hf"]) })
        {
            using DrafterFile file = DrafterFile.Open(path, TinyCheckpoint.TargetConfig with { HiddenSize = 4096, Heads = 32 });
            Assert.Equal((DrafterKind.Independent, 2), (file.Kind, file.Independent!.Layers.Count));
        }
    }

    [Fact]
    public void Sharded_drafters_open()
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Moa();
        tiny.Save(folder.Path);
        File.Delete(folder["model.safetensors"]);
        JsonObject map = [];
        foreach (string name in tiny.Tensors.Keys)
        {
            map[name] = name.StartsWith("layer", StringComparison.Ordinal) ? "a.safetensors" : "b.safetensors";
        }

        tiny.Writer(static n => n.StartsWith("layer", StringComparison.Ordinal)).Write(folder["a.safetensors"]);
        tiny.Writer(static n => !n.StartsWith("layer", StringComparison.Ordinal)).Write(folder["b.safetensors"]);
        folder.Write("model.safetensors.index.json", new JsonObject { ["weight_map"] = map }.ToJsonString());
        using DrafterFile file = DrafterFile.Open(folder.Path, TinyCheckpoint.TargetConfig);
        Assert.Equal("b.safetensors", Path.GetFileName(file.Moa!.Ekv2E.FilePath));
        Assert.Equal(29, file.TensorCount);
    }

    [Fact]
    public void An_uneven_layer_self_attention_rounds_its_head_size_down()
    {
        LlamaConfig target = TinyCheckpoint.TargetConfig with { HiddenSize = 36, Heads = 9, KvHeads = 3, HeadSize = 4 };
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Moa();
        foreach (string name in tiny.Tensors.Keys.ToArray())
        {
            // Ekv = 2*3*4 = 24, 24 / 9 = 2: q has 18 rows.
            bool lsa = name.StartsWith("layer", StringComparison.Ordinal);
            int hidden = lsa ? 24 : 36, query = lsa ? 18 : 36, kv = lsa ? 6 : 12, mlp = 20;
            long[] shape = name switch
            {
                "Ekv2E.weight" => [36, 24],
                _ when name.Contains("norm", StringComparison.Ordinal) || name == "Ekv2E.bias" => [hidden],
                _ when name.Contains("q_proj", StringComparison.Ordinal) => [query, hidden],
                _ when name.Contains("o_proj", StringComparison.Ordinal) => [hidden, query],
                _ when name.Contains("down_proj", StringComparison.Ordinal) => [hidden, mlp],
                _ when name.Contains("_proj", StringComparison.Ordinal) && name.Contains("mlp", StringComparison.Ordinal) => [mlp, hidden],
                _ => [kv, hidden],
            };
            tiny.Reshape(name, shape);
        }

        tiny.With("hidden_size", 36).With("num_attention_heads", 9).With("num_key_value_heads", 3).Save(folder.Path);
        using DrafterFile file = DrafterFile.Open(folder.Path, target);
        Assert.Equal(new DrafterLayerConfig(24, 9, 3, 2, 20), file.Moa!.LayerSelfAttentionConfig);
        Assert.Equal([24, 18], file.Moa.LayerSelfAttention!.Output.Shape);
    }
}
