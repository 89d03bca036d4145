using System.Globalization;
using System.Text;

namespace LowLevelSpec.Models;

/// <summary>Reads a tokenizer from GGUF metadata.</summary>
internal static class GgufTokenizer
{
    private const string ModelKey = "tokenizer.ggml.model";
    private const string PreKey = "tokenizer.ggml.pre";
    private const string TokensKey = "tokenizer.ggml.tokens";
    private const string MergesKey = "tokenizer.ggml.merges";
    private const string TypesKey = "tokenizer.ggml.token_type";
    private const string TemplateKey = "tokenizer.chat_template";

    // GGUF's token types.
    private const int Control = 3, UserDefined = 4, Unused = 5;

    // A file names its pre-tokenizer, it does not spell it out. Listed are those whose tokenizer.json is known exactly.
    private static readonly Dictionary<string, PreTokenizerKind> Kinds = new()
    {
        ["gpt-2"] = new(() => [new Gpt2Step()]),
        ["phi-2"] = new(() => [new Gpt2Step()]),
        ["smollm"] = new(() => [new DigitsStep(individual: true), new Gpt2Step()]),
        ["starcoder"] = new(() => [new DigitsStep(individual: true), new Gpt2Step()]),
        ["llama-bpe"] = new(() => [new Cl100kStep(3)], IgnoresMerges: true),
        ["llama3"] = new(() => [new Cl100kStep(3)], IgnoresMerges: true),
        ["llama-v3"] = new(() => [new Cl100kStep(3)], IgnoresMerges: true),
        ["qwen2"] = new(() => [new Cl100kStep(1)], Nfc: true),
    };

    /// <summary>The tokenizer that metadata describe, or null where they describe none.</summary>
    /// <exception cref="ModelFileException">The metadata are unusable.</exception>
    public static Tokenizer? TryCreate(string path, IReadOnlyDictionary<string, object> metadata)
    {
        if (!metadata.TryGetValue(ModelKey, out var model) || model is "none")
        {
            return null;
        }

        if (model is not "gpt2")
        {
            throw new ModelFileException(path, $"'{ModelKey}' is '{model}', which is not supported; supported: gpt2 (byte-level BPE)");
        }

        var pre = metadata.GetValueOrDefault(PreKey) as string ?? "missing";
        if (!Kinds.TryGetValue(pre, out var kind))
        {
            throw new ModelFileException(path, $"'{PreKey}' is '{pre}', which is not supported; supported: {string.Join(", ", Kinds.Keys)}");
        }

        var texts = Strings(path, metadata, TokensKey);
        var types = Types(path, metadata, texts.Length);
        var bos = Id(path, metadata, "tokenizer.ggml.bos_token_id", texts.Length);
        var eos = Id(path, metadata, "tokenizer.ggml.eos_token_id", texts.Length);
        var tokens = new TokenTable();
        var added = new List<AddedToken>();
        var unused = new HashSet<int>();
        for (var id = 0; id < texts.Length; id++)
        {
            if (types[id] == Unused)
            {
                unused.Add(id);
            }

            if (!tokens.TryAdd(id, Encoding.UTF8.GetBytes(texts[id])))
            {
                throw new ModelFileException(path, $"'{TokensKey}[{id}]' is '{texts[id]}', which an earlier token is too, expected one id per token; convert the model again");
            }

            if (types[id] is Control or UserDefined && texts[id].Length > 0)
            {
                added.Add(new AddedToken(id, texts[id], types[id] == Control || id == bos || id == eos));
            }
        }

        return new Tokenizer(new TokenizerParts
        {
            Tokens = tokens,
            AddedTokens = added,
            AddedTokensArePlain = true,
            Merges = Merges(path, Strings(path, metadata, MergesKey), tokens, added),
            PreTokenSteps = kind.Steps(),
            NormalizesToNfc = kind.Nfc,
            IgnoresMerges = kind.IgnoresMerges,
            Undecoded = unused,
            BosId = bos,
            EosId = eos,

            // Where the file is silent, llama.cpp adds the token for Llama-3's pre-tokenizer.
            AddsBegin = metadata.GetValueOrDefault("tokenizer.ggml.add_bos_token") is bool adds ? adds : pre is "llama-bpe" or "llama3" or "llama-v3",
            Template = Template(path, metadata, texts, bos, eos),
        });
    }

