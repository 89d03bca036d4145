using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Integer products as they are defined, element by element: quantised inputs, exact integer sums per block, one f32 chain over the blocks.</summary>
internal static class IntegerReference
{
    public static readonly TensorType[] Types = [TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_1, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K];

    /// <summary>Whether byte <paramref name="at"/> of a block belongs to its scales.</summary>
    public static bool IsScale(TensorType type, int at) => type switch
    {
        TensorType.Q6_K => at >= 192,
        TensorType.Q4_K or TensorType.Q5_K => at < 16,
        TensorType.Q4_1 => at < 4,
        _ => at < 2,
    };

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
                ReadOnlySpan<byte> weights = stored.AsSpan(o * (int)type.Bytes(k), (int)type.Bytes(k));
                for (int block = 0; block < k / 32; block++)
                {
                    sum = Add(type, weights, block, q.AsSpan(block * 32, 32), scales[block], sum);
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

    /// <summary>A block of 32 enters the sum: of a K type the lower 16 inputs, the upper 16, then the minimum.</summary>
    private static float Add(TensorType type, ReadOnlySpan<byte> stored, int block, ReadOnlySpan<int> q, float scale, float sum)
    {
        bool super = type.BlockElements() == 256;
        ReadOnlySpan<byte> b = stored.Slice(block / (super ? 8 : 1) * type.BlockBytes(), type.BlockBytes());
        for (int half = 0; half < 2; half++)
        {
            int products = 0, count = super ? 16 : 32;
            for (int i = 0; i < count; i++)
            {
                products += q[(16 * half) + i] * StoredRows.Code(type, b, (super ? block % 8 * 32 : 0) + (16 * half) + i);
            }

            sum = MathF.FusedMultiplyAdd(products, StoredRows.Scale(type, b, (super ? block % 8 * 32 : 0) + (16 * half)) * scale, sum);
            if (!super)
            {
                break;
            }
        }

        int inputs = 0;
        foreach (int value in q)
        {
            inputs += value;
        }

        return StoredRows.Minimum(type, b, super ? block % 8 * 32 : 0) is float minimum ? MathF.FusedMultiplyAdd(minimum, scale * inputs, sum) : sum;
    }
}
