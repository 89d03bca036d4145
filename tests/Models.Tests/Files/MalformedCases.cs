using System.Text.Json.Nodes;

namespace LowLevelSpec.Models.Tests.Files;

/// <summary>Broken inputs by name. Each prepares files and names the path to open, whether as target or as drafter, and words that the message must have.</summary>
internal static class MalformedCases
{
    private const string Index = "model.safetensors.index.json";

    /// <summary>What to open: a target, or (Drafter) a drafter for <see cref="Target"/>.</summary>
    public sealed record Input(string Path, bool Drafter = false, LlamaConfig? Target = null);

    public static Dictionary<string, (Func<TempFolder, Input> Make, string[] Words)> All { get; } = Build();

    private static Dictionary<string, (Func<TempFolder, Input> Make, string[] Words)> Build()
    {
        Dictionary<string, (Func<TempFolder, Input>, string[])> cases = new(StringComparer.Ordinal);
        AddSafetensors(cases);
        AddFolders(cases);
        AddConfigs(cases);
        AddTensors(cases);
        AddGguf(cases);
        AddDrafters(cases);
        return cases;
    }

    private static void AddSafetensors(Dictionary<string, (Func<TempFolder, Input>, string[])> cases)
    {
        void Bytes(string name, byte[] bytes, params string[] words) => cases.Add($"safetensors: {name}", (f => WithConfig(f, bytes), ["model.safetensors", .. words]));
        void Header(string name, string header, int data, params string[] words) => Bytes(name, Raw.Safetensors(header, data), words);
        string Entry(string dtype, string shape, string offsets, string name = "a") => $"\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}";

        Bytes("empty file", [], "0 bytes");
        Bytes("seven bytes", new byte[7], "7 bytes");
        Bytes("header length but no header", Raw.Safetensors("", 0, 100), "100 bytes");
        Bytes("header length 2^64-1", Raw.Safetensors("{}", 0, ulong.MaxValue), "18446744073709551615");
        Bytes("header length 2^63", Raw.Safetensors("{}", 0, 1ul << 63), "9223372036854775808");
        Bytes("header length one too long", Raw.Safetensors("{}", 0, 3), "3 bytes");
        Bytes("header length cuts the JSON", Raw.Safetensors("{\"a\":{}}", 0, 5), "JSON");
        Bytes("header of length 0", Raw.Safetensors("", 8), "JSON");
        Bytes("Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"u8.ToArray(), "Git LFS");
        Bytes("text that is not UTF-8", [.. BitConverter.GetBytes(7ul), .. "{\"\u0001"u8[..2], 0xFF, 0xFE, (byte)'"', (byte)':', (byte)'}'], "Unicode");
        Bytes("name that is not UTF-8", [.. BitConverter.GetBytes(8ul), .. "{\""u8, 0xFF, 0xFE, .. "\":1}"u8], "Unicode");
        Header("array instead of object", "[]", 0, "object");
        Header("number instead of entry", "{\"a\":1}", 0, "'a'", "Number");
        Header("deep JSON", "{\"a\":" + string.Concat(Enumerable.Repeat("[", 50_000)), 0, "'a'", "StartArray");
        Header("deep JSON in a shape", $"{{{Entry("U8", new string('[', 50_000), "[0,1]")}}}", 1, "'a'", "shape");
        Header("text after the object", "{} x", 0, "JSON");
        Header("comment", "{/*x*/}", 0, "JSON");
        Header("metadata number", "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__");
        Header("metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice");
        Header("tensor twice", $"{{{Entry("U8", "[1]", "[0,1]")},{Entry("U8", "[1]", "[1,2]")}}}", 2, "'a'", "twice");
        Header("empty name", $"{{{Entry("U8", "[1]", "[0,1]", "")}}}", 1, "empty name");
        Header("lone surrogate in a name", $"{{{Entry("U8", "[1]", "[0,1]", "\\ud800")}}}", 1, "Unicode");
        Header("unknown key", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"offsets\":[0,1]}}", 1, "'offsets'");
        Header("dtype twice", "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "'dtype'");
        Header("no shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "lacks");
        Header("one offset", $"{{{Entry("U8", "[1]", "[0]")}}}", 1, "lacks");
        Header("three offsets", $"{{{Entry("U8", "[1]", "[0,1,2]")}}}", 1, "more than 2");
        Header("unknown dtype", $"{{{Entry("F7", "[1]", "[0,1]")}}}", 1, "'F7'");
        Header("negative dimension", $"{{{Entry("U8", "[-1]", "[0,1]")}}}", 1, "-1");
        Header("fractional dimension", $"{{{Entry("U8", "[1.5]", "[0,1]")}}}", 1, "1.5");
        Header("string dimension", $"{{{Entry("U8", "[\"1\"]", "[0,1]")}}}", 1, "String");
        Header("dimension near 2^64", $"{{{Entry("U8", "[18446744073709551615]", "[0,1]")}}}", 1, "18446744073709551615");
        Header("shape product overflows to 0", $"{{{Entry("U8", "[4294967296,4294967296]", "[0,0]")}}}", 0, "more than any file");
        Header("byte count overflows", $"{{{Entry("F32", "[4611686018427387905]", "[0,4]")}}}", 4, "more than any file");
        Header("thousands of dimensions", $"{{{Entry("U8", "[" + string.Join(',', Enumerable.Repeat("1", 5000)) + "]", "[0,1]")}}}", 1, "more than 8");
        Header("claimed size beyond the file", $"{{{Entry("F32", "[1000000000000]", "[0,4000000000000]")}}}", 4, "4 bytes");
        Header("offsets past the end", $"{{{Entry("U8", "[2]", "[0,2]")}}}", 1, "1 bytes");
        Header("offsets near 2^63", $"{{{Entry("U8", "[1]", "[9223372036854775806,9223372036854775807]")}}}", 1, "9223372036854775807");
        Header("offsets backwards", $"{{{Entry("U8", "[1]", "[1,0]")}}}", 1, "[1, 0]");
        Header("size differs from shape", $"{{{Entry("F32", "[2]", "[0,4]")}}}", 4, "expected 8");
        Header("overlap", $"{{{Entry("U8", "[2]", "[0,2]")},{Entry("U8", "[2]", "[1,3]", "b")}}}", 3, "'b'", "overlaps");
        Header("same bytes twice", $"{{{Entry("U8", "[2]", "[0,2]")},{Entry("U8", "[2]", "[0,2]", "b")}}}", 2, "overlaps");
        Header("hole", $"{{{Entry("U8", "[1]", "[0,1]")},{Entry("U8", "[1]", "[2,3]", "b")}}}", 3, "'b'", "hole");
        Header("trailing bytes", $"{{{Entry("U8", "[1]", "[0,1]")}}}", 3, "2 bytes");
        Header("control characters in a name", $"{{{Entry("U8", "[3]", "[0,1]", "x\\n\\u001b[31m")}}}", 1, "\\u000a");
        Header("very long name", $"{{{Entry("U8", "[3]", "[0,1]", new string('n', 100_000))}}}", 1, "nnn...");
    }

    private static void AddFolders(Dictionary<string, (Func<TempFolder, Input>, string[])> cases)
    {
        cases.Add("path: absent", (static f => new(f["nowhere"]), ["nowhere", "does not exist"]));
        cases.Add("path: folder without weights", (static f => new(f.Path), ["no model.safetensors"]));
        cases.Add("path: unknown ending", (static f => new(f.Write("model.bin", "x")), ["model.bin", "unknown ending"]));
        cases.Add("path: several gguf files", (static f => new(Path.GetDirectoryName(f.Write("a.gguf", f.Write("b.gguf", "x")))!), ["several"]));
        cases.Add("path: no config.json", (static f => new(Remove(TinyCheckpoint.Target().Save(f.Path), "config.json")), ["config.json", "does not exist"]));
        cases.Add("path: no config.json beside the file", (static f => new(Path.Combine(Remove(TinyCheckpoint.Target().Save(f.Path), "config.json"), "model.safetensors")), ["config.json"]));
        cases.Add("path: drafter without config.json", (static f => new(Remove(TinyCheckpoint.Moa().Save(f.Path), "config.json"), true), ["config.json"]));
        cases.Add("path: symbolic link to itself", (static f => Link(f, "model.safetensors"), ["model.safetensors"]));
        cases.Add("path: weights are a folder link", (static f => Link(f, "/"), ["model.safetensors"]));

        void Map(string name, string json, params string[] words) => cases.Add($"index: {name}", (f => WithIndex(f, json), words));
        Map("not JSON", "{", Index, "JSON");
        Map("no weight_map", "{}", Index, "weight_map");
        Map("empty weight_map", "{\"weight_map\":{}}", Index, "weight_map", "empty");
        Map("number as shard", "{\"weight_map\":{\"a\":3}}", Index, "weight_map.a", "3");
        Map("parent folder", "{\"weight_map\":{\"a\":\"../x.safetensors\"}}", Index, "'../x.safetensors'");
        Map("absolute path", "{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}", Index, "'/etc/x.safetensors'");
        Map("sub-folder", "{\"weight_map\":{\"a\":\"sub/x.safetensors\"}}", Index, "'sub/x.safetensors'");
        Map("backslashes", "{\"weight_map\":{\"a\":\"..\\\\x.safetensors\"}}", Index, "x.safetensors'");
        Map("drive letter", "{\"weight_map\":{\"a\":\"C:x.safetensors\"}}", Index, "'C:x.safetensors'");
        Map("dots alone", "{\"weight_map\":{\"a\":\"..\"}}", Index, "'..'");
        Map("NUL in a name", "{\"weight_map\":{\"a\":\"x\\u0000.safetensors\"}}", Index, "\\u0000");
        Map("other ending", "{\"weight_map\":{\"a\":\"config.json\"}}", Index, "'config.json'");
        Map("lone surrogate", "{\"weight_map\":{\"a\":\"\\udc00\"}}", Index, "Unicode");
        Map("key twice", "{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"}}", Index, "JSON");
        Map("missing shard", "{\"weight_map\":{\"a\":\"x.safetensors\"}}", "x.safetensors", "does not exist");
        Map("tensor absent from its shard", "{\"weight_map\":{\"ids\":\"one.safetensors\",\"b\":\"one.safetensors\"}}", Index, "'b'", "'one.safetensors'");
        Map("shard holds an unlisted tensor", "{\"weight_map\":{\"b\":\"one.safetensors\"}}", "one.safetensors", "'ids'");
    }

