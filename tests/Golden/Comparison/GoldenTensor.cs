using System.Runtime.InteropServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>A tensor of the golden files or of the engine's run, on the heap: either floats or integers (ids, positions, masks).</summary>
/// <param name="Shape">Dimensions, outermost first.</param>
/// <param name="Floats">Values of a float tensor, row-major; else null.</param>
/// <param name="Integers">Values of an integer tensor, row-major; else null.</param>
internal sealed record GoldenTensor(int[] Shape, float[]? Floats, long[]? Integers)
{
    /// <summary>Number of values.</summary>
    public int Count => Floats?.Length ?? Integers!.Length;

    /// <summary>A float tensor.</summary>
    public static GoldenTensor Of(float[] values, params int[] shape) => new(shape, values, null);

    /// <summary>An integer tensor.</summary>
    public static GoldenTensor Of(long[] values, params int[] shape) => new(shape, null, values);

    /// <summary>A vector of ids.</summary>
    public static GoldenTensor Of(ReadOnlySpan<int> values)
    {
        long[] wide = new long[values.Length];
        for (int i = 0; i < wide.Length; i++)
        {
            wide[i] = values[i];
        }

        return Of(wide, wide.Length);
    }

    /// <summary>The integers as ids.</summary>
    /// <exception cref="InputException">A float tensor, or a value beyond 32 bits.</exception>
    public int[] Ids()
    {
        if (Integers is null || Integers.Any(static v => v is < int.MinValue or > int.MaxValue))
        {
            throw new InputException("a golden tensor holds floats or huge values where ids belong");
        }

        return Array.ConvertAll(Integers, static v => (int)v);
    }
}

/// <summary>A golden safetensors file, read whole.</summary>
internal static class GoldenFile
{
    /// <summary>All tensors by name.</summary>
    /// <exception cref="InputException">Malformed, or a tensor of a type that golden files do not use.</exception>
    public static SortedDictionary<string, GoldenTensor> Read(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        SortedDictionary<string, GoldenTensor> tensors = new(StringComparer.Ordinal);
        foreach (TensorInfo info in file.AllTensors)
        {
            tensors.Add(info.Name, ToTensor(file.Get(info.Name)));
        }

        return tensors;
    }

    private static unsafe GoldenTensor ToTensor(TensorView view)
    {
        int[] shape = [.. view.Shape.Select(static d => checked((int)d))];
        ReadOnlySpan<byte> bytes = new((void*)view.Data, checked((int)view.ByteLength));

        // The format promises no alignment, so values are copied as bytes.
        switch (view.Type)
        {
            case TensorType.F32:
                float[] floats = new float[view.Elements];
                bytes.CopyTo(MemoryMarshal.AsBytes(floats.AsSpan()));
                return GoldenTensor.Of(floats, shape);
            case TensorType.I64:
                long[] integers = new long[view.Elements];
                bytes.CopyTo(MemoryMarshal.AsBytes(integers.AsSpan()));
                return GoldenTensor.Of(integers, shape);
            case TensorType.U8:
                return GoldenTensor.Of(Array.ConvertAll(bytes.ToArray(), static b => (long)b), shape);
            default:
                throw new InputException($"{view.FilePath}: tensor '{view.Name}' has type {view.Type}, expected F32, I64 or U8 in a golden file");
        }
    }
}
