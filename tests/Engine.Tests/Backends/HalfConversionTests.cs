using LowLevelSpec.Engine.Backends.Cpu;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>f32 to 16 bits: the nearest value, ties to even, and what becomes of values that are not numbers or not in range.</summary>
public sealed class HalfConversionTests
{
    [Theory]
    [InlineData(0x0000_0000u, 0x0000, 0x0000)]
    [InlineData(0x8000_0000u, 0x8000, 0x8000)]
    [InlineData(0x3f80_0000u, 0x3c00, 0x3f80)]
    [InlineData(0x3f80_1000u, 0x3c00, 0x3f80)] // 1 + 2^-11: a tie, to even
    [InlineData(0x3f80_3000u, 0x3c02, 0x3f80)] // 1 + 3 * 2^-11: a tie, to even
    [InlineData(0x3f80_1001u, 0x3c01, 0x3f80)]
    [InlineData(0x3f80_8000u, 0x3c04, 0x3f80)] // 1 + 2^-8: bfloat16's tie, to even
    [InlineData(0x3f81_8000u, 0x3c0c, 0x3f82)]
    [InlineData(0x3f80_8001u, 0x3c04, 0x3f81)]
    [InlineData(0x477f_e000u, 0x7bff, 0x4780)] // 65504, the largest half
    [InlineData(0x477f_efffu, 0x7bff, 0x4780)]
    [InlineData(0x477f_f000u, 0x7c00, 0x4780)] // 65520, half a step beyond it
    [InlineData(0x7f7f_ffffu, 0x7c00, 0x7f80)]
    [InlineData(0xff7f_0000u, 0xfc00, 0xff7f)]
    [InlineData(0x7f80_0000u, 0x7c00, 0x7f80)]
    [InlineData(0xff80_0000u, 0xfc00, 0xff80)]
    [InlineData(0x7f80_0001u, 0x7e00, 0x7fc0)] // NaN whose upper bits are those of infinity
    [InlineData(0xffc0_0000u, 0xfe00, 0xffc0)]
    [InlineData(0x3880_0000u, 0x0400, 0x3880)] // 2^-14, the smallest normal half
    [InlineData(0x387f_f000u, 0x0400, 0x3880)] // the tie below it, to even
    [InlineData(0x387f_e000u, 0x0400, 0x3880)]
    [InlineData(0x387f_c000u, 0x03ff, 0x3880)]
    [InlineData(0x3380_0000u, 0x0001, 0x3380)] // 2^-24, the smallest half
    [InlineData(0x3300_0000u, 0x0000, 0x3300)] // 2^-25: a tie with zero, to even
    [InlineData(0x3300_0001u, 0x0001, 0x3300)]
    [InlineData(0xb3c0_0000u, 0x8002, 0xb3c0)]
    [InlineData(0x0000_0001u, 0x0000, 0x0000)] // subnormal floats
    [InlineData(0x0000_8000u, 0x0000, 0x0000)]
    [InlineData(0x0001_8000u, 0x0000, 0x0002)]
    [InlineData(0x807f_ffffu, 0x8000, 0x8080)]
    public void Known_values(uint bits, int half, int bfloat)
    {
        float value = BitConverter.UInt32BitsToSingle(bits);
        Assert.Equal((ushort)half, Assert.Single(Convert([value]).Halves));
        Assert.Equal((ushort)bfloat, Assert.Single(Convert([value]).BFloats));
    }

    /// <summary>Every half and bfloat16, the values half way to the next, and those beside: against the definition in double precision.</summary>
    [Fact]
    public void Every_value_and_every_tie_goes_to_the_nearest()
    {
        List<float> values = [];
        for (int i = 0; i < 0x7f80; i++)
        {
            foreach (float end in (float[])[(float)BitConverter.UInt16BitsToHalf((ushort)Math.Min(i, 0x7bff)), BitConverter.UInt32BitsToSingle((uint)i << 16)])
            {
                uint bits = BitConverter.SingleToUInt32Bits(end);
                values.AddRange([end, -end, .. new uint[] { 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001 }.Select(step => BitConverter.UInt32BitsToSingle(bits + step))]);
            }
        }

        (ushort[] halves, ushort[] bfloats, _) = Convert([.. values]);
        for (int i = 0; i < values.Count; i++)
        {
            Assert.Equal(BitConverter.HalfToUInt16Bits((Half)values[i]), halves[i]);
            Assert.Equal(Nearest(values[i]), bfloats[i]);
        }
    }

    [Fact]
    public void All_lengths_give_the_same_and_touch_nothing_behind_them()
    {
        float[] values = [.. Bench.Values(67, 1), float.MaxValue];
        (ushort[] halves, ushort[] bfloats, bool finite) = Convert(values);
        Assert.False(finite);
        for (int n = 0; n < values.Length; n++)
        {
            (ushort[] some, ushort[] others, bool someFinite) = Convert(values[..n]);
            Assert.Equal(halves[..n], some);
            Assert.Equal(bfloats[..n], others);
            Assert.True(someFinite);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(15)]
    [InlineData(16)]
    [InlineData(20)]
    public void What_is_not_finite_is_reported_wherever_it_stands(int place)
    {
        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity, -65520f])
        {
            float[] values = Bench.Values(21, 2);
            values[place] = bad;
            Assert.False(Convert(values).Finite);
        }
    }

    /// <summary>The definition: of the two bfloat16 around a finite value the nearer one, at a tie the one whose last bit is 0.</summary>
    private static ushort Nearest(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (!float.IsFinite(value))
        {
            return (ushort)(bits >> 16);
        }

        uint down = bits >> 16, up = down + 1;
        double Value(uint upper) => (upper & 0x7fff) == 0x7f80 ? Math.CopySign(Math.Pow(2, 128), value) : BitConverter.UInt32BitsToSingle(upper << 16);
        double below = Math.Abs(value - Value(down)), above = Math.Abs(Value(up) - value);
        return (ushort)(below < above || (below == above && down % 2 == 0) ? down : up);
    }

    private static unsafe (ushort[] Halves, ushort[] BFloats, bool Finite) Convert(float[] values)
    {
        const ushort guard = 0x1234;
        ushort[] halves = new ushort[values.Length + 1], bfloats = new ushort[values.Length + 1];
        (halves[^1], bfloats[^1]) = (guard, guard);
        bool finite;
        fixed (float* from = values.Length == 0 ? new float[1] : values)
        fixed (ushort* toHalves = halves, toBFloats = bfloats)
        {
            finite = HalfConversion.ToHalf(from, toHalves, values.Length);
            HalfConversion.ToBFloat16(from, toBFloats, values.Length);
        }

        Assert.Equal((guard, guard), (halves[^1], bfloats[^1]));
        return (halves[..^1], bfloats[..^1], finite);
    }
}
