using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>A backend and the buffers and weights of one test; frees all of them.</summary>
internal sealed class Bench(IBackend backend) : IDisposable
{
    private readonly List<IDisposable> _owned = [];

    public IBackend Backend { get; } = backend;

    /// <summary>Normally distributed values, the same for the same seed.</summary>
    public static float[] Values(int count, int seed, float deviation = 1f)
    {
        Random random = new(Seeds.Of(seed));
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            values[i] = (float)(deviation * radius * Math.Cos(2 * Math.PI * random.NextDouble()));
        }

        return values;
    }

    /// <summary>A matrix at an odd offset with gaps between its rows, so that strides and alignment are never what a kernel would like.</summary>
    public Matrix Matrix(int rows, int columns, float[]? values = null, int gap = 3)
    {
        int stride = columns + gap;
        TensorBuffer buffer = Own(Backend.Allocate(5 + ((long)rows * stride), "test"));
        Matrix matrix = new(buffer, 5, rows, columns, stride);
        if (values is not null)
        {
            Backend.Write(values, matrix);
        }

        return matrix;
    }

    public Matrix Random(int rows, int columns, int seed, float deviation = 1f, int gap = 3) =>
        Matrix(rows, columns, Values(rows * columns, seed, deviation), gap);

    public float[] Read(Matrix matrix)
    {
        float[] values = new float[matrix.Rows * matrix.Columns];
        Backend.Read(matrix, values);
        return values;
    }

    /// <summary>A weight of random content together with its values in stored row order.</summary>
    public (Weight Weight, float[] Values) Weight(TensorType type, int rows, int columns, int seed, int interleavedHeads = 0)
    {
        byte[] bytes = StoredRows.Random(type, rows * columns, seed);
        return (Load(type, bytes, [rows, columns], interleavedHeads), StoredRows.Decode(type, bytes, rows * columns));
    }

    public Weight Vector(float[] values, int interleavedHeads = 0)
    {
        byte[] bytes = new byte[values.Length * 4];
        Buffer.BlockCopy(values, 0, bytes, 0, bytes.Length);
        return Load(TensorType.F32, bytes, [values.Length], interleavedHeads);
    }

    public Weight Load(TensorType type, byte[] bytes, long[] shape, int interleavedHeads = 0)
    {
        GuardedMemory memory = Own(new GuardedMemory(bytes));
        return Backend.LoadWeight(new TensorView("w", type, shape, memory.Pointer, "test.gguf", interleavedHeads));
    }

    /// <summary>A drafter's f32 weight.</summary>
    public Weight LoadDraft(float[] values, long[] shape)
    {
        GuardedMemory memory = Own(new GuardedMemory(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values).ToArray()));
        return Backend.LoadDraftMatrix(new TensorView("w", TensorType.F32, shape, memory.Pointer, "test.safetensors"));
    }

    public KvCache Cache(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32) =>
        Own(Backend.AllocateKvCache(layers, kvHeads, headSize, capacity, type));

    public void Dispose()
    {
        foreach (IDisposable owned in _owned)
        {
            owned.Dispose();
        }

        Backend.Dispose();
    }

    private T Own<T>(T owned)
        where T : IDisposable
    {
        _owned.Add(owned);
        return owned;
    }
}

/// <summary>Comparisons.</summary>
internal static class Compare
{
    /// <summary>Rounding unit of f32.</summary>
    public const double Unit = 1.0 / (1 << 24);

    /// <summary>Fails unless every value is a number within its own tolerance.</summary>
    public static void Within(double[] expected, double[] tolerance, float[] actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            double error = Math.Abs(actual[i] - expected[i]);
            if (!(error <= tolerance[i]))
            {
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, expected {expected[i]:R} within {tolerance[i]:E2}");
            }
        }
    }

    /// <summary>Fails unless the bits are the same and no value is NaN.</summary>
    public static void SameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (float.IsNaN(actual[i]) || BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
            {
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, expected the bits of {expected[i]:R}");
            }
        }
    }
}
