using System.Numerics;
using System.Runtime.Intrinsics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>y = silu(g) * u elementwise, silu(g) = g / (1 + e^-g). g, u, y [n, F].</summary>
internal static unsafe class SwiGlu
{
    private const int Block = 4096;

    /// <summary>Writes y.</summary>
    public static void Forward<T>(Tensor<T> gate, Tensor<T> up, Tensor<T> y) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        up.Expect(gate.Rows, gate.Columns, "up");
        y.Expect(gate.Rows, gate.Columns, "y");
        int block = Math.Max(1, Block / gate.Columns);
        Work.Blocks(gate.Rows, block, gate.Length * 4, (first, count) =>
        {
            long i = (long)first * gate.Columns, end = (long)(first + count) * gate.Columns;
            for (; i <= end - Vector256<T>.Count; i += Vector256<T>.Count)
            {
                Vector256<T> g = Vector256.Load(gate.Data + i);
                (g / (Vector256<T>.One + Simd.Exp(-g)) * Vector256.Load(up.Data + i)).Store(y.Data + i);
            }

            for (; i < end; i++)
            {
                T g = gate.Data[i];
                y.Data[i] = g / (T.One + T.Exp(-g)) * up.Data[i];
            }
        });
    }

    /// <summary>From dy: dg = dy u s (1 + g (1 - s)), du = dy g s, s = 1 / (1 + e^-g). dg and du overwrite <paramref name="dGate"/> and <paramref name="dUp"/>, either of which may be dy.</summary>
    public static void Backward<T>(Tensor<T> gate, Tensor<T> up, Tensor<T> dy, Tensor<T> dGate, Tensor<T> dUp) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        dy.Expect(gate.Rows, gate.Columns, "dy");
        dGate.Expect(gate.Rows, gate.Columns, "dGate");
        dUp.Expect(gate.Rows, gate.Columns, "dUp");
        int block = Math.Max(1, Block / gate.Columns);
        Work.Blocks(gate.Rows, block, gate.Length * 6, (first, count) =>
        {
            long i = (long)first * gate.Columns, end = (long)(first + count) * gate.Columns;
            for (; i <= end - Vector256<T>.Count; i += Vector256<T>.Count)
            {
                Vector256<T> g = Vector256.Load(gate.Data + i), d = Vector256.Load(dy.Data + i), s = Vector256<T>.One / (Vector256<T>.One + Simd.Exp(-g));
                Vector256<T> dg = d * Vector256.Load(up.Data + i) * s * (Vector256<T>.One + (g * (Vector256<T>.One - s)));
                (d * g * s).Store(dUp.Data + i);
                dg.Store(dGate.Data + i);
            }

            for (; i < end; i++)
            {
                T g = gate.Data[i], d = dy.Data[i], s = T.One / (T.One + T.Exp(-g)), dg = d * up.Data[i] * s * (T.One + (g * (T.One - s)));
                dUp.Data[i] = d * g * s;
                dGate.Data[i] = dg;
            }
        });
    }
}
