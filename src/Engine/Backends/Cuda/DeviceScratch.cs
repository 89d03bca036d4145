using LowLevelSpec.Interop.Cuda;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>What scratch memory is for; each kind is used by one kernel, or one pair of kernels, at a time, in the stream's order.</summary>
internal enum ScratchKind
{
    Attention,
    MatMul,
    TopKeys,
    TopSums,
    TopStatus,
    TopTokens,
    TopValues,
    RowStatus,
    SampleWeights,
    SplitRows,
}

/// <summary>
/// Working memory of kernels, one piece per kind, that grows when more is asked for. With <paramref name="keepsAll"/> outgrown pieces live on, because a recorded
/// graph may use them.
/// </summary>
internal sealed class DeviceScratch(CudaContext context, bool keepsAll) : IDisposable
{
    private static readonly int Kinds = Enum.GetValues<ScratchKind>().Length;

    private readonly DeviceMemory?[] _pieces = new DeviceMemory?[Kinds];
    private readonly List<DeviceMemory> _outgrown = [];

    /// <summary>Memory of at least <paramref name="bytes"/> bytes, with undefined content.</summary>
    public ulong Get(ScratchKind kind, long bytes)
    {
        DeviceMemory? piece = _pieces[(int)kind];
        if (piece is null || piece.Bytes < bytes)
        {
            // A recorded graph asks for its final sizes, everything else grows by doubling.
            DeviceMemory grown = DeviceBlocks.Allocate(context, keepsAll ? bytes : Math.Max(bytes, 2 * (piece?.Bytes ?? 0)), 1, $"working memory of the GPU kernels ({kind})");
            if (piece is not null && keepsAll)
            {
                _outgrown.Add(piece);
            }
            else
            {
                piece?.Dispose();
            }

            _pieces[(int)kind] = piece = grown;
        }

        return piece.Address;
    }

    public void Dispose()
    {
        foreach (DeviceMemory? piece in _pieces)
        {
            piece?.Dispose();
        }

        foreach (DeviceMemory piece in _outgrown)
        {
            piece.Dispose();
        }

        Array.Clear(_pieces);
        _outgrown.Clear();
    }
}