    private static void AddConfigs(Dictionary<string, (Func<TempFolder, Input>, string[])> cases)
    {
        void Text(string name, string json, params string[] words) => cases.Add($"config: {name}", (f => WithConfigText(f, json), ["config.json", .. words]));
        void Key(string key, string value, params string[] words) => cases.Add($"config: {key} = {value}", (f => new(TinyCheckpoint.Target(key == "use_sliding_window" ? "qwen2" : "llama").With(key, JsonNode.Parse(value)).Save(f.Path)), ["config.json", key, .. words]));

        Text("empty", "", "0 bytes");
        Text("not JSON", "hidden_size: 3", "JSON");
        Text("array", "[]", "Array");
        Text("NaN epsilon", "{\"model_type\":\"llama\",\"rms_norm_eps\":NaN}", "JSON");
        Text("deep", string.Concat(Enumerable.Repeat("{\"a\":", 100_000)), "JSON");
        Text("key twice", "{\"model_type\":\"llama\",\"model_type\":\"qwen2\"}", "JSON");
        Text("no model_type", "{}", "model_type");
        Text("lone surrogate", "{\"model_type\":\"\\ud800\"}", "config.json");
        Key("model_type", "\"mixtral\"", "'mixtral'", "'qwen2'");
        Key("model_type", "3");
        Key("hidden_size", "-32", "-32");
        Key("hidden_size", "0");
        Key("hidden_size", "1e30");
        Key("hidden_size", "\"32\"");
        Key("hidden_size", "131073", "131072");
        Key("num_hidden_layers", "1025", "1024");
        Key("num_hidden_layers", "2147483648");
        Key("vocab_size", "2097153", "2097152");
        Key("vocab_size", "null", "missing");
        Key("num_attention_heads", "5", "divisor");
        Key("num_attention_heads", "32", "even");
        Key("num_key_value_heads", "3", "divisor");
        Key("head_dim", "7", "even");
        Key("head_dim", "0");
        Key("intermediate_size", "2.5", "2.5");
        Key("max_position_embeddings", "0");
        Key("rms_norm_eps", "0");
        Key("rms_norm_eps", "1", "below 1");
        Key("rms_norm_eps", "1e-60");
        Key("rms_norm_eps", "\"NaN\"");
        Key("rope_theta", "-1");
        Key("rope_theta", "1e39");
        Key("tie_word_embeddings", "\"yes\"");
        Key("eos_token_id", "40", "39");
        Key("eos_token_id", "[1, -1]", "-1");
        Key("hidden_act", "\"gelu\"", "'gelu'");
        Key("attention_bias", "\"yes\"");
        Key("mlp_bias", "true");
        Key("use_sliding_window", "true");
        Key("quantization_config", "{\"quant_method\":\"awq\"}");
        Key("rope_scaling", "{\"rope_type\":\"yarn\",\"factor\":4.0}", "'yarn'", "'llama3'");
        Key("rope_scaling", "{\"factor\":4.0}", "rope_type");
        Key("rope_scaling", "{\"rope_type\":\"llama3\",\"factor\":0.5,\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8}", "factor");
        Key("rope_scaling", "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,\"original_max_position_embeddings\":8}", "high_freq_factor");
        Key("rope_scaling", "{\"rope_type\":\"llama3\",\"factor\":8}", "low_freq_factor", "missing");
        Key("rope_parameters", "{\"full_attention\":{\"rope_type\":\"default\"}}", "rope_type");
        Key("partial_rotary_factor", "0.5");
        cases.Add("config: generation_config.json is broken", (static f =>
        {
            f.Write("generation_config.json", "{\"eos_token_id\":\"x\"}");
            return new(TinyCheckpoint.Target().Save(f.Path));
        }, ["generation_config.json", "eos_token_id"]));
    }

