using System.Text;

namespace LowLevelSpec.Models;

/// <summary>Collects metadata and tensors and writes them as one GGUF v3 file, atomically. For generators and tests; it quantises nothing by itself, see <see cref="Quantizer"/>.</summary>
public sealed class GgufWriter
{
    private const int Alignment = 32;
    private readonly List<(string Key, object Value)> _metadata = [];
    private readonly List<(string Name, TensorType Type, long[] Shape, long Bytes, Action<Stream> Write)> _tensors = [];

    /// <summary>Adds a metadata pair: bool, string, a number, or an array of strings, bools or numbers (see <see cref="GgufFile.Metadata"/>).</summary>
    public void Set(string key, object value)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        ArgumentNullException.ThrowIfNull(value);
        Kind(value is Array ? value.GetType().GetElementType()! : value.GetType());
        _metadata.Add((key, value));
    }

    /// <summary>Adds a tensor from its stored bytes, which must stay unchanged until <see cref="Write(string)"/>.</summary>
    /// <param name="name">Name, unique in the file.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="shape">Dimensions, outermost first, rows a multiple of the type's block.</param>
    /// <param name="data">Row-major blocks.</param>
    public void Add(string name, TensorType type, IReadOnlyList<long> shape, ReadOnlyMemory<byte> data)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(shape);
        long[] dimensions = [.. shape];
        if (!TensorSizes.TryElements(dimensions, out long elements) || type.Bytes(elements) != data.Length || (dimensions.Length > 0 && dimensions[^1] % type.BlockElements() != 0))
        {
            throw new ArgumentException($"tensor '{name}' has {data.Length} bytes of data, which do not fit {type} {FileErrors.Shape(dimensions)}", nameof(data));
        }

        _tensors.Add((name, type, dimensions, data.Length, stream => stream.Write(data.Span)));
    }

    /// <summary>Adds a tensor whose bytes come into being as the file is written, so that none larger than memory, or than 2 GiB, need be held.</summary>
    /// <param name="name">Name, unique in the file.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="shape">Dimensions, outermost first, rows a multiple of the type's block.</param>
    /// <param name="write">Writes the tensor's row-major blocks, all of them and nothing else.</param>
    public void Add(string name, TensorType type, IReadOnlyList<long> shape, Action<Stream> write)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(shape);
        ArgumentNullException.ThrowIfNull(write);
        long[] dimensions = [.. shape];
        if (!TensorSizes.TryElements(dimensions, out long elements) || (dimensions.Length > 0 && dimensions[^1] % type.BlockElements() != 0))
        {
            throw new ArgumentException($"tensor '{name}' of shape {FileErrors.Shape(dimensions)} can't be stored as {type}", nameof(shape));
        }

        _tensors.Add((name, type, dimensions, type.Bytes(elements), write));
    }

    /// <summary>Adds a tensor of floats, encoded as <paramref name="type"/>.</summary>
    public void Add(string name, TensorType type, IReadOnlyList<long> shape, ReadOnlySpan<float> values) =>
        Add(name, type, shape, Quantizer.Quantize(type, values));

    /// <summary>Writes the file, replacing one that is there.</summary>
    /// <exception cref="ModelFileException">The file cannot be written.</exception>
    public void Write(string path) => Write(path, check: null);

    /// <param name="path">The destination.</param>
    /// <param name="check">Given the path of the whole new file before it takes the old one's place; throws where it must not.</param>
    internal void Write(string path, Action<string>? check)
    {
        ArgumentNullException.ThrowIfNull(path);
        AtomicFile.Write(path, stream =>
        {
            using BinaryWriter writer = new(stream, Encoding.UTF8, leaveOpen: true);
            WriteHeader(writer);
            foreach ((string name, _, _, long bytes, Action<Stream> write) in _tensors)
            {
                Pad(writer);
                writer.Flush();
                long start = stream.Position;
                write(stream);
                if (stream.Position - start != bytes)
                {
                    throw new InvalidOperationException($"tensor '{name}' wrote {stream.Position - start} bytes, expected {bytes}");
                }
            }

            Pad(writer);
        }, check);
    }

    private void WriteHeader(BinaryWriter writer)
    {
        writer.Write("GGUF"u8);
        writer.Write(3u);
        writer.Write((ulong)_tensors.Count);
        writer.Write((ulong)_metadata.Count);
        foreach ((string key, object value) in _metadata)
        {
            WriteString(writer, key);
            if (value is Array array)
            {
                writer.Write((uint)GgufKind.Array);
                writer.Write((uint)Kind(array.GetType().GetElementType()!));
                writer.Write((ulong)array.Length);
                foreach (object item in array)
                {
                    WriteValue(writer, item);
                }
            }
            else
            {
                writer.Write((uint)Kind(value.GetType()));
                WriteValue(writer, value);
            }
        }

        long offset = 0;
        foreach ((string name, TensorType type, long[] shape, long bytes, _) in _tensors)
        {
            WriteString(writer, name);
            writer.Write((uint)shape.Length);
            foreach (long dimension in shape.Reverse())
            {
                writer.Write(dimension);
            }

            writer.Write(GgufTypes.FromTensorType(type));
            writer.Write(offset);
            offset += (bytes + Alignment - 1) / Alignment * Alignment;
        }
    }

    private static void Pad(BinaryWriter writer)
    {
        writer.Flush();
        for (long i = writer.BaseStream.Position; i % Alignment != 0; i++)
        {
            writer.Write((byte)0);
        }
    }

    private static void WriteString(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }

    private static void WriteValue(BinaryWriter writer, object value)
    {
        switch (value)
        {
            case byte v: writer.Write(v); break;
            case sbyte v: writer.Write(v); break;
            case ushort v: writer.Write(v); break;
            case short v: writer.Write(v); break;
            case uint v: writer.Write(v); break;
            case int v: writer.Write(v); break;
            case ulong v: writer.Write(v); break;
            case long v: writer.Write(v); break;
            case float v: writer.Write(v); break;
            case double v: writer.Write(v); break;
            case bool v: writer.Write(v); break;
            default: WriteString(writer, (string)value); break;
        }
    }

    private static GgufKind Kind(Type type) => Type.GetTypeCode(type) switch
    {
        TypeCode.Byte => GgufKind.UInt8,
        TypeCode.SByte => GgufKind.Int8,
        TypeCode.UInt16 => GgufKind.UInt16,
        TypeCode.Int16 => GgufKind.Int16,
        TypeCode.UInt32 => GgufKind.UInt32,
        TypeCode.Int32 => GgufKind.Int32,
        TypeCode.UInt64 => GgufKind.UInt64,
        TypeCode.Int64 => GgufKind.Int64,
        TypeCode.Single => GgufKind.Float32,
        TypeCode.Double => GgufKind.Float64,
        TypeCode.Boolean => GgufKind.Bool,
        TypeCode.String => GgufKind.String,
        _ => throw new ArgumentException($"GGUF metadata holds no {type.Name}", nameof(type)),
    };
}
