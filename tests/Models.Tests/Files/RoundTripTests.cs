using System.Text.Json.Nodes;
using CsCheck;
using Xunit;

namespace LowLevelSpec.Models.Tests.Files;

public class RoundTripTests
{
    [Fact]
    public void Safetensors_writes_what_it_reads()
    {
        using TempFolder folder = new();
        SafetensorsWriter writer = new();
        writer.Metadata["note"] = "ä\"\n";
        writer.Add("f32", [2, 3], [1f, -2f, 3f, 4f, 5f, float.NaN]);
        writer.Add("bf16", [3], [1f, 0.1f, -3f], TensorType.BF16);
        writer.Add("f16", [1, 1], [0.5f], TensorType.F16);
        writer.Add("ids", [2], [long.MinValue, 7L]);
        writer.Add("mask", TensorType.U8, [3], new byte[] { 1, 0, 1 });
        writer.Add("empty", [0, 5], ReadOnlySpan<float>.Empty);
        writer.Add("scalar", [], [42f]);
        writer.Write(folder["a.safetensors"]);
        writer.Write(folder["a.safetensors"]);

        using SafetensorsFile file = SafetensorsFile.Open(folder["a.safetensors"]);
        Assert.Equal(["a.safetensors"], Directory.GetFiles(folder.Path).Select(Path.GetFileName));
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal("ä\"\n", file.Metadata["note"]);
        Assert.Equal(7, file.AllTensors.Count);
        Assert.Equal([1f, -2f, 3f, 4f, 5f, float.NaN], Dequantizer.All(file.Get("f32")));
        Assert.Equal([1f, 0.10009765625f, -3f], Dequantizer.All(file.Get("bf16")));
        Assert.Equal([0.5f], Dequantizer.All(file.Get("f16")));
        Assert.Equal([42f], Dequantizer.All(file.Get("scalar")));
        Assert.Empty(Dequantizer.All(file.Get("empty")));
        Assert.Equal((0, 5), (file.Get("empty").Rows, file.Get("empty").Columns));
        unsafe
        {
            Assert.Equal([long.MinValue, 7L], new ReadOnlySpan<long>((void*)file.Get("ids").Data, 2).ToArray());
            Assert.Equal([1, 0, 1], new ReadOnlySpan<byte>((void*)file.Get("mask").Data, 3).ToArray());
        }
    }

    [Fact]
    public void Any_set_of_tensors_survives_safetensors()
    {
        Gen<(long Rows, long Columns, int Seed)> tensor = Gen.Select(Gen.Long[0, 5], Gen.Long[0, 9], Gen.Int);
        tensor.Array[0, 6].Sample(
            tensors =>
            {
                using TempFolder folder = new();
                SafetensorsWriter writer = new();
                List<float[]> values = [];
                foreach ((long rows, long columns, int seed) in tensors)
                {
                    Random random = new(seed);
                    values.Add([.. Enumerable.Range(0, (int)(rows * columns)).Select(_ => random.NextSingle())]);
                    writer.Add($"t{values.Count - 1}", [rows, columns], values[^1]);
                }

                writer.Write(folder["x.safetensors"]);
                using SafetensorsFile file = SafetensorsFile.Open(folder["x.safetensors"]);
                Assert.Equal(tensors.Length, file.Tensors.Count);
                for (int i = 0; i < values.Count; i++)
                {
                    Assert.Equal(values[i], Dequantizer.All(file.Get($"t{i}")));
                    Assert.Equal([tensors[i].Rows, tensors[i].Columns], file.Get($"t{i}").Shape);
                }
            },
            iter: 60);
    }

    [Fact]
    public void Gguf_writes_what_it_reads()
    {
        using TempFolder folder = new();
        Dictionary<string, object> metadata = new(StringComparer.Ordinal)
        {
            ["u8"] = (byte)200,
            ["i8"] = (sbyte)-3,
            ["u16"] = (ushort)65535,
            ["i16"] = (short)-32768,
            ["u32"] = uint.MaxValue,
            ["i32"] = int.MinValue,
            ["u64"] = ulong.MaxValue,
            ["i64"] = long.MinValue,
            ["f32"] = 1.5f,
            ["f64"] = -2.25,
            ["yes"] = true,
            ["text"] = "Ġwörld \U0001F600",
            ["texts"] = new[] { "", "Ġ", "b" },
            ["ints"] = new[] { 1, -2, 3 },
            ["floats"] = new[] { 0.5f, -1f },
            ["bytes"] = new byte[] { 9, 8 },
            ["flags"] = new[] { true, false },
            ["none"] = Array.Empty<ulong>(),
        };
        GgufWriter writer = new();
        foreach ((string key, object value) in metadata)
        {
            writer.Set(key, value);
        }

        float[] values = [.. Enumerable.Range(0, 512).Select(static i => MathF.Sin(i))];
        foreach (TensorType type in WeightTypes)
        {
            writer.Add(type.ToString(), type, [2, 256], values);
        }

        writer.Add("odd", TensorType.F32, [3], [1f, 2f, 3f]);
        writer.Write(folder["a.gguf"]);
        using GgufFile file = GgufFile.Open(folder["a.gguf"]);
        Assert.Equal(metadata.Keys.Order(StringComparer.Ordinal), file.Metadata.Keys.Order(StringComparer.Ordinal));
        foreach ((string key, object value) in metadata)
        {
            Assert.Equal(value, file.Metadata[key]);
            Assert.Equal(value.GetType(), file.Metadata[key].GetType());
        }

        Assert.Equal(WeightTypes.Length + 1, file.AllTensors.Count);
        foreach (TensorType type in WeightTypes)
        {
            TensorView view = file.Get(type.ToString());
            float[] expected = new float[512];
            Dequantizer.Decode(type, Quantizer.Quantize(type, values), expected);
            Assert.Equal([2, 256], view.Shape);
            Assert.Equal(expected, Dequantizer.All(view));
        }

        Assert.Equal([1f, 2f, 3f], Dequantizer.All(file.Get("odd")));
    }

