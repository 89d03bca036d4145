using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Integer products as they are defined, element by element: quantised inputs, exact integer sums per block, one f32 chain over the blocks.</summary>
internal static class IntegerReference
{
    public static readonly TensorType[] Types = [TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_1];

    /// <summary>Whether byte <paramref name="at"/> of a block belongs to its scales.</summary>
    public static bool IsScale(TensorType type, int at) => at < (type == TensorType.Q4_1 ? 4 : 2);

    /// <summary>[n, outputs] = x [n, k] . weight [outputs, k] (+ bias) (+ before).</summary>
    public static float[] Product(TensorType type, byte[] stored, float[] x, int outputs, int k, float[]? bias, float[]? before)
    {
        int n = x.Length / k;
        float[] result = new float[n * outputs];
        for (int row = 0; row < n; row++)
        {
            (int[] q, float[] scales) = Quantise(x.AsSpan(row * k, k));
            for (int o = 0; o < outputs; o++)
            {
                float sum = 0;
                for (int block = 0; block < k / 32; block++)
                {
                    ReadOnlySpan<byte> b = stored.AsSpan(((o * k / 32) + block) * type.BlockBytes(), type.BlockBytes());
                    sum = Add(type, b, q.AsSpan(block * 32, 32), scales[block], sum);
                }

                sum = bias is null ? sum : sum + bias[o];
                result[(row * outputs) + o] = before is null ? sum : before[(row * outputs) + o] + sum;
            }
        }

        return result;
    }

    private static (int[] Quants, float[] Scales) Quantise(ReadOnlySpan<float> x)
    {
        int[] q = new int[x.Length];
        float[] scales = new float[x.Length / 32];
        for (int block = 0; block < scales.Length; block++)
        {
            float largest = 0;
            foreach (float value in x.Slice(block * 32, 32))
            {
                largest = MathF.Max(largest, MathF.Abs(value));
            }

            if (largest < 1e-30f)
            {
                continue;
            }

            scales[block] = largest / 127f;
            float inverse = 127f / largest;
            for (int i = block * 32; i < (block + 1) * 32; i++)
            {
                q[i] = (int)MathF.Round(x[i] * inverse, MidpointRounding.ToEven);
            }
        }

        return (q, scales);
    }

    private static float Add(TensorType type, ReadOnlySpan<byte> b, ReadOnlySpan<int> q, float scale, float sum)
    {
        float weightScale = (float)BitConverter.ToHalf(b);
        int products = 0, inputs = 0;
        for (int i = 0; i < 32; i++)
        {
            int nibble = type == TensorType.Q8_0 ? 0 : (b[(type == TensorType.Q4_1 ? 4 : 2) + (i % 16)] >> (i / 16 * 4)) & 15;
            products += q[i] * (type == TensorType.Q8_0 ? (sbyte)b[2 + i] : type == TensorType.Q4_0 ? nibble - 8 : nibble);
            inputs += q[i];
        }

        sum = MathF.FusedMultiplyAdd(products, weightScale * scale, sum);
        return type == TensorType.Q4_1 ? MathF.FusedMultiplyAdd((float)BitConverter.ToHalf(b[2..]), scale * inputs, sum) : sum;
    }
}
