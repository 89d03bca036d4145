using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Sixteen lanes in four 128-bit registers (SSE, NEON).</summary>
internal readonly unsafe struct Simd16Of128 : ISimd16<Simd16Of128>
{
    private readonly Vector128<float> _a, _b, _c, _d;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Simd16Of128(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d)
    {
        _a = a;
        _b = b;
        _c = c;
        _d = d;
    }

    public static int OutputTile => 2;

    public static int RowTile => 3;

    public static Simd16Of128 Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => default;
    }

    /// <summary>Lanes 0..3, 4..7, 8..11 and 12..15.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 FromQuarters(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d) => new(a, b, c, d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Broadcast(float value)
    {
        Vector128<float> v = Vector128.Create(value);
        return new(v, v, v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Load(float* source) => new(
            Vector128.Load(source),
            Vector128.Load(source + 4),
            Vector128.Load(source + 8),
            Vector128.Load(source + 12));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Simd16Of128 value, float* destination)
    {
        value._a.Store(destination);
        value._b.Store(destination + 4);
        value._c.Store(destination + 8);
        value._d.Store(destination + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 LoadBFloat16(ushort* source)
    {
        (Vector128<uint> a, Vector128<uint> b) = Vector128.Widen(Vector128.Load(source));
        (Vector128<uint> c, Vector128<uint> d) = Vector128.Widen(Vector128.Load(source + 8));
        return new((a << 16).AsSingle(), (b << 16).AsSingle(), (c << 16).AsSingle(), (d << 16).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 LoadHalf(ushort* source)
    {
        (Vector128<int> a, Vector128<int> b) = Vector128.Widen(Vector128.Load((short*)source));
        (Vector128<int> c, Vector128<int> d) = Vector128.Widen(Vector128.Load((short*)source + 8));
        return new(Half(a), Half(b), Half(c), Half(d));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 LoadFiniteHalf(ushort* source) => LoadHalf(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 FromSBytes(Vector128<sbyte> values)
    {
        (Vector128<short> low, Vector128<short> high) = Vector128.Widen(values);
        (Vector128<int> a, Vector128<int> b) = Vector128.Widen(low);
        (Vector128<int> c, Vector128<int> d) = Vector128.Widen(high);
        return new(Vector128.ConvertToSingle(a), Vector128.ConvertToSingle(b), Vector128.ConvertToSingle(c), Vector128.ConvertToSingle(d));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Nibbles(
        Vector128<byte> packed, sbyte bias, Simd16Of128 lowScale, Simd16Of128 lowOffset, Simd16Of128 highScale, Simd16Of128 highOffset, out Simd16Of128 low, out Simd16Of128 high)
    {
        Vector128<sbyte> first = (packed & Vector128.Create((byte)15)).AsSByte(), second = Vector128.ShiftRightLogical(packed, 4).AsSByte();
        low = Fma(FromSBytes(first + Vector128.Create(bias)), lowScale, lowOffset);
        high = Fma(FromSBytes(second + Vector128.Create(bias)), highScale, highOffset);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Fma(Simd16Of128 a, Simd16Of128 b, Simd16Of128 c) => new(
            Vector128.FusedMultiplyAdd(a._a, b._a, c._a),
            Vector128.FusedMultiplyAdd(a._b, b._b, c._b),
            Vector128.FusedMultiplyAdd(a._c, b._c, c._c),
            Vector128.FusedMultiplyAdd(a._d, b._d, c._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Add(Simd16Of128 a, Simd16Of128 b) => new(a._a + b._a, a._b + b._b, a._c + b._c, a._d + b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Subtract(Simd16Of128 a, Simd16Of128 b) => new(a._a - b._a, a._b - b._b, a._c - b._c, a._d - b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Multiply(Simd16Of128 a, Simd16Of128 b) => new(a._a * b._a, a._b * b._b, a._c * b._c, a._d * b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Divide(Simd16Of128 a, Simd16Of128 b) => new(a._a / b._a, a._b / b._b, a._c / b._c, a._d / b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Max(Simd16Of128 a, Simd16Of128 b) => new(
            Vector128.ConditionalSelect(Vector128.GreaterThan(a._a, b._a), a._a, b._a),
            Vector128.ConditionalSelect(Vector128.GreaterThan(a._b, b._b), a._b, b._b),
            Vector128.ConditionalSelect(Vector128.GreaterThan(a._c, b._c), a._c, b._c),
            Vector128.ConditionalSelect(Vector128.GreaterThan(a._d, b._d), a._d, b._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 Min(Simd16Of128 a, Simd16Of128 b) => new(
            Vector128.ConditionalSelect(Vector128.LessThan(a._a, b._a), a._a, b._a),
            Vector128.ConditionalSelect(Vector128.LessThan(a._b, b._b), a._b, b._b),
            Vector128.ConditionalSelect(Vector128.LessThan(a._c, b._c), a._c, b._c),
            Vector128.ConditionalSelect(Vector128.LessThan(a._d, b._d), a._d, b._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 PowerOfTwo(Simd16Of128 n) => new(PowerOfTwo(n._a), PowerOfTwo(n._b), PowerOfTwo(n._c), PowerOfTwo(n._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Simd16Of128 value) => Sum4x1(Quarter(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(Simd16Of128 a, Simd16Of128 b, Simd16Of128 c, Simd16Of128 d) =>
        Sum4x4(Quarter(a), Quarter(b), Quarter(c), Quarter(d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyNaN(Simd16Of128 value) => !(Vector128.EqualsAll(value._a, value._a) && Vector128.EqualsAll(value._b, value._b) && Vector128.EqualsAll(value._c, value._c) && Vector128.EqualsAll(value._d, value._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyGreater(Simd16Of128 a, Simd16Of128 b) =>
        Vector128.GreaterThanAny(a._a, b._a) || Vector128.GreaterThanAny(a._b, b._b) || Vector128.GreaterThanAny(a._c, b._c) || Vector128.GreaterThanAny(a._d, b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyEqual(Simd16Of128 a, Simd16Of128 b) =>
        Vector128.EqualsAny(a._a, b._a) || Vector128.EqualsAny(a._b, b._b) || Vector128.EqualsAny(a._c, b._c) || Vector128.EqualsAny(a._d, b._d);

    /// <summary>Sum of 4 lanes by the tree of <see cref="ISimd16{T}.Sum"/>: (0 + 2) + (1 + 3).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum4x1(Vector128<float> v)
    {
        Vector128<float> two = v + Vector128.Shuffle(v, Vector128.Create(2, 3, 0, 1));
        return two.ToScalar() + two.GetElement(1);
    }

    /// <summary>Four such sums, by transposing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4x4(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d)
    {
        if (!Sse.IsSupported)
        {
            return Vector128.Create(Sum4x1(a), Sum4x1(b), Sum4x1(c), Sum4x1(d));
        }

        Vector128<float> ab = Sse.UnpackLow(a, b) + Sse.UnpackHigh(a, b);
        Vector128<float> cd = Sse.UnpackLow(c, d) + Sse.UnpackHigh(c, d);
        return Sse.MoveLowToHigh(ab, cd) + Sse.MoveHighToLow(cd, ab);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Quarter(Simd16Of128 value) => (value._a + value._c) + (value._b + value._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Half(Vector128<int> bits)
    {
        Vector128<uint> shifted = (bits.AsUInt32() << 13) & Vector128.Create(Simd16Parts.HalfMask);
        Vector128<uint> special = Vector128.Create(Simd16Parts.HalfSpecial);
        Vector128<uint> value = (shifted.AsSingle() * Vector128.Create(Simd16Parts.HalfScale)).AsUInt32();
        return Vector128.ConditionalSelect(
            Vector128.Equals(shifted & special, special), shifted | Vector128.Create(Simd16Parts.FloatSpecial), value).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> PowerOfTwo(Vector128<float> n) => ((n + Vector128.Create(Simd16Parts.ExponentBias)).AsUInt32() << 23).AsSingle();
}
