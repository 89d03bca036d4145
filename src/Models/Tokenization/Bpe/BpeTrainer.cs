using System.Text;
using System.Text.Json.Nodes;

namespace LowLevelSpec.Models;

/// <summary>
/// A byte-level BPE fitted to a text (Sennrich et al. 2016, over GPT-2's byte alphabet and pre-tokens), written as the <c>tokenizer.json</c> that
/// <see cref="Tokenizer"/> and Hugging Face's library read. Ids: control tokens, the 256 bytes, merges in order.
/// </summary>
public sealed class BpeTrainer
{
    private readonly IReadOnlyList<string> _controlTokens;
    private readonly List<string> _symbols = [];
    private readonly List<(string Left, string Right)> _merges = [];

    /// <summary>Fits the merges: each joins the most frequent pair of neighbours, among equals the first in ordinal order.</summary>
    /// <param name="texts">What to fit; no pre-token spans two texts.</param>
    /// <param name="vocabularySize">Most ids in all; a small text may have pairs for fewer.</param>
    /// <param name="controlTokens">Control tokens; the first ends a text.</param>
    /// <exception cref="InputException">Fewer ids than control tokens and bytes, or no control token.</exception>
    public BpeTrainer(IEnumerable<string> texts, int vocabularySize, IReadOnlyList<string> controlTokens)
    {
        ArgumentNullException.ThrowIfNull(texts);
        ArgumentNullException.ThrowIfNull(controlTokens);
        int least = controlTokens.Count + 256;
        if (controlTokens.Count == 0 || vocabularySize < least || vocabularySize > TokenTable.MaxIds)
        {
            throw new InputException($"vocabulary: found {vocabularySize} ids with {controlTokens.Count} control tokens, expected one such token or more and {least} to {TokenTable.MaxIds} ids");
        }

        _controlTokens = controlTokens;
        for (int b = 0; b < 256; b++)
        {
            _symbols.Add(ByteAlphabet.CharOf((byte)b).ToString());
        }

        HashSet<string> known = [.. _symbols];
        WordList words = new(texts, _symbols);
        while (Count < vocabularySize && words.BestPair() is (int left, int right))
        {
            string joined = _symbols[left] + _symbols[right];
            _merges.Add((_symbols[left], _symbols[right]));

            // Two merges may spell the same token; the later one then leads to the id of the first.
            int symbol = known.Add(joined) ? _symbols.Count : _symbols.IndexOf(joined);
            if (symbol == _symbols.Count)
            {
                _symbols.Add(joined);
            }

            words.Merge(left, right, symbol);
        }
    }

    /// <summary>Ids in all.</summary>
    public int Count => _controlTokens.Count + _symbols.Count;

