using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Training.Compute;

/// <summary>
/// Vector operations for float and double alike; the type tests vanish when the code is compiled for one of them. Element by element work has 256-bit
/// vectors on every processor: wider ones would be emulated on many, and memory, not arithmetic, bounds it where they exist.
/// </summary>
internal static unsafe class Simd
{
    /// <summary>a * b + c, rounded once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Fma<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c) where T : unmanaged =>
        typeof(T) == typeof(float)
            ? Vector512.FusedMultiplyAdd(a.AsSingle(), b.AsSingle(), c.AsSingle()).As<float, T>()
            : Vector512.FusedMultiplyAdd(a.AsDouble(), b.AsDouble(), c.AsDouble()).As<double, T>();

    /// <summary>a * b + c, rounded once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Fma<T>(Vector256<T> a, Vector256<T> b, Vector256<T> c) where T : unmanaged =>
        typeof(T) == typeof(float)
            ? Vector256.FusedMultiplyAdd(a.AsSingle(), b.AsSingle(), c.AsSingle()).As<float, T>()
            : Vector256.FusedMultiplyAdd(a.AsDouble(), b.AsDouble(), c.AsDouble()).As<double, T>();

    /// <summary>e^x; for floats within 2 units in the last place, 0 below the smallest normal number. NaN stays NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Exp<T>(Vector256<T> x) where T : unmanaged =>
        typeof(T) == typeof(float) ? Exp(x.AsSingle()).As<float, T>() : Vector256.Exp(x.AsDouble()).As<double, T>();

    /// <summary>e^x = 2^n e^r, n = round(x / ln 2): a polynomial of r, |r| up to ln(2)/2, from Taylor's series, and n added to the exponent. The library's goes through double.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Exp(Vector256<float> x)
    {
        // ln 2 in two parts: n times the first is exact.
        const float Lowest = -87.33654f, Highest = 88.72283f, Log2E = 1.44269504f, Ln2High = 0.693359375f, Ln2Low = -2.12194440e-4f;
        Vector256<float> bounded = Vector256.MinNative(Vector256.MaxNative(x, Vector256.Create(Lowest)), Vector256.Create(Highest));
        Vector256<float> n = Vector256.Round(bounded * Log2E);
        Vector256<float> r = Vector256.FusedMultiplyAdd(n, Vector256.Create(-Ln2Low), Vector256.FusedMultiplyAdd(n, Vector256.Create(-Ln2High), bounded));
        Vector256<float> p = Vector256.FusedMultiplyAdd(Vector256.Create(1f / 5040), r, Vector256.Create(1f / 720));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(1f / 120));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(1f / 24));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(1f / 6));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(0.5f));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(1f));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(1f));

        // 2^n in two steps, as n = 128 has no exponent of its own.
        Vector256<int> whole = Vector256.ConvertToInt32Native(n), half = whole >> 1;
        Vector256<float> value = p * Power(half) * Power(whole - half);
        value = Vector256.ConditionalSelect(Vector256.LessThan(x, Vector256.Create(Lowest)), Vector256<float>.Zero, value);
        return Vector256.ConditionalSelect(Vector256.Equals(x, x), value, x);
    }

    /// <summary>2^n for n of a normal number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Power(Vector256<int> n) => ((n + Vector256.Create(127)) << 23).AsSingle();

    /// <summary>Sum of x[i] * y[i].</summary>
    public static T Dot<T>(T* x, T* y, int count) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count, i = 0;
        Vector256<T> sum0 = Vector256<T>.Zero, sum1 = Vector256<T>.Zero;
        for (; i <= count - (2 * lanes); i += 2 * lanes)
        {
            sum0 = Fma(Vector256.Load(x + i), Vector256.Load(y + i), sum0);
            sum1 = Fma(Vector256.Load(x + i + lanes), Vector256.Load(y + i + lanes), sum1);
        }

        for (; i <= count - lanes; i += lanes)
        {
            sum0 = Fma(Vector256.Load(x + i), Vector256.Load(y + i), sum0);
        }

        T sum = Vector256.Sum(sum0 + sum1);
        for (; i < count; i++)
        {
            sum += x[i] * y[i];
        }

        return sum;
    }

    /// <summary>y[i] += scale * x[i].</summary>
    public static void AddScaled<T>(T* x, T scale, T* y, long count) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count;
        long i = 0;
        Vector256<T> factor = Vector256.Create(scale);
        for (; i <= count - lanes; i += lanes)
        {
            Fma(Vector256.Load(x + i), factor, Vector256.Load(y + i)).Store(y + i);
        }

        for (; i < count; i++)
        {
            y[i] += scale * x[i];
        }
    }

    /// <summary>x[i] *= scale.</summary>
    public static void Scale<T>(T* x, T scale, long count) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count;
        long i = 0;
        for (; i <= count - lanes; i += lanes)
        {
            (Vector256.Load(x + i) * scale).Store(x + i);
        }

        for (; i < count; i++)
        {
            x[i] *= scale;
        }
    }

    /// <summary>Largest of x[0..count); -infinity for none. A NaN is passed on.</summary>
    public static T Max<T>(T* x, int count) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count, i = 0;
        T max = T.NegativeInfinity;
        if (count >= lanes)
        {
            Vector256<T> best = Vector256.Load(x);
            for (i = lanes; i <= count - lanes; i += lanes)
            {
                best = Vector256.Max(best, Vector256.Load(x + i));
            }

            for (int l = 0; l < lanes; l++)
            {
                max = T.Max(max, best[l]);
            }
        }

        for (; i < count; i++)
        {
            max = T.Max(max, x[i]);
        }

        return max;
    }

    /// <summary>y[i] = e^(x[i] - shift); returns their sum. y may be x.</summary>
    public static T ExpSum<T>(T* x, T shift, T* y, int count) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count, i = 0;
        Vector256<T> sums = Vector256<T>.Zero, shifts = Vector256.Create(shift);
        for (; i <= count - lanes; i += lanes)
        {
            Vector256<T> e = Exp(Vector256.Load(x + i) - shifts);
            e.Store(y + i);
            sums += e;
        }

        T sum = Vector256.Sum(sums);
        for (; i < count; i++)
        {
            y[i] = T.Exp(x[i] - shift);
            sum += y[i];
        }

        return sum;
    }
}
