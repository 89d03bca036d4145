using System.Runtime.InteropServices;
using LowLevelSpec.Engine.Measuring;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Memory of repacked weights, one after the other in the order they are asked for, which is the order a pass reads them in. Large pieces
/// with large pages: with pages of 4 KiB a pass would walk the page tables once per row of a matrix. Belongs to whoever holds the team's gate.
/// </summary>
internal sealed unsafe class WeightArena : IDisposable
{
    private const int Alignment = 64;
    private const long PieceBytes = 32 << 20;

    private readonly List<NativeBlock> _pieces = [];
    private byte* _next;
    private long _left;

    /// <summary>Bytes handed out.</summary>
    public long Bytes { get; private set; }

    /// <summary>Zeroed memory, aligned to a cache line, for the arena's lifetime.</summary>
    /// <exception cref="InputException">The memory is not there.</exception>
    public byte* Take(long bytes, string purpose)
    {
        bytes = (bytes + Alignment - 1) / Alignment * Alignment;
        if (bytes > _left)
        {
            Grow(bytes, purpose);
        }

        byte* taken = _next;
        NativeMemory.Clear(taken, (nuint)bytes);
        _next += bytes;
        _left -= bytes;
        Bytes += bytes;
        return taken;
    }

    public void Dispose()
    {
        _pieces.ForEach(static piece => piece.Dispose());
        _pieces.Clear();
        _next = null;
        _left = 0;
    }

    private void Grow(long bytes, string purpose)
    {
        // Whole large pages, more of them each time, so that a few rows take little; what a piece has left is given up, and pages never touched cost nothing.
        long size = Math.Max(Math.Min(PieceBytes, LargePages.Bytes << Math.Min(_pieces.Count, 8)), (bytes + LargePages.Bytes - 1) / LargePages.Bytes * LargePages.Bytes);
        try
        {
            _pieces.Add(new NativeBlock(size, purpose, LargePages.Bytes));
        }
        catch (InputException e)
        {
            throw new InputException($"{purpose} needs {bytes} bytes, which this machine cannot give; use a smaller model, or --arithmetic exact, which keeps no copy", e);
        }

        _next = _pieces[^1].Pointer;
        _left = size;
        LargePages.Advise(_next, size);
    }
}
