using System.Numerics;

namespace LowLevelSpec.Training.Compute;

/// <summary>
/// A dense row-major matrix [Rows, Columns] of float or double: a view into pinned memory that it keeps alive. Training runs in float;
/// the same code in double is what central differences are taken on.
/// </summary>
internal sealed unsafe class Tensor<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly T[] _owner;

    /// <summary>A view of <paramref name="rows"/> x <paramref name="columns"/> elements of <paramref name="owner"/> (pinned) from <paramref name="offset"/> on.</summary>
    public Tensor(T[] owner, long offset, int rows, int columns)
    {
        if (offset < 0 || offset + ((long)rows * columns) > owner.LongLength)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"[{rows}, {columns}] at {offset} does not fit {owner.LongLength} elements");
        }

        _owner = owner;
        Offset = offset;
        Rows = rows;
        Columns = columns;
        Data = (T*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref System.Runtime.InteropServices.MemoryMarshal.GetArrayDataReference(owner)) + offset;
    }

    /// <summary>Address of element [0, 0].</summary>
    public T* Data { get; }

    /// <summary>Rows: tokens, or tokens x layers in LSA, or a weight's outputs.</summary>
    public int Rows { get; }

    /// <summary>Elements per row.</summary>
    public int Columns { get; }

    /// <summary>Rows x Columns.</summary>
    public long Length => (long)Rows * Columns;

    /// <summary>All elements; for tensors below 2^31 elements.</summary>
    public Span<T> Span => new(Data, checked((int)Length));

    private long Offset { get; }

    /// <summary>Zeroed memory of its own.</summary>
    public static Tensor<T> Zeros(int rows, int columns) => new(GC.AllocateArray<T>(checked(rows * columns), pinned: true), 0, rows, columns);

    /// <summary>Elements of row <paramref name="row"/>.</summary>
    public Span<T> Row(int row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Rows);
        return new Span<T>(Data + ((long)row * Columns), Columns);
    }

    /// <summary>Rows [first, first + count), sharing memory.</summary>
    public Tensor<T> Slice(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + count, Rows);
        return new Tensor<T>(_owner, Offset + ((long)first * Columns), count, Columns);
    }

    /// <summary>The same elements as another shape.</summary>
    public Tensor<T> Reshape(int rows, int columns)
    {
        if ((long)rows * columns != Length)
        {
            throw new ArgumentException($"[{Rows}, {Columns}] can't become [{rows}, {columns}]", nameof(rows));
        }

        return new Tensor<T>(_owner, Offset, rows, columns);
    }

    /// <summary>Sets every element to zero.</summary>
    public void Clear() => Span.Clear();

    /// <summary>Throws unless the shape is [rows, columns]: a mismatch is a bug of the caller.</summary>
    public void Expect(int rows, int columns, string name)
    {
        if (Rows != rows || Columns != columns)
        {
            throw new ArgumentException($"{name} is [{Rows}, {Columns}], expected [{rows}, {columns}]", nameof(rows));
        }
    }
}
