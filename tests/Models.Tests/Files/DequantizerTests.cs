using System.Buffers.Binary;
using CsCheck;
using Xunit;

namespace LowLevelSpec.Models.Tests.Files;

public class DequantizerTests
{
    [Fact]
    public void Q8_0_Q4_0_Q4_1_blocks_decode_by_hand()
    {
        byte[] q8 = new byte[34], q40 = new byte[18], q41 = new byte[20];
        BinaryPrimitives.WriteHalfLittleEndian(q8, (Half)0.5f);
        BinaryPrimitives.WriteHalfLittleEndian(q40, (Half)(-2f));
        BinaryPrimitives.WriteHalfLittleEndian(q41, (Half)0.25f);
        BinaryPrimitives.WriteHalfLittleEndian(q41.AsSpan(2), (Half)(-1f));
        (q8[2], q8[33]) = (0x80, 127);
        (q40[2], q40[17]) = (0x3F, 0x80);
        (q41[4], q41[19]) = (0x2F, 0x01);
        float[] values = new float[32];
        Dequantizer.Decode(TensorType.Q8_0, q8, values);
        Assert.Equal((-64f, 63.5f, 0f), (values[0], values[31], values[1]));
        Dequantizer.Decode(TensorType.Q4_0, q40, values);
        Assert.Equal((-14f, 10f, 16f, 0f), (values[0], values[16], values[15], values[31]));
        Dequantizer.Decode(TensorType.Q4_1, q41, values);
        Assert.Equal((2.75f, -0.5f, -0.75f, -1f), (values[0], values[16], values[15], values[31]));
    }

    /// <summary>The K types against the walk over a block that ggml's own decoders take (running pointers, 64 or 128 values at a time).</summary>
    [Fact]
    public void K_blocks_decode_as_ggml_walks_them() => Gen.Byte.Array[210].Sample(
        random =>
        {
            foreach (TensorType type in (TensorType[])[TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K])
            {
                byte[] block = random[..type.BlockBytes()];
                int scales = type == TensorType.Q6_K ? 208 : 0;
                BinaryPrimitives.WriteHalfLittleEndian(block.AsSpan(scales), (Half)0.125f);
                if (type != TensorType.Q6_K)
                {
                    BinaryPrimitives.WriteHalfLittleEndian(block.AsSpan(2), (Half)0.75f);
                }

                float[] found = new float[256];
                Dequantizer.Decode(type, block, found);
                Assert.Equal(type == TensorType.Q6_K ? WalkQ6K(block) : WalkQ45K(block, type == TensorType.Q5_K), found);
            }
        },
        iter: 200);

    [Fact]
    public void Quantising_costs_at_most_about_a_step() => Gen.Select(Gen.Int, Gen.Float[0.01f, 100f]).Sample(
        (seed, size) =>
        {
            Random random = new(seed);
            float[] values = [.. Enumerable.Range(0, 256).Select(_ => ((random.NextSingle() * 2) - 1) * size)];
            foreach ((TensorType type, float steps) in new[]
            {
                (TensorType.F32, 0f), (TensorType.F16, 1 / 2000f), (TensorType.BF16, 1 / 250f), (TensorType.Q8_0, 1 / 220f), (TensorType.Q4_0, 1 / 7.9f),
                (TensorType.Q4_1, 1 / 14.5f), (TensorType.Q4_K, 1 / 11f), (TensorType.Q5_K, 1 / 20f), (TensorType.Q6_K, 1 / 45f),
            })
            {
                float[] back = new float[256];
                Dequantizer.Decode(type, Quantizer.Quantize(type, values), back);
                Assert.All(values.Zip(back), p => Assert.True(MathF.Abs(p.First - p.Second) <= steps * size, $"{type}: {p.First} became {p.Second}"));
            }
        },
        iter: 100);

    [Theory]
    [InlineData(1f, 0x3F80)]
    [InlineData(1.00390625f, 0x3F80)]
    [InlineData(1.01171875f, 0x3F82)]
    [InlineData(-1.004f, 0xBF81)]
    [InlineData(float.PositiveInfinity, 0x7F80)]
    [InlineData(3.4028235e38f, 0x7F80)]
    public void Bfloat16_rounds_ties_to_even(float value, int bits) => Assert.Equal((ushort)bits, Quantizer.ToBFloat16(value));

    [Fact]
    public void Bfloat16_keeps_nan() => Assert.Equal(0x7FFF, Quantizer.ToBFloat16(BitConverter.UInt32BitsToSingle(0x7FFFFFFF)));

    [Theory]
    [InlineData(0f)]
    [InlineData(3f)]
    public void Constant_blocks_survive(float value)
    {
        foreach (TensorType type in RoundTripTests.WeightTypes)
        {
            float[] values = new float[256], back = new float[256];
            values.AsSpan().Fill(value);
            Dequantizer.Decode(type, Quantizer.Quantize(type, values), back);
            Assert.All(back, b => Assert.Equal(value, b, 0.02f * value));
        }
    }

    private static float[] WalkQ45K(byte[] block, bool fifth)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(block), dmin = (float)BinaryPrimitives.ReadHalfLittleEndian(block.AsSpan(2));
        byte[] scales = block[4..16], high = fifth ? block[16..48] : new byte[32];
        int q = fifth ? 48 : 16, pair = 0;
        byte u1 = 1, u2 = 2;
        List<float> y = [];
        for (int j = 0; j < 256; j += 64)
        {
            (float d1, float m1) = Unpack(pair);
            (float d2, float m2) = Unpack(pair + 1);
            y.AddRange(Enumerable.Range(0, 32).Select(l => (d1 * ((block[q + l] & 0xF) + ((high[l] & u1) != 0 ? 16 : 0))) - m1).ToArray());
            y.AddRange(Enumerable.Range(0, 32).Select(l => (d2 * ((block[q + l] >> 4) + ((high[l] & u2) != 0 ? 16 : 0))) - m2).ToArray());
            (q, pair, u1, u2) = (q + 32, pair + 2, (byte)(u1 << 2), (byte)(u2 << 2));
        }

        return [.. y];

        (float Scale, float Minimum) Unpack(int j)
        {
            int s, m;
            if (j < 4)
            {
                (s, m) = (scales[j] % 64, scales[j + 4] % 64);
            }
            else
            {
                s = (scales[j + 4] % 16) + (scales[j - 4] / 64 * 16);
                m = (scales[j + 4] / 16) + (scales[j] / 64 * 16);
            }

            return (d * s, dmin * m);
        }
    }

    private static float[] WalkQ6K(byte[] block)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(block.AsSpan(208));
        float[] y = new float[256];
        int ql = 0, qh = 128, sc = 192;
        for (int n = 0; n < 256; n += 128)
        {
            for (int l = 0; l < 32; l++)
            {
                int at = sc + (l / 16);
                y[n + l] = d * (sbyte)block[at] * (((block[ql + l] & 0xF) | ((block[qh + l] & 3) << 4)) - 32);
                y[n + l + 32] = d * (sbyte)block[at + 2] * (((block[ql + l + 32] & 0xF) | (((block[qh + l] >> 2) & 3) << 4)) - 32);
                y[n + l + 64] = d * (sbyte)block[at + 4] * (((block[ql + l] >> 4) | (((block[qh + l] >> 4) & 3) << 4)) - 32);
                y[n + l + 96] = d * (sbyte)block[at + 6] * (((block[ql + l + 32] >> 4) | (((block[qh + l] >> 6) & 3) << 4)) - 32);
            }

            (ql, qh, sc) = (ql + 64, qh + 32, sc + 8);
        }

        return y;
    }
}
