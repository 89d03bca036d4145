using System.Text;
using CsCheck;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

/// <summary>A trained BPE: its merges are those of recounting everything each time, and its files make a tokenizer.</summary>
public sealed class BpeTrainerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("llspec-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Merges_are_those_of_counting_all_pairs_again_each_time() =>
        Gen.OneOf("a", "b", "ab", "ba", "aaa", "é", " ", "\n", "c'd", "1").Array[0, 40].Select(string.Concat).Array[1, 3].Sample(
            texts =>
            {
                Tokenizer tokenizer = Train(texts, 275, "<|end|>");
                List<string> vocabulary = Naive(texts, 275 - 257);
                return tokenizer.VocabularySize == 257 + vocabulary.Count && vocabulary.Select((token, i) => tokenizer.FindToken(token) == 257 + i).All(static found => found);
            },
            iter: 60,
            threads: 1);

    [Fact]
    public void What_is_frequent_becomes_one_token_and_every_text_comes_back()
    {
        Tokenizer tokenizer = Train(["In the beginning God created the heaven and the earth.", "And the earth was without form, and void;"], 300, "<|end|>", "<|x|>");
        Assert.Equal([tokenizer.FindToken("Ġthe")!.Value], tokenizer.Encode(" the"));
        Assert.Equal(0, tokenizer.EosTokenId);
        Assert.True(tokenizer.IsSpecial(1));
        Assert.Equal([0], tokenizer.Encode("<|end|>", allowSpecial: true));
        TokenizerPropertyTests.Text.Sample(text => tokenizer.Decode(tokenizer.Encode(text)) == text, iter: 200);
    }

    [Fact]
    public void A_small_text_gives_fewer_tokens_than_asked_for() => Assert.Equal(257 + 2, Train(["abc"], 1000, "<|end|>").VocabularySize);

    [Theory]
    [InlineData(256, "<|end|>")]
    [InlineData(0, "<|end|>")]
    [InlineData(1000)]
    public void Too_few_ids_are_refused(int size, params string[] control) =>
        Assert.Contains("vocabulary: found", Assert.Throws<InputException>(() => new BpeTrainer(["text"], size, control)).Message);

    private Tokenizer Train(string[] texts, int size, params string[] control)
    {
        new BpeTrainer(texts, size, control).Write(_folder, null);
        return Tokenizer.Open(_folder)!;
    }

    /// <summary>The texts of the merged tokens, the definition spelled out on strings.</summary>
    private static List<string> Naive(string[] texts, int count)
    {
        List<string[]> words = [];
        foreach (string text in texts)
        {
            Collector pieces = new();
            new Gpt2Step().Split(text, new PreTokenRest([], 0, pieces));
            words.AddRange(pieces.Words.Select(static word => Encoding.UTF8.GetBytes(word).Select(static b => ByteAlphabet.CharOf(b).ToString()).ToArray()));
        }

        List<string> vocabulary = [];
        while (vocabulary.Count < count)
        {
            var best = words.SelectMany(static word => word.Zip(word.Skip(1)))
                .GroupBy(static pair => pair)
                .OrderByDescending(static group => group.Count())
                .ThenBy(static group => group.Key.First, StringComparer.Ordinal)
                .ThenBy(static group => group.Key.Second, StringComparer.Ordinal)
                .FirstOrDefault();
            if (best is null)
            {
                break;
            }

            string joined = best.Key.First + best.Key.Second;
            if (!vocabulary.Contains(joined))
            {
                vocabulary.Add(joined);
            }

            words = [.. words.Select(word => Join(word, best.Key.First, best.Key.Second))];
        }

        return vocabulary;
    }

    private static string[] Join(string[] word, string left, string right)
    {
        List<string> joined = [];
        for (int i = 0; i < word.Length; i++)
        {
            bool joins = i + 1 < word.Length && word[i] == left && word[i + 1] == right;
            joined.Add(joins ? left + right : word[i]);
            i += joins ? 1 : 0;
        }

        return [.. joined];
    }

    private sealed class Collector : IPreTokenSink
    {
        public List<string> Words { get; } = [];

        public void Add(ReadOnlySpan<char> preToken) => Words.Add(preToken.ToString());
    }
}
