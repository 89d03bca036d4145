using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// f32 to the 16-bit types, to the nearest value, ties to even, subnormals included; beyond the largest value infinity. NaN stays NaN with its sign.
/// Integer instructions do all of it but one addition, so every width gives the same bits.
/// </summary>
internal static unsafe class HalfConversion
{
    private const uint Sign = 0x8000_0000, Infinity = 0x7f80_0000;

    // 2^16, the first power beyond the halves, and 2^-14, their smallest normal value.
    private const uint BeyondHalf = 143u << 23, SmallestHalf = 113u << 23;

    // 1/2: its last mantissa bit stands where the last bit of a subnormal half does, so that adding it rounds there.
    private const uint SubnormalShift = 126u << 23;

    /// <summary>Converts <paramref name="count"/> values to bfloat16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ToBFloat16(float* source, ushort* destination, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            Vector256.Narrow(BFloat16(Vector256.Load((uint*)source + i)), BFloat16(Vector256.Load((uint*)source + i + 8))).Store(destination + i);
        }

        for (; i < count; i++)
        {
            destination[i] = (ushort)BFloat16(Vector256.CreateScalar(((uint*)source)[i])).ToScalar();
        }
    }

    /// <summary>Converts <paramref name="count"/> values to IEEE halves.</summary>
    /// <returns>Whether all of them are finite.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool ToHalf(float* source, ushort* destination, int count)
    {
        Vector256<ushort> exponent = Vector256.Create((ushort)0x7c00), special = Vector256<ushort>.Zero;
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            Vector256<ushort> halves = Vector256.Narrow(Half(Vector256.Load((uint*)source + i)), Half(Vector256.Load((uint*)source + i + 8)));
            special |= Vector256.Equals(halves & exponent, exponent);
            halves.Store(destination + i);
        }

        bool finite = special == Vector256<ushort>.Zero;
        for (; i < count; i++)
        {
            destination[i] = (ushort)Half(Vector256.CreateScalar(((uint*)source)[i])).ToScalar();
            finite &= (destination[i] & 0x7c00) != 0x7c00;
        }

        return finite;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> BFloat16(Vector256<uint> bits)
    {
        Vector256<uint> upper = bits >>> 16;
        Vector256<uint> rounded = (bits + Vector256.Create(0x7fffu) + (upper & Vector256<uint>.One)) >>> 16;
        Vector256<uint> isNaN = Vector256.GreaterThan(Magnitude(bits).AsInt32(), Vector256.Create((int)Infinity)).AsUInt32();
        return Vector256.ConditionalSelect(isNaN, upper | Vector256.Create(0x40u), rounded);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Half(Vector256<uint> bits)
    {
        Vector256<uint> magnitude = Magnitude(bits);

        // The exponent's bias goes from 127 to 15; a carry out of the mantissa raises the exponent, up to infinity's.
        Vector256<uint> normal = (magnitude - Vector256.Create(112u << 23) + Vector256.Create(0xfffu) + ((magnitude >>> 13) & Vector256<uint>.One)) >>> 13;
        Vector256<uint> subnormal = (magnitude.AsSingle() + Vector256.Create(SubnormalShift).AsSingle()).AsUInt32() - Vector256.Create(SubnormalShift);
        Vector256<uint> beyond = Vector256.ConditionalSelect(
            Vector256.GreaterThan(magnitude.AsInt32(), Vector256.Create((int)Infinity)).AsUInt32(), Vector256.Create(0x7e00u), Vector256.Create(0x7c00u));
        Vector256<uint> result = Vector256.ConditionalSelect(
            Vector256.LessThan(magnitude.AsInt32(), Vector256.Create((int)SmallestHalf)).AsUInt32(),
            subnormal,
            Vector256.ConditionalSelect(Vector256.LessThan(magnitude.AsInt32(), Vector256.Create((int)BeyondHalf)).AsUInt32(), normal, beyond));
        return result | ((bits & Vector256.Create(Sign)) >>> 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Magnitude(Vector256<uint> bits) => Vector256.AndNot(bits, Vector256.Create(Sign));
}