    [Fact]
    public void Version_2_arrays_of_arrays_and_other_ggml_types_are_read()
    {
        using TempFolder folder = new();
        byte[] bytes = Raw.Gguf(
            2,
            1,
            static w =>
            {
                w.Text("nested");
                w.Write(9u);
                w.Write(9u);
                w.Write(1ul);
                w.Write(4u);
                w.Write(2ul);
                w.Write(5u);
                w.Write(6u);
                w.Tensor("iq", 20, 0, 32);
                w.Tensor("f", 0, 32, 1, 2);
            },
            version: 2,
            dataBytes: 40);
        using GgufFile file = GgufFile.Open(folder.Write("a.gguf", bytes));
        Assert.Equal(new uint[] { 5, 6 }, Assert.IsType<uint[]>(Assert.Single(Assert.IsType<object[]>(file.Metadata["nested"]))));
        Assert.Equal([2, 1], file.Get("f").Shape);
        Assert.Equal("IQ4_NL", file.AllTensors[0].Type);
        Assert.Contains("IQ4_NL", Assert.Throws<ModelFileException>(() => file.Get("iq")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("llama", false, TensorType.F32)]
    [InlineData("llama", true, TensorType.Q8_0)]
    [InlineData("qwen2", false, TensorType.BF16)]
    public void A_target_reads_the_same_from_safetensors_and_gguf(string type, bool tied, TensorType matrices)
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Target(type, tied);
        tiny.ToGguf(matrices).Write(folder["m.gguf"]);
        using ModelFile hf = ModelFile.Open(tiny.Save(folder["hf"])), gguf = ModelFile.Open(folder.Path);
        Assert.Equal(("safetensors", "gguf"), (hf.Format, gguf.Format));
        Assert.Equal((tiny.Tensors.Count, tiny.Tensors.Count), (hf.TensorCount, gguf.TensorCount));
        Assert.Equal(hf.ParameterCount, gguf.ParameterCount);
        Assert.Equal(tiny.Tensors.Values.Sum(static t => t.Values.LongLength), hf.ParameterCount);
        Assert.Equal(new FileInfo(folder["m.gguf"]).Length, gguf.FileBytes);
        Assert.Equal([2, 3], gguf.Tensors.Config.EndTokens);
        Assert.Equal([1], hf.Tensors.Config.EndTokens);
        Assert.NotNull(gguf.GgufMetadata);
        Assert.Equal(
            hf.Tensors.Config with { BeginToken = 1, EndTokens = [] },
            gguf.Tensors.Config with { EndTokens = [] });
        Assert.Equal(tied, ReferenceEquals(gguf.Tensors.LmHead, gguf.Tensors.Embedding));
        Assert.Equal(type == "llama" ? 4 : 0, gguf.Tensors.Layers[0].Query.InterleavedHeads);
        foreach ((TensorView a, TensorView b) in Views(hf.Tensors).Zip(Views(gguf.Tensors)))
        {
            float[] expected = Dequantizer.All(a);
            if (b.Type != TensorType.F32)
            {
                Dequantizer.Decode(b.Type, Quantizer.Quantize(b.Type, expected), expected);
            }

            Assert.Equal(expected, Dequantizer.All(b));
        }
    }

    [Fact]
    public void Interleaved_biases_of_a_gguf_llama_come_out_in_order()
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Target();
        foreach ((string name, long rows) in new[] { ("q", 32L), ("k", 16L), ("v", 16L) })
        {
            tiny.Add($"model.layers.0.self_attn.{name}_proj.bias", rows);
            tiny.Add($"model.layers.1.self_attn.{name}_proj.bias", rows);
        }

        tiny.ToGguf().Write(folder["m.gguf"]);
        using ModelFile gguf = ModelFile.Open(folder["m.gguf"]);
        Assert.True(gguf.Tensors.Config.AttentionBias);
        Assert.Equal(tiny.Tensors["model.layers.1.self_attn.k_proj.bias"].Values, Dequantizer.All(gguf.Tensors.Layers[1].KeyBias!));
        Assert.Equal(tiny.Tensors["model.layers.1.self_attn.q_proj.bias"].Values, Dequantizer.All(gguf.Tensors.Layers[1].QueryBias!));
    }