    /// <summary>Writes tokenizer.json and tokenizer_config.json.</summary>
    /// <param name="folder">An existing folder.</param>
    /// <param name="chatTemplate">Chat template, or null.</param>
    public void Write(string folder, string? chatTemplate)
    {
        JsonObject vocabulary = [];
        for (int i = 0; i < _symbols.Count; i++)
        {
            vocabulary[_symbols[i]] = _controlTokens.Count + i;
        }

        JsonObject tokenizer = new()
        {
            ["version"] = "1.0",
            ["added_tokens"] = new JsonArray([.. _controlTokens.Select((content, id) => (JsonNode)new JsonObject
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
            ["pre_tokenizer"] = ByteLevel(),
            ["post_processor"] = null,
            ["decoder"] = ByteLevel(),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["byte_fallback"] = false,
                ["ignore_merges"] = false,
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray([.. _merges.Select(static m => (JsonNode)new JsonArray(m.Left, m.Right))]),
            },
        };
        JsonObject config = new() { ["tokenizer_class"] = "PreTrainedTokenizerFast", ["eos_token"] = _controlTokens[0] };
        if (chatTemplate is not null)
        {
            config["chat_template"] = chatTemplate;
        }

        Write("tokenizer.json", tokenizer);
        Write("tokenizer_config.json", config);

        void Write(string name, JsonObject json) =>
            AtomicFile.Write(Path.Combine(folder, name), stream => stream.Write(Encoding.UTF8.GetBytes(json.ToJsonString())));
    }

    private static JsonObject ByteLevel() =>
        new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = true };

    /// <summary>The different pre-tokens as symbols, how often each occurs, and the pairs of neighbours in them.</summary>
    private sealed class WordList : IPreTokenSink
    {
        private readonly List<string> _spelling;
        private readonly Dictionary<string, int> _counts = new(StringComparer.Ordinal);
        private readonly List<(List<int> Symbols, int Count)> _words = [];
        private readonly Dictionary<(int Left, int Right), long> _pairs = [];
        private readonly Dictionary<(int Left, int Right), HashSet<int>> _places = [];

        /// <param name="texts">Cut as the tokenizer will cut them.</param>
        /// <param name="spelling">Each symbol's text in the byte alphabet: the bytes, and the merges as they come.</param>
        public WordList(IEnumerable<string> texts, List<string> spelling)
        {
            _spelling = spelling;
            Gpt2Step step = new();
            foreach (string text in texts)
            {
                step.Split(text, new PreTokenRest([], 0, this));
            }

            foreach ((string word, int count) in _counts)
            {
                _words.Add(([.. Encoding.UTF8.GetBytes(word)], count));
                Count(_words.Count - 1, 1);
            }
        }

        public void Add(ReadOnlySpan<char> preToken)
        {
            string word = preToken.ToString();
            _counts[word] = _counts.GetValueOrDefault(word) + 1;
        }

        /// <summary>The most frequent pair, or null where no word has two symbols left.</summary>
        public (int Left, int Right)? BestPair()
        {
            (int Left, int Right)? best = null;
            long most = 0;
            foreach (((int, int) pair, long count) in _pairs)
            {
                if (count > most || (count == most && best is not null && Precedes(pair, best.Value)))
                {
                    (best, most) = (pair, count);
                }
            }

            return best;
        }

        /// <summary>Joins a pair wherever it stands, from the left.</summary>
        public void Merge(int left, int right, int symbol)
        {
            foreach (int place in _places[(left, right)].ToArray())
            {
                Count(place, -1);
                List<int> symbols = _words[place].Symbols;
                int kept = 0;
                for (int i = 0; i < symbols.Count; i++)
                {
                    bool joins = i + 1 < symbols.Count && symbols[i] == left && symbols[i + 1] == right;
                    symbols[kept++] = joins ? symbol : symbols[i];
                    i += joins ? 1 : 0;
                }

                symbols.RemoveRange(kept, symbols.Count - kept);
                Count(place, 1);
            }
        }

        /// <summary>Adds a word's pairs to the counts, or takes them off.</summary>
        private void Count(int place, int sign)
        {
            (List<int> symbols, int count) = _words[place];
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                (int, int) pair = (symbols[i], symbols[i + 1]);
                long now = _pairs.GetValueOrDefault(pair) + ((long)sign * count);
                if (sign > 0)
                {
                    _pairs[pair] = now;
                    if (!_places.TryGetValue(pair, out HashSet<int>? places))
                    {
                        _places[pair] = places = [];
                    }

                    places.Add(place);
                }
                else if (now == 0)
                {
                    _pairs.Remove(pair);
                    _places.Remove(pair);
                }
                else
                {
                    _pairs[pair] = now;
                    _places[pair].Remove(place);
                }
            }
        }

        private bool Precedes((int Left, int Right) a, (int Left, int Right) b)
        {
            int left = string.CompareOrdinal(_spelling[a.Left], _spelling[b.Left]);
            return left != 0 ? left < 0 : string.CompareOrdinal(_spelling[a.Right], _spelling[b.Right]) < 0;
        }
    }
}