    private static ChatTemplate? Template(string path, IReadOnlyDictionary<string, object> metadata, string[] texts, int? bos, int? eos)
    {
        if (metadata.GetValueOrDefault(TemplateKey) is not string source)
        {
            return null;
        }

        var named = new Dictionary<string, string>();
        Name("bos_token", bos);
        Name("eos_token", eos);
        Name("pad_token", Id(path, metadata, "tokenizer.ggml.padding_token_id", texts.Length));
        Name("unk_token", Id(path, metadata, "tokenizer.ggml.unknown_token_id", texts.Length));
        return new ChatTemplate(path, source, named);

        void Name(string name, int? id)
        {
            if (id is { } known)
            {
                named[name] = texts[known];
            }
        }
    }

    private static MergeTable Merges(string path, string[] merges, TokenTable tokens, List<AddedToken> added)
    {
        var table = new MergeTable(merges.Length);
        var builder = new MergeBuilder(table, tokens, added.Where(t => t.Special).Select(t => t.Id).ToHashSet(), path, MergesKey);
        for (var rank = 0; rank < merges.Length; rank++)
        {
            builder.Add(rank, merges[rank]);
        }

        return table;
    }

    private static string[] Strings(string path, IReadOnlyDictionary<string, object> metadata, string key)
    {
        var strings = metadata.GetValueOrDefault(key) as string[]
            ?? throw new ModelFileException(path, $"'{key}' is missing or not an array of strings; convert the model again with its vocabulary");
        return strings.Length <= TokenTable.MaxIds
            ? strings
            : throw new ModelFileException(path, $"'{key}' has {strings.Length:N0} entries, expected at most {TokenTable.MaxIds:N0}; convert the model again");
    }

    private static int[] Types(string path, IReadOnlyDictionary<string, object> metadata, int count)
    {
        int[]? types = metadata.GetValueOrDefault(TypesKey) switch
        {
            null => new int[count],
            int[] values => values,
            uint[] values => Array.ConvertAll(values, v => unchecked((int)v)),
            long[] values => Array.ConvertAll(values, v => unchecked((int)v)),
            ulong[] values => Array.ConvertAll(values, v => unchecked((int)v)),
            sbyte[] values => Array.ConvertAll(values, v => (int)v),
            byte[] values => Array.ConvertAll(values, v => (int)v),
            short[] values => Array.ConvertAll(values, v => (int)v),
            ushort[] values => Array.ConvertAll(values, v => (int)v),
            _ => null,
        };
        return types?.Length == count
            ? types
            : throw new ModelFileException(path, $"'{TypesKey}' is not an array of {count} numbers, expected one per token; convert the model again");
    }

    private static int? Id(string path, IReadOnlyDictionary<string, object> metadata, string key, int count)
    {
        if (!metadata.TryGetValue(key, out var value))
        {
            return null;
        }

        // Negative numbers mean "none" in some files; so does an all-ones unsigned number.
        var id = value is byte or sbyte or short or ushort or int or uint or long
            ? Convert.ToInt64(value, CultureInfo.InvariantCulture)
            : throw new ModelFileException(path, $"'{key}' is {value}, expected a token id below {count}; convert the model again");
        return id is < 0 or uint.MaxValue ? null
            : id < count ? (int)id
            : throw new ModelFileException(path, $"'{key}' is {id}, expected a token id below {count}; convert the model again");
    }

    private sealed record PreTokenizerKind(Func<PreTokenStep[]> Steps, bool IgnoresMerges = false, bool Nfc = false);
}
