using ILGPU;
using ILGPU.Runtime;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>The kernels for one accelerator, each compiled when it is first used: a drafter needs about half of them. Used by one thread at a time.</summary>
internal sealed class IlgpuKernels(Accelerator accelerator)
{
    public Action<KernelConfig, WeightData, DeviceMatrix, DeviceMatrix, ArrayView<float>, int, int> MatMul =>
        field ??= accelerator.LoadStreamKernel<WeightData, DeviceMatrix, DeviceMatrix, ArrayView<float>, int, int>(MatMulKernel.Run);

    public Action<KernelConfig, DeviceMatrix, ArrayView<float>, float, DeviceMatrix> RmsNorm =>
        field ??= accelerator.LoadStreamKernel<DeviceMatrix, ArrayView<float>, float, DeviceMatrix>(RowKernels.RmsNorm);

    public Action<Index1D, WeightData, ArrayView<int>, DeviceMatrix> Embed =>
        field ??= accelerator.LoadAutoGroupedStreamKernel<Index1D, WeightData, ArrayView<int>, DeviceMatrix>(RowKernels.Embed);

    public Action<Index1D, DeviceMatrix, DeviceMatrix, DeviceMatrix> SwiGlu =>
        field ??= accelerator.LoadAutoGroupedStreamKernel<Index1D, DeviceMatrix, DeviceMatrix, DeviceMatrix>(RowKernels.SwiGlu);

    public Action<Index1D, DeviceMatrix, ArrayView<float>, ArrayView<float>, ArrayView<int>, int> Rope =>
        field ??= accelerator.LoadAutoGroupedStreamKernel<Index1D, DeviceMatrix, ArrayView<float>, ArrayView<float>, ArrayView<int>, int>(RowKernels.Rope);

    public Action<Index1D, DeviceMatrix, int, DeviceMatrix> GroupMean =>
        field ??= accelerator.LoadAutoGroupedStreamKernel<Index1D, DeviceMatrix, int, DeviceMatrix>(RowKernels.GroupMean);

    public Action<Index1D, DeviceMatrix, ArrayView<int>, DeviceMatrix> CopyRows =>
        field ??= accelerator.LoadAutoGroupedStreamKernel<Index1D, DeviceMatrix, ArrayView<int>, DeviceMatrix>(RowKernels.CopyRows);

    public Action<Index1D, DeviceMatrix, DeviceMatrix, int, ArrayView<int>, ArrayView<float>, ArrayView<float>, long, long, int> StoreKv =>
        field ??= accelerator.LoadAutoGroupedStreamKernel<Index1D, DeviceMatrix, DeviceMatrix, int, ArrayView<int>, ArrayView<float>, ArrayView<float>, long, long, int>(CacheKernels.Store);

    public Action<Index1D, ArrayView<float>, ArrayView<float>, int, int, long, int, DeviceMatrix> GatherLayers =>
        field ??= accelerator.LoadAutoGroupedStreamKernel<Index1D, ArrayView<float>, ArrayView<float>, int, int, long, int, DeviceMatrix>(CacheKernels.GatherLayers);

    public Action<Index1D, ArrayView<float>, ArrayView<float>, int, int, ArrayView<int>, long, int> KeepRows =>
        field ??= accelerator.LoadAutoGroupedStreamKernel<Index1D, ArrayView<float>, ArrayView<float>, int, int, ArrayView<int>, long, int>(CacheKernels.KeepRows);

    public Action<KernelConfig, DeviceMatrix, DeviceMatrix, DeviceKeys, ArrayView<int>, ArrayView<int>, int, int> Attention =>
        field ??= accelerator.LoadStreamKernel<DeviceMatrix, DeviceMatrix, DeviceKeys, ArrayView<int>, ArrayView<int>, int, int>(AttentionKernel.Run);

    public Action<KernelConfig, DeviceMatrix, int, int, ArrayView<int>, ArrayView<float>, ArrayView<int>> Select =>
        field ??= accelerator.LoadStreamKernel<DeviceMatrix, int, int, ArrayView<int>, ArrayView<float>, ArrayView<int>>(SelectionKernel.Run);
}

/// <summary>A RoPE table's cosines and sines on the device; follows the table's growth.</summary>
internal sealed class DeviceRope(Accelerator accelerator) : IDisposable
{
    private float[]? _source;
    private MemoryBuffer1D<float, Stride1D.Dense>? _cos, _sin;

    /// <summary>Cosines and sines [positions, D/2].</summary>
    public (ArrayView<float> Cos, ArrayView<float> Sin) Covering(RopeTable table, int positions)
    {
        (float[] cos, float[] sin) = table.Covering(positions);
        if (!ReferenceEquals(_source, cos))
        {
            Dispose();
            _cos = accelerator.Allocate1D(cos);
            _sin = accelerator.Allocate1D(sin);
            _source = cos;
        }

        return (_cos!.View, _sin!.View);
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        _cos?.Dispose();
        _sin?.Dispose();
        _source = null;
    }
}
