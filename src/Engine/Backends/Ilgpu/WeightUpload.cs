using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>Copies a weight to the device, rows in logical order, a few megabytes at a time.</summary>
internal static class WeightUpload
{
    private const int ChunkElements = 1 << 20, Q8Block = 32;

    /// <summary>Copies <paramref name="view"/>; what it allocates joins <paramref name="owned"/>.</summary>
    public static IlgpuWeight Load(
        Accelerator accelerator,
        TensorView view,
        List<IDisposable> owned,
        MemoryBuffer1D<float, Stride1D.Dense> noFloats,
        MemoryBuffer1D<ushort, Stride1D.Dense> noHalves,
        MemoryBuffer1D<sbyte, Stride1D.Dense> noBytes)
    {
        bool vector = view.Shape.Count <= 1 || view.Rows == 1;
        IlgpuStorage storage = view.Type switch
        {
            TensorType.BF16 when !vector => IlgpuStorage.BFloat16,
            TensorType.Q8_0 when !vector => IlgpuStorage.Q8,
            _ => IlgpuStorage.Float,
        };
        switch (storage)
        {
            case IlgpuStorage.BFloat16:
                MemoryBuffer1D<ushort, Stride1D.Dense> halves = Allocate<ushort>(accelerator, view.Elements, owned);
                InChunks(accelerator, view, halves, view.Columns, static (v, row, to) => MemoryMarshal.Cast<byte, ushort>(Stored(v, row)).CopyTo(to));
                return new IlgpuWeight(view, storage, noFloats, halves, noBytes);
            case IlgpuStorage.Q8:
                MemoryBuffer1D<sbyte, Stride1D.Dense> bytes = Allocate<sbyte>(accelerator, view.Elements, owned);
                MemoryBuffer1D<float, Stride1D.Dense> scales = Allocate<float>(accelerator, view.Elements / Q8Block, owned);
                InChunks(accelerator, view, bytes, view.Columns, static (v, row, to) => Split(Stored(v, row), to, []));
                InChunks(accelerator, view, scales, view.Columns / Q8Block, static (v, row, to) => Split(Stored(v, row), [], to));
                return new IlgpuWeight(view, storage, scales, noHalves, bytes);
            default:
                MemoryBuffer1D<float, Stride1D.Dense> floats = Allocate<float>(accelerator, view.Elements, owned);
                InChunks(accelerator, view, floats, view.Columns, Dequantizer.Row);
                return new IlgpuWeight(view, storage, floats, noHalves, noBytes);
        }
    }

    private delegate void ReadRow<T>(TensorView view, int row, Span<T> to);

    private static MemoryBuffer1D<T, Stride1D.Dense> Allocate<T>(Accelerator accelerator, long length, List<IDisposable> owned)
        where T : unmanaged
    {
        MemoryBuffer1D<T, Stride1D.Dense> memory = accelerator.Allocate1D<T>(Math.Max(1, length));
        owned.Add(memory);
        return memory;
    }

    private static void InChunks<T>(Accelerator accelerator, TensorView view, MemoryBuffer1D<T, Stride1D.Dense> memory, int columns, ReadRow<T> read)
        where T : unmanaged
    {
        int rows = view.Rows, rowsPerChunk = Math.Clamp(ChunkElements / Math.Max(1, columns), 1, Math.Max(1, rows));
        T[] chunk = new T[rowsPerChunk * columns];
        ArrayView<T> whole = memory.View;
        for (int first = 0; first < rows; first += rowsPerChunk)
        {
            int count = Math.Min(rowsPerChunk, rows - first);
            for (int row = 0; row < count; row++)
            {
                read(view, first + row, chunk.AsSpan(row * columns, columns));
            }

            whole.SubView((long)first * columns, (long)count * columns).CopyFromCPU(accelerator.DefaultStream, new ReadOnlySpan<T>(chunk, 0, count * columns));
        }
    }

    /// <summary>The stored bytes of logical row <paramref name="row"/>.</summary>
    private static unsafe ReadOnlySpan<byte> Stored(TensorView view, int row) =>
        new((byte*)view.Data + (view.StoredRow(row) * view.RowBytes), checked((int)view.RowBytes));

    /// <summary>Takes blocks of Q8_0 (scale as F16, 32 signed bytes) apart; an empty span is left out.</summary>
    private static void Split(ReadOnlySpan<byte> blocks, Span<sbyte> values, Span<float> scales)
    {
        const int Bytes = sizeof(ushort) + Q8Block;
        for (int block = 0; block * Bytes < blocks.Length; block++)
        {
            ReadOnlySpan<byte> from = blocks.Slice(block * Bytes, Bytes);
            if (values.IsEmpty)
            {
                scales[block] = (float)MemoryMarshal.Read<System.Half>(from);
            }
            else
            {
                MemoryMarshal.Cast<byte, sbyte>(from[sizeof(ushort)..]).CopyTo(values[(block * Q8Block)..]);
            }
        }
    }
}
