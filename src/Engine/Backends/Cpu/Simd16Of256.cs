using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Sixteen lanes in two AVX2 registers.</summary>
internal readonly unsafe struct Simd16Of256 : ISimd16<Simd16Of256>
{
    private readonly Vector256<float> _a, _b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Simd16Of256(Vector256<float> a, Vector256<float> b)
    {
        _a = a;
        _b = b;
    }

    public static int OutputTile => 2;

    public static int RowTile => 3;

    public static Simd16Of256 Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => default;
    }

    /// <summary>Lanes 0..7 and 8..15.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 FromHalves(Vector256<float> low, Vector256<float> high) => new(low, high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Broadcast(float value)
    {
        Vector256<float> v = Vector256.Create(value);
        return new(v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Load(float* source) => new(Vector256.Load(source), Vector256.Load(source + 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Simd16Of256 value, float* destination)
    {
        value._a.Store(destination);
        value._b.Store(destination + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 LoadBFloat16(ushort* source) => new(BFloat16(Vector128.Load(source)), BFloat16(Vector128.Load(source + 8)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 LoadHalf(ushort* source) => new(Half(Vector128.Load((short*)source)), Half(Vector128.Load((short*)source + 8)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 LoadFiniteHalf(ushort* source) => new(FiniteHalf(Vector128.Load((short*)source)), FiniteHalf(Vector128.Load((short*)source + 8)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 FromSBytes(Vector128<sbyte> values) => new(
        Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(values)),
        Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(Sse2.ShiftRightLogical128BitLane(values, 8))));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Nibbles(
        Vector128<byte> packed, sbyte bias, Simd16Of256 lowScale, Simd16Of256 lowOffset, Simd16Of256 highScale, Simd16Of256 highOffset, out Simd16Of256 low, out Simd16Of256 high)
    {
        Vector128<sbyte> first = (packed & Vector128.Create((byte)15)).AsSByte(), second = Vector128.ShiftRightLogical(packed, 4).AsSByte();
        low = Fma(FromSBytes(first + Vector128.Create(bias)), lowScale, lowOffset);
        high = Fma(FromSBytes(second + Vector128.Create(bias)), highScale, highOffset);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Fma(Simd16Of256 a, Simd16Of256 b, Simd16Of256 c) => new(Vector256.FusedMultiplyAdd(a._a, b._a, c._a), Vector256.FusedMultiplyAdd(a._b, b._b, c._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Add(Simd16Of256 a, Simd16Of256 b) => new(a._a + b._a, a._b + b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Subtract(Simd16Of256 a, Simd16Of256 b) => new(a._a - b._a, a._b - b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Multiply(Simd16Of256 a, Simd16Of256 b) => new(a._a * b._a, a._b * b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Divide(Simd16Of256 a, Simd16Of256 b) => new(a._a / b._a, a._b / b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Max(Simd16Of256 a, Simd16Of256 b) => new(
            Vector256.ConditionalSelect(Vector256.GreaterThan(a._a, b._a), a._a, b._a),
            Vector256.ConditionalSelect(Vector256.GreaterThan(a._b, b._b), a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 Min(Simd16Of256 a, Simd16Of256 b) => new(
            Vector256.ConditionalSelect(Vector256.LessThan(a._a, b._a), a._a, b._a),
            Vector256.ConditionalSelect(Vector256.LessThan(a._b, b._b), a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 PowerOfTwo(Simd16Of256 n) => new(PowerOfTwo(n._a), PowerOfTwo(n._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Simd16Of256 value) => Sum8(value._a + value._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(Simd16Of256 a, Simd16Of256 b, Simd16Of256 c, Simd16Of256 d) =>
        Simd16Of128.Sum4x4(Halve(a), Halve(b), Halve(c), Halve(d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyNaN(Simd16Of256 value) => !(Vector256.EqualsAll(value._a, value._a) && Vector256.EqualsAll(value._b, value._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyGreater(Simd16Of256 a, Simd16Of256 b) =>
        Vector256.GreaterThanAny(a._a, b._a) || Vector256.GreaterThanAny(a._b, b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyEqual(Simd16Of256 a, Simd16Of256 b) =>
        Vector256.EqualsAny(a._a, b._a) || Vector256.EqualsAny(a._b, b._b);

    /// <summary>Sum of 8 lanes by the tree of <see cref="ISimd16{T}.Sum"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum8(Vector256<float> v) => Simd16Of128.Sum4x1(v.GetLower() + v.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Halve(Simd16Of256 value)
    {
        Vector256<float> sum = value._a + value._b;
        return sum.GetLower() + sum.GetUpper();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> BFloat16(Vector128<ushort> bits) => (Avx2.ConvertToVector256Int32(bits) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Half(Vector128<short> bits)
    {
        Vector256<uint> shifted = (Avx2.ConvertToVector256Int32(bits).AsUInt32() << 13) & Vector256.Create(Simd16Parts.HalfMask);
        Vector256<uint> special = Vector256.Create(Simd16Parts.HalfSpecial);
        Vector256<uint> value = (shifted.AsSingle() * Vector256.Create(Simd16Parts.HalfScale)).AsUInt32();
        return Vector256.ConditionalSelect(
            Vector256.Equals(shifted & special, special), shifted | Vector256.Create(Simd16Parts.FloatSpecial), value).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> FiniteHalf(Vector128<short> bits) =>
        ((Avx2.ConvertToVector256Int32(bits).AsUInt32() << 13) & Vector256.Create(Simd16Parts.HalfMask)).AsSingle() * Vector256.Create(Simd16Parts.HalfScale);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> PowerOfTwo(Vector256<float> n) => ((n + Vector256.Create(Simd16Parts.ExponentBias)).AsUInt32() << 23).AsSingle();
}
