using System.Numerics;
using System.Runtime.Intrinsics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>y = x * r * g per row, r = 1 / sqrt(mean(x^2) + epsilon). x, y [n, E], g [1, E] (Hugging Face LlamaRMSNorm).</summary>
internal static unsafe class RmsNorm
{
    private const int BlockRows = 32;

    /// <summary>Writes y and r [n, 1], which the backward pass needs.</summary>
    public static void Forward<T>(Tensor<T> x, Parameter<T> gain, T epsilon, Tensor<T> y, Tensor<T> r) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int e = x.Columns;
        gain.Value.Expect(1, e, "gain");
        y.Expect(x.Rows, e, "y");
        r.Expect(x.Rows, 1, "r");
        Work.Blocks(x.Rows, BlockRows, x.Length, (first, count) =>
        {
            for (int i = first; i < first + count; i++)
            {
                T* from = x.Data + ((long)i * e), to = y.Data + ((long)i * e), g = gain.Value.Data;
                T scale = T.One / T.Sqrt((Simd.Dot(from, from, e) / T.CreateTruncating(e)) + epsilon);
                r.Data[i] = scale;
                Vector256<T> scales = Vector256.Create(scale);
                int c = 0;
                for (; c <= e - Vector256<T>.Count; c += Vector256<T>.Count)
                {
                    (Vector256.Load(from + c) * scales * Vector256.Load(g + c)).Store(to + c);
                }

                for (; c < e; c++)
                {
                    to[c] = from[c] * scale * g[c];
                }
            }
        });
    }

    /// <summary>
    /// dx += r (dy g - x r^2 mean(dy g x)), dg += sum over rows of dy x r. dx [n, E] is not touched where null, dg where the gain is frozen.
    /// </summary>
    public static void Backward<T>(Tensor<T> x, Parameter<T> gain, Tensor<T> r, Tensor<T> dy, Tensor<T>? dx) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int e = x.Columns;
        dy.Expect(x.Rows, e, "dy");
        if (gain.Gradient is not null)
        {
            ColumnSums.Reduce(x.Rows, e, x.Length, gain.Gradient, (i, partial) => AddGain(x.Data + ((long)i * e), dy.Data + ((long)i * e), r.Data[i], (T*)partial, e));
        }

        if (dx is null)
        {
            return;
        }

        dx.Expect(x.Rows, e, "dx");
        Work.Blocks(x.Rows, BlockRows, x.Length, (first, count) =>
        {
            for (int i = first; i < first + count; i++)
            {
                AddInput(x.Data + ((long)i * e), dy.Data + ((long)i * e), gain.Value.Data, r.Data[i], dx.Data + ((long)i * e), e);
            }
        });
    }

    private static void AddGain<T>(T* x, T* dy, T r, T* sums, int e) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int c = 0;
        Vector256<T> scale = Vector256.Create(r);
        for (; c <= e - Vector256<T>.Count; c += Vector256<T>.Count)
        {
            Simd.Fma(Vector256.Load(dy + c), Vector256.Load(x + c) * scale, Vector256.Load(sums + c)).Store(sums + c);
        }

        for (; c < e; c++)
        {
            sums[c] += dy[c] * x[c] * r;
        }
    }

    private static void AddInput<T>(T* x, T* dy, T* gain, T r, T* dx, int e) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count, c = 0;
        Vector256<T> dots = Vector256<T>.Zero;
        for (; c <= e - lanes; c += lanes)
        {
            dots = Simd.Fma(Vector256.Load(dy + c) * Vector256.Load(gain + c), Vector256.Load(x + c), dots);
        }

        T dot = Vector256.Sum(dots);
        for (; c < e; c++)
        {
            dot += dy[c] * gain[c] * x[c];
        }

        T share = dot * r * r / T.CreateTruncating(e);
        Vector256<T> shares = Vector256.Create(share), scale = Vector256.Create(r);
        for (c = 0; c <= e - lanes; c += lanes)
        {
            Vector256<T> through = (Vector256.Load(dy + c) * Vector256.Load(gain + c)) - (Vector256.Load(x + c) * shares);
            Simd.Fma(through, scale, Vector256.Load(dx + c)).Store(dx + c);
        }

        for (; c < e; c++)
        {
            dx[c] += ((dy[c] * gain[c]) - (x[c] * share)) * r;
        }
    }
}
