using System.Runtime.InteropServices;
using LowLevelSpec.Interop.Cuda.Kernels;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>The rows of a pass as kernels read them.</summary>
/// <param name="Rows">Address of [n] rows.</param>
/// <param name="Ancestors">Address of the ancestor lists.</param>
/// <param name="Count">Address of the number of rows that the device counted, or 0: all of the batch.</param>
/// <param name="MostKeys">Most keys that a row sees: sizes the scratch of attention.</param>
internal readonly record struct DeviceRows(ulong Rows, ulong Ancestors, ulong Count, int MostKeys);

/// <summary>Uploads passes' rows; the layers of a pass share one upload.</summary>
internal sealed class RowUploads(UploadRing ring)
{
    private const int Slots = 4;

    private readonly (PassBatch? Batch, int Version, int Round, DeviceRows Rows)[] _recent = new (PassBatch?, int, int, DeviceRows)[Slots];
    private int _next;
    private DeviceRow[] _rows = [];
    private int[] _ancestors = [];

    /// <summary>The rows of a batch on the device, valid for the work enqueued next.</summary>
    public DeviceRows Of(PassBatch batch)
    {
        if (batch.Planned is DeviceRows planned)
        {
            return planned;
        }

        foreach ((PassBatch? known, int version, int round, DeviceRows rows) in _recent)
        {
            if (ReferenceEquals(known, batch) && version == batch.Version && round == ring.Round)
            {
                return rows;
            }
        }

        DeviceRows uploaded = Upload(batch);
        _recent[_next] = (batch, batch.Version, ring.Round, uploaded);
        _next = (_next + 1) % Slots;
        return uploaded;
    }

    private DeviceRows Upload(PassBatch batch)
    {
        int n = batch.Count, total = 0, most = 0;
        for (int i = 0; i < n; i++)
        {
            total += batch.Ancestors(i).Length;
        }

        Grow(ref _rows, n);
        Grow(ref _ancestors, total);
        ReadOnlySpan<int> tokens = batch.Tokens, positions = batch.Positions, cacheRows = batch.CacheRows, prefix = batch.Prefix;
        for (int i = 0, at = 0; i < n; i++)
        {
            CudaKvCache cache = batch.Cache(i) as CudaKvCache ?? throw new ArgumentException("a cache of the batch was not allocated by the CUDA backend");
            ReadOnlySpan<int> list = batch.Ancestors(i);
            foreach (int row in list)
            {
                OperationChecks.Holds((uint)row < (uint)cache.Capacity, "an ancestor row lies outside the cache");
            }

            list.CopyTo(_ancestors.AsSpan(at));
            _rows[i] = new DeviceRow
            {
                Keys = cache.Keys,
                Values = cache.Values,
                Capacity = cache.Capacity,
                Token = tokens[i],
                Position = positions[i],
                CacheRow = cacheRows[i],
                Prefix = prefix[i],
                AncestorFirst = at,
                AncestorCount = list.Length,
            };
            most = Math.Max(most, prefix[i] + list.Length);
            at += list.Length;
        }

        ring.Reserve((n * Marshal.SizeOf<DeviceRow>()) + (total * sizeof(int)) + 64);
        ulong rows = ring.Upload<DeviceRow>(_rows.AsSpan(0, n));
        return new DeviceRows(rows, ring.Upload<int>(_ancestors.AsSpan(0, total)), 0, most);
    }

    private static void Grow<T>(ref T[] array, int length)
    {
        if (array.Length < length)
        {
            array = new T[Math.Max(length, 2 * array.Length)];
        }
    }
}
