namespace LowLevelSpec.Models;

/// <summary>
/// A tensor where it lies in a memory-mapped file; nothing is copied. Valid while the file it came from is open.
/// </summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Type">Storage type.</param>
/// <param name="Shape">Dimensions, outermost first (Hugging Face order), e.g. [out features, in features].</param>
/// <param name="Data">Address of the first byte; rows are dense and row-major.</param>
/// <param name="FilePath">The file that holds it, for messages.</param>
/// <param name="InterleavedHeads">
/// 0, or the number of heads whose rows are stored with each RoPE pair interleaved (GGUF architecture llama, attn_q and attn_k).
/// Logical row (Hugging Face order) h*D + half*D/2 + i then lies in stored row h*D + 2*i + half, D = rows / heads. See <see cref="StoredRow"/>.
/// For a vector (a bias) the same holds for its elements.
/// </param>
public sealed record TensorView(string Name, TensorType Type, IReadOnlyList<long> Shape, nint Data, string FilePath, int InterleavedHeads = 0)
{
    /// <summary>Number of elements.</summary>
    public long Elements => Shape.Aggregate(1L, static (a, b) => a * b);

    /// <summary>Elements of the innermost dimension (1 for a scalar).</summary>
    public int Columns => Shape.Count == 0 ? 1 : checked((int)Shape[^1]);

    /// <summary>Product of the outer dimensions (1 for a vector).</summary>
    public int Rows => Columns == 0 ? 0 : checked((int)(Elements / Columns));

    /// <summary>Bytes of one row.</summary>
    public long RowBytes => Type.Bytes(Columns);

    /// <summary>Bytes of the whole tensor.</summary>
    public long ByteLength => Type.Bytes(Elements);

    /// <summary>The stored row (of a vector: the stored element) that holds logical row <paramref name="row"/> (Hugging Face order).</summary>
    public int StoredRow(int row)
    {
        if (InterleavedHeads == 0)
        {
            return row;
        }

        int headSize = (Shape.Count == 1 ? Columns : Rows) / InterleavedHeads;
        int head = row / headSize, inHead = row % headSize, half = headSize / 2;
        return (head * headSize) + (2 * (inHead % half)) + (inHead / half);
    }
}
