using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Training.Compute;

/// <summary>
/// The innermost loops of <see cref="Gemm"/>: rows of A times one packed panel of B, two vectors wide. With 512-bit vectors eight rows at
/// a time hold 16 accumulators in registers; with 256-bit ones (16 registers in all) six rows hold twelve, which hides the latency of the
/// multiply-add: two a cycle, four to five cycles each.
/// </summary>
internal static unsafe class GemmKernels
{
    /// <summary>The largest <see cref="Rows"/>.</summary>
    public const int MaxRows = 8;

    /// <summary>The largest <see cref="PanelWidth"/>: two 512-bit vectors of floats.</summary>
    public const int MaxPanelWidth = 32;

    /// <summary>Rows of A that a call takes at most.</summary>
    public static int Rows => Wide ? 8 : 6;

    private static bool Wide => Vector512.IsHardwareAccelerated;

    /// <summary>Columns of a panel.</summary>
    public static int PanelWidth<T>() where T : unmanaged => 2 * (Wide ? Vector512<T>.Count : Vector256<T>.Count);

    /// <summary>
    /// c [count, width] = a [count, depth] panel [depth, width], or added to c.
    /// Element (i, k) of a lies at a[i * rowStride + k * kStride].
    /// </summary>
    public static void Run<T>(T* a, long rowStride, long kStride, int count, T* panel, int depth, T* c, long stride, bool add) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int i = 0;
        if (Wide)
        {
            if (count == Rows)
            {
                Eight(a, rowStride, kStride, panel, depth, c, stride, add);
                return;
            }

            for (; i < count; i++)
            {
                One(a + (i * rowStride), kStride, panel, depth, c + (i * stride), add);
            }

            return;
        }

        if (count == Rows)
        {
            SixNarrow(a, rowStride, kStride, panel, depth, c, stride, add);
            return;
        }

        for (; i < count; i++)
        {
            OneNarrow(a + (i * rowStride), kStride, panel, depth, c + (i * stride), add);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Eight<T>(T* a, long rowStride, long kStride, T* panel, int depth, T* c, long stride, bool add) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector512<T>.Count;
        Vector512<T> c00 = default, c01 = default, c10 = default, c11 = default, c20 = default, c21 = default, c30 = default, c31 = default;
        Vector512<T> c40 = default, c41 = default, c50 = default, c51 = default, c60 = default, c61 = default, c70 = default, c71 = default;
        T* a1 = a + rowStride, a2 = a1 + rowStride, a3 = a2 + rowStride, a4 = a3 + rowStride, a5 = a4 + rowStride, a6 = a5 + rowStride, a7 = a6 + rowStride;
        T* end = panel + ((long)depth * 2 * lanes);
        for (long k = 0; panel < end; panel += 2 * lanes, k += kStride)
        {
            Vector512<T> b0 = Vector512.Load(panel), b1 = Vector512.Load(panel + lanes), x;
            x = Vector512.Create(a[k]);
            c00 = Simd.Fma(x, b0, c00);
            c01 = Simd.Fma(x, b1, c01);
            x = Vector512.Create(a1[k]);
            c10 = Simd.Fma(x, b0, c10);
            c11 = Simd.Fma(x, b1, c11);
            x = Vector512.Create(a2[k]);
            c20 = Simd.Fma(x, b0, c20);
            c21 = Simd.Fma(x, b1, c21);
            x = Vector512.Create(a3[k]);
            c30 = Simd.Fma(x, b0, c30);
            c31 = Simd.Fma(x, b1, c31);
            x = Vector512.Create(a4[k]);
            c40 = Simd.Fma(x, b0, c40);
            c41 = Simd.Fma(x, b1, c41);
            x = Vector512.Create(a5[k]);
            c50 = Simd.Fma(x, b0, c50);
            c51 = Simd.Fma(x, b1, c51);
            x = Vector512.Create(a6[k]);
            c60 = Simd.Fma(x, b0, c60);
            c61 = Simd.Fma(x, b1, c61);
            x = Vector512.Create(a7[k]);
            c70 = Simd.Fma(x, b0, c70);
            c71 = Simd.Fma(x, b1, c71);
        }

        Store(c, c00, c01, add);
        Store(c + stride, c10, c11, add);
        Store(c + (2 * stride), c20, c21, add);
        Store(c + (3 * stride), c30, c31, add);
        Store(c + (4 * stride), c40, c41, add);
        Store(c + (5 * stride), c50, c51, add);
        Store(c + (6 * stride), c60, c61, add);
        Store(c + (7 * stride), c70, c71, add);
    }

