using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>A row-wise operation for the thread team: items are runs of <see cref="RowsPerItem"/> rows.</summary>
internal unsafe struct RowsJob
{
    /// <summary>Rows (groups, for a group mean).</summary>
    public int Rows;

    /// <summary>Rows per item.</summary>
    public int RowsPerItem;

    /// <summary>Elements per row.</summary>
    public int Columns;

    /// <summary>First operand.</summary>
    public float* Input;

    /// <summary>Elements between its rows.</summary>
    public nint InputStride;

    /// <summary>Second operand, where there is one.</summary>
    public float* Other;

    /// <summary>Elements between its rows.</summary>
    public nint OtherStride;

    /// <summary>Result.</summary>
    public float* Output;

    /// <summary>Elements between its rows.</summary>
    public nint OutputStride;

    /// <summary>A norm's epsilon.</summary>
    public float Epsilon;

    /// <summary>Heads per row (Rope) or input rows per group (GroupMean).</summary>
    public int Count;

    /// <summary>Cosines [positions, Columns / Count / 2].</summary>
    public float* Cos;

    /// <summary>Sines, likewise.</summary>
    public float* Sin;

    /// <summary>Position of each row.</summary>
    public int* Positions;

    /// <summary>The rows of <paramref name="item"/>.</summary>
    public readonly void Range(int item, out int first, out int end)
    {
        first = item * RowsPerItem;
        end = Math.Min(first + RowsPerItem, Rows);
    }
}

/// <summary>Normalisation, activation, rotation and means.</summary>
internal static unsafe class ElementKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    /// <summary>x * (1 / sqrt(mean square + epsilon)), rounded, then times the gain (<see cref="RowsJob.Other"/>, padded).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RmsNorm(void* pointer, int thread, int item)
    {
        RowsJob* job = (RowsJob*)pointer;
        job->Range(item, out int row, out int end);
        int columns = job->Columns, whole = columns & ~15;
        for (; row < end; row++)
        {
            float* x = job->Input + (row * job->InputStride), y = job->Output + (row * job->OutputStride);
            TVec squares = TVec.Zero;
            for (int i = 0; i < whole; i += 16)
            {
                // The gain has left the caches since the last pass; it arrives while the squares are summed.
                SimdMath.Prefetch((byte*)(job->Other + i));
                TVec v = TVec.Load(x + i);
                squares = TVec.Fma(v, v, squares);
            }

            TVec tail = TVec.Zero;
            if (whole < columns)
            {
                tail = SimdMath.LoadPartial<TVec>(x + whole, columns - whole);
                squares = TVec.Fma(tail, tail, squares);
            }

            TVec scale = TVec.Broadcast(1f / MathF.Sqrt((TVec.Sum(squares) / columns) + job->Epsilon));
            for (int i = 0; i < whole; i += 16)
            {
                TVec.Store(TVec.Multiply(TVec.Multiply(TVec.Load(x + i), scale), TVec.Load(job->Other + i)), y + i);
            }

            if (whole < columns)
            {
                TVec result = TVec.Multiply(TVec.Multiply(tail, scale), TVec.Load(job->Other + whole));
                SimdMath.StorePartial(result, y + whole, columns - whole);
            }
        }
    }

    /// <summary>silu(input) * other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void SwiGlu(void* pointer, int thread, int item)
    {
        RowsJob* job = (RowsJob*)pointer;
        job->Range(item, out int row, out int end);
        int columns = job->Columns, whole = columns & ~15;
        for (; row < end; row++)
        {
            float* gate = job->Input + (row * job->InputStride), up = job->Other + (row * job->OtherStride);
            float* y = job->Output + (row * job->OutputStride);
            for (int i = 0; i < whole; i += 16)
            {
                TVec.Store(TVec.Multiply(SimdMath.Silu(TVec.Load(gate + i)), TVec.Load(up + i)), y + i);
            }

            if (whole < columns)
            {
                TVec g = SimdMath.LoadPartial<TVec>(gate + whole, columns - whole);
                TVec u = SimdMath.LoadPartial<TVec>(up + whole, columns - whole);
                SimdMath.StorePartial(TVec.Multiply(SimdMath.Silu(g), u), y + whole, columns - whole);
            }
        }
    }

    /// <summary>In place per head: (a, b) becomes (a cos - b sin, b cos + a sin), every product rounded on its own as in the reference.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rope(void* pointer, int thread, int item)
    {
        RowsJob* job = (RowsJob*)pointer;
        job->Range(item, out int row, out int end);
        int half = job->Columns / job->Count / 2, whole = half & ~15;
        for (; row < end; row++)
        {
            float* cos = job->Cos + ((nint)job->Positions[row] * half), sin = job->Sin + ((nint)job->Positions[row] * half);
            float* a = job->Output + (row * job->OutputStride);
            for (int head = 0; head < job->Count; head++, a += 2 * half)
            {
                float* b = a + half;
                for (int i = 0; i < whole; i += 16)
                {
                    TVec x = TVec.Load(a + i), y = TVec.Load(b + i), c = TVec.Load(cos + i), s = TVec.Load(sin + i);
                    TVec.Store(TVec.Subtract(TVec.Multiply(x, c), TVec.Multiply(y, s)), a + i);
                    TVec.Store(TVec.Add(TVec.Multiply(y, c), TVec.Multiply(x, s)), b + i);
                }

                for (int i = whole; i < half; i++)
                {
                    float x = a[i], y = b[i], xc = x * cos[i], ys = y * sin[i], yc = y * cos[i], xs = x * sin[i];
                    a[i] = xc - ys;
                    b[i] = yc + xs;
                }
            }
        }
    }

    /// <summary>Mean of <see cref="RowsJob.Count"/> consecutive input rows, added in order from the first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void GroupMean(void* pointer, int thread, int item)
    {
        RowsJob* job = (RowsJob*)pointer;
        job->Range(item, out int group, out int end);
        int columns = job->Columns, whole = columns & ~15;
        TVec count = TVec.Broadcast(job->Count);
        for (; group < end; group++)
        {
            float* x = job->Input + (group * (nint)job->Count * job->InputStride), y = job->Output + (group * job->OutputStride);
            for (int i = 0; i < whole; i += 16)
            {
                TVec sum = TVec.Load(x + i);
                for (int r = 1; r < job->Count; r++)
                {
                    sum = TVec.Add(sum, TVec.Load(x + (r * job->InputStride) + i));
                }

                TVec.Store(TVec.Divide(sum, count), y + i);
            }

            for (int i = whole; i < columns; i++)
            {
                float sum = x[i];
                for (int r = 1; r < job->Count; r++)
                {
                    sum += x[(r * job->InputStride) + i];
                }

                y[i] = sum / job->Count;
            }
        }
    }
}
