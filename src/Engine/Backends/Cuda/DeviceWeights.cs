using System.Runtime.InteropServices;
using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>Brings weights into the order that the kernels read, in logical row order, some rows at a time.</summary>
internal static unsafe class DeviceWeights
{
    // Bytes of rows prepared before they are copied.
    private const int ChunkBytes = 4 << 20;

    /// <summary>How a stored type lies on the device.</summary>
    public static DeviceType TypeOf(TensorType type) => type switch
    {
        TensorType.BF16 => DeviceType.BF16,
        TensorType.Q8_0 or TensorType.Q5_K => DeviceType.Q8,
        TensorType.Q4_0 or TensorType.Q4_1 or TensorType.Q4_K => DeviceType.Q4,
        _ => DeviceType.F32,
    };

    /// <summary>Columns of a row on the device.</summary>
    public static int Stride(DeviceType type, int columns) => type is DeviceType.Q8 or DeviceType.Q4 ? columns : (columns + 7) / 8 * 8;

    /// <summary>A vector, or a matrix's only row, as f32.</summary>
    public static DeviceMemory Vector(CudaContext context, CudaStream stream, TensorView view, int length)
    {
        float[] values = new float[length];
        Dequantizer.Row(view, 0, values);
        DeviceMemory memory = DeviceBlocks.Allocate(context, length, sizeof(float), $"weight {view.Name}");
        Copy<float>(stream, values, memory.Address);
        return memory;
    }

    /// <summary>The rows as f32 without gaps.</summary>
    public static DeviceMemory Table(CudaContext context, CudaStream stream, TensorView view, int rows, int columns)
    {
        DeviceMemory memory = DeviceBlocks.Allocate(context, (long)rows * columns, sizeof(float), $"embedding table {view.Name}");
        Floats(stream, view, rows, columns, columns, memory.Address);
        return memory;
    }

    /// <summary>A matrix in the order of the kernels: data, scales, offsets.</summary>
    public static (DeviceMemory Data, DeviceMemory? Scales, DeviceMemory? Offsets) Matrix(CudaContext context, CudaStream stream, TensorView view, DeviceType type, int stride)
    {
        string purpose = $"weight {view.Name}";
        long elements = (long)view.Rows * stride;
        if (type is DeviceType.BF16 or DeviceType.F32)
        {
            DeviceMemory data = DeviceBlocks.Allocate(context, elements, type == DeviceType.BF16 ? sizeof(ushort) : sizeof(float), purpose);
            if (view.Type is TensorType.BF16 or TensorType.F32 && stride == view.Columns && view.InterleavedHeads == 0)
            {
                stream.CopyToDevice(data.Address, view.Data, view.ByteLength);
                stream.Synchronize();
            }
            else if (type == DeviceType.BF16)
            {
                Halves(stream, view, stride, data.Address);
            }
            else
            {
                Floats(stream, view, view.Rows, view.Columns, stride, data.Address);
            }

            return (data, null, null);
        }

        long blocks = elements / KernelLimits.QuantBlock;
        DeviceMemory codes = DeviceBlocks.Allocate(context, type == DeviceType.Q8 ? elements : elements / 2, 1, purpose);
        DeviceMemory scales = DeviceBlocks.Allocate(context, blocks, sizeof(float), purpose);
        DeviceMemory? offsets = view.Type is TensorType.Q8_0 or TensorType.Q4_0 ? null : DeviceBlocks.Allocate(context, blocks, sizeof(float), purpose);
        Blocks(stream, view, type, codes.Address, scales.Address, offsets?.Address ?? 0);
        return (codes, scales, offsets);
    }

    private static void Floats(CudaStream stream, TensorView view, int rows, int columns, int stride, ulong to)
    {
        int step = Math.Max(1, ChunkBytes / sizeof(float) / stride);
        float[] chunk = new float[(long)Math.Min(step, rows) * stride];
        for (int first = 0; first < rows; first += step)
        {
            int count = Math.Min(step, rows - first);
            for (int r = 0; r < count; r++)
            {
                Dequantizer.Row(view, first + r, chunk.AsSpan(r * stride, columns));
            }

            Copy<float>(stream, chunk.AsSpan(0, count * stride), to + ((ulong)first * (ulong)stride * sizeof(float)));
        }
    }

    private static void Halves(CudaStream stream, TensorView view, int stride, ulong to)
    {
        int step = Math.Max(1, ChunkBytes / sizeof(ushort) / stride);
        ushort[] chunk = new ushort[(long)Math.Min(step, view.Rows) * stride];
        for (int first = 0; first < view.Rows; first += step)
        {
            int count = Math.Min(step, view.Rows - first);
            for (int r = 0; r < count; r++)
            {
                Stored(view, first + r).CopyTo(MemoryMarshal.AsBytes(chunk.AsSpan(r * stride, view.Columns)));
            }

            Copy<ushort>(stream, chunk.AsSpan(0, count * stride), to + ((ulong)first * (ulong)stride * sizeof(ushort)));
        }
    }

    private static void Blocks(CudaStream stream, TensorView view, DeviceType type, ulong codesTo, ulong scalesTo, ulong offsetsTo)
    {
        int columns = view.Columns, blocks = columns / KernelLimits.QuantBlock, step = Math.Max(1, ChunkBytes / columns);
        int rowBytes = type == DeviceType.Q8 ? columns : columns / 2, most = Math.Min(step, view.Rows);
        byte[] codes = new byte[(long)most * rowBytes], row = new byte[columns];
        float[] scales = new float[most * blocks], offsets = new float[most * blocks];
        for (int first = 0; first < view.Rows; first += step)
        {
            int count = Math.Min(step, view.Rows - first);
            for (int r = 0; r < count; r++)
            {
                QuantRows.Unpack(view.Type, Stored(view, first + r), row, scales.AsSpan(r * blocks, blocks), offsets.AsSpan(r * blocks, blocks));
                Span<byte> to = codes.AsSpan(r * rowBytes, rowBytes);
                if (type == DeviceType.Q8)
                {
                    row.CopyTo(to);
                }
                else
                {
                    for (int i = 0; i < to.Length; i++)
                    {
                        to[i] = (byte)(row[2 * i] | (row[(2 * i) + 1] << 4));
                    }
                }
            }

            Copy<byte>(stream, codes.AsSpan(0, count * rowBytes), codesTo + ((ulong)first * (ulong)rowBytes));
            ulong at = (ulong)first * (ulong)blocks * sizeof(float);
            Copy<float>(stream, scales.AsSpan(0, count * blocks), scalesTo + at);
            if (offsetsTo != 0)
            {
                Copy<float>(stream, offsets.AsSpan(0, count * blocks), offsetsTo + at);
            }
        }
    }

    private static ReadOnlySpan<byte> Stored(TensorView view, int logicalRow) =>
        new((byte*)view.Data + (view.StoredRow(logicalRow) * view.RowBytes), checked((int)view.RowBytes));

    private static void Copy<T>(CudaStream stream, ReadOnlySpan<T> values, ulong to)
        where T : unmanaged
    {
        fixed (T* from = values)
        {
            stream.CopyToDevice(to, (nint)from, (long)values.Length * sizeof(T));
            stream.Synchronize();
        }
    }
}
