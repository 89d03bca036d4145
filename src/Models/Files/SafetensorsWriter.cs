using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace LowLevelSpec.Models;

/// <summary>Collects tensors and writes them as one <c>.safetensors</c> file, atomically (temporary file, then rename).</summary>
public sealed class SafetensorsWriter
{
    private readonly SortedDictionary<string, Item> _items = new(StringComparer.Ordinal);

    /// <summary>The header's <c>__metadata__</c>; <c>format: pt</c> as the Hugging Face libraries expect it.</summary>
    public IDictionary<string, string> Metadata { get; } = new SortedDictionary<string, string>(StringComparer.Ordinal) { ["format"] = "pt" };

    /// <summary>Adds a tensor from its stored bytes (little endian), which must stay unchanged until <see cref="Write"/>.</summary>
    /// <param name="name">Name, unique in the file.</param>
    /// <param name="type">F32, F16, BF16, I64 or U8.</param>
    /// <param name="shape">Dimensions, outermost first; empty for a scalar.</param>
    /// <param name="data">Row-major elements.</param>
    public void Add(string name, TensorType type, IReadOnlyList<long> shape, ReadOnlyMemory<byte> data)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(shape);
        if (type is not (TensorType.F32 or TensorType.F16 or TensorType.BF16 or TensorType.I64 or TensorType.U8))
        {
            throw new ArgumentException($"safetensors has no type {type}", nameof(type));
        }

        if (name == "__metadata__" || _items.ContainsKey(name))
        {
            throw new ArgumentException($"the name '{name}' is taken", nameof(name));
        }

        long[] dimensions = [.. shape];
        if (dimensions.Length > TensorSizes.MaxDimensions || !TensorSizes.TryElements(dimensions, out long elements) || type.Bytes(elements) != data.Length)
        {
            throw new ArgumentException($"tensor '{name}' has {data.Length} bytes of data, which do not fit {type} {FileErrors.Shape(dimensions)}", nameof(data));
        }

        _items.Add(name, new Item(type, dimensions, data));
    }

    /// <summary>Adds a floating-point tensor, rounded to <paramref name="type"/> (F32, F16 or BF16).</summary>
    public void Add(string name, IReadOnlyList<long> shape, ReadOnlySpan<float> values, TensorType type = TensorType.F32)
    {
        if (type is not (TensorType.F32 or TensorType.F16 or TensorType.BF16))
        {
            throw new ArgumentException($"{type} does not hold floats in a safetensors file", nameof(type));
        }

        Add(name, type, shape, Quantizer.Quantize(type, values));
    }

    /// <summary>Adds a tensor of integers (I64).</summary>
    public void Add(string name, IReadOnlyList<long> shape, ReadOnlySpan<long> values) =>
        Add(name, TensorType.I64, shape, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>Writes the file, replacing one that is there.</summary>
    /// <exception cref="ModelFileException">The file cannot be written.</exception>
    public void Write(string path)
    {
        ArgumentNullException.ThrowIfNull(path);

        // Wide types first keeps every tensor naturally aligned, as the data section starts at a multiple of 8.
        List<KeyValuePair<string, Item>> order = [.. _items.OrderByDescending(static i => i.Value.Type.BlockBytes())];
        byte[] header = Header(order);
        AtomicFile.Write(path, stream =>
        {
            Span<byte> length = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)header.Length);
            stream.Write(length);
            stream.Write(header);
            foreach ((_, Item item) in order)
            {
                stream.Write(item.Data.Span);
            }
        });
    }

    private byte[] Header(List<KeyValuePair<string, Item>> order)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter json = new(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            foreach ((string key, string value) in Metadata)
            {
                json.WriteString(key, value);
            }

            json.WriteEndObject();
            long offset = 0;
            foreach ((string name, Item item) in order)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", item.Type.ToString());
                json.WriteStartArray("shape");
                foreach (long dimension in item.Shape)
                {
                    json.WriteNumberValue(dimension);
                }

                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                offset += item.Data.Length;
                json.WriteNumberValue(offset);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        while (buffer.Length % 8 != 0)
        {
            buffer.WriteByte((byte)' ');
        }

        return buffer.ToArray();
    }

    private sealed record Item(TensorType Type, long[] Shape, ReadOnlyMemory<byte> Data);
}
