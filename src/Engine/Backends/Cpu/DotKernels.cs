using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Dot products of f32 rows with rows in a stored type, several at once. Each (row, output) pair has one accumulator of 16 lanes that takes the vectors
/// k = 0, 16, 32, .. in order and is summed by <see cref="ISimd16{T}.Sum"/>: how many pairs share a register tile changes no bit.
/// Lengths are multiples of 16.
/// </summary>
internal static unsafe class DotKernels<TVec, TElement>
    where TVec : unmanaged, ISimd16<TVec>
    where TElement : unmanaged, IStoredElement<TElement, TVec>
{
    /// <summary>
    /// sums[row * 4 + output] = x[row] . w[output] for <paramref name="rows"/> rows, <paramref name="stride"/> elements apart, and 4
    /// outputs. Rows are dealt evenly to tiles, so that none is left to a tile too narrow to hide the latency of its chains.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(TElement* w0, TElement* w1, TElement* w2, TElement* w3, float* x, nint stride, int rows, int length, float* sums)
    {
        int tiles = (rows + TVec.RowTile - 1) / TVec.RowTile;
        for (int tile = 0, row = 0; tile < tiles; tile++)
        {
            int count = (rows - row) / (tiles - tile);
            float* at = x + (row * stride);
            float* to = sums + (row * 4);
            if (TVec.OutputTile == 4)
            {
                switch (count)
                {
                    case 1: Tile4x1(w0, w1, w2, w3, at, length, to); break;
                    case 2: Tile4x2(w0, w1, w2, w3, at, stride, length, to); break;
                    case 3: Tile4x3(w0, w1, w2, w3, at, stride, length, to); break;
                    case 4: Tile4x4(w0, w1, w2, w3, at, stride, length, to); break;
                    case 5: Tile4x5(w0, w1, w2, w3, at, stride, length, to); break;
                    default: Tile4x6(w0, w1, w2, w3, at, stride, length, to); break;
                }
            }
            else
            {
                Tile2(w0, w1, at, stride, count, length, to);
                Tile2(w2, w3, at, stride, count, length, to + 2);
            }

            row += count;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2(TElement* w0, TElement* w1, float* x, nint stride, int rows, int length, float* sums)
    {
        switch (rows)
        {
            case 1: Tile2x1(w0, w1, x, length, sums); break;
            case 2: Tile2x2(w0, w1, x, stride, length, sums); break;
            default: Tile2x3(w0, w1, x, stride, length, sums); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2x1(TElement* w0, TElement* w1, float* x, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero;
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k);
            TVec y0 = TVec.Load(x + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
        }

        Put2(a0, a1, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2x2(TElement* w0, TElement* w1, float* x, nint stride, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero;
        TVec b0 = TVec.Zero, b1 = TVec.Zero;
        float* x0 = x, x1 = x + stride;
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k);
            TVec y0 = TVec.Load(x0 + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
            TVec y1 = TVec.Load(x1 + k);
            b0 = TVec.Fma(v0, y1, b0);
            b1 = TVec.Fma(v1, y1, b1);
        }

        Put2(a0, a1, sums);
        Put2(b0, b1, sums + 4);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2x3(TElement* w0, TElement* w1, float* x, nint stride, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero;
        TVec b0 = TVec.Zero, b1 = TVec.Zero;
        TVec c0 = TVec.Zero, c1 = TVec.Zero;
        float* x0 = x, x1 = x + stride, x2 = x + (2 * stride);
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k);
            TVec y0 = TVec.Load(x0 + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
            TVec y1 = TVec.Load(x1 + k);
            b0 = TVec.Fma(v0, y1, b0);
            b1 = TVec.Fma(v1, y1, b1);
            TVec y2 = TVec.Load(x2 + k);
            c0 = TVec.Fma(v0, y2, c0);
            c1 = TVec.Fma(v1, y2, c1);
        }

        Put2(a0, a1, sums);
        Put2(b0, b1, sums + 4);
        Put2(c0, c1, sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x1(TElement* w0, TElement* w1, TElement* w2, TElement* w3, float* x, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k), v2 = TElement.Load(w2 + k), v3 = TElement.Load(w3 + k);
            TVec y0 = TVec.Load(x + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
            a2 = TVec.Fma(v2, y0, a2);
            a3 = TVec.Fma(v3, y0, a3);
        }

        Put4(a0, a1, a2, a3, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x2(TElement* w0, TElement* w1, TElement* w2, TElement* w3, float* x, nint stride, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
        TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
        float* x0 = x, x1 = x + stride;
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k), v2 = TElement.Load(w2 + k), v3 = TElement.Load(w3 + k);
            TVec y0 = TVec.Load(x0 + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
            a2 = TVec.Fma(v2, y0, a2);
            a3 = TVec.Fma(v3, y0, a3);
            TVec y1 = TVec.Load(x1 + k);
            b0 = TVec.Fma(v0, y1, b0);
            b1 = TVec.Fma(v1, y1, b1);
            b2 = TVec.Fma(v2, y1, b2);
            b3 = TVec.Fma(v3, y1, b3);
        }

        Put4(a0, a1, a2, a3, sums);
        Put4(b0, b1, b2, b3, sums + 4);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x3(TElement* w0, TElement* w1, TElement* w2, TElement* w3, float* x, nint stride, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
        TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
        TVec c0 = TVec.Zero, c1 = TVec.Zero, c2 = TVec.Zero, c3 = TVec.Zero;
        float* x0 = x, x1 = x + stride, x2 = x + (2 * stride);
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k), v2 = TElement.Load(w2 + k), v3 = TElement.Load(w3 + k);
            TVec y0 = TVec.Load(x0 + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
            a2 = TVec.Fma(v2, y0, a2);
            a3 = TVec.Fma(v3, y0, a3);
            TVec y1 = TVec.Load(x1 + k);
            b0 = TVec.Fma(v0, y1, b0);
            b1 = TVec.Fma(v1, y1, b1);
            b2 = TVec.Fma(v2, y1, b2);
            b3 = TVec.Fma(v3, y1, b3);
            TVec y2 = TVec.Load(x2 + k);
            c0 = TVec.Fma(v0, y2, c0);
            c1 = TVec.Fma(v1, y2, c1);
            c2 = TVec.Fma(v2, y2, c2);
            c3 = TVec.Fma(v3, y2, c3);
        }

        Put4(a0, a1, a2, a3, sums);
        Put4(b0, b1, b2, b3, sums + 4);
        Put4(c0, c1, c2, c3, sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x4(TElement* w0, TElement* w1, TElement* w2, TElement* w3, float* x, nint stride, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
        TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
        TVec c0 = TVec.Zero, c1 = TVec.Zero, c2 = TVec.Zero, c3 = TVec.Zero;
        TVec d0 = TVec.Zero, d1 = TVec.Zero, d2 = TVec.Zero, d3 = TVec.Zero;
        float* x0 = x, x1 = x + stride, x2 = x + (2 * stride), x3 = x + (3 * stride);
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k), v2 = TElement.Load(w2 + k), v3 = TElement.Load(w3 + k);
            TVec y0 = TVec.Load(x0 + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
            a2 = TVec.Fma(v2, y0, a2);
            a3 = TVec.Fma(v3, y0, a3);
            TVec y1 = TVec.Load(x1 + k);
            b0 = TVec.Fma(v0, y1, b0);
            b1 = TVec.Fma(v1, y1, b1);
            b2 = TVec.Fma(v2, y1, b2);
            b3 = TVec.Fma(v3, y1, b3);
            TVec y2 = TVec.Load(x2 + k);
            c0 = TVec.Fma(v0, y2, c0);
            c1 = TVec.Fma(v1, y2, c1);
            c2 = TVec.Fma(v2, y2, c2);
            c3 = TVec.Fma(v3, y2, c3);
            TVec y3 = TVec.Load(x3 + k);
            d0 = TVec.Fma(v0, y3, d0);
            d1 = TVec.Fma(v1, y3, d1);
            d2 = TVec.Fma(v2, y3, d2);
            d3 = TVec.Fma(v3, y3, d3);
        }

        Put4(a0, a1, a2, a3, sums);
        Put4(b0, b1, b2, b3, sums + 4);
        Put4(c0, c1, c2, c3, sums + 8);
        Put4(d0, d1, d2, d3, sums + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x5(TElement* w0, TElement* w1, TElement* w2, TElement* w3, float* x, nint stride, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
        TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
        TVec c0 = TVec.Zero, c1 = TVec.Zero, c2 = TVec.Zero, c3 = TVec.Zero;
        TVec d0 = TVec.Zero, d1 = TVec.Zero, d2 = TVec.Zero, d3 = TVec.Zero;
        TVec e0 = TVec.Zero, e1 = TVec.Zero, e2 = TVec.Zero, e3 = TVec.Zero;
        float* x0 = x, x1 = x + stride, x2 = x + (2 * stride), x3 = x + (3 * stride), x4 = x + (4 * stride);
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k), v2 = TElement.Load(w2 + k), v3 = TElement.Load(w3 + k);
            TVec y0 = TVec.Load(x0 + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
            a2 = TVec.Fma(v2, y0, a2);
            a3 = TVec.Fma(v3, y0, a3);
            TVec y1 = TVec.Load(x1 + k);
            b0 = TVec.Fma(v0, y1, b0);
            b1 = TVec.Fma(v1, y1, b1);
            b2 = TVec.Fma(v2, y1, b2);
            b3 = TVec.Fma(v3, y1, b3);
            TVec y2 = TVec.Load(x2 + k);
            c0 = TVec.Fma(v0, y2, c0);
            c1 = TVec.Fma(v1, y2, c1);
            c2 = TVec.Fma(v2, y2, c2);
            c3 = TVec.Fma(v3, y2, c3);
            TVec y3 = TVec.Load(x3 + k);
            d0 = TVec.Fma(v0, y3, d0);
            d1 = TVec.Fma(v1, y3, d1);
            d2 = TVec.Fma(v2, y3, d2);
            d3 = TVec.Fma(v3, y3, d3);
            TVec y4 = TVec.Load(x4 + k);
            e0 = TVec.Fma(v0, y4, e0);
            e1 = TVec.Fma(v1, y4, e1);
            e2 = TVec.Fma(v2, y4, e2);
            e3 = TVec.Fma(v3, y4, e3);
        }

        Put4(a0, a1, a2, a3, sums);
        Put4(b0, b1, b2, b3, sums + 4);
        Put4(c0, c1, c2, c3, sums + 8);
        Put4(d0, d1, d2, d3, sums + 12);
        Put4(e0, e1, e2, e3, sums + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x6(TElement* w0, TElement* w1, TElement* w2, TElement* w3, float* x, nint stride, int length, float* sums)
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
        TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
        TVec c0 = TVec.Zero, c1 = TVec.Zero, c2 = TVec.Zero, c3 = TVec.Zero;
        TVec d0 = TVec.Zero, d1 = TVec.Zero, d2 = TVec.Zero, d3 = TVec.Zero;
        TVec e0 = TVec.Zero, e1 = TVec.Zero, e2 = TVec.Zero, e3 = TVec.Zero;
        TVec f0 = TVec.Zero, f1 = TVec.Zero, f2 = TVec.Zero, f3 = TVec.Zero;
        float* x0 = x, x1 = x + stride, x2 = x + (2 * stride), x3 = x + (3 * stride), x4 = x + (4 * stride), x5 = x + (5 * stride);
        for (nint k = 0; k < length; k += 16)
        {
            TVec v0 = TElement.Load(w0 + k), v1 = TElement.Load(w1 + k), v2 = TElement.Load(w2 + k), v3 = TElement.Load(w3 + k);
            TVec y0 = TVec.Load(x0 + k);
            a0 = TVec.Fma(v0, y0, a0);
            a1 = TVec.Fma(v1, y0, a1);
            a2 = TVec.Fma(v2, y0, a2);
            a3 = TVec.Fma(v3, y0, a3);
            TVec y1 = TVec.Load(x1 + k);
            b0 = TVec.Fma(v0, y1, b0);
            b1 = TVec.Fma(v1, y1, b1);
            b2 = TVec.Fma(v2, y1, b2);
            b3 = TVec.Fma(v3, y1, b3);
            TVec y2 = TVec.Load(x2 + k);
            c0 = TVec.Fma(v0, y2, c0);
            c1 = TVec.Fma(v1, y2, c1);
            c2 = TVec.Fma(v2, y2, c2);
            c3 = TVec.Fma(v3, y2, c3);
            TVec y3 = TVec.Load(x3 + k);
            d0 = TVec.Fma(v0, y3, d0);
            d1 = TVec.Fma(v1, y3, d1);
            d2 = TVec.Fma(v2, y3, d2);
            d3 = TVec.Fma(v3, y3, d3);
            TVec y4 = TVec.Load(x4 + k);
            e0 = TVec.Fma(v0, y4, e0);
            e1 = TVec.Fma(v1, y4, e1);
            e2 = TVec.Fma(v2, y4, e2);
            e3 = TVec.Fma(v3, y4, e3);
            TVec y5 = TVec.Load(x5 + k);
            f0 = TVec.Fma(v0, y5, f0);
            f1 = TVec.Fma(v1, y5, f1);
            f2 = TVec.Fma(v2, y5, f2);
            f3 = TVec.Fma(v3, y5, f3);
        }

        Put4(a0, a1, a2, a3, sums);
        Put4(b0, b1, b2, b3, sums + 4);
        Put4(c0, c1, c2, c3, sums + 8);
        Put4(d0, d1, d2, d3, sums + 12);
        Put4(e0, e1, e2, e3, sums + 16);
        Put4(f0, f1, f2, f3, sums + 20);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put2(TVec a, TVec b, float* sums)
    {
        sums[0] = TVec.Sum(a);
        sums[1] = TVec.Sum(b);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put4(TVec a, TVec b, TVec c, TVec d, float* sums) =>
        System.Runtime.Intrinsics.Vector128.Store(TVec.Sum4(a, b, c, d), sums);
}
