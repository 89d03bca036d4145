using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// A weight in the file's own mapping, read in its storage type. A single row (a norm's gain, a bias) is also kept as f32.
/// </summary>
internal sealed unsafe class CpuWeight : Weight
{
    private readonly float[]? _vector;
    private bool? _hasIntegers;

    /// <param name="view">Where it lies.</param>
    /// <param name="arena">Where its repacked form goes.</param>
    public CpuWeight(TensorView view, WeightArena arena)
        : this(view, arena, view.Shape.Count <= 1 ? checked((int)view.Elements) : view.Columns)
    {
    }

    /// <summary>A matrix of <paramref name="columns"/> columns whose rows are stored with more: zeros, which fill up the last block.</summary>
    public CpuWeight(TensorView view, WeightArena arena, int columns)
        : base(view.Name, view.Shape.Count <= 1 ? 1 : view.Rows, columns)
    {
        Arena = arena;
        Type = view.Type;
        Data = (byte*)view.Data;
        StoredColumns = view.Shape.Count <= 1 ? columns : view.Columns;
        RowBytes = Type.Bytes(StoredColumns);
        if (Rows == 1)
        {
            _vector = GC.AllocateArray<float>(SimdMath.PadLanes(Columns), pinned: true);
            fixed (float* vector = _vector)
            {
                Decoders.Row<Simd16Of128>(Type)(Data, vector, Columns);
            }

            if (view.Shape.Count <= 1 && view.InterleavedHeads > 0)
            {
                // A bias of interleaved rows: its elements lie where the rows' outputs do.
                float[] stored = (float[])_vector.Clone();
                for (int i = 0; i < Columns; i++)
                {
                    _vector[i] = stored[StoredRow(i, Columns / view.InterleavedHeads)];
                }
            }
        }
        else if (view.InterleavedHeads > 0)
        {
            HeadSize = Rows / view.InterleavedHeads;
        }
    }

    /// <summary>Where its repacked form goes.</summary>
    public WeightArena Arena { get; }

    /// <summary>Storage type.</summary>
    public TensorType Type { get; }

    /// <summary>First byte of row 0.</summary>
    public byte* Data { get; }

    /// <summary>Columns of a stored row: the weight's, or these filled up to whole blocks.</summary>
    public int StoredColumns { get; }

    /// <summary>Bytes from one row to the next.</summary>
    public long RowBytes { get; }

    /// <summary>Rows per head where RoPE pairs are stored interleaved (<see cref="TensorView.StoredRow"/>), else 0.</summary>
    public int HeadSize { get; }

    /// <summary>Whether integer kernels compute with it: its type has them and its scales are numbers, so that what is broken ends as it does in f32.</summary>
    public bool HasIntegers => _hasIntegers ??= PackedWeights.Supports(Type) && PackedWeights.HasFiniteScales(this);

    /// <summary>What keeps <see cref="Data"/> where that is no file's mapping.</summary>
    public object? Owner { get; set; }

    /// <summary>The weight in the order of the integer kernels, once they have used it. Belongs to whoever holds the team's gate.</summary>
    public PackedWeights? Packed { get; set; }

    /// <summary>The weight in the order of the tiles over 16 bits, likewise.</summary>
    public PackedHalves? Halves { get; set; }

    /// <summary>The one row as f32, padded with zeros to whole vectors; pinned for the weight's lifetime.</summary>
    public float* Vector
    {
        get
        {
            if (_vector is null)
            {
                throw new ArgumentException($"weight {Name} is [{Rows}, {Columns}], expected a vector");
            }

            return (float*)System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(_vector, 0);
        }
    }

    /// <summary>The stored row that holds logical row <paramref name="row"/>.</summary>
    public int StoredRow(int row) => StoredRow(row, HeadSize);

    /// <summary>The stored row that holds logical row <paramref name="row"/>; <paramref name="headSize"/> 0 = in order.</summary>
    public static int StoredRow(int row, int headSize)
    {
        if (headSize == 0)
        {
            return row;
        }

        (int head, int inHead) = Math.DivRem(row, headSize);
        int half = headSize / 2;
        return inHead < half ? (head * headSize) + (2 * inHead) : (head * headSize) + (2 * (inHead - half)) + 1;
    }
}
