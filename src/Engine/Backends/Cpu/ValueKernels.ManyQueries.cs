using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Tiles of four to six queries for 32 registers of 512 bits: elements of 16 bits are widened once for all of them.</content>
internal static unsafe partial class ValueKernels<TVec, TElement>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x4(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride, p2 = p + (2 * pStride), p3 = p + (3 * pStride);
        float* s0 = sums, s1 = sums + rowSize, s2 = sums + (2 * rowSize), s3 = sums + (3 * rowSize);
        TVec a0 = TVec.Load(s0), a1 = TVec.Load(s0 + 16), a2 = TVec.Load(s0 + 32), a3 = TVec.Load(s0 + 48);
        TVec b0 = TVec.Load(s1), b1 = TVec.Load(s1 + 16), b2 = TVec.Load(s1 + 32), b3 = TVec.Load(s1 + 48);
        TVec c0 = TVec.Load(s2), c1 = TVec.Load(s2 + 16), c2 = TVec.Load(s2 + 32), c3 = TVec.Load(s2 + 48);
        TVec d0 = TVec.Load(s3), d1 = TVec.Load(s3 + 16), d2 = TVec.Load(s3 + 32), d3 = TVec.Load(s3 + 48);
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
            TVec w3 = TVec.Broadcast(p3[j]);
            d0 = TVec.Fma(w3, v0, d0);
            d1 = TVec.Fma(w3, v1, d1);
            d2 = TVec.Fma(w3, v2, d2);
            d3 = TVec.Fma(w3, v3, d3);
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
        TVec.Store(d0, s3);
        TVec.Store(d1, s3 + 16);
        TVec.Store(d2, s3 + 32);
        TVec.Store(d3, s3 + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x5(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride, p2 = p + (2 * pStride), p3 = p + (3 * pStride), p4 = p + (4 * pStride);
        float* s0 = sums, s1 = sums + rowSize, s2 = sums + (2 * rowSize), s3 = sums + (3 * rowSize), s4 = sums + (4 * rowSize);
        TVec a0 = TVec.Load(s0), a1 = TVec.Load(s0 + 16), a2 = TVec.Load(s0 + 32), a3 = TVec.Load(s0 + 48);
        TVec b0 = TVec.Load(s1), b1 = TVec.Load(s1 + 16), b2 = TVec.Load(s1 + 32), b3 = TVec.Load(s1 + 48);
        TVec c0 = TVec.Load(s2), c1 = TVec.Load(s2 + 16), c2 = TVec.Load(s2 + 32), c3 = TVec.Load(s2 + 48);
        TVec d0 = TVec.Load(s3), d1 = TVec.Load(s3 + 16), d2 = TVec.Load(s3 + 32), d3 = TVec.Load(s3 + 48);
        TVec e0 = TVec.Load(s4), e1 = TVec.Load(s4 + 16), e2 = TVec.Load(s4 + 32), e3 = TVec.Load(s4 + 48);
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
            TVec w3 = TVec.Broadcast(p3[j]);
            d0 = TVec.Fma(w3, v0, d0);
            d1 = TVec.Fma(w3, v1, d1);
            d2 = TVec.Fma(w3, v2, d2);
            d3 = TVec.Fma(w3, v3, d3);
            TVec w4 = TVec.Broadcast(p4[j]);
            e0 = TVec.Fma(w4, v0, e0);
            e1 = TVec.Fma(w4, v1, e1);
            e2 = TVec.Fma(w4, v2, e2);
            e3 = TVec.Fma(w4, v3, e3);
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
        TVec.Store(d0, s3);
        TVec.Store(d1, s3 + 16);
        TVec.Store(d2, s3 + 32);
        TVec.Store(d3, s3 + 48);
        TVec.Store(e0, s4);
        TVec.Store(e1, s4 + 16);
        TVec.Store(e2, s4 + 32);
        TVec.Store(e3, s4 + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x6(float* p, nint pStride, TElement* v, int rowSize, int* rows, int count, float* sums)
    {
        float* p0 = p, p1 = p + pStride, p2 = p + (2 * pStride), p3 = p + (3 * pStride), p4 = p + (4 * pStride), p5 = p + (5 * pStride);
        float* s0 = sums, s1 = sums + rowSize, s2 = sums + (2 * rowSize), s3 = sums + (3 * rowSize), s4 = sums + (4 * rowSize), s5 = sums + (5 * rowSize);
        TVec a0 = TVec.Load(s0), a1 = TVec.Load(s0 + 16), a2 = TVec.Load(s0 + 32), a3 = TVec.Load(s0 + 48);
        TVec b0 = TVec.Load(s1), b1 = TVec.Load(s1 + 16), b2 = TVec.Load(s1 + 32), b3 = TVec.Load(s1 + 48);
        TVec c0 = TVec.Load(s2), c1 = TVec.Load(s2 + 16), c2 = TVec.Load(s2 + 32), c3 = TVec.Load(s2 + 48);
        TVec d0 = TVec.Load(s3), d1 = TVec.Load(s3 + 16), d2 = TVec.Load(s3 + 32), d3 = TVec.Load(s3 + 48);
        TVec e0 = TVec.Load(s4), e1 = TVec.Load(s4 + 16), e2 = TVec.Load(s4 + 32), e3 = TVec.Load(s4 + 48);
        TVec f0 = TVec.Load(s5), f1 = TVec.Load(s5 + 16), f2 = TVec.Load(s5 + 32), f3 = TVec.Load(s5 + 48);
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
            TVec w3 = TVec.Broadcast(p3[j]);
            d0 = TVec.Fma(w3, v0, d0);
            d1 = TVec.Fma(w3, v1, d1);
            d2 = TVec.Fma(w3, v2, d2);
            d3 = TVec.Fma(w3, v3, d3);
            TVec w4 = TVec.Broadcast(p4[j]);
            e0 = TVec.Fma(w4, v0, e0);
            e1 = TVec.Fma(w4, v1, e1);
            e2 = TVec.Fma(w4, v2, e2);
            e3 = TVec.Fma(w4, v3, e3);
            TVec w5 = TVec.Broadcast(p5[j]);
            f0 = TVec.Fma(w5, v0, f0);
            f1 = TVec.Fma(w5, v1, f1);
            f2 = TVec.Fma(w5, v2, f2);
            f3 = TVec.Fma(w5, v3, f3);
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
        TVec.Store(d0, s3);
        TVec.Store(d1, s3 + 16);
        TVec.Store(d2, s3 + 32);
        TVec.Store(d3, s3 + 48);
        TVec.Store(e0, s4);
        TVec.Store(e1, s4 + 16);
        TVec.Store(e2, s4 + 32);
        TVec.Store(e3, s4 + 48);
        TVec.Store(f0, s5);
        TVec.Store(f1, s5 + 16);
        TVec.Store(f2, s5 + 32);
        TVec.Store(f3, s5 + 48);
    }
}
