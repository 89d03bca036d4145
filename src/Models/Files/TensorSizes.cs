namespace LowLevelSpec.Models;

/// <summary>Overflow-safe size arithmetic over shapes from untrusted files.</summary>
internal static class TensorSizes
{
    /// <summary>Deepest shape that any reader accepts.</summary>
    public const int MaxDimensions = 8;

    /// <summary>Product of <paramref name="shape"/> (1 for a scalar, 0 where a dimension is 0); false where it does not fit 63 bits.</summary>
    public static bool TryElements(ReadOnlySpan<long> shape, out long elements)
    {
        elements = 1;
        if (shape.Contains(0))
        {
            elements = 0;
            return true;
        }

        foreach (long dimension in shape)
        {
            Int128 product = (Int128)elements * dimension;
            if (dimension < 0 || product > long.MaxValue)
            {
                return false;
            }

            elements = (long)product;
        }

        return true;
    }

    /// <summary>Bytes of <paramref name="elements"/> stored in blocks; false where it does not fit 63 bits.</summary>
    public static bool TryBytes(long elements, int blockElements, int blockBytes, out long bytes)
    {
        Int128 size = (Int128)(elements / blockElements) * blockBytes;
        bytes = size > long.MaxValue ? 0 : (long)size;
        return size <= long.MaxValue;
    }
}
