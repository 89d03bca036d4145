using System.Text.Json.Nodes;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

public class MalformedTokenizerTests
{
    // A path into the document, what is put there (empty: removed), and what the message must name.
    public static TheoryData<string, string, string> Changes => new()
    {
        { "model", "", "'model' is missing" },
        { "model", "[]", "'model' is an array" },
        { "model.type", "\"Unigram\"", "Unigram" },
        { "model.type", "\"WordPiece\"", "WordPiece" },
        { "model.byte_fallback", "true", "model.byte_fallback" },
        { "model.dropout", "0.1", "model.dropout" },
        { "model.continuing_subword_prefix", "\"##\"", "continuing_subword_prefix" },
        { "model.end_of_word_suffix", "\"</w>\"", "end_of_word_suffix" },
        { "model.unk_token", "\"<nowhere>\"", "model.unk_token" },
        { "model.vocab", "", "'model.vocab' is missing" },
        { "model.vocab", "{}", "model.vocab" },
        { "model.vocab.a", "-1", "model.vocab.a" },
        { "model.vocab.a", "98", "id 98" },
        { "model.vocab.a", "4194304", "model.vocab.a" },
        { "model.vocab.a", "99999999999", "model.vocab.a" },
        { "model.vocab.a", "1.5", "model.vocab.a" },
        { "model.vocab.a", "\"1\"", "model.vocab.a" },
        { "model.vocab.ab", "", "'ab'" },
        { "model.merges", "", "'model.merges' is missing" },
        { "model.merges.0", "\"he\"", "model.merges[0]" },
        { "model.merges.0", "\"a b c\"", "model.merges[0]" },
        { "model.merges.1", "[\"a\"]", "model.merges[1]" },
        { "model.merges.1", "[\"a\", 1]", "model.merges" },
        { "model.merges.1", "\"nowhere a\"", "'nowherea'" },
        { "model.ignore_merges", "1", "model.ignore_merges" },
        { "added_tokens", "{}", "added_tokens" },
        { "added_tokens.0.id", "", "added_tokens[0].id" },
        { "added_tokens.0.id", "7", "added_tokens[0].id" },
        { "added_tokens.1.id", "274", "added_tokens[1].id" },
        { "added_tokens.0.content", "\"\"", "added_tokens[0].content" },
        { "added_tokens.0.content", "\"hello\"", "added_tokens[0].id" },
        { "added_tokens.0.special", "\"yes\"", "added_tokens[0].special" },
        { "normalizer", "{\"type\":\"Lowercase\"}", "Lowercase" },
        { "normalizer", "{}", "normalizer.type" },
        { "pre_tokenizer", "", "pre_tokenizer" },
        { "pre_tokenizer", "{\"type\":\"Metaspace\"}", "Metaspace" },
        { "pre_tokenizer", "{\"type\":\"Digits\",\"individual_digits\":true}", "ByteLevel" },
        { "pre_tokenizer.pretokenizers.0", "{\"type\":\"ByteLevel\"}", "after ByteLevel" },
        { "pre_tokenizer.pretokenizers.0", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}", "pattern.Regex" },
        { "pre_tokenizer.pretokenizers.0", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"😀\"},\"behavior\":\"Isolated\"}", "U+FFFF" },
        { "pre_tokenizer.pretokenizers.0", "{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\"}", "pattern.String" },
        { "pre_tokenizer.pretokenizers.0", "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Sideways\"}", "Isolated" },
        { "post_processor", "{\"type\":\"Mystery\"}", "Mystery" },
        { "decoder", "{\"type\":\"Metaspace\"}", "Metaspace" },
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public void A_malformed_file_is_refused_by_key(string key, string value, string named)
    {
        using var folder = TokenizerFixtures.TinyFolder(json => Put(json, key.Split('.'), value));
        var failure = Assert.Throws<ModelFileException>(() => Tokenizer.Open(folder.Path));
        Assert.Equal(Path.Combine(folder.Path, "tokenizer.json"), failure.FilePath);
        Assert.Contains(named, failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("nonsense")]
    [InlineData("[1, 2")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []}}")]
    [InlineData("{\"model\": {\"vocab\": {\"\\ud800\": 0}, \"merges\": []}}")]
    [InlineData("{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"\\ud800 a\"]}}")]
    public void A_file_that_is_no_tokenizer_is_refused(string text)
    {
        using var folder = new TemporaryFolder();
        var path = folder.Write("tokenizer.json", text);
        Assert.Equal(path, Assert.Throws<ModelFileException>(() => Tokenizer.Open(folder.Path)).FilePath);
    }

    [Fact]
    public void A_deep_file_is_refused()
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer.json", new string('[', 1_000_000));
        Assert.Throws<ModelFileException>(() => Tokenizer.Open(folder.Path));
    }

    [Theory]
    [InlineData("{\"chat_template\": 5}", "chat_template")]
    [InlineData("{\"bos_token\": []}", "bos_token")]
    [InlineData("{\"eos_token\": {}}", "eos_token.content")]
    [InlineData("{\"chat_template\": [{\"name\": \"default\"}]}", "chat_template[0].template")]
    [InlineData("[]", "expected an object")]
    [InlineData("{", "not valid JSON")]
    public void A_malformed_configuration_is_refused_by_key(string config, string named)
    {
        using var folder = TokenizerFixtures.TinyFolder();
        var path = folder.Write("tokenizer_config.json", config);
        var failure = Assert.Throws<ModelFileException>(() => Tokenizer.Open(folder.Path));
        Assert.Equal(path, failure.FilePath);
        Assert.Contains(named, failure.Message, StringComparison.Ordinal);
    }

    private static void Put(JsonNode node, string[] keys, string value)
    {
        foreach (var key in keys[..^1])
        {
            node = int.TryParse(key, out var index) ? node[index]! : node[key]!;
        }

        if (value.Length == 0)
        {
            node.AsObject().Remove(keys[^1]);
        }
        else if (int.TryParse(keys[^1], out var index))
        {
            node[index] = JsonNode.Parse(value);
        }
        else
        {
            node[keys[^1]] = JsonNode.Parse(value);
        }
    }
}
