using System.Numerics;

namespace LowLevelSpec.Training.Compute;

/// <summary>
/// Activations of a training step: handed out one after the other, given back all at once or down to a mark, so that steps after the
/// first allocate nothing large. A tensor is valid until <see cref="Release"/> goes below it. One thread at a time.
/// </summary>
internal sealed class Arena<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private const int ChunkElements = 1 << 22;
    private const int Alignment = 16;

    private readonly List<T[]> _chunks = [];
    private int _chunk;
    private int _used;

    /// <summary>Most elements in use so far, in whole chunks.</summary>
    public long Capacity => _chunks.Sum(static c => c.LongLength);

    /// <summary>Where the arena stands; see <see cref="Release"/>.</summary>
    public (int Chunk, int Used) Mark() => (_chunk, _used);

    /// <summary>Gives back everything handed out since <paramref name="mark"/>.</summary>
    public void Release((int Chunk, int Used) mark) => (_chunk, _used) = mark;

    /// <summary>Gives back everything.</summary>
    public void Reset() => Release((0, 0));

    /// <summary>A [rows, columns] tensor with arbitrary content.</summary>
    public Tensor<T> Allocate(int rows, int columns)
    {
        int elements = checked(rows * columns), needed = (elements + Alignment - 1) / Alignment * Alignment;
        while (_chunk < _chunks.Count && _used + needed > _chunks[_chunk].Length)
        {
            _chunk++;
            _used = 0;
        }

        if (_chunk == _chunks.Count)
        {
            _chunks.Add(GC.AllocateUninitializedArray<T>(Math.Max(needed, ChunkElements), pinned: true));
        }

        Tensor<T> tensor = new(_chunks[_chunk], _used, rows, columns);
        _used += needed;
        return tensor;
    }

    /// <summary>A zeroed [rows, columns] tensor.</summary>
    public Tensor<T> Zeros(int rows, int columns)
    {
        Tensor<T> tensor = Allocate(rows, columns);
        tensor.Clear();
        return tensor;
    }
}
