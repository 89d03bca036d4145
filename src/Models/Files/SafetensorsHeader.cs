using System.Text.Json;

namespace LowLevelSpec.Models;

/// <summary>One tensor of a safetensors header; offsets count from the start of the data section.</summary>
internal sealed record SafetensorsEntry(string Name, string Type, long[] Shape, long Begin, long End);

/// <summary>The JSON header of a safetensors file, read in one pass over the mapped bytes and checked against the data's length.</summary>
internal sealed class SafetensorsHeader
{
    private const int MaxDepth = 8;
    private readonly string _path;

    private SafetensorsHeader(string path) => _path = path;

    public List<SafetensorsEntry> Entries { get; } = [];

    public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    public static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> json, long dataBytes)
    {
        SafetensorsHeader header = new(path);
        try
        {
            Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = MaxDepth });
            header.ReadRoot(ref reader);
        }
        catch (JsonException e)
        {
            throw FileErrors.BadJson(path, "the safetensors header", MaxDepth, e);
        }
        catch (InvalidOperationException e)
        {
            // Utf8JsonReader.GetString meets bytes that are not UTF-8, or half of a surrogate pair.
            throw new ModelFileException(path, "the safetensors header holds text that is not valid Unicode; download the file again", e);
        }

        header.CheckLayout(dataBytes);
        return header;
    }

    private void ReadRoot(ref Utf8JsonReader reader)
    {
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            throw Bad("the safetensors header is not a JSON object");
        }

        HashSet<string> names = new(StringComparer.Ordinal);
        bool metadataSeen = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (name == "__metadata__")
            {
                if (metadataSeen)
                {
                    throw Bad("the safetensors header has __metadata__ twice");
                }

                metadataSeen = true;
                ReadMetadata(ref reader);
                continue;
            }

            if (name.Length == 0)
            {
                throw Bad("the safetensors header has a tensor with an empty name");
            }

            if (!names.Add(name))
            {
                throw Bad($"the safetensors header has tensor {FileErrors.Quote(name)} twice");
            }

            Entries.Add(ReadEntry(ref reader, name));
        }

        // Only white space may follow: the reader throws on anything else.
        reader.Read();
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.StartObject, "__metadata__");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            Expect(ref reader, JsonTokenType.String, "__metadata__");
            if (!Metadata.TryAdd(key, reader.GetString()!))
            {
                throw Bad($"the safetensors header has __metadata__ key {FileErrors.Quote(key)} twice");
            }
        }
    }

    private SafetensorsEntry ReadEntry(ref Utf8JsonReader reader, string name)
    {
        string? type = null;
        long[]? shape = null, offsets = null;
        Expect(ref reader, JsonTokenType.StartObject, name);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (type is null && reader.ValueTextEquals("dtype"u8))
            {
                Expect(ref reader, JsonTokenType.String, name);
                type = reader.GetString()!;
            }
            else if (shape is null && reader.ValueTextEquals("shape"u8))
            {
                shape = ReadNumbers(ref reader, name, "shape", TensorSizes.MaxDimensions);
            }
            else if (offsets is null && reader.ValueTextEquals("data_offsets"u8))
            {
                offsets = ReadNumbers(ref reader, name, "data_offsets", 2);
            }
            else
            {
                throw Bad($"tensor {FileErrors.Quote(name)} has the key {FileErrors.Quote(reader.GetString()!)}, expected dtype, shape and data_offsets once each");
            }
        }

        if (type is null || shape is null || offsets is null || offsets.Length != 2)
        {
            throw Bad($"tensor {FileErrors.Quote(name)} lacks its dtype, its shape or its two data_offsets");
        }

        return new SafetensorsEntry(name, type, shape, offsets[0], offsets[1]);
    }

    private long[] ReadNumbers(ref Utf8JsonReader reader, string name, string key, int most)
    {
        Expect(ref reader, JsonTokenType.StartArray, name);
        List<long> numbers = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0)
            {
                string found = reader.TokenType == JsonTokenType.Number ? System.Text.Encoding.UTF8.GetString(reader.ValueSpan) : reader.TokenType.ToString();
                throw Bad($"tensor {FileErrors.Quote(name)} has {FileErrors.Plain(found)} in its {key}, expected whole numbers from 0 to {long.MaxValue}");
            }

            if (numbers.Count == most)
            {
                throw Bad($"tensor {FileErrors.Quote(name)} has more than {most} numbers in its {key}");
            }

            numbers.Add(number);
        }

        return [.. numbers];
    }

    private void Expect(ref Utf8JsonReader reader, JsonTokenType token, string name)
    {
        if (!reader.Read() || reader.TokenType != token)
        {
            throw Bad($"the entry {FileErrors.Quote(name)} of the safetensors header has {reader.TokenType} where {token} belongs");
        }
    }

    /// <summary>Sizes agree with dtype and shape; in order of offsets the tensors cover the data section exactly.</summary>
    private void CheckLayout(long dataBytes)
    {
        foreach (SafetensorsEntry entry in Entries)
        {
            int elementBytes = SafetensorsTypes.ElementBytes(entry.Type);
            if (elementBytes == 0)
            {
                throw Bad($"tensor {FileErrors.Quote(entry.Name)} has the unknown dtype {FileErrors.Quote(entry.Type)}");
            }

            if (!TensorSizes.TryElements(entry.Shape, out long elements) || !TensorSizes.TryBytes(elements, 1, elementBytes, out long bytes))
            {
                throw Bad($"tensor {FileErrors.Quote(entry.Name)} has shape {FileErrors.Shape(entry.Shape)}, which is more than any file can hold");
            }

            if (entry.Begin > entry.End || entry.End > dataBytes)
            {
                throw Bad($"tensor {FileErrors.Quote(entry.Name)} has data_offsets [{entry.Begin}, {entry.End}], but the data section has {dataBytes} bytes");
            }

            if (entry.End - entry.Begin != bytes)
            {
                throw Bad($"tensor {FileErrors.Quote(entry.Name)} has {entry.End - entry.Begin} bytes between its data_offsets, expected {bytes} for {entry.Type} {FileErrors.Shape(entry.Shape)}");
            }
        }

        long covered = 0;
        foreach (SafetensorsEntry entry in Entries.OrderBy(static e => e.Begin).ThenBy(static e => e.End))
        {
            if (entry.Begin != covered)
            {
                string what = entry.Begin < covered ? "overlaps the tensor before it" : "leaves a hole before it";
                throw Bad($"tensor {FileErrors.Quote(entry.Name)} starts at byte {entry.Begin} of the data and {what}, expected {covered}");
            }

            covered = entry.End;
        }

        if (covered != dataBytes)
        {
            throw Bad($"has {dataBytes - covered} bytes after its last tensor, expected none");
        }
    }

    private ModelFileException Bad(string reason) => new(_path, reason + "; the file is damaged or malicious, download it again from a source you trust");
}
