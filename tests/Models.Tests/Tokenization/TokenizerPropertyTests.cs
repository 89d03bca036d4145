using System.Text;
using CsCheck;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

public class TokenizerPropertyTests
{
    // Pieces that pre-tokenizers, normalization and added tokens treat differently, and any code point.
    private static readonly Gen<string> Piece = Gen.Frequency(
        (4, Gen.OneOf("a", "hello", " world", "don't", "I'LL", "x'ſ", "12", "3456", "½", "𝟘", "𝐀", "é", "e\u0301", "a\u0323\u0307", "\u1100\u1161\u11A8", "\u212B", "日本", "😀", "👩‍👧", "\u200B", "\uFEFF", "\u0085", "\u00A0", "\u3000", "\u180E")),
        (3, Gen.OneOf(" ", "  ", "\n", "\r\n", "\t", " \n ", "!", "--", "'", "\"", "")),
        (1, Gen.OneOf("<|im_start|>", "<|im_end|>", "<|im_", "end|>", "<|end|>", "<tool>", "<|eot_id|>")),
        (2, Gen.Int[0, 0x10FFFF].Where(Rune.IsValid).Select(c => new Rune(c).ToString())),
        (1, Gen.Select(Gen.OneOf("a", "ab", " ", "\n", "😀", "l"), Gen.Int[1, 120]).Select((s, n) => string.Concat(Enumerable.Repeat(s, n)))));

    internal static readonly Gen<string> Text = Piece.Array[0, 24].Select(string.Concat);

    [Fact]
    public void Decoding_gives_the_text_back()
    {
        var tokenizer = TokenizerFixtures.Tiny();
        Text.Sample(text => tokenizer.Decode(tokenizer.Encode(text)) == text && tokenizer.Decode(tokenizer.Encode(text, true)) == text);
    }

    [Theory]
    [InlineData("llama3", false)]
    [InlineData("qwen2", true)]
    public void Decoding_gives_the_text_back_with_large_vocabularies(string name, bool nfc)
    {
        var tokenizer = TokenizerFixtures.SharedTokenizer(name);

        // With control tokens on, each side of such a token is normalized on its own.
        Text.Sample(text =>
            tokenizer.Decode(tokenizer.Encode(text)) == (nfc ? NfcNormalizer.Normalize(text) : text)
            && (nfc || tokenizer.Decode(tokenizer.Encode(text, true)) == text));
    }

    [Fact]
    public void Control_tokens_never_come_from_text_with_control_tokens_off()
    {
        var tokenizer = TokenizerFixtures.Tiny(json => json["model"]!["ignore_merges"] = true);
        Text.Sample(text => !tokenizer.Encode(text).Any(tokenizer.IsSpecial));
    }

    [Fact]
    public void Streaming_gives_the_text_of_the_whole()
    {
        var tokenizer = TokenizerFixtures.Tiny();
        Gen.Select(Gen.Int[-2, tokenizer.VocabularySize + 3].Array[0, 60], Gen.Bool).Sample((ids, skip) => Streamed(tokenizer, ids, skip) == tokenizer.Decode(ids, skip));
        Text.Sample(text => Streamed(tokenizer, tokenizer.Encode(text, true), false) == text);
    }

    [Fact]
    public void Streaming_gives_the_text_of_the_whole_for_broken_bytes()
    {
        var tokenizer = TokenizerFixtures.Tiny();

        // The bytes at which UTF-8 decoders change their mind. The first 256 ids are the bytes.
        var bytes = Gen.OneOf(0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE2, 0xED, 0xEF, 0xF0, 0xF3, 0xF4, 0xF5, 0xFF);
        bytes.Array[0, 12].Sample(ids => Streamed(tokenizer, ids, true) == tokenizer.Decode(ids, true), iter: 20_000);
    }

    [Fact]
    public void Streaming_never_shows_half_a_character()
    {
        var tokenizer = TokenizerFixtures.Tiny();
        Text.Sample(text =>
        {
            var detokenizer = tokenizer.CreateDetokenizer(skipSpecial: false);
            return tokenizer.Encode(text).All(id => !detokenizer.Add(id).Contains('\uFFFD', StringComparison.Ordinal) || text.Contains('\uFFFD', StringComparison.Ordinal))
                && detokenizer.Flush().Length == 0;
        });
    }

    [Fact]
    public void Both_ways_to_merge_agree()
    {
        var tokens = new TokenTable();
        var merges = new MergeTable(64);
        string[] letters = ["a", "b", "c"];
        foreach (var letter in letters)
        {
            tokens.TryAdd(tokens.Count, Encoding.UTF8.GetBytes(letter));
        }

        // Ranks in no good order, and several ways to the same text.
        string[] pairs = ["b c", "a b", "ab c", "a bc", "c c", "a a", "aa a", "a aa", "cc cc", "abc abc", "aa aa", "c a", "ca ca"];
        foreach (var (rank, pair) in pairs.Index())
        {
            tokens.TryAdd(tokens.Count, Encoding.UTF8.GetBytes(pair.Replace(" ", "", StringComparison.Ordinal)));
            new MergeBuilder(merges, tokens, [], "test", "merges").Add(rank, pair);
        }

        var encoder = new BytePairEncoder(tokens, merges, new bool[64], ignoreMerges: false, unknown: -1, fuseUnknown: false);
        Gen.Int[0, 2].Array[1, 200].Sample(ids =>
        {
            var scanned = ids.ToArray();
            var heaped = ids.ToArray();
            return scanned.AsSpan(0, encoder.MergeByScan(scanned)).SequenceEqual(heaped.AsSpan(0, encoder.MergeByHeap(heaped)));
        });
    }

    [Fact]
    public void Written_out_patterns_cut_like_the_regular_expressions()
    {
        const string Llama = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        foreach (var pattern in (string[])[Gpt2Step.Pattern, Llama, Llama.Replace("{1,3}", "", StringComparison.Ordinal)])
        {
            PreTokenStep written = pattern == Gpt2Step.Pattern ? new Gpt2Step() : Cl100kStep.TryCreate(pattern)!;
            var regex = new SplitStep(new RegexPattern(pattern), SplitBehavior.Isolated, invert: false);
            Text.Sample(text => PreTokens.Of([written], text).SequenceEqual(PreTokens.Of([regex], text)));
        }
    }

    private static string Streamed(Tokenizer tokenizer, int[] ids, bool skipSpecial)
    {
        var detokenizer = tokenizer.CreateDetokenizer(skipSpecial);
        var text = new StringBuilder();
        foreach (var id in ids)
        {
            text.Append(detokenizer.Add(id));
        }

        return text.Append(detokenizer.Flush()).ToString();
    }
}
