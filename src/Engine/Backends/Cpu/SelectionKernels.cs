using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Searches in rows of logits; one item per row.</summary>
internal unsafe struct SelectionJob
{
    /// <summary>[rows, Columns].</summary>
    public float* Logits;

    /// <summary>Elements between rows.</summary>
    public nint Stride;

    /// <summary>V.</summary>
    public int Columns;

    /// <summary>Entries wanted per row.</summary>
    public int Count;

    /// <summary>[rows, Count].</summary>
    public int* Tokens;

    /// <summary>[rows, Count], null for ArgMax.</summary>
    public float* LogProbabilities;

    /// <summary>Set where a row is unusable: 1 + that row.</summary>
    public int BadRow;
}

/// <summary>Largest entries and log-probabilities.</summary>
internal static unsafe class SelectionKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    // Sums of exponentials are kept in f32 over this many elements and added up in f64, or a large vocabulary would lose digits.
    private const int SumBlock = 1024;

    /// <summary>Index of the largest entry.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ArgMax(void* pointer, int thread, int item)
    {
        SelectionJob* job = (SelectionJob*)pointer;
        float* x = job->Logits + (item * job->Stride);
        int columns = job->Columns, whole = columns & ~15;
        bool nan = false;
        TVec max = TVec.Broadcast(float.NegativeInfinity);
        for (int i = 0; i < whole; i += 16)
        {
            TVec v = TVec.Load(x + i);
            nan |= TVec.AnyNaN(v);
            max = TVec.Max(v, max);
        }

        float* lanes = stackalloc float[16];
        TVec.Store(max, lanes);
        float largest = SimdMath.MaxOf<TVec>(lanes, 16);
        for (int i = whole; i < columns; i++)
        {
            nan |= float.IsNaN(x[i]);
            largest = x[i] > largest ? x[i] : largest;
        }

        // +infinity, or nothing but -infinity.
        if (nan || float.IsInfinity(largest))
        {
            Volatile.Write(ref job->BadRow, item + 1);
            return;
        }

        int at = 0;
        TVec wanted = TVec.Broadcast(largest);
        while (at < whole && !TVec.AnyEqual(TVec.Load(x + at), wanted))
        {
            at += 16;
        }

        while (x[at] != largest)
        {
            at++;
        }

        job->Tokens[item] = at;
    }

    /// <summary>Largest entries in descending order, ties to the lower index, with their log-probabilities.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void TopLogProbabilities(void* pointer, int thread, int item)
    {
        SelectionJob* job = (SelectionJob*)pointer;
        float* x = job->Logits + (item * job->Stride);
        int columns = job->Columns;
        if (!AllFinite(x, columns))
        {
            Volatile.Write(ref job->BadRow, item + 1);
            return;
        }

        int* tokens = job->Tokens + ((nint)item * job->Count);
        float* values = job->LogProbabilities + ((nint)item * job->Count);
        Largest(x, columns, tokens, values, job->Count);
        double max = values[0], logSum = Math.Log(SumOfExponentials(x, columns, values[0]));
        for (int i = 0; i < job->Count; i++)
        {
            values[i] = (float)(values[i] - max - logSum);
        }
    }

    /// <summary>Whether no entry is infinite or NaN: 0 * x is 0 only for finite x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool AllFinite(float* x, int columns)
    {
        TVec zeros = TVec.Zero;
        int i = 0;
        for (; i + 16 <= columns; i += 16)
        {
            zeros = TVec.Fma(TVec.Load(x + i), TVec.Zero, zeros);
        }

        if (i < columns)
        {
            zeros = TVec.Fma(SimdMath.LoadPartial<TVec>(x + i, columns - i), TVec.Zero, zeros);
        }

        return !TVec.AnyNaN(zeros);
    }

    /// <summary>The <paramref name="count"/> largest of <paramref name="columns"/> entries, kept sorted by insertion.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Largest(float* x, int columns, int* tokens, float* values, int count)
    {
        int found = 0, i = 0;
        for (; i < count; i++)
        {
            Insert(x[i], i, tokens, values, ref found, count);
        }

        // Later entries enter only if strictly larger than the smallest kept: ties stay with the lower index.
        for (; i < columns && (i & 15) != 0; i++)
        {
            Insert(x[i], i, tokens, values, ref found, count);
        }

        for (; i + 16 <= columns; i += 16)
        {
            if (TVec.AnyGreater(TVec.Load(x + i), TVec.Broadcast(values[count - 1])))
            {
                for (int lane = 0; lane < 16; lane++)
                {
                    Insert(x[i + lane], i + lane, tokens, values, ref found, count);
                }
            }
        }

        for (; i < columns; i++)
        {
            Insert(x[i], i, tokens, values, ref found, count);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Insert(float value, int token, int* tokens, float* values, ref int found, int count)
    {
        if (found == count)
        {
            if (!(value > values[count - 1]))
            {
                return;
            }
        }
        else
        {
            found++;
        }

        int at = found - 1;
        for (; at > 0 && values[at - 1] < value; at--)
        {
            values[at] = values[at - 1];
            tokens[at] = tokens[at - 1];
        }

        values[at] = value;
        tokens[at] = token;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double SumOfExponentials(float* x, int columns, float max)
    {
        double total = 0;
        TVec maxima = TVec.Broadcast(max);
        for (int start = 0; start < columns; start += SumBlock)
        {
            int i = start, end = Math.Min(start + SumBlock, columns);
            TVec sum = TVec.Zero;
            for (; i + 16 <= end; i += 16)
            {
                sum = TVec.Add(sum, SimdMath.Exp(TVec.Subtract(TVec.Load(x + i), maxima)));
            }

            if (i < end)
            {
                TVec tail = SimdMath.LoadPartial<TVec>(x + i, end - i, float.NegativeInfinity);
                sum = TVec.Add(sum, SimdMath.Exp(TVec.Subtract(tail, maxima)));
            }

            total += TVec.Sum(sum);
        }

        return total;
    }
}