    [Fact]
    public void Shards_extras_and_generation_config_are_accepted()
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Target(tied: true);
        tiny.Add("lm_head.weight", 3);
        tiny.Add("model.layers.0.self_attn.rotary_emb.inv_freq", 4);
        tiny.With("eos_token_id", new JsonArray(1, 5)).Save(folder.Path);
        File.Delete(folder["model.safetensors"]);
        JsonObject map = [];
        foreach ((string shard, bool first) in new[] { ("model-1.safetensors", true), ("model-2.safetensors", false) })
        {
            tiny.Writer(n => n.StartsWith("model.layers.0", StringComparison.Ordinal) == first).Write(folder[shard]);
            foreach (string name in tiny.Tensors.Keys.Where(n => n.StartsWith("model.layers.0", StringComparison.Ordinal) == first))
            {
                map[name] = shard;
            }
        }

        folder.Write("model.safetensors.index.json", new JsonObject { ["metadata"] = new JsonObject(), ["weight_map"] = map }.ToJsonString());
        folder.Write("generation_config.json", "{\"eos_token_id\": [5, 7]}");
        using ModelFile model = ModelFile.Open(folder.Path);
        Assert.Equal([1, 5, 7], model.Tensors.Config.EndTokens);
        Assert.Equal(tiny.Tensors.Count, model.TensorCount);
        Assert.Equal(tiny.Tensors.Values.Sum(static t => t.Values.LongLength) - 3 - 4, model.ParameterCount);
        using ModelFile byIndex = ModelFile.Open(folder["model.safetensors.index.json"]);
        Assert.Equal(model.FileBytes, byIndex.FileBytes);
    }

    [Theory]
    [InlineData("{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}}", 10000f, true)]
    [InlineData("{\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}}", 10000f, true)]
    [InlineData("{\"rope_scaling\": null, \"rope_theta\": null, \"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 500, \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}}", 500f, true)]
    [InlineData("{\"rope_theta\": null, \"rope_parameters\": {\"rope_theta\": 500.0}}", 500f, false)]
    [InlineData("{\"rope_scaling\": {\"rope_type\": \"default\"}, \"rope_theta\": 20000}", 20000f, false)]
    public void Rope_settings_are_read_from_old_and_new_keys(string changes, float theta, bool scaled)
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Target();
        foreach ((string key, JsonNode? value) in JsonNode.Parse(changes)!.AsObject())
        {
            tiny.With(key, value?.DeepClone());
        }

        using ModelFile model = ModelFile.Open(tiny.Save(folder.Path));
        Assert.Equal(theta, model.Tensors.Config.RopeTheta);
        Assert.Equal(scaled ? new RopeScaling(8, 1, 4, 64) : null, model.Tensors.Config.RopeScaling);
    }

    [Theory]
    [InlineData(32f, 1f, 4f, 8192)]
    [InlineData(8f, 1f, 4f, 8192)]
    [InlineData(4f, 2f, 6f, 1000)]
    public void Llama3_scaling_comes_back_from_the_divisors_in_gguf(float factor, float low, float high, int original)
    {
        RopeScaling scaling = new(factor, low, high, original);
        double[] divisors = Llama3Divisors.Of(scaling, 500000, 64);
        Assert.True(Llama3Divisors.TryRecover([.. divisors.Select(static d => (float)d)], 500000, 8192, out RopeScaling? found));
        double[] again = Llama3Divisors.Of(found!, 500000, 64);
        Assert.All(divisors.Zip(again), static p => Assert.Equal(p.First, p.Second, p.First * 2e-3));
        if (original == 8192)
        {
            Assert.Equal(scaling, found);
        }
    }

    [Fact]
    public void Divisors_of_one_mean_plain_rope()
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Target();
        tiny.Tensors["rope_freqs.weight"] = (TensorType.F32, [4], [1, 1, 1, 1]);
        tiny.ToGguf().Write(folder["m.gguf"]);
        using ModelFile model = ModelFile.Open(folder["m.gguf"]);
        Assert.Null(model.Tensors.Config.RopeScaling);
    }

    internal static TensorType[] WeightTypes { get; } =
    [
        TensorType.F32, TensorType.F16, TensorType.BF16, TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_1, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K,
    ];

    private static IEnumerable<TensorView> Views(LlamaTensors tensors) =>
    [
        tensors.Embedding, tensors.FinalNorm, tensors.LmHead,
        .. tensors.Layers.SelectMany(static l => new[]
        {
            l.InputNorm, l.Query, l.Key, l.Value, l.Output, l.QueryBias, l.KeyBias, l.ValueBias, l.PostAttentionNorm, l.Gate, l.Up, l.Down,
        }).OfType<TensorView>(),
    ];
}
