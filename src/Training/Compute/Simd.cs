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

    /// <summary>e^x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Exp<T>(Vector256<T> x) where T : unmanaged =>
        typeof(T) == typeof(float) ? Vector256.Exp(x.AsSingle()).As<float, T>() : Vector256.Exp(x.AsDouble()).As<double, T>();

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
