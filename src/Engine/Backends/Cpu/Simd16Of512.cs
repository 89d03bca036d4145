using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Sixteen lanes in one AVX-512 register.</summary>
internal readonly unsafe struct Simd16Of512 : ISimd16<Simd16Of512>
{
    private readonly Vector512<float> _v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Simd16Of512(Vector512<float> v) => _v = v;

    public static int OutputTile => 4;

    public static int RowTile => 6;

    public static Simd16Of512 Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector512<float>.Zero);
    }

    /// <summary>All sixteen lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 From(Vector512<float> value) => new(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Broadcast(float value) => new(Vector512.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Load(float* source) => new(Vector512.Load(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Simd16Of512 value, float* destination) => value._v.Store(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 LoadBFloat16(ushort* source) =>
        new(Vector512.ShiftLeft(Avx512F.ConvertToVector512UInt32(Vector256.Load(source)), 16).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 LoadHalf(ushort* source)
    {
        Vector512<uint> shifted = Vector512.ShiftLeft(Avx512F.ConvertToVector512Int32(Vector256.Load((short*)source)).AsUInt32(), 13)
            & Vector512.Create(Simd16Parts.HalfMask);
        Vector512<uint> special = Vector512.Create(Simd16Parts.HalfSpecial);
        Vector512<uint> value = (shifted.AsSingle() * Vector512.Create(Simd16Parts.HalfScale)).AsUInt32();
        return new(Vector512.ConditionalSelect(
            Vector512.Equals(shifted & special, special), shifted | Vector512.Create(Simd16Parts.FloatSpecial), value).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 LoadFiniteHalf(ushort* source) => new(
        (Vector512.ShiftLeft(Avx512F.ConvertToVector512Int32(Vector256.Load((short*)source)).AsUInt32(), 13) & Vector512.Create(Simd16Parts.HalfMask)).AsSingle()
        * Vector512.Create(Simd16Parts.HalfScale));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 FromSBytes(Vector128<sbyte> values) =>
        new(Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(values)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Nibbles(
        Vector128<byte> packed, sbyte bias, Simd16Of512 lowScale, Simd16Of512 lowOffset, Simd16Of512 highScale, Simd16Of512 highOffset, out Simd16Of512 low, out Simd16Of512 high)
    {
        // A nibble has sixteen values: they are computed once and looked up, which saves the masks and conversions.
        Vector512<int> codes = Avx512F.ConvertToVector512Int32(packed);
        low = new(Avx512F.PermuteVar16x32(NibbleTable(bias, lowScale, lowOffset), codes));
        high = new(Avx512F.PermuteVar16x32(NibbleTable(bias, highScale, highOffset), Vector512.ShiftRightLogical(codes, 4)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Fma(Simd16Of512 a, Simd16Of512 b, Simd16Of512 c) => new(Vector512.FusedMultiplyAdd(a._v, b._v, c._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Add(Simd16Of512 a, Simd16Of512 b) => new(a._v + b._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Subtract(Simd16Of512 a, Simd16Of512 b) => new(a._v - b._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Multiply(Simd16Of512 a, Simd16Of512 b) => new(a._v * b._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Divide(Simd16Of512 a, Simd16Of512 b) => new(a._v / b._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Max(Simd16Of512 a, Simd16Of512 b) =>
        new(Vector512.ConditionalSelect(Vector512.GreaterThan(a._v, b._v), a._v, b._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 Min(Simd16Of512 a, Simd16Of512 b) =>
        new(Vector512.ConditionalSelect(Vector512.LessThan(a._v, b._v), a._v, b._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 PowerOfTwo(Simd16Of512 n) =>
        new(Vector512.ShiftLeft((n._v + Vector512.Create(Simd16Parts.ExponentBias)).AsUInt32(), 23).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Simd16Of512 value) => Simd16Of256.Sum8(value._v.GetLower() + value._v.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(Simd16Of512 a, Simd16Of512 b, Simd16Of512 c, Simd16Of512 d)
    {
        // Quarters of 128 bits: ab = [a0+a2, a1+a3, b0+b2, b1+b3], then quarters a, b, c, d of four partial sums each.
        Vector512<float> ab = Avx512F.Shuffle4x128(a._v, b._v, 0x44) + Avx512F.Shuffle4x128(a._v, b._v, 0xee);
        Vector512<float> cd = Avx512F.Shuffle4x128(c._v, d._v, 0x44) + Avx512F.Shuffle4x128(c._v, d._v, 0xee);
        Vector512<float> abcd = Avx512F.Shuffle4x128(ab, cd, 0x88) + Avx512F.Shuffle4x128(ab, cd, 0xdd);
        abcd += Avx512F.Permute4x32(abcd, 0x4e);
        abcd += Avx512F.Permute4x32(abcd, 0xb1);
        return Avx512F.PermuteVar16x32(abcd, Vector512.Create(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12)).GetLower().GetLower();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyNaN(Simd16Of512 value) => !Vector512.EqualsAll(value._v, value._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyGreater(Simd16Of512 a, Simd16Of512 b) => Vector512.GreaterThanAny(a._v, b._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyEqual(Simd16Of512 a, Simd16Of512 b) => Vector512.EqualsAny(a._v, b._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> NibbleTable(sbyte bias, Simd16Of512 scale, Simd16Of512 offset) => Vector512.FusedMultiplyAdd(
        Vector512.Create(0f, 1f, 2f, 3f, 4f, 5f, 6f, 7f, 8f, 9f, 10f, 11f, 12f, 13f, 14f, 15f) + Vector512.Create((float)bias), scale._v, offset._v);
}
