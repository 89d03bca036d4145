using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace LowLevelSpec.Engine.Tiny;

/// <summary>Fits a small byte-level BPE to a text and writes it as <c>tokenizer.json</c> and <c>tokenizer_config.json</c>.</summary>
internal sealed partial class TinyBpe
{
    private const string ChatTemplate =
        "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}" +
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

    private static readonly string[] Special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

    private readonly List<string> _vocabulary = [];
    private readonly List<(string Left, string Right)> _merges = [];

    /// <param name="text">What to fit.</param>
    /// <param name="vocabularySize">Ids in all: control tokens first, then bytes, then merges.</param>
    public TinyBpe(IEnumerable<string> text, int vocabularySize)
    {
        _vocabulary.AddRange(Special);
        for (int b = 0; b < 256; b++)
        {
            _vocabulary.Add(ByteSymbol((byte)b).ToString());
        }

        List<(List<string> Symbols, int Count)> words = [.. text
            .SelectMany(paragraph => PreTokens().Matches(paragraph))
            .GroupBy(match => match.Value, StringComparer.Ordinal)
            .OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => (Symbols(group.Key), group.Count()))];
        while (_vocabulary.Count < vocabularySize && BestPair(words) is (string left, string right))
        {
            _merges.Add((left, right));
            _vocabulary.Add(left + right);
            foreach ((List<string> symbols, _) in words)
            {
                Merge(symbols, left, right);
            }
        }
    }

    /// <summary>Ids in all.</summary>
    public int Count => _vocabulary.Count;

    /// <summary>Id of the end token.</summary>
    public static int EndToken => 0;

    /// <summary>Writes the two files a Hugging Face folder carries.</summary>
    public void Write(string folder)
    {
        JsonObject vocabulary = [];
        for (int id = Special.Length; id < _vocabulary.Count; id++)
        {
            vocabulary[_vocabulary[id]] = id;
        }

        JsonObject tokenizer = new()
        {
            ["version"] = "1.0",
            ["added_tokens"] = new JsonArray([.. Special.Select((content, id) => (JsonNode)new JsonObject
            {
                ["id"] = id,
                ["content"] = content,
                ["single_word"] = false,
                ["lstrip"] = false,
                ["rstrip"] = false,
                ["normalized"] = false,
                ["special"] = true,
            })]),
            ["normalizer"] = null,
            ["pre_tokenizer"] = ByteLevel(useRegex: true),
            ["post_processor"] = null,
            ["decoder"] = ByteLevel(useRegex: true),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["byte_fallback"] = false,
                ["ignore_merges"] = false,
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray([.. _merges.Select(m => (JsonNode)new JsonArray(m.Left, m.Right))]),
            },
        };
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), tokenizer.ToJsonString());
        JsonObject config = new() { ["tokenizer_class"] = "PreTrainedTokenizerFast", ["eos_token"] = Special[0], ["chat_template"] = ChatTemplate };
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), config.ToJsonString());
    }

    private static JsonObject ByteLevel(bool useRegex) =>
        new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = useRegex };

    private static List<string> Symbols(string word) => [.. Encoding.UTF8.GetBytes(word).Select(b => ByteSymbol(b).ToString())];

    private static (string Left, string Right)? BestPair(List<(List<string> Symbols, int Count)> words)
    {
        Dictionary<(string, string), int> counts = [];
        foreach ((List<string> symbols, int count) in words)
        {
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                (string, string) pair = (symbols[i], symbols[i + 1]);
                counts[pair] = counts.GetValueOrDefault(pair) + count;
            }
        }

        return counts.Count == 0 ? null : counts.OrderByDescending(p => p.Value).ThenBy(p => p.Key.Item1, StringComparer.Ordinal).ThenBy(p => p.Key.Item2, StringComparer.Ordinal).First().Key;
    }

    private static void Merge(List<string> symbols, string left, string right)
    {
        for (int i = 0; i + 1 < symbols.Count; i++)
        {
            if (symbols[i] == left && symbols[i + 1] == right)
            {
                symbols[i] = left + right;
                symbols.RemoveAt(i + 1);
            }
        }
    }

    /// <summary>GPT-2's printable stand-in for a byte.</summary>
    private static char ByteSymbol(byte value)
    {
        if (IsPrintable(value))
        {
            return (char)value;
        }

        int index = 0;
        for (int b = 0; b < value; b++)
        {
            index += IsPrintable((byte)b) ? 0 : 1;
        }

        return (char)(256 + index);
    }

    private static bool IsPrintable(byte b) => b is (>= 33 and <= 126) or (>= 161 and <= 172) or >= 174;

    [GeneratedRegex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", RegexOptions.ExplicitCapture)]
    private static partial Regex PreTokens();
}
