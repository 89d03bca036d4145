using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Sixteen f32 lanes, the one vector that every CPU kernel is written in. Each processor width implements it with as many
/// registers as it needs. All arithmetic is per lane and correctly rounded, and reductions follow one fixed tree, so a kernel
/// gives the same bits on every width.
/// </summary>
internal unsafe interface ISimd16<T>
    where T : unmanaged, ISimd16<T>
{
    /// <summary>Outputs a register tile of the dot kernels spans: 4 or 2, by the registers available.</summary>
    static abstract int OutputTile { get; }

    /// <summary>Most input rows a register tile of the dot kernels spans.</summary>
    static abstract int RowTile { get; }

    /// <summary>All lanes zero.</summary>
    static abstract T Zero { get; }

    /// <summary>All lanes <paramref name="value"/>.</summary>
    static abstract T Broadcast(float value);

    /// <summary>16 consecutive floats, any alignment.</summary>
    static abstract T Load(float* source);

    /// <summary>Writes 16 consecutive floats, any alignment.</summary>
    static abstract void Store(T value, float* destination);

    /// <summary>16 consecutive bfloat16, exact.</summary>
    static abstract T LoadBFloat16(ushort* source);

    /// <summary>16 consecutive IEEE halves, exact (subnormals, infinities and NaN included).</summary>
    static abstract T LoadHalf(ushort* source);

    /// <summary>16 consecutive finite IEEE halves, exact (subnormals included).</summary>
    static abstract T LoadFiniteHalf(ushort* source);

    /// <summary>16 signed bytes as floats.</summary>
    static abstract T FromSBytes(Vector128<sbyte> values);

    /// <summary>
    /// 32 values of 4 bits: lane i of low is fma(low nibble of byte i + bias, lowScale, lowOffset), high likewise of the high nibbles.
    /// </summary>
    static abstract void Nibbles(
        Vector128<byte> packed, sbyte bias, T lowScale, T lowOffset, T highScale, T highOffset, out T low, out T high);

    /// <summary>a * b + c with one rounding.</summary>
    static abstract T Fma(T a, T b, T c);

    /// <summary>a + b.</summary>
    static abstract T Add(T a, T b);

    /// <summary>a - b.</summary>
    static abstract T Subtract(T a, T b);

    /// <summary>a * b.</summary>
    static abstract T Multiply(T a, T b);

    /// <summary>a / b.</summary>
    static abstract T Divide(T a, T b);

    /// <summary>a > b ? a : b per lane; a NaN in either gives b.</summary>
    static abstract T Max(T a, T b);

    /// <summary>a &lt; b ? a : b per lane; a NaN in either gives b.</summary>
    static abstract T Min(T a, T b);

    /// <summary>2^n for integer-valued n in -126..127.</summary>
    static abstract T PowerOfTwo(T n);

    /// <summary>
    /// Sum of all lanes: halves are added, lane i to lane i + 8, then i + 4, i + 2, i + 1.
    /// </summary>
    static abstract float Sum(T value);

    /// <summary>The four sums (<see cref="Sum"/>) at once.</summary>
    static abstract Vector128<float> Sum4(T a, T b, T c, T d);

    /// <summary>Whether any lane is NaN.</summary>
    static abstract bool AnyNaN(T value);

    /// <summary>Whether a > b in any lane.</summary>
    static abstract bool AnyGreater(T a, T b);

    /// <summary>Whether a == b in any lane.</summary>
    static abstract bool AnyEqual(T a, T b);
}

/// <summary>Constants and pieces that the implementations of <see cref="ISimd16{T}"/> share.</summary>
internal static class Simd16Parts
{
    /// <summary>1.5 * 2^23 + 127: added to an integer n it leaves n + 127 in the lowest mantissa bits.</summary>
    public const float ExponentBias = 12583039f;

    /// <summary>2^112: moves a half's exponent, shifted to a float's place, to its value; exact, also for subnormals.</summary>
    public const float HalfScale = 5.192296858534828e33f;

    /// <summary>Sign, exponent and mantissa of a half that was sign-extended and shifted left by 13.</summary>
    public const uint HalfMask = 0x8fff_e000;

    /// <summary>The exponent of an infinite or NaN half, in that place.</summary>
    public const uint HalfSpecial = 0x0f80_0000;

    /// <summary>The exponent of an infinite or NaN float.</summary>
    public const uint FloatSpecial = 0x7f80_0000;

    /// <summary>An IEEE half's value.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Half(ushort bits)
    {
        uint shifted = ((uint)(short)bits << 13) & HalfMask;
        return (shifted & HalfSpecial) == HalfSpecial
            ? BitConverter.UInt32BitsToSingle(shifted | FloatSpecial)
            : BitConverter.UInt32BitsToSingle(shifted) * HalfScale;
    }

    /// <summary>
    /// The values of two consecutive IEEE halves in the lowest lanes. Scalar instructions do most of it: around it the vector
    /// units are the busy ones.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> HalfPair(uint pair)
    {
        // Processors with AVX-512 are those known to scatter bits in one step.
        ulong shifted = Bmi2.X64.IsSupported && Avx512F.IsSupported
            ? Bmi2.X64.ParallelBitDeposit(pair, 0x8fff_e000_8fff_e000)
            : ((((ulong)pair << 29) | ((ulong)pair << 13)) & 0x0fff_e000_0fff_e000) | ((((ulong)pair << 32) | ((ulong)pair << 16)) & 0x8000_0000_8000_0000);
        if (((shifted & 0x0f80_0000_0f80_0000) + 0x0080_0000_0080_0000 & 0x1000_0000_1000_0000) != 0)
        {
            return Vector128.CreateScalarUnsafe(Half((ushort)pair)).WithElement(1, Half((ushort)(pair >> 16)));
        }

        return Vector128.CreateScalarUnsafe(shifted).AsSingle() * Vector128.Create(HalfScale);
    }

    /// <summary>A bfloat16's value.</summary>
    public static float BFloat16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);
}
