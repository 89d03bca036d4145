using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Weighted sums of value rows: sums[query, d] += sum over keys of p[query, key] * v[key, d], one chain of fused multiply-adds per
/// (query, d) in the order of the keys. Queries and vectors of 16 d share register tiles, which changes no bit.
/// </summary>
internal static unsafe partial class ValueKernels<TVec, TElement>
    where TVec : unmanaged, ISimd16<TVec>
    where TElement : unmanaged, IStoredElement<TElement, TVec>
{
    /// <summary>Adds <paramref name="count"/> keys for <paramref name="queries"/> queries.</summary>
    /// <param name="p">Weights [queries, pStride], first key first.</param>
    /// <param name="pStride">Elements between the queries' weights.</param>
    /// <param name="v">Value rows of <paramref name="rowSize"/> elements, a multiple of 16.</param>
    /// <param name="rowSize">Elements per row of v and of sums.</param>
    /// <param name="rows">Row of each key, or null for rows 0..count-1.</param>
    /// <param name="count">Keys.</param>
    /// <param name="sums">[queries, rowSize].</param>
    /// <param name="queries">Queries.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums, int queries)
    {
        if (count <= 0)
        {
            return;
        }

        int wide = TVec.OutputTile == 4 ? 64 : 32;
        int most = TVec.OutputTile == 4 && rowSize >= 64 ? 6 : 3, tiles = (queries + most - 1) / most;
        for (int tile = 0, query = 0; tile < tiles; tile++)
        {
            int n = (queries - query) / (tiles - tile);
            float* weights = p + (query * pStride), to = sums + ((nint)query * rowSize);
            int d = 0;
            for (; d + wide <= rowSize; d += wide)
            {
                if (TVec.OutputTile == 4)
                {
                    switch (n)
                    {
                        case 1: Tile4x1(weights, v + d, rowSize, rows, count, to + d); break;
                        case 2: Tile4x2(weights, pStride, v + d, rowSize, rows, count, to + d); break;
                        case 3: Tile4x3(weights, pStride, v + d, rowSize, rows, count, to + d); break;
                        case 4: Tile4x4(weights, pStride, v + d, rowSize, rows, count, to + d); break;
                        case 5: Tile4x5(weights, pStride, v + d, rowSize, rows, count, to + d); break;
                        default: Tile4x6(weights, pStride, v + d, rowSize, rows, count, to + d); break;
                    }
                }
                else
                {
                    switch (n)
                    {
                        case 1: Tile2x1(weights, v + d, rowSize, rows, count, to + d); break;
                        case 2: Tile2x2(weights, pStride, v + d, rowSize, rows, count, to + d); break;
                        default: Tile2x3(weights, pStride, v + d, rowSize, rows, count, to + d); break;
                    }
                }
            }

            for (; d < rowSize; d += 16)
            {
                for (int i = 0; i < n; i += 3)
                {
                    float* part = weights + (i * pStride), partTo = to + ((nint)i * rowSize) + d;
                    switch (n - i)
                    {
                        case 1: Tile1x1(part, v + d, rowSize, rows, count, partTo); break;
                        case 2: Tile1x2(part, pStride, v + d, rowSize, rows, count, partTo); break;
                        default: Tile1x3(part, pStride, v + d, rowSize, rows, count, partTo); break;
                    }
                }
            }

            query += n;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile1x1(float* p, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        TVec a0 = TVec.Load(sums);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row);
            TVec w0 = TVec.Broadcast(p[j]);
            a0 = TVec.Fma(w0, v0, a0);
        }

        TVec.Store(a0, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile1x2(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride;
        float* s0 = sums, s1 = sums + rowSize;
        TVec a0 = TVec.Load(s0);
        TVec b0 = TVec.Load(s1);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row);
            TVec w0 = TVec.Broadcast(p0[j]);
            a0 = TVec.Fma(w0, v0, a0);
            TVec w1 = TVec.Broadcast(p1[j]);
            b0 = TVec.Fma(w1, v0, b0);
        }

        TVec.Store(a0, s0);
        TVec.Store(b0, s1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile1x3(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride, p2 = p + (2 * pStride);
        float* s0 = sums, s1 = sums + rowSize, s2 = sums + (2 * rowSize);
        TVec a0 = TVec.Load(s0);
        TVec b0 = TVec.Load(s1);
        TVec c0 = TVec.Load(s2);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row);
            TVec w0 = TVec.Broadcast(p0[j]);
            a0 = TVec.Fma(w0, v0, a0);
            TVec w1 = TVec.Broadcast(p1[j]);
            b0 = TVec.Fma(w1, v0, b0);
            TVec w2 = TVec.Broadcast(p2[j]);
            c0 = TVec.Fma(w2, v0, c0);
        }

        TVec.Store(a0, s0);
        TVec.Store(b0, s1);
        TVec.Store(c0, s2);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2x1(float* p, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        TVec a0 = TVec.Load(sums), a1 = TVec.Load(sums + 16);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row), v1 = TElement.Load(row + 16);
            TVec w0 = TVec.Broadcast(p[j]);
            a0 = TVec.Fma(w0, v0, a0);
            a1 = TVec.Fma(w0, v1, a1);
        }

        TVec.Store(a0, sums);
        TVec.Store(a1, sums + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2x2(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride;
        float* s0 = sums, s1 = sums + rowSize;
        TVec a0 = TVec.Load(s0), a1 = TVec.Load(s0 + 16);
        TVec b0 = TVec.Load(s1), b1 = TVec.Load(s1 + 16);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row), v1 = TElement.Load(row + 16);
            TVec w0 = TVec.Broadcast(p0[j]);
            a0 = TVec.Fma(w0, v0, a0);
            a1 = TVec.Fma(w0, v1, a1);
            TVec w1 = TVec.Broadcast(p1[j]);
            b0 = TVec.Fma(w1, v0, b0);
            b1 = TVec.Fma(w1, v1, b1);
        }

        TVec.Store(a0, s0);
        TVec.Store(a1, s0 + 16);
        TVec.Store(b0, s1);
        TVec.Store(b1, s1 + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2x3(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride, p2 = p + (2 * pStride);
        float* s0 = sums, s1 = sums + rowSize, s2 = sums + (2 * rowSize);
        TVec a0 = TVec.Load(s0), a1 = TVec.Load(s0 + 16);
        TVec b0 = TVec.Load(s1), b1 = TVec.Load(s1 + 16);
        TVec c0 = TVec.Load(s2), c1 = TVec.Load(s2 + 16);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row), v1 = TElement.Load(row + 16);
            TVec w0 = TVec.Broadcast(p0[j]);
            a0 = TVec.Fma(w0, v0, a0);
            a1 = TVec.Fma(w0, v1, a1);
            TVec w1 = TVec.Broadcast(p1[j]);
            b0 = TVec.Fma(w1, v0, b0);
            b1 = TVec.Fma(w1, v1, b1);
            TVec w2 = TVec.Broadcast(p2[j]);
            c0 = TVec.Fma(w2, v0, c0);
            c1 = TVec.Fma(w2, v1, c1);
        }

        TVec.Store(a0, s0);
        TVec.Store(a1, s0 + 16);
        TVec.Store(b0, s1);
        TVec.Store(b1, s1 + 16);
        TVec.Store(c0, s2);
        TVec.Store(c1, s2 + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x1(float* p, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        TVec a0 = TVec.Load(sums), a1 = TVec.Load(sums + 16), a2 = TVec.Load(sums + 32), a3 = TVec.Load(sums + 48);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row), v1 = TElement.Load(row + 16), v2 = TElement.Load(row + 32), v3 = TElement.Load(row + 48);
            TVec w0 = TVec.Broadcast(p[j]);
            a0 = TVec.Fma(w0, v0, a0);
            a1 = TVec.Fma(w0, v1, a1);
            a2 = TVec.Fma(w0, v2, a2);
            a3 = TVec.Fma(w0, v3, a3);
        }

        TVec.Store(a0, sums);
        TVec.Store(a1, sums + 16);
        TVec.Store(a2, sums + 32);
        TVec.Store(a3, sums + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x2(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride;
        float* s0 = sums, s1 = sums + rowSize;
        TVec a0 = TVec.Load(s0), a1 = TVec.Load(s0 + 16), a2 = TVec.Load(s0 + 32), a3 = TVec.Load(s0 + 48);
        TVec b0 = TVec.Load(s1), b1 = TVec.Load(s1 + 16), b2 = TVec.Load(s1 + 32), b3 = TVec.Load(s1 + 48);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row), v1 = TElement.Load(row + 16), v2 = TElement.Load(row + 32), v3 = TElement.Load(row + 48);
            TVec w0 = TVec.Broadcast(p0[j]);
            a0 = TVec.Fma(w0, v0, a0);
            a1 = TVec.Fma(w0, v1, a1);
            a2 = TVec.Fma(w0, v2, a2);
            a3 = TVec.Fma(w0, v3, a3);
            TVec w1 = TVec.Broadcast(p1[j]);
            b0 = TVec.Fma(w1, v0, b0);
            b1 = TVec.Fma(w1, v1, b1);
            b2 = TVec.Fma(w1, v2, b2);
            b3 = TVec.Fma(w1, v3, b3);
        }

        TVec.Store(a0, s0);
        TVec.Store(a1, s0 + 16);
        TVec.Store(a2, s0 + 32);
        TVec.Store(a3, s0 + 48);
        TVec.Store(b0, s1);
        TVec.Store(b1, s1 + 16);
        TVec.Store(b2, s1 + 32);
        TVec.Store(b3, s1 + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x3(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride, p2 = p + (2 * pStride);
        float* s0 = sums, s1 = sums + rowSize, s2 = sums + (2 * rowSize);
        TVec a0 = TVec.Load(s0), a1 = TVec.Load(s0 + 16), a2 = TVec.Load(s0 + 32), a3 = TVec.Load(s0 + 48);
        TVec b0 = TVec.Load(s1), b1 = TVec.Load(s1 + 16), b2 = TVec.Load(s1 + 32), b3 = TVec.Load(s1 + 48);
        TVec c0 = TVec.Load(s2), c1 = TVec.Load(s2 + 16), c2 = TVec.Load(s2 + 32), c3 = TVec.Load(s2 + 48);
        for (int j = 0; j < count; j++)
        {
            TElement* row = v + ((nint)(rows is null ? j : rows[j]) * rowSize);
            TVec v0 = TElement.Load(row), v1 = TElement.Load(row + 16), v2 = TElement.Load(row + 32), v3 = TElement.Load(row + 48);
            TVec w0 = TVec.Broadcast(p0[j]);
            a0 = TVec.Fma(w0, v0, a0);
            a1 = TVec.Fma(w0, v1, a1);
            a2 = TVec.Fma(w0, v2, a2);
            a3 = TVec.Fma(w0, v3, a3);
            TVec w1 = TVec.Broadcast(p1[j]);
            b0 = TVec.Fma(w1, v0, b0);
            b1 = TVec.Fma(w1, v1, b1);
            b2 = TVec.Fma(w1, v2, b2);
            b3 = TVec.Fma(w1, v3, b3);
            TVec w2 = TVec.Broadcast(p2[j]);
            c0 = TVec.Fma(w2, v0, c0);
            c1 = TVec.Fma(w2, v1, c1);
            c2 = TVec.Fma(w2, v2, c2);
            c3 = TVec.Fma(w2, v3, c3);
        }

        TVec.Store(a0, s0);
        TVec.Store(a1, s0 + 16);
        TVec.Store(a2, s0 + 32);
        TVec.Store(a3, s0 + 48);
        TVec.Store(b0, s1);
        TVec.Store(b1, s1 + 16);
        TVec.Store(b2, s1 + 32);
        TVec.Store(b3, s1 + 48);
        TVec.Store(c0, s2);
        TVec.Store(c1, s2 + 16);
        TVec.Store(c2, s2 + 32);
        TVec.Store(c3, s2 + 48);
    }
}
