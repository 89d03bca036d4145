using LowLevelSpec.Interop.Cuda;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>A RoPE table's cosines and sines on the device. Grows with the table; outgrown copies stay, because recorded graphs may read them.</summary>
internal sealed unsafe class DeviceTable : IDisposable
{
    private readonly List<DeviceMemory> _all = [];

    /// <summary>Address of [<see cref="Positions"/>, D/2] cosines.</summary>
    public ulong Cos { get; private set; }

    /// <summary>Address of the sines.</summary>
    public ulong Sin { get; private set; }

    /// <summary>Positions covered.</summary>
    public int Positions { get; private set; }

    /// <summary>Copies the table where it does not cover <paramref name="positions"/> yet.</summary>
    public void Cover(CudaContext context, CudaStream stream, RopeTable table, int positions)
    {
        if (positions <= Positions)
        {
            return;
        }

        (float[] cos, float[] sin) = table.Covering(positions);
        long bytes = (long)cos.Length * sizeof(float);
        DeviceMemory memory = DeviceBlocks.Allocate(context, 2 * bytes, 1, "cosines and sines");
        _all.Add(memory);
        fixed (float* c = cos, s = sin)
        {
            stream.CopyToDevice(memory.Address, (nint)c, bytes);
            stream.CopyToDevice(memory.Address + (ulong)bytes, (nint)s, bytes);
            stream.Synchronize();
        }

        (Cos, Sin, Positions) = (memory.Address, memory.Address + (ulong)bytes, cos.Length / (table.HeadSize / 2));
    }

    public void Dispose()
    {
        foreach (DeviceMemory memory in _all)
        {
            memory.Dispose();
        }

        _all.Clear();
        Positions = 0;
    }
}

/// <summary>Positions that never change, on the device.</summary>
internal sealed unsafe class DevicePositions : IDisposable
{
    private readonly DeviceMemory _memory;

    public DevicePositions(CudaContext context, CudaStream stream, ReadOnlySpan<int> positions)
    {
        _memory = DeviceBlocks.Allocate(context, positions.Length, sizeof(int), "positions");
        fixed (int* from = positions)
        {
            stream.CopyToDevice(_memory.Address, (nint)from, positions.Length * sizeof(int));
            stream.Synchronize();
        }
    }

    /// <summary>Address of the first.</summary>
    public ulong Address => _memory.Address;

    public void Dispose() => _memory.Dispose();
}
