using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Two to five rows: weights are decoded in registers and multiplied at once.</content>
internal static unsafe partial class MatMulKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    /// <summary>Two rows: as <see cref="Single"/>, each decoded weight used for all of them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few2<TDecoder>(void* pointer, int thread, int item)
        where TDecoder : IBlockDecoder<TVec>
    {
        MatMulJob* job = (MatMulJob*)pointer;
        int output = item * job->OutputsPerItem, end = Math.Min(output + job->OutputsPerItem, job->Target.Outputs);
        float* sums = stackalloc float[8];
        nint stride = job->InputStride;
        for (; output < end; output += 4)
        {
            byte* w0 = job->WeightRow(output), w1 = job->WeightRow(output + 1);
            byte* w2 = job->WeightRow(output + 2), w3 = job->WeightRow(output + 3);
            float* x = job->Input, stop = x + job->Columns;
            TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
            TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
            nint at = 0;
            for (; x < stop; x += 32, at += TDecoder.BlockBytes)
            {
                PrefetchBlocks(w0 + (4 * at) + PrefetchDistance, 4 * TDecoder.BlockBytes);
                TVec x0 = TVec.Load(x), y0 = TVec.Load(x + 16);
                TVec x1 = TVec.Load(x + stride), y1 = TVec.Load(x + stride + 16);
                TDecoder.Decode(w0 + at, out TVec low, out TVec high);
                a0 = TVec.Fma(high, y0, TVec.Fma(low, x0, a0));
                b0 = TVec.Fma(high, y1, TVec.Fma(low, x1, b0));
                TDecoder.Decode(w1 + at, out low, out high);
                a1 = TVec.Fma(high, y0, TVec.Fma(low, x0, a1));
                b1 = TVec.Fma(high, y1, TVec.Fma(low, x1, b1));
                TDecoder.Decode(w2 + at, out low, out high);
                a2 = TVec.Fma(high, y0, TVec.Fma(low, x0, a2));
                b2 = TVec.Fma(high, y1, TVec.Fma(low, x1, b2));
                TDecoder.Decode(w3 + at, out low, out high);
                a3 = TVec.Fma(high, y0, TVec.Fma(low, x0, a3));
                b3 = TVec.Fma(high, y1, TVec.Fma(low, x1, b3));
            }

            TVec.Sum4(a0, a1, a2, a3).Store(sums);
            TVec.Sum4(b0, b1, b2, b3).Store(sums + 4);
            for (int r = 0; r < 2; r++)
            {
                job->Target.Put(sums + (4 * r), r, output);
            }
        }
    }

    /// <summary>Three rows: as <see cref="Single"/>, each decoded weight used for all of them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few3<TDecoder>(void* pointer, int thread, int item)
        where TDecoder : IBlockDecoder<TVec>
    {
        MatMulJob* job = (MatMulJob*)pointer;
        int output = item * job->OutputsPerItem, end = Math.Min(output + job->OutputsPerItem, job->Target.Outputs);
        float* sums = stackalloc float[12];
        nint stride = job->InputStride;
        for (; output < end; output += 4)
        {
            byte* w0 = job->WeightRow(output), w1 = job->WeightRow(output + 1);
            byte* w2 = job->WeightRow(output + 2), w3 = job->WeightRow(output + 3);
            float* x = job->Input, stop = x + job->Columns;
            TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
            TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
            TVec c0 = TVec.Zero, c1 = TVec.Zero, c2 = TVec.Zero, c3 = TVec.Zero;
            nint at = 0;
            for (; x < stop; x += 32, at += TDecoder.BlockBytes)
            {
                PrefetchBlocks(w0 + (4 * at) + PrefetchDistance, 4 * TDecoder.BlockBytes);
                TVec x0 = TVec.Load(x), y0 = TVec.Load(x + 16);
                TVec x1 = TVec.Load(x + stride), y1 = TVec.Load(x + stride + 16);
                TVec x2 = TVec.Load(x + (2 * stride)), y2 = TVec.Load(x + (2 * stride) + 16);
                TDecoder.Decode(w0 + at, out TVec low, out TVec high);
                a0 = TVec.Fma(high, y0, TVec.Fma(low, x0, a0));
                b0 = TVec.Fma(high, y1, TVec.Fma(low, x1, b0));
                c0 = TVec.Fma(high, y2, TVec.Fma(low, x2, c0));
                TDecoder.Decode(w1 + at, out low, out high);
                a1 = TVec.Fma(high, y0, TVec.Fma(low, x0, a1));
                b1 = TVec.Fma(high, y1, TVec.Fma(low, x1, b1));
                c1 = TVec.Fma(high, y2, TVec.Fma(low, x2, c1));
                TDecoder.Decode(w2 + at, out low, out high);
                a2 = TVec.Fma(high, y0, TVec.Fma(low, x0, a2));
                b2 = TVec.Fma(high, y1, TVec.Fma(low, x1, b2));
                c2 = TVec.Fma(high, y2, TVec.Fma(low, x2, c2));
                TDecoder.Decode(w3 + at, out low, out high);
                a3 = TVec.Fma(high, y0, TVec.Fma(low, x0, a3));
                b3 = TVec.Fma(high, y1, TVec.Fma(low, x1, b3));
                c3 = TVec.Fma(high, y2, TVec.Fma(low, x2, c3));
            }

            TVec.Sum4(a0, a1, a2, a3).Store(sums);
            TVec.Sum4(b0, b1, b2, b3).Store(sums + 4);
            TVec.Sum4(c0, c1, c2, c3).Store(sums + 8);
            for (int r = 0; r < 3; r++)
            {
                job->Target.Put(sums + (4 * r), r, output);
            }
        }
    }

    /// <summary>Four rows: as <see cref="Single"/>, each decoded weight used for all of them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few4<TDecoder>(void* pointer, int thread, int item)
        where TDecoder : IBlockDecoder<TVec>
    {
        MatMulJob* job = (MatMulJob*)pointer;
        int output = item * job->OutputsPerItem, end = Math.Min(output + job->OutputsPerItem, job->Target.Outputs);
        float* sums = stackalloc float[16];
        nint stride = job->InputStride;
        for (; output < end; output += 4)
        {
            byte* w0 = job->WeightRow(output), w1 = job->WeightRow(output + 1);
            byte* w2 = job->WeightRow(output + 2), w3 = job->WeightRow(output + 3);
            float* x = job->Input, stop = x + job->Columns;
            float* y = x + (3 * stride);
            TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
            TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
            TVec c0 = TVec.Zero, c1 = TVec.Zero, c2 = TVec.Zero, c3 = TVec.Zero;
            TVec d0 = TVec.Zero, d1 = TVec.Zero, d2 = TVec.Zero, d3 = TVec.Zero;
            nint at = 0;
            for (; x < stop; x += 32, y += 32, at += TDecoder.BlockBytes)
            {
                PrefetchBlocks(w0 + (4 * at) + PrefetchDistance, 4 * TDecoder.BlockBytes);
                TVec x0 = TVec.Load(x), y0 = TVec.Load(x + 16);
                TVec x1 = TVec.Load(x + stride), y1 = TVec.Load(x + stride + 16);
                TVec x2 = TVec.Load(x + (2 * stride)), y2 = TVec.Load(x + (2 * stride) + 16);
                TVec x3 = TVec.Load(y), y3 = TVec.Load(y + 16);
                TDecoder.Decode(w0 + at, out TVec low, out TVec high);
                a0 = TVec.Fma(high, y0, TVec.Fma(low, x0, a0));
                b0 = TVec.Fma(high, y1, TVec.Fma(low, x1, b0));
                c0 = TVec.Fma(high, y2, TVec.Fma(low, x2, c0));
                d0 = TVec.Fma(high, y3, TVec.Fma(low, x3, d0));
                TDecoder.Decode(w1 + at, out low, out high);
                a1 = TVec.Fma(high, y0, TVec.Fma(low, x0, a1));
                b1 = TVec.Fma(high, y1, TVec.Fma(low, x1, b1));
                c1 = TVec.Fma(high, y2, TVec.Fma(low, x2, c1));
                d1 = TVec.Fma(high, y3, TVec.Fma(low, x3, d1));
                TDecoder.Decode(w2 + at, out low, out high);
                a2 = TVec.Fma(high, y0, TVec.Fma(low, x0, a2));
                b2 = TVec.Fma(high, y1, TVec.Fma(low, x1, b2));
                c2 = TVec.Fma(high, y2, TVec.Fma(low, x2, c2));
                d2 = TVec.Fma(high, y3, TVec.Fma(low, x3, d2));
                TDecoder.Decode(w3 + at, out low, out high);
                a3 = TVec.Fma(high, y0, TVec.Fma(low, x0, a3));
                b3 = TVec.Fma(high, y1, TVec.Fma(low, x1, b3));
                c3 = TVec.Fma(high, y2, TVec.Fma(low, x2, c3));
                d3 = TVec.Fma(high, y3, TVec.Fma(low, x3, d3));
            }

            TVec.Sum4(a0, a1, a2, a3).Store(sums);
            TVec.Sum4(b0, b1, b2, b3).Store(sums + 4);
            TVec.Sum4(c0, c1, c2, c3).Store(sums + 8);
            TVec.Sum4(d0, d1, d2, d3).Store(sums + 12);
            for (int r = 0; r < 4; r++)
            {
                job->Target.Put(sums + (4 * r), r, output);
            }
        }
    }

    /// <summary>Five rows, likewise, two outputs at a time, so that the accumulators stay in registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few5<TDecoder>(void* pointer, int thread, int item)
        where TDecoder : IBlockDecoder<TVec>
    {
        MatMulJob* job = (MatMulJob*)pointer;
        int output = item * job->OutputsPerItem, end = Math.Min(output + job->OutputsPerItem, job->Target.Outputs);
        float* sums = stackalloc float[20];
        nint stride = job->InputStride;
        for (; output < end; output += 4)
        {
            byte* w0 = job->WeightRow(output), w1 = job->WeightRow(output + 1);
            byte* w2 = job->WeightRow(output + 2), w3 = job->WeightRow(output + 3);
            float* x = job->Input, y = x + (3 * stride), stop = x + job->Columns;
            TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
            TVec b0 = TVec.Zero, b1 = TVec.Zero, b2 = TVec.Zero, b3 = TVec.Zero;
            TVec c0 = TVec.Zero, c1 = TVec.Zero, c2 = TVec.Zero, c3 = TVec.Zero;
            TVec d0 = TVec.Zero, d1 = TVec.Zero, d2 = TVec.Zero, d3 = TVec.Zero;
            TVec e0 = TVec.Zero, e1 = TVec.Zero, e2 = TVec.Zero, e3 = TVec.Zero;
            nint at = 0;
            for (; x < stop; x += 32, y += 32, at += TDecoder.BlockBytes)
            {
                PrefetchBlocks(w0 + (4 * at) + PrefetchDistance, 4 * TDecoder.BlockBytes);
                TDecoder.Decode(w0 + at, out TVec low0, out TVec high0);
                TDecoder.Decode(w1 + at, out TVec low1, out TVec high1);
                TVec low = TVec.Load(x), high = TVec.Load(x + 16);
                a0 = TVec.Fma(high0, high, TVec.Fma(low0, low, a0));
                a1 = TVec.Fma(high1, high, TVec.Fma(low1, low, a1));
                low = TVec.Load(x + stride);
                high = TVec.Load(x + stride + 16);
                b0 = TVec.Fma(high0, high, TVec.Fma(low0, low, b0));
                b1 = TVec.Fma(high1, high, TVec.Fma(low1, low, b1));
                low = TVec.Load(x + (2 * stride));
                high = TVec.Load(x + (2 * stride) + 16);
                c0 = TVec.Fma(high0, high, TVec.Fma(low0, low, c0));
                c1 = TVec.Fma(high1, high, TVec.Fma(low1, low, c1));
                low = TVec.Load(y);
                high = TVec.Load(y + 16);
                d0 = TVec.Fma(high0, high, TVec.Fma(low0, low, d0));
                d1 = TVec.Fma(high1, high, TVec.Fma(low1, low, d1));
                low = TVec.Load(y + stride);
                high = TVec.Load(y + stride + 16);
                e0 = TVec.Fma(high0, high, TVec.Fma(low0, low, e0));
                e1 = TVec.Fma(high1, high, TVec.Fma(low1, low, e1));
                TDecoder.Decode(w2 + at, out low0, out high0);
                TDecoder.Decode(w3 + at, out low1, out high1);
                low = TVec.Load(x);
                high = TVec.Load(x + 16);
                a2 = TVec.Fma(high0, high, TVec.Fma(low0, low, a2));
                a3 = TVec.Fma(high1, high, TVec.Fma(low1, low, a3));
                low = TVec.Load(x + stride);
                high = TVec.Load(x + stride + 16);
                b2 = TVec.Fma(high0, high, TVec.Fma(low0, low, b2));
                b3 = TVec.Fma(high1, high, TVec.Fma(low1, low, b3));
                low = TVec.Load(x + (2 * stride));
                high = TVec.Load(x + (2 * stride) + 16);
                c2 = TVec.Fma(high0, high, TVec.Fma(low0, low, c2));
                c3 = TVec.Fma(high1, high, TVec.Fma(low1, low, c3));
                low = TVec.Load(y);
                high = TVec.Load(y + 16);
                d2 = TVec.Fma(high0, high, TVec.Fma(low0, low, d2));
                d3 = TVec.Fma(high1, high, TVec.Fma(low1, low, d3));
                low = TVec.Load(y + stride);
                high = TVec.Load(y + stride + 16);
                e2 = TVec.Fma(high0, high, TVec.Fma(low0, low, e2));
                e3 = TVec.Fma(high1, high, TVec.Fma(low1, low, e3));
            }

            TVec.Sum4(a0, a1, a2, a3).Store(sums);
            TVec.Sum4(b0, b1, b2, b3).Store(sums + 4);
            TVec.Sum4(c0, c1, c2, c3).Store(sums + 8);
            TVec.Sum4(d0, d1, d2, d3).Store(sums + 12);
            TVec.Sum4(e0, e1, e2, e3).Store(sums + 16);
            for (int r = 0; r < 5; r++)
            {
                job->Target.Put(sums + (4 * r), r, output);
            }
        }
    }
}
