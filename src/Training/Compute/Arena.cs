using System.Numerics;

namespace LowLevelSpec.Training.Compute;

/// <summary>Where an arena stands.</summary>
/// <param name="Chunk">Chunk in use.</param>
/// <param name="Used">Elements of it handed out.</param>
/// <param name="Live">Elements handed out in all.</param>
internal readonly record struct ArenaMark(int Chunk, int Used, long Live);

/// <summary>
/// Activations of a training step: handed out one after the other, given back all at once or down to a mark, so that steps after the
/// first few allocate nothing large. A tensor is valid until <see cref="Release"/> goes below it. One thread at a time.
/// </summary>
internal sealed class Arena<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private const int ChunkElements = 1 << 22;
    private const int Alignment = 16;

    private readonly List<T[]> _chunks = [];
    private ArenaMark _at;
    private long _peak;

    /// <summary>Elements of all chunks.</summary>
    public long Capacity => _chunks.Sum(static c => c.LongLength);

    /// <summary>Where the arena stands; see <see cref="Release"/>.</summary>
    public ArenaMark Mark() => _at;

    /// <summary>Gives back everything handed out since <paramref name="mark"/>.</summary>
    public void Release(ArenaMark mark)
    {
        _at = mark;
        if (mark.Live == 0 && _chunks.Count > 1 && _peak < Array.MaxLength)
        {
            Merge();
        }
    }

    /// <summary>Gives back everything.</summary>
    public void Reset() => Release(default);

    /// <summary>A [rows, columns] tensor with arbitrary content.</summary>
    public Tensor<T> Allocate(int rows, int columns)
    {
        int elements = checked(rows * columns), needed = checked(elements + Alignment - 1) / Alignment * Alignment;
        (int chunk, int used, long live) = _at;
        while (chunk < _chunks.Count && used + (long)needed > _chunks[chunk].Length)
        {
            chunk++;
            used = 0;
        }

        if (chunk == _chunks.Count)
        {
            _chunks.Add(GC.AllocateUninitializedArray<T>(Math.Max(needed, ChunkElements), pinned: true));
        }

        _at = new ArenaMark(chunk, used + needed, live + needed);
        _peak = Math.Max(_peak, _at.Live);
        return new Tensor<T>(_chunks[chunk], used, rows, columns);
    }

    /// <summary>A zeroed [rows, columns] tensor.</summary>
    public Tensor<T> Zeros(int rows, int columns)
    {
        Tensor<T> tensor = Allocate(rows, columns);
        tensor.Clear();
        return tensor;
    }

    /// <summary>
    /// One chunk for all: batches of other sizes would otherwise leave gaps in chunks made for the first ones. A tenth more than ever used,
    /// so that a slightly larger batch does not start this again.
    /// </summary>
    private void Merge()
    {
        int elements = (int)Math.Min(Array.MaxLength, _peak + (_peak / 10));
        _chunks.Clear();
        GC.Collect();
        _chunks.Add(GC.AllocateUninitializedArray<T>(elements, pinned: true));
    }
}
