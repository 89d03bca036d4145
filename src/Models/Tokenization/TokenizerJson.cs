using System.Text;
using System.Text.Json;

namespace LowLevelSpec.Models;

/// <summary>Reads tokenizer.json. What is not built is refused by name: a tokenizer that is nearly right is worse than none.</summary>
/// <remarks>
/// The post-processor is checked and not applied, truncation and padding are not looked at: <see cref="Tokenizer.Encode"/> adds no
/// tokens and drops none.
/// </remarks>
internal static class TokenizerJson
{
    /// <summary>Reads the file's root object.</summary>
    /// <exception cref="ModelFileException">The file is malformed or asks for something that is not built.</exception>
    public static TokenizerParts Read(JsonSource root, TokenizerSettings settings)
    {
        root.Expect(JsonValueKind.Object, "an object");
        var model = root.Member("model").Expect(JsonValueKind.Object, "an object");
        CheckModel(model);
        CheckDecoder(root.Member("decoder"));
        var addsBegin = AddsBegin(root.Member("post_processor"), settings.NamedTokens.GetValueOrDefault("bos_token"));
        var tokens = ReadVocabulary(model.Member("vocab"));
        var added = ReadAddedTokens(root.Member("added_tokens"), tokens);
        var ids = new Dictionary<string, int>();
        for (var i = 0; i < added.Count; i++)
        {
            ids.TryAdd(added[i].Content, added[i].Id);

            // What begins or ends a text is a control token even where the file does not flag it.
            if (IsNamed(settings, "bos_token", added[i].Content) || IsNamed(settings, "eos_token", added[i].Content))
            {
                added[i] = added[i] with { Special = true };
            }
        }

        return new TokenizerParts
        {
            Tokens = tokens,
            AddedTokens = added,
            Merges = ReadMerges(model.Member("merges"), tokens, added.Where(t => t.Special).Select(t => t.Id).ToHashSet()),
            PreTokenSteps = PreTokenizerJson.Read(root.Member("pre_tokenizer")),
            NormalizesToNfc = ReadNormalizer(root.Member("normalizer")),
            IgnoresMerges = model.Member("ignore_merges").Flag(false),
            UnknownId = ReadUnknown(model.Member("unk_token"), tokens),
            FusesUnknown = model.Member("fuse_unk").Flag(false),
            BosId = IdOf("bos_token"),
            EosId = IdOf("eos_token"),
            AddsBegin = addsBegin,
            Template = settings.Template,
        };

        int? IdOf(string name)
            => !settings.NamedTokens.TryGetValue(name, out var text) ? null
                : ids.TryGetValue(text, out var id) || tokens.TryGetId(Encoding.UTF8.GetBytes(text), out id) ? id : null;
    }

    private static bool IsNamed(TokenizerSettings settings, string name, string content)
        => settings.NamedTokens.TryGetValue(name, out var text) && text == content;

    private static void CheckModel(JsonSource model)
    {
        var type = model.Member("type").TextOrNull() ?? "BPE";
        if (type != "BPE")
        {
            throw model.Member("type").Unsupported(type, "BPE");
        }

        if (model.Member("byte_fallback").Flag(false))
        {
            throw model.Member("byte_fallback").Unsupported("true", "byte-level BPE, where it is false");
        }

        foreach (var name in (string[])["continuing_subword_prefix", "end_of_word_suffix"])
        {
            if (model.Member(name).TextOrNull() is { Length: > 0 } affix)
            {
                throw model.Member(name).Unsupported($"'{affix}'", "null");
            }
        }

        var dropout = model.Member("dropout");
        if (dropout.Exists && !(dropout.Value.ValueKind == JsonValueKind.Number && dropout.Value.TryGetDouble(out var rate) && rate == 0))
        {
            throw dropout.Unsupported("not null", "null: merges must not be left out at random");
        }
    }

    private static void CheckDecoder(JsonSource decoder)
    {
        if (!decoder.Exists)
        {
            return;
        }

        var type = decoder.Member("type").Text();
        if (type == "Sequence")
        {
            foreach (var part in decoder.Member("decoders").Items())
            {
                CheckDecoder(part);
            }
        }
        else if (type != "ByteLevel")
        {
            throw decoder.Member("type").Unsupported(type, "ByteLevel");
        }
    }

    /// <summary>Checks the post-processor, which adds nothing here, and tells whether its template for one text starts with the begin token.</summary>
    private static bool AddsBegin(JsonSource processor, string? begin)
    {
        if (!processor.Exists)
        {
            return false;
        }

        var type = processor.Member("type").Text();
        switch (type)
        {
            case "Sequence":
                return processor.Member("processors").Items().Aggregate(false, (adds, part) => AddsBegin(part, begin) || adds);
            case "TemplateProcessing":
                foreach (var first in processor.Member("single").Exists ? processor.Member("single").Items().Take(1) : [])
                {
                    var special = first.Member("SpecialToken");
                    return special.Exists && special.Member("id").TextOrNull() is { } id && id == begin;
                }

                return false;
            case "ByteLevel" or "RobertaProcessing" or "BertProcessing":
                return false;
            default:
                throw processor.Member("type").Unsupported(type, "TemplateProcessing, ByteLevel, RobertaProcessing, BertProcessing, Sequence of them");
        }
    }

