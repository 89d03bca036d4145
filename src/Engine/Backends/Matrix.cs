namespace LowLevelSpec.Engine.Backends;

/// <summary>Memory of one backend holding f32 activations. Zeroed when allocated; freed by Dispose.</summary>
public abstract class TensorBuffer : IDisposable
{
    /// <summary>Creates a buffer of <paramref name="length"/> f32 elements.</summary>
    protected TensorBuffer(long length, string purpose)
    {
        Length = length;
        Purpose = purpose;
    }

    /// <summary>Elements.</summary>
    public long Length { get; }

    /// <summary>What it is for, in allocation errors and plans.</summary>
    public string Purpose { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory; called twice it does nothing.</summary>
    protected abstract void Dispose(bool disposing);
}

/// <summary>A row-major f32 matrix inside a <see cref="TensorBuffer"/>: a view, owning nothing.</summary>
/// <param name="Buffer">Where it lies.</param>
/// <param name="Offset">First element.</param>
/// <param name="Rows">Rows: tokens, or tokens x layers in LSA.</param>
/// <param name="Columns">Elements used per row.</param>
/// <param name="Stride">Elements from one row to the next, at least <paramref name="Columns"/>.</param>
public readonly record struct Matrix(TensorBuffer Buffer, long Offset, int Rows, int Columns, int Stride)
{
    /// <summary>Rows [first, first + count).</summary>
    public Matrix Slice(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + count, Rows);
        return this with { Offset = Offset + ((long)first * Stride), Rows = count };
    }

    /// <summary>Columns [first, first + count) of every row.</summary>
    public Matrix SliceColumns(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + count, Columns);
        return this with { Offset = Offset + first, Columns = count };
    }
}

/// <summary>A weight as a backend holds it: on the CPU the mapped file itself, on a GPU its copy. [Rows, Columns] = [out, in].</summary>
public abstract class Weight
{
    /// <summary>Creates the handle.</summary>
    protected Weight(string name, int rows, int columns)
    {
        Name = name;
        Rows = rows;
        Columns = columns;
    }

    /// <summary>Tensor name, for messages.</summary>
    public string Name { get; }

    /// <summary>Output features; 1 for a vector (a norm's gain, a bias).</summary>
    public int Rows { get; }

    /// <summary>Input features, or the vector's length.</summary>
    public int Columns { get; }
}
