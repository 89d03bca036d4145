namespace LowLevelSpec.Models;

/// <summary>
/// Rewrites a GGUF file with all its matrices in one weight type; vectors (norms, biases) and metadata stay as they are. The result is as good as
/// the source at best: from a file of 4 bits, 8 bits bring back nothing. Types other than F32, F16 and BF16 are encoded by <see cref="Quantizer"/>.
/// </summary>
public static class GgufRequantizer
{
    private const string FileType = "general.file_type", FileAlignment = "general.alignment";

    /// <summary>Bytes that are encoded before they are written.</summary>
    private const int PieceBytes = 8 << 20;

    /// <summary>Writes <paramref name="destination"/>, replacing what is there.</summary>
    /// <param name="source">A GGUF file.</param>
    /// <param name="type">A weight type.</param>
    /// <param name="destination">Another file.</param>
    /// <param name="cancellation">Looked at every few megabytes.</param>
    /// <exception cref="ModelFileException">The source is malformed, holds a tensor that can't be read or whose rows are no whole blocks of the type, or the destination can't be written.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing has been written.</exception>
    public static void Write(string source, TensorType type, string destination, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(destination);
        if (type is TensorType.I64 or TensorType.U8)
        {
            throw new ArgumentException($"{type} is not a weight type", nameof(type));
        }

        using GgufFile file = GgufFile.Open(source);
        GgufWriter writer = new();
        foreach ((string key, object value) in file.Metadata)
        {
            // The writer aligns by the format's default; the type's number is set below.
            if (key is not (FileType or FileAlignment))
            {
                Copy(writer, file, key, value);
            }
        }

        writer.Set(FileType, FileTypeNumber(type));
        foreach (TensorInfo info in file.AllTensors)
        {
            TensorView view = file.Get(info.Name);
            bool matrix = info.Shape.Count == 2 && view.Type is not (TensorType.I64 or TensorType.U8);
            if (matrix && view.Type != type)
            {
                int rowBytes = RowBytes(view, type);
                writer.Add(info.Name, type, info.Shape, stream => Encode(view, type, rowBytes, stream, cancellation));
            }
            else
            {
                writer.Add(info.Name, view.Type, info.Shape, stream => Copy(view, stream, cancellation));
            }
        }

        writer.Write(destination);
    }

    /// <summary>Numbers of <c>general.file_type</c> (llama.cpp's LLAMA_FTYPE).</summary>
    private static uint FileTypeNumber(TensorType type) => type switch
    {
        TensorType.F32 => 0,
        TensorType.F16 => 1,
        TensorType.Q4_0 => 2,
        TensorType.Q4_1 => 3,
        TensorType.Q8_0 => 7,
        TensorType.Q4_K => 15,
        TensorType.Q5_K => 17,
        TensorType.Q6_K => 18,
        _ => 32,
    };

    private static void Copy(GgufWriter writer, GgufFile file, string key, object value)
    {
        try
        {
            writer.Set(key, value);
        }
        catch (ArgumentException e)
        {
            throw new ModelFileException(file.Path, $"metadata {FileErrors.Quote(key)} is an array of arrays, which is not written; use a file without it", e);
        }
    }

    private static int RowBytes(TensorView view, TensorType type)
    {
        int columns = view.Columns;
        if (columns % type.BlockElements() != 0)
        {
            throw new ModelFileException(view.FilePath, $"tensor {FileErrors.Quote(view.Name)} has rows of {columns} elements, expected a multiple of {type}'s block of {type.BlockElements()}; choose a type with smaller blocks, such as q8_0");
        }

        return type.Bytes(columns) is > 0 and <= int.MaxValue and long bytes
            ? (int)bytes
            : throw new ModelFileException(view.FilePath, $"tensor {FileErrors.Quote(view.Name)} has rows of {columns} elements, more than {int.MaxValue} bytes as {type}; choose a smaller type");
    }

    /// <summary>Encodes a tensor some rows at a time, however large it is.</summary>
    private static void Encode(TensorView view, TensorType type, int rowBytes, Stream stream, CancellationToken cancellation)
    {
        int most = Math.Clamp(PieceBytes / rowBytes, 1, Math.Max(1, view.Rows));
        byte[] piece = new byte[most * rowBytes];
        for (int first = 0; first < view.Rows; first += most)
        {
            cancellation.ThrowIfCancellationRequested();
            int start = first, count = Math.Min(most, view.Rows - first);
            Parallel.For(0, count, () => new float[view.Columns], (row, _, values) =>
            {
                Dequantizer.Row(view, start + row, values);
                Quantizer.Quantize(type, values, piece.AsSpan(row * rowBytes, rowBytes));
                return values;
            }, static _ => { });
            stream.Write(piece, 0, count * rowBytes);
        }
    }

    private static unsafe void Copy(TensorView view, Stream stream, CancellationToken cancellation)
    {
        for (long first = 0; first < view.ByteLength; first += PieceBytes)
        {
            cancellation.ThrowIfCancellationRequested();
            stream.Write(new ReadOnlySpan<byte>((byte*)view.Data + first, (int)Math.Min(PieceBytes, view.ByteLength - first)));
        }
    }
}
