using System.Text.Json.Nodes;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

public class TinyTokenizerTests
{
    [Fact]
    public void Merges_are_applied_lowest_rank_first()
    {
        var tokenizer = TokenizerFixtures.Tiny();
        Assert.Equal(["hello", "Ġworld"], Texts(tokenizer, "hello world"));

        // a+b comes before b+c; nothing merges ab with c.
        Assert.Equal(["ab", "c"], Texts(tokenizer, "abc"));
    }

    [Fact]
    public void A_token_that_no_merge_makes_needs_ignore_merges()
    {
        Assert.Equal(5, TokenizerFixtures.Tiny().Encode("whole").Length);
        var tokenizer = TokenizerFixtures.Tiny(json => json["model"]!["ignore_merges"] = true);
        Assert.Equal(["whole"], Texts(tokenizer, "whole"));
        Assert.Equal(["whole", "whole"], Texts(tokenizer, "whole1whole").Where(t => t != "1"));
    }

    [Fact]
    public void Merges_may_be_pairs()
    {
        var pairs = TokenizerFixtures.Tiny(json =>
        {
            var merges = json["model"]!["merges"]!.AsArray().Select(m => m!.GetValue<string>().Split(' ')).ToArray();
            json["model"]!["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)new JsonArray(m[0], m[1]))]);
        });
        Assert.Equal(TokenizerFixtures.Tiny().Encode("hello world  12 abc"), pairs.Encode("hello world  12 abc"));
    }

    [Fact]
    public void Control_tokens_count_only_where_allowed_and_plain_added_tokens_always()
    {
        var tokenizer = TokenizerFixtures.Tiny();
        var start = tokenizer.FindToken("<|im_start|>")!.Value;
        var tool = tokenizer.FindToken("<tool>")!.Value;
        Assert.Equal([start, tool], tokenizer.Encode("<|im_start|><tool>", allowSpecial: true));
        var off = tokenizer.Encode("<|im_start|><tool>");
        Assert.DoesNotContain(start, off);
        Assert.Equal(tool, off[^1]);
        Assert.Equal("<|im_start|><tool>", tokenizer.Decode(off));
        Assert.True(tokenizer.IsSpecial(start));
        Assert.False(tokenizer.IsSpecial(tool));
        Assert.False(tokenizer.IsSpecial(-1));
        Assert.False(tokenizer.IsSpecial(int.MaxValue));
    }

    [Fact]
    public void Ordinary_text_never_reaches_a_control_token_of_the_vocabulary()
    {
        void Change(JsonObject json)
        {
            var added = json["added_tokens"]!.AsArray();
            added.Add((JsonNode)TokenizerFixtures.Added(json["model"]!["vocab"]!["hello"]!.GetValue<int>(), "hello", special: true));
            added.Add((JsonNode)TokenizerFixtures.Added(json["model"]!["vocab"]!["whole"]!.GetValue<int>(), "whole", special: true));
        }

        foreach (var ignore in (bool[])[false, true])
        {
            var tokenizer = TokenizerFixtures.Tiny(json =>
            {
                Change(json);
                json["model"]!["ignore_merges"] = ignore;
            });
            Assert.DoesNotContain(tokenizer.Encode("hello whole"), tokenizer.IsSpecial);
            Assert.Equal(2, tokenizer.Encode("hello whole", allowSpecial: true).Count(tokenizer.IsSpecial));
        }
    }

    [Theory]
    [InlineData("a AB b", false, false, false, "a |AB| b")]
    [InlineData("a  AB b", true, false, false, "a|AB| b")]
    [InlineData("a AB \n b", false, true, false, "a |AB|b")]
    [InlineData(" AB AB ", true, true, false, "AB|AB")]
    [InlineData("xAB AB ABx", false, false, true, "xAB |AB| ABx")]
    [InlineData("_AB éAB AB!", false, false, true, "_AB éAB |AB|!")]
    [InlineData("ABABC", false, false, false, "AB|AB|C")]
    public void Flags_of_added_tokens_are_respected(string text, bool lstrip, bool rstrip, bool singleWord, string expected)
    {
        var id = 0;
        var tokenizer = TokenizerFixtures.Tiny(json =>
        {
            id = json["added_tokens"]!.AsArray()[^1]!["id"]!.GetValue<int>() + 1;
            json["added_tokens"]!.AsArray().Add((JsonNode)TokenizerFixtures.Added(id, "AB", false, lstrip, rstrip, singleWord: singleWord));
        });
        var parts = new List<string>();
        var run = new List<int>();
        foreach (var token in tokenizer.Encode(text).Append(-1))
        {
            if (token != id && token >= 0)
            {
                run.Add(token);
                continue;
            }

            if (run.Count > 0)
            {
                parts.Add(tokenizer.Decode([.. run]));
                run.Clear();
            }

            if (token == id)
            {
                parts.Add("AB");
            }
        }

        Assert.Equal(expected.Split('|'), parts);
    }

    [Fact]
    public void The_longest_of_the_leftmost_added_tokens_wins()
    {
        var next = 0;
        var tokenizer = TokenizerFixtures.Tiny(json =>
        {
            next = json["added_tokens"]!.AsArray()[^1]!["id"]!.GetValue<int>() + 1;
            foreach (var (index, content) in ((string[])["xy", "xyz", "yzzz", "日本"]).Index())
            {
                json["added_tokens"]!.AsArray().Add((JsonNode)TokenizerFixtures.Added(next + index, content, false));
            }
        });
        Assert.Equal([next + 1, tokenizer.FindToken("z")!.Value, next, next + 3], tokenizer.Encode("xyzzxy日本"));
        Assert.Equal("xyzzxy日本", tokenizer.Decode(tokenizer.Encode("xyzzxy日本")));
    }

    [Fact]
    public void Normalized_tokens_are_found_in_normalized_text()
    {
        var next = 0;
        var tokenizer = TokenizerFixtures.Tiny(json =>
        {
            json["normalizer"] = JsonNode.Parse("""{"type":"Sequence","normalizers":[{"type":"NFC"}]}""");
            next = json["added_tokens"]!.AsArray()[^1]!["id"]!.GetValue<int>() + 1;
            json["added_tokens"]!.AsArray().Add((JsonNode)TokenizerFixtures.Added(next, "\u00C5x", false, normalized: true));
            json["added_tokens"]!.AsArray().Add((JsonNode)TokenizerFixtures.Added(next + 1, "\u00C5y", false));
        });
        Assert.Equal([next], tokenizer.Encode("A\u030Ax"));
        Assert.NotEqual([next + 1], tokenizer.Encode("A\u030Ay"));
        Assert.Equal([next + 1], tokenizer.Encode("\u00C5y"));
    }

    [Fact]
    public void Lone_surrogates_become_the_replacement_character()
    {
        var tokenizer = TokenizerFixtures.Tiny();
        Assert.Equal("a\uFFFDb\uFFFD\uFFFD😀", tokenizer.Decode(tokenizer.Encode("a\uD800b\uDC00\uD83D😀")));
        Assert.Equal("\uFFFD", tokenizer.Decode(tokenizer.Encode("\uD83D")));
    }

    [Fact]
    public void Bytes_outside_the_vocabulary_are_dropped_or_unknown()
    {
        static void Remove(JsonObject json) => json["model"]!["vocab"]!.AsObject().Remove("z");
        Assert.Equal("ab", TokenizerFixtures.Tiny(Remove).Decode(TokenizerFixtures.Tiny(Remove).Encode("zazzb")));
        foreach (var (fuse, expected) in (IEnumerable<(bool, string)>)[(false, "?a??b"), (true, "?a?b")])
        {
            var tokenizer = TokenizerFixtures.Tiny(json =>
            {
                Remove(json);
                json["model"]!["unk_token"] = "?";
                json["model"]!["fuse_unk"] = fuse;
            });
            Assert.Equal(expected, tokenizer.Decode(tokenizer.Encode("zazzb")));
        }
    }

    [Theory]
    [InlineData("""{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}""", "hello world", " hello| world")]
    [InlineData("""{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}""", " hello world", " hello| world")]
    [InlineData("""{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}""", "a  b 12", "a  b 12")]
    [InlineData("""{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}""", "I'll  go\n\n x's 123 !?", "I|'ll| | go|\n\n| x|'s| 123| !?")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", "a12b3", "a|12|b|3")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"-"},"behavior":"Removed","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", "-a--b-", "a|b")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"-"},"behavior":"MergedWithPrevious","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", "-a--b-c", "-|a-|-|b-|c")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"-"},"behavior":"MergedWithNext","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", "-a--b-c-", "-a|-|-b|-c|-")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"-"},"behavior":"Contiguous","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", "a--b", "a|--|b")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+"},"behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", "ab1𝐀c é", "ab|𝐀c|é")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{So}"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", "a😀😀b", "a|😀|😀|b")]
    public void Pre_tokenizers_cut_as_in_Hugging_Face(string preTokenizer, string text, string expected)
    {
        using var document = System.Text.Json.JsonDocument.Parse(preTokenizer);
        Assert.Equal(expected.Split('|'), PreTokens.Of(PreTokenizerJson.Read(new JsonSource("test", "pre_tokenizer", document.RootElement)), text));
    }

    [Fact]
    public void Ids_without_a_token_decode_to_nothing()
    {
        var tokenizer = TokenizerFixtures.Tiny(json => json["added_tokens"]!.AsArray().Add((JsonNode)TokenizerFixtures.Added(5000, "<far>", true)));
        Assert.Equal(5001, tokenizer.VocabularySize);
        Assert.Equal("a<far>b", tokenizer.Decode([tokenizer.FindToken("a")!.Value, 4999, 5000, 5001, -7, int.MaxValue, tokenizer.FindToken("b")!.Value]));
        Assert.Equal("ab", tokenizer.Decode([tokenizer.FindToken("a")!.Value, 5000, tokenizer.FindToken("b")!.Value], skipSpecial: true));
    }

    [Fact]
    public void A_tokenizer_is_found_beside_the_weights_or_not_at_all()
    {
        using var folder = TokenizerFixtures.TinyFolder();
        Assert.NotNull(Tokenizer.Open(folder.Path));
        Assert.NotNull(Tokenizer.Open(Path.Combine(folder.Path, "model.safetensors")));
        using var empty = new TemporaryFolder();
        Assert.Null(Tokenizer.Open(empty.Path));
        Assert.Null(Tokenizer.Open(Path.Combine(empty.Path, "model.safetensors")));
    }

    [Fact]
    public void What_ends_a_text_is_a_control_token_even_if_not_flagged()
    {
        var tokenizer = TokenizerFixtures.Tiny(json => json["added_tokens"]![1]!["special"] = false);
        Assert.Equal(tokenizer.FindToken("<|im_end|>"), tokenizer.EosTokenId);
        Assert.DoesNotContain(tokenizer.Encode("<|im_end|>"), tokenizer.IsSpecial);
    }

    private static List<string> Texts(Tokenizer tokenizer, string text)
        => [.. tokenizer.Encode(text).Select(id => tokenizer.Decode([id]).Replace(' ', 'Ġ'))];
}

/// <summary>Collects pre-tokens.</summary>
internal sealed class PreTokens : IPreTokenSink
{
    private readonly List<string> _items = [];

    public static List<string> Of(PreTokenStep[] steps, string text)
    {
        var sink = new PreTokens();
        new PreTokenRest(steps, 0, sink).Add(text);
        return sink._items;
    }

    public void Add(ReadOnlySpan<char> preToken) => _items.Add(preToken.ToString());
}
