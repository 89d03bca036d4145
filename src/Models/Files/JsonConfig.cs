using System.Text.Json;

namespace LowLevelSpec.Models;

/// <summary>A JSON object from a configuration file; every reading checks kind and range and names file, key, found and expected.</summary>
internal sealed class JsonConfig
{
    private const int MaxBytes = 16 << 20;
    private const int MaxDepth = 32;
    private readonly JsonElement _object;
    private readonly string _prefix;

    private JsonConfig(string path, JsonElement element, string prefix)
    {
        Path = path;
        _object = element;
        _prefix = prefix;
    }

    public string Path { get; }

    public IEnumerable<JsonProperty> Properties => _object.EnumerateObject();

    public static JsonConfig Read(string path, int maxBytes = MaxBytes)
    {
        byte[] bytes;
        try
        {
            FileInfo file = new(path);
            if (file is { Exists: true, Length: 0 })
            {
                throw new ModelFileException(path, "is empty (0 bytes), expected JSON; download it again");
            }

            if (file.Exists && file.Length > maxBytes)
            {
                throw new ModelFileException(path, $"is {file.Length} bytes long, expected at most {maxBytes} for this kind of file; check that it is the right one");
            }

            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw FileErrors.Unreadable(path, e);
        }

        return Parse(path, bytes);
    }

    /// <summary>Reads the bytes of a file that lies inside another one.</summary>
    public static JsonConfig Parse(string path, ReadOnlyMemory<byte> json)
    {
        try
        {
            json = json.Span.StartsWith("\uFEFF"u8) ? json[3..] : json;
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = MaxDepth, AllowDuplicateProperties = false });
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? new JsonConfig(path, document.RootElement.Clone(), "")
                : throw new ModelFileException(path, $"holds a JSON {document.RootElement.ValueKind}, expected an object; download the file again");
        }
        catch (JsonException e)
        {
            throw FileErrors.BadJson(path, "the file", MaxDepth, e);
        }
        catch (InvalidOperationException e)
        {
            throw new ModelFileException(path, "the file holds text that is not valid Unicode; download it again", e);
        }
    }

    /// <summary>Whether the key is there and not null.</summary>
    public bool Has(string key) => Find(key) is not null;

    public int Int(string key, int min, int max) => OptionalInt(key, min, max) ?? throw Missing(key, $"a whole number from {min} to {max}");

    public int? OptionalInt(string key, int min, int max)
    {
        if (Find(key) is not JsonElement value)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number >= min && number <= max
            ? number
            : throw Wrong(key, value, $"a whole number from {min} to {max}");
    }

    public float Float(string key, float above, float below) => OptionalFloat(key, above, below) ?? throw Missing(key, RangeText(above, below));

    /// <summary>A number strictly between the bounds, also after rounding to float.</summary>
    public float? OptionalFloat(string key, float above, float below)
    {
        if (Find(key) is not JsonElement value)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && (float)number > above && (float)number < below
            ? (float)number
            : throw Wrong(key, value, RangeText(above, below));
    }

    public bool Bool(string key, bool absent = false) => Find(key) switch
    {
        null => absent,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        JsonElement value => throw Wrong(key, value, "true or false"),
    };

    public string? OptionalString(string key)
    {
        if (Find(key) is not JsonElement value)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.String ? Text(key, value) : throw Wrong(key, value, "a string");
    }

    public JsonConfig? OptionalObject(string key)
    {
        if (Find(key) is not JsonElement value)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Object ? new JsonConfig(Path, value, $"{_prefix}{key}.") : throw Wrong(key, value, "an object");
    }

    /// <summary>Token ids: one number or an array of them, each below <paramref name="vocabulary"/>; empty where absent.</summary>
    public IReadOnlyList<int> TokenIds(string key, int vocabulary)
    {
        if (Find(key) is not JsonElement value)
        {
            return [];
        }

        string expected = $"a token id from 0 to {vocabulary - 1}, or an array of at most 1024 of them";
        if (value.ValueKind != JsonValueKind.Array)
        {
            return [Id(value)];
        }

        return value.GetArrayLength() <= 1024 ? [.. value.EnumerateArray().Select(Id)] : throw Wrong(key, value, expected);

        int Id(JsonElement element) => element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int id) && id >= 0 && id < vocabulary
            ? id
            : throw Wrong(key, element, expected);
    }

    /// <summary>The value of a string element of <see cref="Properties"/> or of this object.</summary>
    public string Text(string key, JsonElement value)
    {
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new ModelFileException(Path, $"key {FileErrors.Quote(_prefix + key)} holds text that is not valid Unicode; download the file again", e);
        }
    }

    public ModelFileException Wrong(string key, JsonElement found, string expected) => Refuse(key, FileErrors.Plain(found.GetRawText()), expected);

    public ModelFileException Refuse(string key, string found, string expected) =>
        new(Path, $"key '{FileErrors.Plain(_prefix + key)}' is {found}, expected {expected}; take the file from the model's original release or choose another model");

    private ModelFileException Missing(string key, string expected) =>
        new(Path, $"key '{_prefix}{key}' is missing, expected {expected}; take the file from the model's original release");

    private JsonElement? Find(string key) =>
        _object.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private static string RangeText(float above, float below) =>
        float.IsPositiveInfinity(below) ? $"a number above {above}" : $"a number above {above} and below {below}";
}
