namespace LowLevelSpec.Models;

/// <summary>
/// A memory-mapped GGUF file (version 2 or 3, little endian). Nothing of the tensors is copied; every <see cref="TensorView"/> points
/// into the mapping and is valid until <see cref="Dispose"/>. Shapes are outermost first (the file stores them innermost first);
/// rows lie as the file has them, see <see cref="TensorView.InterleavedHeads"/>, which <see cref="ModelFile"/> sets.
/// A file that shrinks while it is open is out of scope.
/// </summary>
public sealed class GgufFile : IDisposable
{
    private const int DefaultAlignment = 32;
    private readonly MappedFile _file;
    private readonly GgufCursor _cursor;
    private readonly Dictionary<string, object> _metadata = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorView> _tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorInfo> _unsupported = new(StringComparer.Ordinal);
    private readonly List<TensorInfo> _all = [];

    private GgufFile(MappedFile file)
    {
        _file = file;
        _cursor = new GgufCursor(file);
        if (file.Length < 4 || !file.Span(0, 4).SequenceEqual("GGUF"u8))
        {
            throw new ModelFileException(file.Path, "does not start with the letters GGUF, expected a GGUF file; check the path or download it again");
        }

        _cursor.UInt32("the magic");
        uint version = _cursor.UInt32("the version");
        if (version is not (2 or 3))
        {
            string what = version > 0xFFFF ? " (a big-endian file)" : "";
            throw new ModelFileException(file.Path, $"is GGUF version {version}{what}, expected version 2 or 3, little endian; convert the model again with current tools");
        }

        ulong tensors = _cursor.UInt64("the tensor count"), pairs = _cursor.UInt64("the metadata count");

        // The smallest tensor entry has 8 + 4 + 8 + 4 + 8 bytes, the smallest pair 8 + 4 + 1.
        if (tensors > (ulong)file.Length / 32 || pairs > (ulong)file.Length / 13)
        {
            throw _cursor.Bad($"announces {tensors} tensors and {pairs} metadata pairs, more than its {file.Length} bytes can hold");
        }

        ReadMetadata(pairs);
        ReadTensors(tensors);
    }

    /// <summary>The path it was opened from.</summary>
    public string Path => _file.Path;

    /// <summary>Size of the file in bytes.</summary>
    public long FileBytes => _file.Length;

    /// <summary>
    /// Key/value pairs: numbers as the .NET type of their width (byte, sbyte, ushort, short, uint, int, ulong, long, float, double),
    /// bool, string; arrays as string[], bool[] and typed number arrays, arrays of arrays as object[].
    /// </summary>
    public IReadOnlyDictionary<string, object> Metadata => _metadata;

    /// <summary>Tensors of the types in <see cref="TensorType"/> by name.</summary>
    public IReadOnlyDictionary<string, TensorView> Tensors => _tensors;

    /// <summary>Every tensor, in the order of the file, also those of types without a <see cref="TensorView"/>.</summary>
    public IReadOnlyList<TensorInfo> AllTensors => _all;

    /// <summary>Tensor data starts at multiples of this many bytes.</summary>
    public int Alignment { get; private set; } = DefaultAlignment;

