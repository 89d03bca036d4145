using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends;

/// <summary>What a device backend checks before it enqueues an operation: there a wrong size is no exception but a corrupted result.</summary>
internal static class OperationChecks
{
    /// <summary>Fails with <paramref name="message"/> unless <paramref name="holds"/>.</summary>
    /// <exception cref="ArgumentException">It does not hold.</exception>
    public static void Holds(bool holds, string message)
    {
        if (!holds)
        {
            throw new ArgumentException(message);
        }
    }

    /// <summary>Fails unless <paramref name="matrix"/> is [<paramref name="rows"/>, <paramref name="columns"/>].</summary>
    /// <exception cref="ArgumentException">It is not.</exception>
    public static void Shape(Matrix matrix, int rows, int columns, string what)
    {
        if (matrix.Rows != rows || matrix.Columns != columns)
        {
            throw new ArgumentException($"{what} is [{matrix.Rows}, {matrix.Columns}], expected [{rows}, {columns}]");
        }
    }

    /// <summary>Fails unless <paramref name="matrix"/> lies inside its buffer.</summary>
    /// <exception cref="ArgumentException">It does not.</exception>
    public static void Inside(Matrix matrix)
    {
        long last = matrix.Rows <= 0 ? 0 : ((long)(matrix.Rows - 1) * matrix.Stride) + matrix.Columns;
        if (matrix.Rows < 0 || matrix.Columns < 0 || matrix.Offset < 0 || last > matrix.Buffer.Length - matrix.Offset
            || (matrix.Stride < matrix.Columns && matrix.Rows > 1))
        {
            throw new ArgumentException(
                $"a matrix [{matrix.Rows}, {matrix.Columns}] with stride {matrix.Stride} at {matrix.Offset} exceeds its buffer of {matrix.Buffer.Length} elements ({matrix.Buffer.Purpose})");
        }
    }

    /// <summary>Refuses a tensor that is no weight: an integer type, rows that are no whole blocks, or rows that are no whole heads.</summary>
    /// <exception cref="InputException">It is none.</exception>
    public static void IsWeight(TensorView view)
    {
        if (view.Type is TensorType.I64 or TensorType.U8)
        {
            throw new InputException($"{view.FilePath}: tensor {view.Name} has type {view.Type}, which is no weight type");
        }

        if (view.Columns % view.Type.BlockElements() != 0)
        {
            throw new InputException(
                $"{view.FilePath}: tensor {view.Name} has rows of {view.Columns} elements, but {view.Type} comes in blocks of {view.Type.BlockElements()}");
        }

        int interleaved = view.Shape.Count <= 1 ? view.Columns : view.Rows;
        if (view.InterleavedHeads != 0 && (view.InterleavedHeads < 0 || interleaved % (2 * (long)view.InterleavedHeads) != 0))
        {
            throw new InputException(
                $"{view.FilePath}: tensor {view.Name} has {interleaved} rows, which are not {view.InterleavedHeads} heads of an even size");
        }
    }
}
