using System.Numerics;
using LowLevelSpec.Models;

namespace LowLevelSpec.Training.Compute;

/// <summary>A weight under its name in the authors' checkpoints. A frozen one has no gradient; gradients pass through it all the same.</summary>
internal sealed class Parameter<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Zeroed weight.</summary>
    /// <param name="name">Name in the checkpoint.</param>
    /// <param name="shape">[out, in], or [length] of a norm or a bias.</param>
    /// <param name="trainable">Whether it has a gradient.</param>
    public Parameter(string name, IReadOnlyList<long> shape, bool trainable)
    {
        Name = name;
        Shape = shape;
        int columns = checked((int)shape[^1]), rows = shape.Count == 1 ? 1 : checked((int)shape[0]);
        Value = Tensor<T>.Zeros(rows, columns);
        Gradient = trainable ? Tensor<T>.Zeros(rows, columns) : null;
    }

    /// <summary>Name in the checkpoint.</summary>
    public string Name { get; }

    /// <summary>Shape in the checkpoint: one or two dimensions.</summary>
    public IReadOnlyList<long> Shape { get; }

    /// <summary>[out, in]; [1, length] for a norm or a bias.</summary>
    public Tensor<T> Value { get; }

    /// <summary>Sum of gradients since it was last cleared, shaped as <see cref="Value"/>; null for a frozen weight.</summary>
    public Tensor<T>? Gradient { get; }

    /// <summary>Reads a stored weight of any type, rows in Hugging Face order.</summary>
    public static Parameter<T> Load(TensorView view, bool trainable)
    {
        Parameter<T> parameter = new(view.Name, view.Shape, trainable);
        parameter.Set(view);
        return parameter;
    }

    /// <summary>Takes over stored values of the same shape.</summary>
    public void Set(TensorView view)
    {
        if (!view.Shape.SequenceEqual(Shape))
        {
            throw new ModelFileException(view.FilePath, $"tensor '{view.Name}' has shape [{string.Join(", ", view.Shape)}], expected [{string.Join(", ", Shape)}]; the file belongs to another model");
        }

        float[] row = new float[view.Columns];
        for (int r = 0; r < Value.Rows; r++)
        {
            Dequantizer.Row(view, r, row);
            Span<T> to = Value.Row(r);
            for (int c = 0; c < row.Length; c++)
            {
                to[c] = T.CreateTruncating(row[c]);
            }
        }
    }
}
