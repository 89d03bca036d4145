using System.Numerics;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Training.Compute;

/// <summary>Copies parts of matrices into the order in which <see cref="GemmKernels"/> read them.</summary>
internal static unsafe class Packing
{
    /// <summary>to[p * width + q] = from[q * stride + p], q &lt; columns, p &lt; depth: rows of a transposed operand become columns of a panel.</summary>
    public static void Transpose<T>(T* from, long stride, int columns, int depth, T* to, int width) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int q = 0, whole = depth / 8 * 8;
        if (typeof(T) == typeof(float) && Avx.IsSupported)
        {
            for (; q + 8 <= columns; q += 8)
            {
                for (int p = 0; p < whole; p += 8)
                {
                    Transpose8((float*)(from + (q * stride) + p), stride, (float*)(to + ((long)p * width) + q), width);
                }

                Scalar(from + (q * stride), stride, 8, whole, depth, to + q, width);
            }
        }

        Scalar(from + (q * stride), stride, columns - q, 0, depth, to + q, width);
    }

    /// <summary>to[p * width + q] = from[p * stride + q], p &lt; depth, q &lt; width = <see cref="GemmKernels.PanelWidth"/>.</summary>
    public static void Panel<T>(T* from, long stride, int depth, T* to) where T : unmanaged
    {
        int width = GemmKernels.PanelWidth<T>(), half = width / 2;
        for (int p = 0; p < depth; p++, from += stride, to += width)
        {
            if (Vector512.IsHardwareAccelerated)
            {
                Vector512.Load(from).Store(to);
                Vector512.Load(from + half).Store(to + half);
            }
            else
            {
                Vector256.Load(from).Store(to);
                Vector256.Load(from + half).Store(to + half);
            }
        }
    }

    /// <summary>
    /// to[p * rows + i] = from[p * stride + i], i &lt; count, p &lt; depth, rows = <see cref="GemmKernels.Rows"/>: rows of a transposed operand lie side by side
    /// already.
    /// </summary>
    public static void Groups<T>(T* from, long stride, int count, int depth, T* to) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int rows = GemmKernels.Rows;
        if (count < rows)
        {
            for (int p = 0; p < depth; p++, from += stride, to += rows)
            {
                new ReadOnlySpan<T>(from, count).CopyTo(new Span<T>(to, count));
            }

            return;
        }

        for (int p = 0; p < depth; p++, from += stride, to += rows)
        {
            if (rows == 8)
            {
                Eight(from, to);
            }
            else
            {
                Six(from, to);
            }
        }
    }

    private static void Eight<T>(T* from, T* to) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            Vector256.Load(from).Store(to);
        }
        else
        {
            Vector512.Load(from).Store(to);
        }
    }

    private static void Six<T>(T* from, T* to) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            Vector128.Load(from).Store(to);
            *(double*)(to + 4) = *(double*)(from + 4);
        }
        else
        {
            Vector256.Load(from).Store(to);
            Vector128.Load(from + 4).Store(to + 4);
        }
    }

    private static void Scalar<T>(T* from, long stride, int columns, int first, int depth, T* to, int width) where T : unmanaged
    {
        for (int q = 0; q < columns; q++)
        {
            for (int p = first; p < depth; p++)
            {
                to[((long)p * width) + q] = from[(q * stride) + p];
            }
        }
    }

    /// <summary>An 8 x 8 block, in three rounds of exchanges: neighbours, pairs, halves.</summary>
    private static void Transpose8(float* from, long stride, float* to, int width)
    {
        Vector256<float> r0 = Vector256.Load(from), r1 = Vector256.Load(from + stride), r2 = Vector256.Load(from + (2 * stride)), r3 = Vector256.Load(from + (3 * stride));
        Vector256<float> r4 = Vector256.Load(from + (4 * stride)), r5 = Vector256.Load(from + (5 * stride)), r6 = Vector256.Load(from + (6 * stride)), r7 = Vector256.Load(from + (7 * stride));
        Vector256<float> a0 = Avx.UnpackLow(r0, r1), a1 = Avx.UnpackHigh(r0, r1), a2 = Avx.UnpackLow(r2, r3), a3 = Avx.UnpackHigh(r2, r3);
        Vector256<float> a4 = Avx.UnpackLow(r4, r5), a5 = Avx.UnpackHigh(r4, r5), a6 = Avx.UnpackLow(r6, r7), a7 = Avx.UnpackHigh(r6, r7);
        const byte Low = 0b01_00_01_00, High = 0b11_10_11_10;
        Vector256<float> b0 = Avx.Shuffle(a0, a2, Low), b1 = Avx.Shuffle(a0, a2, High), b2 = Avx.Shuffle(a1, a3, Low), b3 = Avx.Shuffle(a1, a3, High);
        Vector256<float> b4 = Avx.Shuffle(a4, a6, Low), b5 = Avx.Shuffle(a4, a6, High), b6 = Avx.Shuffle(a5, a7, Low), b7 = Avx.Shuffle(a5, a7, High);
        Avx.Permute2x128(b0, b4, 0x20).Store(to);
        Avx.Permute2x128(b1, b5, 0x20).Store(to + width);
        Avx.Permute2x128(b2, b6, 0x20).Store(to + (2 * width));
        Avx.Permute2x128(b3, b7, 0x20).Store(to + (3 * width));
        Avx.Permute2x128(b0, b4, 0x31).Store(to + (4 * width));
        Avx.Permute2x128(b1, b5, 0x31).Store(to + (5 * width));
        Avx.Permute2x128(b2, b6, 0x31).Store(to + (6 * width));
        Avx.Permute2x128(b3, b7, 0x31).Store(to + (7 * width));
    }
}
