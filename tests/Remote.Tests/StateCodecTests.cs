using CsCheck;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Protocol;
using Xunit;

namespace LowLevelSpec.Remote.Tests;

/// <summary>State on the wire: sizes, rounding, refusals.</summary>
public sealed class StateCodecTests
{
    private const int Group = 8;

    [Fact]
    public void F32_is_exact()
    {
        Gen.Float[-1e30f, 1e30f].Array[3 * Group].Sample(static values =>
        {
            Assert.Equal(values, RoundTrip(Encoding.F32, values));
        });
    }

    [Fact]
    public void Bf16_rounds_to_eight_bits()
    {
        Gen.Float[-1e6f, 1e6f].Array[3 * Group].Sample(static values =>
        {
            float[] back = RoundTrip(Encoding.Bf16, values);
            for (int i = 0; i < values.Length; i++)
            {
                // Half a unit in the last of 8 significant bits; the smallest normal number bounds what is lost below it.
                Assert.True(MathF.Abs(back[i] - values[i]) <= (MathF.Abs(values[i]) / 256) + 1.2e-38f);
            }
        });
    }

    [Fact]
    public void Int8_errs_by_half_a_step_of_its_group_at_most()
    {
        Gen.Select(Gen.Float[-1, 1].Array[3 * Group], Gen.Float[1e-3f, 1e3f].Array[3]).Sample(static (unit, scales) =>
        {
            float[] values = [.. unit.Select((value, i) => value * scales[i / Group])];
            float[] back = RoundTrip(Encoding.Int8, values);
            for (int i = 0; i < values.Length; i++)
            {
                float largest = values.Skip(i / Group * Group).Take(Group).Max(MathF.Abs);

                // The scale, largest / 127, is rounded up to bf16, by 1/128 at most; a hundredth more for the rounding of the product.
                float step = largest / 127 * (1 + (1f / 128));
                Assert.True(MathF.Abs(back[i] - values[i]) <= 0.51f * step, $"{values[i]} came back as {back[i]} with step {step}");
            }
        });
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void What_is_not_finite_and_what_does_not_fit_is_refused(int encoding)
    {
        float[] values = new float[2 * Group];
        byte[] bytes = StateCodec.Encode((Encoding)encoding, values, Group);
        Assert.Equal(StateCodec.Bytes((Encoding)encoding, values.Length, Group), bytes.Length);
        Assert.Throws<InputException>(() => StateCodec.Decode((Encoding)encoding, bytes.AsSpan(1), values, Group));
        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
        {
            values[3] = bad;
            byte[] sent = StateCodec.Encode((Encoding)encoding, values, Group);
            Assert.Throws<InputException>(() => StateCodec.Decode((Encoding)encoding, sent, new float[2 * Group], Group));
        }
    }

    /// <summary>The figures for an 8B target: 4 CA heads of 128 are 1,024 values per token.</summary>
    [Fact]
    public void A_token_of_an_8B_target_takes_2_KiB_or_1_KiB_and_scales()
    {
        Assert.Equal(2048, StateCodec.Bytes(Encoding.Bf16, 1024, 128));
        Assert.Equal(1024 + (8 * 2), StateCodec.Bytes(Encoding.Int8, 1024, 128));
    }

    private static float[] RoundTrip(Encoding encoding, float[] values)
    {
        float[] back = new float[values.Length];
        StateCodec.Decode(encoding, StateCodec.Encode(encoding, values, Group), back, Group);
        return back;
    }
}
