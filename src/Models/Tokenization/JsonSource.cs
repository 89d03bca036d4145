using System.Text.Json;

namespace LowLevelSpec.Models;

/// <summary>One place in a JSON file, with its key for error messages.</summary>
internal readonly record struct JsonSource(string Path, string Key, JsonElement Value)
{
    private const int MaxDepth = 64;

    /// <summary>Opens a file; the document must be disposed.</summary>
    /// <exception cref="ModelFileException">The file is too large, unreadable or not JSON.</exception>
    public static JsonDocument Open(string path, long maxBytes)
    {
        try
        {
            var length = new FileInfo(path).Length;
            if (length > maxBytes)
            {
                throw new ModelFileException(path, $"the file has {length:N0} bytes, at most {maxBytes:N0} are read; supply the tokenizer file that belongs to the model");
            }

            return Parse(path, File.ReadAllBytes(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFileException(path, $"the file cannot be read ({e.Message.TrimEnd('.')})", e);
        }
    }

    /// <summary>Reads the bytes of a file, which may lie inside another one; the document must be disposed.</summary>
    /// <exception cref="ModelFileException">They are not JSON.</exception>
    public static JsonDocument Parse(string path, ReadOnlyMemory<byte> json)
    {
        try
        {
            // Duplicate keys are refused: which of them counts differs between readers.
            return JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = MaxDepth, AllowDuplicateProperties = false });
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a key has half a surrogate pair, so that it cannot be compared with the others.
            throw new ModelFileException(path, $"the file is not valid JSON ({e.Message.TrimEnd('.')}); download it again", e);
        }
    }

    /// <summary>Whether the value is there and not null.</summary>
    public bool Exists => Value.ValueKind is not (JsonValueKind.Undefined or JsonValueKind.Null);

    /// <summary>A member, which may not exist.</summary>
    public JsonSource Member(string name)
    {
        var key = Key.Length == 0 ? name : $"{Key}.{name}";
        return new JsonSource(Path, key, Value.ValueKind == JsonValueKind.Object && Value.TryGetProperty(name, out var value) ? value : default);
    }

    /// <summary>The elements of an array.</summary>
    public IEnumerable<JsonSource> Items()
    {
        var index = 0;
        foreach (var item in Expect(JsonValueKind.Array, "an array").Value.EnumerateArray())
        {
            yield return new JsonSource(Path, $"{Key}[{index++}]", item);
        }
    }

    /// <summary>The value, which must be of a kind.</summary>
    public JsonSource Expect(JsonValueKind kind, string expected) => Value.ValueKind == kind ? this : throw Wrong(expected);

    /// <summary>A string.</summary>
    public string Text()
    {
        Expect(JsonValueKind.String, "a string");
        try
        {
            return Value.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new ModelFileException(Path, $"'{Key}' is a string with half a surrogate pair, expected valid Unicode; download the file again", e);
        }
    }

    /// <summary>A string, or null where there is none.</summary>
    public string? TextOrNull() => Exists ? Text() : null;

    /// <summary>A boolean, or a default where there is none.</summary>
    public bool Flag(bool otherwise) => !Exists ? otherwise : Value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Wrong("true or false"),
    };

    /// <summary>A token id.</summary>
    public int Id() => Value.ValueKind == JsonValueKind.Number && Value.TryGetInt32(out var id) && id is >= 0 and < TokenTable.MaxIds
        ? id
        : throw Wrong($"a token id from 0 to {TokenTable.MaxIds - 1}");

    /// <summary>The failure that the value is not what it should be.</summary>
    public ModelFileException Wrong(string expected)
    {
        var found = Value.ValueKind switch
        {
            JsonValueKind.Undefined => "missing",
            JsonValueKind.Object => "an object",
            JsonValueKind.Array => "an array",
            _ => Value.GetRawText() is { Length: > 60 } raw ? raw[..60] + "..." : Value.GetRawText(),
        };
        return new ModelFileException(Path, $"'{Key}' is {found}, expected {expected}; use the tokenizer file that belongs to the model");
    }

    /// <summary>The failure that the file asks for something that is not built.</summary>
    public ModelFileException Unsupported(string found, string supported)
        => new(Path, $"'{Key}' is {found}, which is not supported; supported: {supported}");
}
