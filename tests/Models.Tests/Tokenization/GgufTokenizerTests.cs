using System.Text;
using System.Text.Json.Nodes;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

public class GgufTokenizerTests
{
    [Fact]
    public void The_tokenizer_of_a_real_file_is_that_of_its_folder()
    {
        var path = Directory.GetFiles(TokenizerFixtures.Shared("models", "smollm2-135m-instruct"), "*.gguf")[0];
        var golden = TokenizerFixtures.Shared("golden", "tokenizers", "smollm2.jsonl");
        var folder = TokenizerFixtures.SharedTokenizer("smollm2");
        var tokenizer = Tokenizer.FromGgufMetadata(path, GgufMetadata.Read(path))!;
        foreach (var line in TokenizerFixtures.Lines(golden))
        {
            var text = line.GetProperty("text").GetString()!;
            Assert.Equal(line.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32()), tokenizer.Encode(text, allowSpecial: true));
            Assert.Equal(folder.Encode(text), tokenizer.Encode(text));
        }

        Assert.Equal(folder.VocabularySize, tokenizer.VocabularySize);
        Assert.Equal(folder.BosTokenId, tokenizer.BosTokenId);
        Assert.Equal(folder.EosTokenId, tokenizer.EosTokenId);
        var everything = Enumerable.Range(0, folder.VocabularySize).ToArray();
        Assert.All(everything, id => Assert.Equal(folder.IsSpecial(id), tokenizer.IsSpecial(id)));
        Assert.Equal(folder.Decode(everything), tokenizer.Decode(everything));
        ChatMessage[] messages = [new("user", "Hi")];
        Assert.Equal(folder.RenderChat(messages), tokenizer.RenderChat(messages));
        Assert.Equal(folder.EncodeChat(messages), tokenizer.EncodeChat(messages));
    }

    [Fact]
    public void Metadata_give_the_same_tokenizer_as_the_folder()
    {
        var folder = TokenizerFixtures.Tiny();
        var tokenizer = Tokenizer.FromGgufMetadata("x.gguf", TinyMetadata())!;
        TextSamples(text => Assert.Equal(folder.Encode(text, true), tokenizer.Encode(text, true)));
        Assert.Equal(folder.FindToken("<|im_end|>"), tokenizer.EosTokenId);
        Assert.Equal("<|im_end|>", tokenizer.RenderChat([]));
        Assert.Equal("", tokenizer.Decode([tokenizer.VocabularySize - 1]));
    }

    [Theory]
    [InlineData("gpt-2", "it's 123", "it|'s| 123")]
    [InlineData("smollm", "it's 123", "it|'s| |1|2|3")]
    [InlineData("llama-bpe", "IT'S 1234", "IT|'S| |123|4")]
    [InlineData("qwen2", "IT'S 12", "IT|'S| |1|2")]
    public void Pre_tokenizers_go_by_name(string pre, string text, string expected)
    {
        var metadata = TinyMetadata();
        metadata["tokenizer.ggml.pre"] = pre;
        metadata["tokenizer.ggml.merges"] = Array.Empty<string>();
        metadata["tokenizer.ggml.tokens"] = ((string[])metadata["tokenizer.ggml.tokens"]).Concat(expected.Replace(' ', 'Ġ').Split('|').Where(t => t.Length > 1)).ToArray();
        metadata.Remove("tokenizer.ggml.token_type");
        var tokenizer = Tokenizer.FromGgufMetadata("x.gguf", metadata)!;

        // Where a pre-token that is a token needs no merges, the cuts show directly; elsewhere the text must at least survive.
        if (pre == "llama-bpe")
        {
            Assert.Equal(expected.Split('|'), tokenizer.Encode(text).Select(id => tokenizer.Decode([id])));
        }

        Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
    }

    [Fact]
    public void Files_without_a_tokenizer_have_none()
    {
        Assert.Null(Tokenizer.FromGgufMetadata("x.gguf", new Dictionary<string, object>()));
        Assert.Null(Tokenizer.FromGgufMetadata("x.gguf", new Dictionary<string, object> { ["tokenizer.ggml.model"] = "none" }));
    }

    [Theory]
    [InlineData("tokenizer.ggml.model", "llama", "'llama'")]
    [InlineData("tokenizer.ggml.pre", "tekken", "supported: gpt-2, ")]
    [InlineData("tokenizer.ggml.pre", null, "'missing'")]
    [InlineData("tokenizer.ggml.tokens", null, "tokenizer.ggml.tokens")]
    [InlineData("tokenizer.ggml.tokens", "text", "tokenizer.ggml.tokens")]
    [InlineData("tokenizer.ggml.merges", null, "tokenizer.ggml.merges")]
    [InlineData("tokenizer.ggml.token_type", "text", "tokenizer.ggml.token_type")]
    [InlineData("tokenizer.ggml.eos_token_id", "text", "tokenizer.ggml.eos_token_id")]
    [InlineData("tokenizer.ggml.bos_token_id", 99999, "tokenizer.ggml.bos_token_id")]
    public void Malformed_metadata_are_refused_by_key(string key, object? value, string named)
    {
        var metadata = TinyMetadata();
        metadata.Remove(key);
        if (value is not null)
        {
            metadata[key] = value;
        }

        var failure = Assert.Throws<ModelFileException>(() => Tokenizer.FromGgufMetadata("x.gguf", metadata));
        Assert.Equal("x.gguf", failure.FilePath);
        Assert.Contains(named, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Malformed_arrays_are_refused_by_key()
    {
        var metadata = TinyMetadata();
        metadata["tokenizer.ggml.token_type"] = new[] { 1, 1 };
        Assert.Throws<ModelFileException>(() => Tokenizer.FromGgufMetadata("x.gguf", metadata));
        metadata = TinyMetadata();
        metadata["tokenizer.ggml.merges"] = new[] { "a nowhere" };
        Assert.Contains("tokenizer.ggml.merges[0]", Assert.Throws<ModelFileException>(() => Tokenizer.FromGgufMetadata("x.gguf", metadata)).Message, StringComparison.Ordinal);
        metadata = TinyMetadata();
        ((string[])metadata["tokenizer.ggml.tokens"])[1] = ((string[])metadata["tokenizer.ggml.tokens"])[0];
        Assert.Contains("tokenizer.ggml.tokens[1]", Assert.Throws<ModelFileException>(() => Tokenizer.FromGgufMetadata("x.gguf", metadata)).Message, StringComparison.Ordinal);
    }

    private static void TextSamples(Action<string> check)
    {
        foreach (var text in (string[])["hello world", "<|im_start|>a<tool>12 <|end|>", "é😀\n\n  x", ""])
        {
            check(text);
        }
    }

    private static Dictionary<string, object> TinyMetadata()
    {
        var json = TokenizerFixtures.TinyJson();
        var added = json["added_tokens"]!.AsArray();
        var texts = json["model"]!["vocab"]!.AsObject().Select(p => p.Key).Concat(added.Select(t => t!["content"]!.GetValue<string>())).Append("[PAD]").ToArray();
        var types = new int[texts.Length];
        Array.Fill(types, 1);
        types[^1] = 5;
        foreach (JsonNode? token in added)
        {
            types[token!["id"]!.GetValue<int>()] = token["special"]!.GetValue<bool>() ? 3 : 4;
        }

        return new Dictionary<string, object>
        {
            ["tokenizer.ggml.model"] = "gpt2",
            ["tokenizer.ggml.pre"] = "smollm",
            ["tokenizer.ggml.tokens"] = texts,
            ["tokenizer.ggml.merges"] = json["model"]!["merges"]!.AsArray().Select(m => m!.GetValue<string>()).ToArray(),
            ["tokenizer.ggml.token_type"] = types,
            ["tokenizer.ggml.bos_token_id"] = (uint)Array.IndexOf(texts, "<|im_start|>"),
            ["tokenizer.ggml.eos_token_id"] = (uint)Array.IndexOf(texts, "<|im_end|>"),
            ["tokenizer.chat_template"] = "{{ eos_token }}",
        };
    }
}

/// <summary>Reads the metadata of a GGUF file that is known to be good.</summary>
internal static class GgufMetadata
{
    public static Dictionary<string, object> Read(string path)
    {
        using var reader = new BinaryReader(File.OpenRead(path));
        Assert.Equal("GGUF", Encoding.ASCII.GetString(reader.ReadBytes(4)));
        reader.ReadUInt32();
        reader.ReadUInt64();
        var metadata = new Dictionary<string, object>();
        for (var count = reader.ReadUInt64(); count > 0; count--)
        {
            metadata[Text(reader)] = Value(reader, reader.ReadUInt32());
        }

        return metadata;
    }

    private static string Text(BinaryReader reader) => Encoding.UTF8.GetString(reader.ReadBytes((int)reader.ReadUInt64()));

    private static object Value(BinaryReader reader, uint type) => type switch
    {
        0 => reader.ReadByte(),
        1 => reader.ReadSByte(),
        2 => reader.ReadUInt16(),
        3 => reader.ReadInt16(),
        4 => reader.ReadUInt32(),
        5 => reader.ReadInt32(),
        6 => reader.ReadSingle(),
        7 => reader.ReadByte() != 0,
        8 => Text(reader),
        9 => Items(reader),
        10 => reader.ReadUInt64(),
        11 => reader.ReadInt64(),
        12 => reader.ReadDouble(),
        _ => throw new InvalidDataException($"type {type}"),
    };

    private static object Items(BinaryReader reader)
    {
        var type = reader.ReadUInt32();
        var items = new object[reader.ReadUInt64()];
        for (var i = 0; i < items.Length; i++)
        {
            items[i] = Value(reader, type);
        }

        return type switch
        {
            8 => Array.ConvertAll(items, i => (string)i),
            5 => Array.ConvertAll(items, i => (int)i),
            4 => Array.ConvertAll(items, i => (uint)i),
            _ => items,
        };
    }
}