    private static bool ReadNormalizer(JsonSource normalizer)
    {
        if (!normalizer.Exists)
        {
            return false;
        }

        var type = normalizer.Member("type").Text();
        return type switch
        {
            "NFC" => true,
            "Sequence" => normalizer.Member("normalizers").Items().Aggregate(false, (nfc, part) => ReadNormalizer(part) || nfc),
            _ => throw normalizer.Member("type").Unsupported(type, "NFC, Sequence of it, null"),
        };
    }

    private static int ReadUnknown(JsonSource unknown, TokenTable tokens)
        => unknown.TextOrNull() is not { Length: > 0 } text ? -1
            : tokens.TryGetId(Encoding.UTF8.GetBytes(text), out var id) ? id
            : throw unknown.Wrong("a token of the vocabulary");

    private static TokenTable ReadVocabulary(JsonSource vocabulary)
    {
        vocabulary.Expect(JsonValueKind.Object, "an object of tokens and ids");
        var tokens = new TokenTable();
        var buffer = new byte[256];
        foreach (var property in vocabulary.Value.EnumerateObject())
        {
            var entry = new JsonSource(vocabulary.Path, vocabulary.Key, property.Value);
            string text;
            try
            {
                text = property.Name;
            }
            catch (InvalidOperationException e)
            {
                throw new ModelFileException(vocabulary.Path, $"'{vocabulary.Key}' has a token with half a surrogate pair, expected valid Unicode; download the file again", e);
            }

            if (!property.Value.TryGetIdQuickly(out var id))
            {
                id = (entry with { Key = $"{vocabulary.Key}.{text}" }).Id();
            }

            if (!tokens.TryAdd(id, Utf8(text, ref buffer)))
            {
                throw new ModelFileException(vocabulary.Path, $"'{vocabulary.Key}.{text}' has id {id}, which another token has too, expected one token per id; download the file again");
            }
        }

        return tokens.Count > 0 ? tokens : throw vocabulary.Wrong("at least one token");
    }

    private static bool TryGetIdQuickly(this JsonElement value, out int id)
    {
        id = -1;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out id) && id is >= 0 and < TokenTable.MaxIds;
    }

    private static MergeTable ReadMerges(JsonSource merges, TokenTable tokens, HashSet<int> special)
    {
        merges.Expect(JsonValueKind.Array, "an array of merges");
        var table = new MergeTable(merges.Value.GetArrayLength());
        var builder = new MergeBuilder(table, tokens, special, merges.Path, merges.Key);
        var rank = 0;
        foreach (var merge in merges.Value.EnumerateArray())
        {
            var place = new JsonSource(merges.Path, merges.Key, merge);
            if (merge.ValueKind == JsonValueKind.Array && merge.GetArrayLength() == 2)
            {
                builder.Add(rank, (place with { Value = merge[0] }).Text(), (place with { Value = merge[1] }).Text());
            }
            else if (merge.ValueKind == JsonValueKind.String)
            {
                builder.Add(rank, place.Text());
            }
            else
            {
                throw (place with { Key = $"{merges.Key}[{rank}]" }).Wrong("\"left right\" or [\"left\", \"right\"]");
            }

            rank++;
        }

        return table;
    }

    private static List<AddedToken> ReadAddedTokens(JsonSource list, TokenTable tokens)
    {
        var added = new List<AddedToken>();
        if (!list.Exists)
        {
            return added;
        }

        var ids = new HashSet<int>();
        var contents = new HashSet<string>();
        foreach (var item in list.Items())
        {
            var special = item.Member("special").Flag(false);
            var token = new AddedToken(item.Member("id").Id(), item.Member("content").Text(), special)
            {
                StripsLeft = item.Member("lstrip").Flag(false),
                StripsRight = item.Member("rstrip").Flag(false),
                Normalized = item.Member("normalized").Flag(!special),
                SingleWord = item.Member("single_word").Flag(false),
            };
            if (token.Content.Length == 0)
            {
                throw item.Member("content").Wrong("a text that is not empty");
            }

            if (!ids.Add(token.Id) || !contents.Add(token.Content))
            {
                throw item.Member("id").Wrong("an id and a text that no other added token has");
            }

            var utf8 = Encoding.UTF8.GetBytes(token.Content);
            if (tokens.TryGetId(utf8, out var id) ? id != token.Id : tokens.Contains(token.Id))
            {
                throw item.Member("id").Wrong(id >= 0
                    ? $"{id}, the id of '{token.Content}' in the vocabulary"
                    : $"an id that is free (in the vocabulary it is '{Encoding.UTF8.GetString(tokens.Utf8(token.Id))}')");
            }

            added.Add(token);
        }

        return added;
    }

    private static ReadOnlySpan<byte> Utf8(string text, ref byte[] buffer)
    {
        if (buffer.Length < text.Length * 3)
        {
            buffer = new byte[text.Length * 3];
        }

        return buffer.AsSpan(0, Encoding.UTF8.GetBytes(text, buffer));
    }
}