    /// <summary>Maps and checks a file.</summary>
    /// <exception cref="ModelFileException">Unreadable or malformed.</exception>
    public static GgufFile Open(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        MappedFile file = MappedFile.Open(path);
        try
        {
            return new GgufFile(file);
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

    private void ReadMetadata(ulong pairs)
    {
        for (ulong i = 0; i < pairs; i++)
        {
            string key = _cursor.String("a metadata key");
            if (key.Length == 0 || !_metadata.TryAdd(key, ""))
            {
                throw _cursor.Bad($"has the metadata key {FileErrors.Quote(key)} empty or twice");
            }

            string what = $"metadata {FileErrors.Quote(key)}";
            _metadata[key] = _cursor.Value(_cursor.UInt32(what), what);
        }

        if (_metadata.TryGetValue("general.alignment", out object? alignment))
        {
            Alignment = alignment is uint bytes and > 0 and <= 1 << 20 && uint.IsPow2(bytes)
                ? (int)bytes
                : throw _cursor.Bad($"has general.alignment {FileErrors.Plain(alignment.ToString() ?? "")} ({alignment.GetType().Name}), expected a power of two up to {1 << 20}");
        }
    }

    private unsafe void ReadTensors(ulong count)
    {
        List<(uint Type, ulong Offset)> placed = [];
        HashSet<string> names = new(StringComparer.Ordinal);
        for (ulong i = 0; i < count; i++)
        {
            string name = _cursor.String("a tensor name");
            if (name.Length == 0 || !names.Add(name))
            {
                throw _cursor.Bad($"has the tensor name {FileErrors.Quote(name)} empty or twice");
            }

            string what = $"tensor {FileErrors.Quote(name)}";
            uint dimensions = _cursor.UInt32(what);
            if (dimensions > TensorSizes.MaxDimensions)
            {
                throw _cursor.Bad($"{what} has {dimensions} dimensions, expected at most {TensorSizes.MaxDimensions}");
            }

            long[] shape = new long[dimensions];
            for (int d = shape.Length - 1; d >= 0; d--)
            {
                ulong size = _cursor.UInt64(what);
                shape[d] = size <= long.MaxValue ? (long)size : throw _cursor.Bad($"{what} has a dimension of {size}, which is more than any file can hold");
            }

            uint type = _cursor.UInt32(what);
            ulong offset = _cursor.UInt64(what);
            placed.Add((type, offset));
            _all.Add(Describe(name, what, type, shape));
        }

        long dataStart = Align(_cursor.Position);
        if (count == 0)
        {
            return;
        }

        CheckLayout(placed, dataStart);
        for (int i = 0; i < _all.Count; i++)
        {
            TensorInfo info = _all[i];
            if (GgufTypes.ToTensorType(placed[i].Type) is TensorType type)
            {
                nint data = (nint)(_file.Start + dataStart + (long)placed[i].Offset);
                _tensors.Add(info.Name, new TensorView(info.Name, type, info.Shape, data, Path));
            }
            else
            {
                _unsupported.Add(info.Name, info);
            }
        }
    }

    private TensorInfo Describe(string name, string what, uint type, long[] shape)
    {
        (string typeName, int blockElements, int blockBytes) = GgufTypes.Find(type)
            ?? throw _cursor.Bad($"{what} has the unknown ggml type {type}");
        if (!TensorSizes.TryElements(shape, out long elements) || !TensorSizes.TryBytes(elements, blockElements, blockBytes, out long bytes))
        {
            throw _cursor.Bad($"{what} has shape {FileErrors.Shape(shape)}, which is more than any file can hold");
        }

        long columns = shape.Length == 0 ? 1 : shape[^1];
        return columns % blockElements == 0
            ? new TensorInfo(name, typeName, shape, bytes, Path)
            : throw _cursor.Bad($"{what} has rows of {columns} elements, expected a multiple of {typeName}'s block of {blockElements}");
    }

    /// <summary>In order of offsets every tensor starts where the one before it ends, rounded up to the alignment; nothing follows the last but padding.</summary>
    private void CheckLayout(List<(uint Type, ulong Offset)> placed, long dataStart)
    {
        long dataBytes = Math.Max(0, _file.Length - dataStart), covered = 0;
        foreach ((TensorInfo tensor, ulong offset) in _all.Zip(placed, static (t, p) => (t, p.Offset)).OrderBy(static p => p.Offset).ThenBy(static p => p.t.ByteLength))
        {
            if (offset % (ulong)Alignment != 0)
            {
                throw _cursor.Bad($"tensor {FileErrors.Quote(tensor.Name)} starts at byte {offset} of the data, expected a multiple of the alignment {Alignment}");
            }

            if (offset > (ulong)dataBytes || tensor.ByteLength > dataBytes - (long)offset)
            {
                throw _cursor.Bad($"tensor {FileErrors.Quote(tensor.Name)} has {tensor.ByteLength} bytes at offset {offset}, but the data section has {dataBytes}");
            }

            if ((long)offset != Align(covered))
            {
                string what = (long)offset < covered ? "overlaps the tensor before it" : "leaves a hole before it";
                throw _cursor.Bad($"tensor {FileErrors.Quote(tensor.Name)} starts at byte {offset} of the data and {what}, expected {Align(covered)}");
            }

            covered = (long)offset + tensor.ByteLength;
        }

        if (dataBytes > Align(covered))
        {
            throw _cursor.Bad($"has {dataBytes - covered} bytes after its last tensor, expected at most padding to {Alignment}");
        }
    }

    private long Align(long position) => (position + Alignment - 1) / Alignment * Alignment;
}
