using ILGPU;
using ILGPU.Runtime;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>
/// Integers that the host describes a call with (tokens, positions, rows), on the device. A level of drafting hands over the same few numbers several
/// times; what the device already holds is not copied again, since each copy waits.
/// </summary>
internal sealed class DeviceInts(Accelerator accelerator) : IDisposable
{
    private MemoryBuffer1D<int, Stride1D.Dense>? _memory;
    private int[] _host = [];
    private int _count;

    /// <summary>The values on the device; valid until the next call.</summary>
    public ArrayView<int> Upload(ReadOnlySpan<int> values)
    {
        if (_memory is null || values.Length > _host.Length)
        {
            _memory?.Dispose();
            int capacity = Math.Max(64, Math.Max(values.Length, 2 * _host.Length));
            _memory = accelerator.Allocate1D<int>(capacity);
            _host = new int[capacity];
            _count = 0;
        }

        if (values.Length > _count || !values.SequenceEqual(_host.AsSpan(0, values.Length)))
        {
            values.CopyTo(_host);
            _count = values.Length;
            ArrayView<int> view = _memory.View;
            view.SubView(0, _count).CopyFromCPU(accelerator.DefaultStream, values);
        }

        return _memory.View;
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose() => _memory?.Dispose();
}

/// <summary>A growing array on the device that kernels write results to.</summary>
internal sealed class DeviceArray<T>(Accelerator accelerator) : IDisposable
    where T : unmanaged
{
    private MemoryBuffer1D<T, Stride1D.Dense>? _memory;

    /// <summary>At least <paramref name="count"/> elements; what they held is lost when it grows.</summary>
    public ArrayView<T> Take(int count)
    {
        if (_memory is null || count > _memory.Length)
        {
            _memory?.Dispose();
            _memory = accelerator.Allocate1D<T>(Math.Max(64, count));
        }

        return _memory.View;
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose() => _memory?.Dispose();
}