    private static void One<T>(T* a, long kStride, T* panel, int depth, T* c, bool add) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector512<T>.Count;
        Vector512<T> c0 = default, c1 = default;
        for (int k = 0; k < depth; k++, panel += 2 * lanes)
        {
            Vector512<T> x = Vector512.Create(a[k * kStride]);
            c0 = Simd.Fma(x, Vector512.Load(panel), c0);
            c1 = Simd.Fma(x, Vector512.Load(panel + lanes), c1);
        }

        Store(c, c0, c1, add);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T>(T* c, Vector512<T> c0, Vector512<T> c1, bool add) where T : unmanaged
    {
        int lanes = Vector512<T>.Count;
        if (add)
        {
            c0 += Vector512.Load(c);
            c1 += Vector512.Load(c + lanes);
        }

        c0.Store(c);
        c1.Store(c + lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SixNarrow<T>(T* a, long rowStride, long kStride, T* panel, int depth, T* c, long stride, bool add) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count;
        Vector256<T> c00 = default, c01 = default, c10 = default, c11 = default, c20 = default, c21 = default;
        Vector256<T> c30 = default, c31 = default, c40 = default, c41 = default, c50 = default, c51 = default;
        T* a1 = a + rowStride, a2 = a1 + rowStride, a3 = a2 + rowStride, a4 = a3 + rowStride, a5 = a4 + rowStride, end = panel + ((long)depth * 2 * lanes);
        for (long k = 0; panel < end; panel += 2 * lanes, k += kStride)
        {
            Vector256<T> b0 = Vector256.Load(panel), b1 = Vector256.Load(panel + lanes), x;
            x = Vector256.Create(a[k]);
            c00 = Simd.Fma(x, b0, c00);
            c01 = Simd.Fma(x, b1, c01);
            x = Vector256.Create(a1[k]);
            c10 = Simd.Fma(x, b0, c10);
            c11 = Simd.Fma(x, b1, c11);
            x = Vector256.Create(a2[k]);
            c20 = Simd.Fma(x, b0, c20);
            c21 = Simd.Fma(x, b1, c21);
            x = Vector256.Create(a3[k]);
            c30 = Simd.Fma(x, b0, c30);
            c31 = Simd.Fma(x, b1, c31);
            x = Vector256.Create(a4[k]);
            c40 = Simd.Fma(x, b0, c40);
            c41 = Simd.Fma(x, b1, c41);
            x = Vector256.Create(a5[k]);
            c50 = Simd.Fma(x, b0, c50);
            c51 = Simd.Fma(x, b1, c51);
        }

        Store(c, c00, c01, add);
        Store(c + stride, c10, c11, add);
        Store(c + (2 * stride), c20, c21, add);
        Store(c + (3 * stride), c30, c31, add);
        Store(c + (4 * stride), c40, c41, add);
        Store(c + (5 * stride), c50, c51, add);
    }

    private static void OneNarrow<T>(T* a, long kStride, T* panel, int depth, T* c, bool add) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count;
        Vector256<T> c0 = default, c1 = default;
        for (int k = 0; k < depth; k++, panel += 2 * lanes)
        {
            Vector256<T> x = Vector256.Create(a[k * kStride]);
            c0 = Simd.Fma(x, Vector256.Load(panel), c0);
            c1 = Simd.Fma(x, Vector256.Load(panel + lanes), c1);
        }

        Store(c, c0, c1, add);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T>(T* c, Vector256<T> c0, Vector256<T> c1, bool add) where T : unmanaged
    {
        int lanes = Vector256<T>.Count;
        if (add)
        {
            c0 += Vector256.Load(c);
            c1 += Vector256.Load(c + lanes);
        }

        c0.Store(c);
        c1.Store(c + lanes);
    }
}
