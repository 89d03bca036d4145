using System.Buffers.Binary;

namespace LowLevelSpec.Models;

/// <summary>
/// A memory-mapped <c>.safetensors</c> file. Nothing is copied: every <see cref="TensorView"/> points into the mapping and is valid
/// until <see cref="Dispose"/>. Data may lie at any byte address (the format promises no alignment).
/// The header is checked completely before a tensor is handed out: no overlap, hole, trailing byte, duplicate or wrong size passes.
/// A file that shrinks while it is open is out of scope, see <see cref="MappedFile"/>.
/// </summary>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>Longest header accepted, in bytes: the reference implementation's limit.</summary>
    public const int MaxHeaderBytes = 100_000_000;

    private readonly MappedFile _file;
    private readonly Dictionary<string, TensorView> _tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorInfo> _unsupported = new(StringComparer.Ordinal);

    private unsafe SafetensorsFile(MappedFile file)
    {
        _file = file;
        int headerBytes = HeaderLength(file);
        SafetensorsHeader header = SafetensorsHeader.Parse(file.Path, file.Span(8, headerBytes), file.Length - 8 - headerBytes);
        Metadata = header.Metadata;
        byte* data = file.Start + 8 + headerBytes;
        List<TensorInfo> all = new(header.Entries.Count);
        foreach (SafetensorsEntry entry in header.Entries)
        {
            TensorInfo info = new(entry.Name, entry.Type, entry.Shape, entry.End - entry.Begin, file.Path);
            all.Add(info);
            if (SafetensorsTypes.ToTensorType(entry.Type) is TensorType type)
            {
                _tensors.Add(entry.Name, new TensorView(entry.Name, type, entry.Shape, (nint)(data + entry.Begin), file.Path));
            }
            else
            {
                _unsupported.Add(entry.Name, info);
            }
        }

        AllTensors = all;
    }

    /// <summary>The path it was opened from.</summary>
    public string Path => _file.Path;

    /// <summary>Size of the file in bytes.</summary>
    public long FileBytes => _file.Length;

    /// <summary>Tensors of type F32, F16, BF16, I64 and U8 by name.</summary>
    public IReadOnlyDictionary<string, TensorView> Tensors => _tensors;

    /// <summary>Every tensor, in the order of the header, also those of types without a <see cref="TensorView"/>.</summary>
    public IReadOnlyList<TensorInfo> AllTensors { get; }

    /// <summary>The header's <c>__metadata__</c>; empty where there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Maps and checks a file.</summary>
    /// <exception cref="ModelFileException">Unreadable or malformed.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        MappedFile file = MappedFile.Open(path);
        try
        {
            return new SafetensorsFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The tensor <paramref name="name"/>.</summary>
    /// <exception cref="ModelFileException">Absent, or of a type that the engine does not read.</exception>
    public TensorView Get(string name)
    {
        if (_tensors.TryGetValue(name, out TensorView? view))
        {
            return view;
        }

        throw _unsupported.TryGetValue(name, out TensorInfo? info)
            ? SafetensorsTypes.Unsupported(info)
            : new ModelFileException(Path, $"holds no tensor {FileErrors.Quote(name)}; check that this is the right file");
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static int HeaderLength(MappedFile file)
    {
        if (file.Length < 8)
        {
            throw new ModelFileException(file.Path, $"is {file.Length} bytes long, expected a safetensors file of at least 8 bytes; download it again");
        }

        ReadOnlySpan<byte> prefix = file.Span(0, 8);
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (prefix.SequenceEqual("version "u8))
        {
            throw new ModelFileException(file.Path, "is a Git LFS pointer, expected the weights themselves; fetch them with 'git lfs pull'");
        }

        if (length > (ulong)(file.Length - 8))
        {
            throw new ModelFileException(file.Path, $"announces a header of {length} bytes, but only {file.Length - 8} bytes follow; the file is cut off or not safetensors, download it again");
        }

        if (length > MaxHeaderBytes)
        {
            throw new ModelFileException(file.Path, $"announces a header of {length} bytes, expected at most {MaxHeaderBytes}; this is not a usable safetensors file");
        }

        return (int)length;
    }
}

/// <summary>The dtypes of the safetensors format.</summary>
internal static class SafetensorsTypes
{
    public static TensorType? ToTensorType(string type) => type switch
    {
        "F32" => TensorType.F32,
        "F16" => TensorType.F16,
        "BF16" => TensorType.BF16,
        "I64" => TensorType.I64,
        "U8" => TensorType.U8,
        _ => null,
    };

    /// <summary>Bytes per element, 0 for a dtype that is unknown or not a whole number of bytes.</summary>
    public static int ElementBytes(string type) => type switch
    {
        "F32" or "I32" or "U32" => 4,
        "F16" or "BF16" or "I16" or "U16" => 2,
        "U8" or "I8" or "BOOL" or "F8_E4M3" or "F8_E5M2" or "F8_E8M0" => 1,
        "F64" or "I64" or "U64" or "C64" => 8,
        _ => 0,
    };

    public static ModelFileException Unsupported(TensorInfo tensor) => new(
        tensor.FilePath,
        $"tensor {FileErrors.Quote(tensor.Name)} has type {FileErrors.Plain(tensor.Type)}, expected F32, F16, BF16 or one of GGUF's Q8_0, Q4_0, Q4_1, Q4_K, Q5_K, Q6_K; convert the model to one of these");
}
