using ILGPU;
using ILGPU.Runtime;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>Activations on the device.</summary>
internal sealed class IlgpuBuffer : TensorBuffer
{
    private readonly MemoryBuffer1D<float, Stride1D.Dense> _memory;
    private bool _disposed;

    public IlgpuBuffer(MemoryBuffer1D<float, Stride1D.Dense> memory, long length, string purpose)
        : base(length, purpose) => _memory = memory;

    /// <summary>All elements; at least one, since a device has no empty buffers.</summary>
    public ArrayView<float> View
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _memory.View;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && !_disposed)
        {
            _disposed = true;
            _memory.Dispose();
        }
    }
}

/// <summary>Keys and values as f32 [layers, kv heads, capacity rows, head size] on the device.</summary>
internal sealed class IlgpuKvCache : KvCache
{
    private readonly MemoryBuffer1D<float, Stride1D.Dense> _keys, _values;
    private bool _disposed;

    public IlgpuKvCache(MemoryBuffer1D<float, Stride1D.Dense> keys, MemoryBuffer1D<float, Stride1D.Dense> values, int layers, int kvHeads, int headSize, int capacity)
        : base(layers, kvHeads, headSize, capacity) => (_keys, _values) = (keys, values);

    /// <summary>Keys of all layers.</summary>
    public ArrayView<float> Keys => Open(_keys);

    /// <summary>Values of all layers.</summary>
    public ArrayView<float> Values => Open(_values);

    /// <summary>Elements from one head to the next.</summary>
    public long HeadStride => (long)Capacity * HeadSize;

    /// <summary>First element of a layer.</summary>
    public long LayerOffset(int layer) => layer * KvHeads * HeadStride;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && !_disposed)
        {
            _disposed = true;
            _keys.Dispose();
            _values.Dispose();
        }
    }

    private ArrayView<float> Open(MemoryBuffer1D<float, Stride1D.Dense> memory)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return memory.View;
    }
}

/// <summary>How a weight lies on the device.</summary>
internal enum IlgpuStorage
{
    /// <summary>f32; also what F16 and the 4- to 6-bit types become, whose values it holds exactly.</summary>
    Float,

    /// <summary>bf16 as its 16 bits: ILGPU has no such type.</summary>
    BFloat16,

    /// <summary>Q8_0 taken apart: signed bytes and one f32 scale per 32 of them.</summary>
    Q8,
}

/// <summary>A weight [rows, columns] on the device, rows in logical (Hugging Face) order. Lives as long as the backend.</summary>
internal sealed class IlgpuWeight : Weight
{
    public IlgpuWeight(TensorView view, IlgpuStorage storage, MemoryBuffer1D<float, Stride1D.Dense> floats, MemoryBuffer1D<ushort, Stride1D.Dense> halves, MemoryBuffer1D<sbyte, Stride1D.Dense> bytes)
        : base(view.Name, view.Shape.Count <= 1 ? 1 : view.Rows, view.Shape.Count <= 1 ? checked((int)view.Elements) : view.Columns)
    {
        Storage = storage;
        Data = new WeightData(floats.View, halves.View, bytes.View, Columns, (int)storage);
    }

    /// <summary>Storage on the device.</summary>
    public IlgpuStorage Storage { get; }

    /// <summary>What a kernel reads.</summary>
    public WeightData Data { get; }
}