    private static void AddTensors(Dictionary<string, (Func<TempFolder, Input>, string[])> cases)
    {
        const string Query = "model.layers.1.self_attn.q_proj.weight";
        void Target(string name, Func<TinyCheckpoint> make, params string[] words) => cases.Add($"tensors: {name}", (f => new(make().Save(f.Path)), ["model.safetensors", .. words]));

        Target("missing", static () => TinyCheckpoint.Target().Without(Query), Query, "missing", "[32, 32]");
        Target("wrong shape", static () => TinyCheckpoint.Target().Reshape(Query, 32, 31), Query, "[32, 31]", "[32, 32]");
        Target("one dimension too many", static () => TinyCheckpoint.Target().Reshape("model.norm.weight", 1, 32), "model.norm.weight", "[1, 32]", "[32]");
        Target("empty", static () => TinyCheckpoint.Target().Reshape(Query, 0, 32), Query, "[0, 32]");
        Target("no head though untied", static () => TinyCheckpoint.Target().Without("lm_head.weight"), "lm_head.weight");
        Target("a layer more than the config says", static () => TinyCheckpoint.Target().With("num_hidden_layers", 1), "model.layers.1.");
        Target("a layer fewer than the config says", static () => TinyCheckpoint.Target().With("num_hidden_layers", 3), "model.layers.2.");
        Target("vocabulary of another size", static () => TinyCheckpoint.Target().With("vocab_size", 41), "model.embed_tokens.weight", "[40, 32]", "[41, 32]");
        Target("biases in a llama", static () => With(TinyCheckpoint.Target(), "model.layers.0.self_attn.q_proj.bias", 32), "q_proj.bias", "unknown");
        Target("no biases in a qwen2", static () => TinyCheckpoint.Target().With("model_type", "qwen2"), "q_proj.bias", "missing");
        Target("unknown extra", static () => With(TinyCheckpoint.Target(), "model.layers.0.mystery.weight", 3), "model.layers.0.mystery.weight");
        cases.Add("tensors: integers as weights", (static f => Retyped(f, TensorType.I64), [Query, "I64"]));
        cases.Add("tensors: eight-bit floats as weights", (static f =>
        {
            Input input = Retyped(f, TensorType.U8);
            string path = f["model.safetensors"], dtype = "\"dtype\":\"U8\"";
            byte[] bytes = File.ReadAllBytes(path);
            int at = bytes.AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(dtype));
            System.Text.Encoding.ASCII.GetBytes("\"dtype\":\"I8\"").CopyTo(bytes, at);
            f.Write("model.safetensors", bytes);
            return input;
        }, [Query, "I8"]));
    }

    private static void AddGguf(Dictionary<string, (Func<TempFolder, Input>, string[])> cases)
    {
        void Bytes(string name, byte[] bytes, params string[] words) => cases.Add($"gguf: {name}", (f => new(f.Write("m.gguf", bytes)), ["m.gguf", .. words]));
        void Made(string name, Func<TinyCheckpoint> make, Action<Dictionary<string, object>>? bend, params string[] words) => cases.Add($"gguf: {name}", (f =>
        {
            make().ToGguf(bend: bend).Write(f["m.gguf"]);
            return new(f["m.gguf"]);
        }, ["m.gguf", .. words]));
        void Meta(string key, object? value, params string[] words) => Made($"{key} = {value ?? "absent"}", static () => TinyCheckpoint.Target(), m =>
        {
            m.Remove(key);
            if (value is not null)
            {
                m[key] = value;
            }
        }, [key, .. words]);

        Bytes("empty", [], "0 bytes");
        Bytes("one byte", "G"u8.ToArray(), "GGUF");
        Bytes("other magic", "GGML0000"u8.ToArray(), "GGUF");
        Bytes("magic alone", "GGUF"u8.ToArray(), "version");
        Bytes("version 1", Raw.Gguf(0, 0, version: 1), "version 1");
        Bytes("big endian", Raw.Gguf(0, 0, version: 0x03000000), "big-endian");
        Bytes("counts missing", Raw.Gguf(0, 0)[..12], "tensor count");
        Bytes("tensor count near 2^64", Raw.Gguf(ulong.MaxValue, 0), "18446744073709551615");
        Bytes("metadata count near 2^64", Raw.Gguf(0, ulong.MaxValue - 1), "18446744073709551614");
        Bytes("key length near 2^64", Raw.Gguf(0, 1, static w => Repeat(w, ulong.MaxValue, 4)), "18446744073709551615");
        Bytes("key cut off", Raw.Gguf(0, 1, static w => Repeat(w, 40, 4)), "40 bytes");
        Bytes("empty key", Raw.Gguf(0, 1, static w => { w.Text(""); w.Write(7u); w.Write(true); w.Write(0ul); }), "empty");
        Bytes("key that is not UTF-8", Raw.Gguf(0, 1, static w => { w.Write(2ul); w.Write((ushort)0xFFFF); w.Write(0ul); w.Write(0ul); }), "UTF-8");
        Bytes("key twice", Raw.Gguf(0, 2, static w => { w.Text("a"); w.Write(0u); w.Write((byte)1); w.Text("a"); w.Write(0u); w.Write((byte)1); }), "'a'", "twice");
        Bytes("unknown value kind", Raw.Gguf(0, 1, static w => { w.Text("a"); w.Write(13u); w.Write(0ul); }), "kind 13");
        Bytes("boolean 2", Raw.Gguf(0, 1, static w => { w.Text("a"); w.Write(7u); w.Write((byte)2); }), "boolean");
        Bytes("value cut off", Raw.Gguf(0, 1, static w => { w.Text("a"); w.Write(12u); w.Write(0u); }), "ends inside");
        Bytes("array of unknown kind", Raw.Gguf(0, 1, static w => { w.Text("a"); w.Write(9u); w.Write(99u); w.Write(0ul); }), "kind 99");
        Bytes("string array of 2^63", Raw.Gguf(0, 1, static w => { w.Text("a"); w.Write(9u); w.Write(8u); w.Write(1ul << 63); }), "9223372036854775808");
        Bytes("float array of a billion", Raw.Gguf(0, 1, static w => { w.Text("a"); w.Write(9u); w.Write(6u); w.Write(1_000_000_000ul); }), "1000000000");
        Bytes("array count that overflows in bytes", Raw.Gguf(0, 1, static w => { w.Text("a"); w.Write(9u); w.Write(10u); w.Write((1ul << 61) + 1); }), "2305843009213693953");
        Bytes("arrays nested too deep", Raw.Gguf(0, 1, static w => { w.Text("a"); w.Write(9u); for (int i = 0; i < 100_000; i++) { w.Write(9u); w.Write(1ul); } }), "deep");
        Bytes("alignment 0", Raw.Gguf(0, 1, static w => { w.Text("general.alignment"); w.Write(4u); w.Write(0u); }), "alignment");
        Bytes("alignment 48", Raw.Gguf(0, 1, static w => { w.Text("general.alignment"); w.Write(4u); w.Write(48u); }), "48");
        Bytes("alignment 2^31", Raw.Gguf(0, 1, static w => { w.Text("general.alignment"); w.Write(4u); w.Write(1u << 31); }), "2147483648");
        Bytes("alignment text", Raw.Gguf(0, 1, static w => { w.Text("general.alignment"); w.Write(8u); w.Text("32"); }), "alignment");
        Bytes("tensor cut off", Raw.Gguf(1, 0, static w => Repeat(w, 1, 4)), "tensor");
        Bytes("thousand dimensions", Raw.Gguf(1, 0, static w => w.Tensor("t", 0, 0, [.. Enumerable.Repeat(1ul, 1000)])), "1000 dimensions");
        Bytes("dimension near 2^64", Raw.Gguf(1, 0, static w => w.Tensor("t", 0, 0, ulong.MaxValue)), "18446744073709551615");
        Bytes("shape product overflows", Raw.Gguf(1, 0, static w => w.Tensor("t", 0, 0, 1ul << 32, 1ul << 32)), "more than any file");
        Bytes("byte count overflows", Raw.Gguf(1, 0, static w => w.Tensor("t", 28, 0, 1ul << 61)), "more than any file");
        Bytes("unknown tensor type", Raw.Gguf(1, 0, static w => w.Tensor("t", 77, 0, 32)), "type 77");
        Bytes("row not a multiple of the block", Raw.Gguf(1, 0, static w => w.Tensor("t", 2, 0, 33), dataBytes: 36), "33", "Q4_0");
        Bytes("K-type row not a multiple of 256", Raw.Gguf(1, 0, static w => w.Tensor("t", 12, 0, 128, 2), dataBytes: 144), "128", "Q4_K");
        Bytes("tensor twice", Raw.Gguf(2, 0, static w => { w.Tensor("t", 0, 0, 8); w.Tensor("t", 0, 32, 8); }, dataBytes: 64), "'t'", "twice");
        Bytes("misaligned offset", Raw.Gguf(1, 0, static w => w.Tensor("t", 0, 4, 7), dataBytes: 32), "alignment 32");
        Bytes("offset near 2^64", Raw.Gguf(1, 0, static w => w.Tensor("t", 0, ulong.MaxValue - 31, 8), dataBytes: 32), "18446744073709551584");
        Bytes("data cut off", Raw.Gguf(1, 0, static w => w.Tensor("t", 0, 0, 9), dataBytes: 32), "36 bytes");
        Bytes("no data section", Raw.Gguf(1, 0, static w => w.Tensor("t", 0, 0, 8)), "32 bytes");
        Bytes("overlap", Raw.Gguf(2, 0, static w => { w.Tensor("t", 0, 0, 16); w.Tensor("u", 0, 32, 8); }, dataBytes: 64), "'u'", "overlaps");
        Bytes("hole", Raw.Gguf(2, 0, static w => { w.Tensor("t", 0, 0, 8); w.Tensor("u", 0, 64, 8); }, dataBytes: 96), "'u'", "hole");
        Bytes("trailing bytes", Raw.Gguf(1, 0, static w => w.Tensor("t", 0, 0, 8), dataBytes: 33), "1 bytes");
        Bytes("no metadata", Raw.Gguf(0, 0), "general.architecture");

        Meta("general.architecture", "falcon", "'falcon'", "'qwen2'");
        Meta("general.architecture", 3u);
        Meta("llama.block_count", null, "missing");
        Meta("llama.block_count", 0u);
        Meta("llama.block_count", uint.MaxValue, "1024");
        Meta("llama.block_count", 2.0f);
        Meta("llama.embedding_length", ulong.MaxValue);
        Meta("llama.attention.head_count", 5u, "divisor");
        Meta("llama.attention.head_count_kv", new uint[] { 1, 2 }, "all layers");
        Meta("llama.attention.head_count_kv", 3u, "divisor");
        Meta("llama.attention.key_length", 7u, "even");
        Meta("llama.attention.value_length", 16u, "head size 8");
        Meta("llama.rope.dimension_count", 4u, "head size 8");
        Meta("llama.attention.layer_norm_rms_epsilon", float.NaN);
        Meta("llama.rope.freq_base", float.PositiveInfinity);
        Meta("llama.rope.scaling.type", "yarn", "'yarn'");
        Meta("llama.rope.scaling.factor", 4f);
        Meta("llama.expert_count", 8u);
        Meta("tokenizer.ggml.eos_token_id", 40u, "39");
        Made("tensor missing", static () => TinyCheckpoint.Target().Without("model.layers.0.mlp.up_proj.weight"), null, "blk.0.ffn_up.weight", "missing");
        Made("embedding missing", static () => TinyCheckpoint.Target().Without("model.embed_tokens.weight"), null, "token_embd.weight");
        Made("embedding of another width", static () => TinyCheckpoint.Target().Reshape("model.embed_tokens.weight", 40, 64), null, "token_embd.weight", "[40, 64]");
        Made("unknown tensor", static () => With(TinyCheckpoint.Target(), "blk.0.ffn_gate_inp.weight", 8), null, "blk.0.ffn_gate_inp.weight");
        Made("divisors of no known scaling", static () => With(TinyCheckpoint.Target(), "rope_freqs.weight", 4), null, "rope_freqs.weight");
        Made("divisors of another length", static () => With(TinyCheckpoint.Target(), "rope_freqs.weight", 5), null, "rope_freqs.weight", "[4]");
        cases.Add("gguf: quantised norm", (static f =>
        {
            TinyCheckpoint tiny = TinyCheckpoint.Target();
            tiny.Tensors.Remove("model.norm.weight");
            GgufWriter writer = tiny.ToGguf();
            writer.Add("output_norm.weight", TensorType.Q8_0, [32], new float[32]);
            writer.Write(f["m.gguf"]);
            return new(f["m.gguf"]);
        }, ["m.gguf", "output_norm.weight", "Q8_0"]));
    }

    private static void AddDrafters(Dictionary<string, (Func<TempFolder, Input>, string[])> cases)
    {
        LlamaConfig target = TinyCheckpoint.TargetConfig;
        void Drafter(string name, Func<TinyCheckpoint> make, LlamaConfig? forTarget, params string[] words) => cases.Add($"drafter: {name}", (f => new(make().Save(f.Path), true, forTarget), words));

        Drafter("wider target", TinyCheckpoint.MoaSpec, target with { HiddenSize = 64, HeadSize = 16 }, "model.safetensors", "self_attention.self_attn.k_proj.weight", "[16, 32]", "64]", "another target");
        Drafter("target with more kv heads", TinyCheckpoint.MoaSpec, target with { KvHeads = 4 }, "model.safetensors", "Ekv2E.weight", "[32, 32]", "[32, 64]", "another target");
        Drafter("target with another vocabulary", TinyCheckpoint.MoaSpec, target with { VocabularySize = 41 }, "config.json", "vocab_size", "40", "41", "another target");
        Drafter("target with more layers", static () => TinyCheckpoint.Moa(), target with { Layers = 3 }, "config.json", "num_hidden_layers", "another target");
        Drafter("target with other heads", TinyCheckpoint.MoaSpec, target with { Heads = 2, KvHeads = 2, HeadSize = 8 }, "model.safetensors", "another target");
        Drafter("eagle for a wider target", static () => TinyCheckpoint.Eagle(), target with { HiddenSize = 64, HeadSize = 16 }, "spec_model_fc.weight", "[32, 64]", "[64, 128]", "another target");
        Drafter("eagle for another vocabulary", static () => TinyCheckpoint.Eagle(), target with { VocabularySize = 39 }, "config.json", "vocab_size", "another target");
        Drafter("independent with another vocabulary", static () => TinyCheckpoint.Target(), target with { VocabularySize = 41 }, "model.embed_tokens.weight", "41", "another target");
        Drafter("odd head size in LSA", static () => TinyCheckpoint.Moa().Reshape("Ekv2E.weight", 32, 12), target with { KvHeads = 1, HeadSize = 6 }, "model.safetensors", "head size 3", "even");
        Drafter("target whose heads do not divide", static () => TinyCheckpoint.Moa(), target with { Heads = 6, HeadSize = 8 }, "model.safetensors", "6 heads");
        Drafter("kv_hidden_size disagrees", static () => TinyCheckpoint.MoaSpec().With("kv_hidden_size", 64), null, "config.json", "kv_hidden_size");
        Drafter("kv heads disagree", static () => TinyCheckpoint.MoaSpec().With("cross_attention_num_key_value_heads", 2), null, "config.json", "cross_attention_num_key_value_heads");
        Drafter("MLP width disagrees", static () => TinyCheckpoint.MoaSpec().With("layer_self_attention_intermediate_size", 17), null, "config.json", "layer_self_attention_intermediate_size");
        Drafter("TLI of more layers than there are", static () => TinyCheckpoint.MoaSpec().With("target_layer_inference", 3), null, "config.json", "target_layer_inference");
        Drafter("negative TLI", static () => TinyCheckpoint.MoaSpec().With("target_layer_inference", -1), null, "config.json", "target_layer_inference");
        Drafter("epsilon of 2", static () => TinyCheckpoint.MoaSpec().With("rms_norm_eps", 2), null, "config.json", "rms_norm_eps");
        Drafter("unknown model type", static () => TinyCheckpoint.Moa().With("model_type", "gpt2"), null, "config.json", "'gpt2'", "'moa_spec'");
        Drafter("moa_spec config for eagle", static () => TinyCheckpoint.Eagle().With("model_type", "moa_spec"), null, "config.json", "model_type");
        Drafter("LSA missing", static () => TinyCheckpoint.Moa(lsa: false), null, "layer_self_attention.self_attn.k_proj.weight", "missing");
        Drafter("LSA there though disabled", static () => TinyCheckpoint.MoaSpec().With("disable_LSA", true), null, "layer_self_attention.", "unknown");
        Drafter("disable_LSA is text", static () => TinyCheckpoint.MoaSpec().With("disable_LSA", "no"), null, "config.json", "disable_LSA");
        Drafter("embedding stored too", static () => With(TinyCheckpoint.Moa(), "model.embed_tokens.weight", 40, 32), null, "model.embed_tokens.weight", "unknown");
        Drafter("MoA and EAGLE in one", static () => With(TinyCheckpoint.Moa(), "spec_model_fc.weight", 32, 64), null, "spec_model_fc.weight", "unknown");
        Drafter("half a set of biases", static () => With(TinyCheckpoint.Moa(), "self_attention.self_attn.q_proj.bias", 32), null, "k_proj.bias", "missing");
        Drafter("kv rows that are no whole heads", static () => TinyCheckpoint.Moa().Reshape("cross_attention.self_attn.k_proj.weight", 12, 32), null, "cross_attention.self_attn.k_proj.weight", "[12, 32]");
        Drafter("kv heads that do not divide", static () => TinyCheckpoint.Moa().Reshape("cross_attention.self_attn.k_proj.weight", 24, 32), null, "cross_attention.self_attn.k_proj.weight", "[24, 32]");
        Drafter("fewer kv rows than a head", static () => TinyCheckpoint.Moa().Reshape("cross_attention.self_attn.k_proj.weight", 4, 32), null, "cross_attention.self_attn.k_proj.weight", "[4, 32]");
        Drafter("empty key projection", static () => TinyCheckpoint.Moa().Reshape("cross_attention.self_attn.k_proj.weight", 0, 32), null, "cross_attention.self_attn.k_proj.weight", "[0, 32]");
        Drafter("value rows differ from key rows", static () => TinyCheckpoint.Moa().Reshape("self_attention.self_attn.v_proj.weight", 8, 32), null, "self_attention.self_attn.v_proj.weight", "[8, 32]", "[16, 32]");
        Drafter("no bias after Ekv2E", static () => TinyCheckpoint.Moa().Without("Ekv2E.bias"), null, "Ekv2E.bias", "missing");
        Drafter("no drafter at all", static () => With(new TinyCheckpoint(), "weights", 3), null, "model.safetensors", "no drafter");
    }

    private static void Repeat(BinaryWriter writer, ulong first, int more)
    {
        writer.Write(first);
        for (int i = 0; i < more; i++)
        {
            writer.Write((ulong)i);
        }
    }

    private static TinyCheckpoint With(TinyCheckpoint checkpoint, string name, params long[] shape)
    {
        checkpoint.Add(name, shape);
        return checkpoint;
    }

    private static string Remove(string folder, string file)
    {
        File.Delete(Path.Combine(folder, file));
        return folder;
    }

    private static Input WithConfig(TempFolder folder, byte[] weights)
    {
        TinyCheckpoint.Target().Save(folder.Path);
        folder.Write("model.safetensors", weights);
        return new(folder.Path);
    }

    private static Input WithConfigText(TempFolder folder, string config)
    {
        TinyCheckpoint.Target().Save(folder.Path);
        folder.Write("config.json", config);
        return new(folder.Path);
    }

    private static Input WithIndex(TempFolder folder, string index)
    {
        TinyCheckpoint.Target().Save(folder.Path);
        File.Delete(folder["model.safetensors"]);
        folder.Write(Index, index);
        SafetensorsWriter one = new();
        one.Add("ids", [1], [3L]);
        one.Write(folder["one.safetensors"]);
        return new(folder.Path);
    }

    private static Input Link(TempFolder folder, string to)
    {
        TinyCheckpoint.Target().Save(folder.Path);
        File.Delete(folder["model.safetensors"]);
        File.CreateSymbolicLink(folder["model.safetensors"], to);
        return new(folder["model.safetensors"]);
    }

    private static Input Retyped(TempFolder folder, TensorType type)
    {
        const string Query = "model.layers.1.self_attn.q_proj.weight";
        TinyCheckpoint tiny = TinyCheckpoint.Target();
        tiny.Save(folder.Path);
        SafetensorsWriter writer = tiny.Writer(static n => n != Query);
        writer.Add(Query, type, [32, 32], new byte[type.Bytes(32 * 32)]);
        writer.Write(folder["model.safetensors"]);
        return new(folder.Path);
    }
}
