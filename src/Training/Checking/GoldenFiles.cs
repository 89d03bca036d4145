using System.Buffers.Binary;
using System.Text.Json;
using LowLevelSpec.Models;

namespace LowLevelSpec.Training.Checking;

/// <summary>training.safetensors and training.json of one case of golden vectors.</summary>
internal sealed class GoldenFiles : IDisposable
{
    private readonly SafetensorsFile _tensors;
    private readonly JsonDocument _json;

    /// <summary>Opens the case in <paramref name="folder"/>.</summary>
    public GoldenFiles(string folder)
    {
        Folder = folder;
        _tensors = SafetensorsFile.Open(Path.Combine(folder, "training.safetensors"));
        string path = Path.Combine(folder, "training.json");
        try
        {
            _json = JsonDocument.Parse(File.ReadAllBytes(path));
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            _tensors.Dispose();
            throw new ModelFileException(path, $"can't be read as golden values: {e.Message}", e);
        }
    }

    /// <summary>The case's folder.</summary>
    public string Folder { get; }

    /// <summary>training.json.</summary>
    public JsonElement Json => _json.RootElement;

    /// <summary>Names of all tensors.</summary>
    public IEnumerable<string> Names => _tensors.Tensors.Keys;

    /// <summary>Whether there is such a tensor.</summary>
    public bool Has(string name) => _tensors.Tensors.ContainsKey(name);

    /// <summary>Dimensions of a tensor.</summary>
    public IReadOnlyList<long> Shape(string name) => _tensors.Get(name).Shape;

    /// <summary>An F32 tensor, flat.</summary>
    public float[] Floats(string name) => Dequantizer.All(_tensors.Get(name));

    /// <summary>An I64 or U8 tensor, flat.</summary>
    public unsafe long[] Integers(string name)
    {
        TensorView view = _tensors.Get(name);
        ReadOnlySpan<byte> bytes = new((void*)view.Data, checked((int)view.ByteLength));
        if (view.Type == TensorType.U8)
        {
            return [.. bytes.ToArray().Select(static b => (long)b)];
        }

        long[] values = new long[view.Elements];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = BinaryPrimitives.ReadInt64LittleEndian(bytes[(i * sizeof(long))..]);
        }

        return values;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _tensors.Dispose();
        _json.Dispose();
    }
}
