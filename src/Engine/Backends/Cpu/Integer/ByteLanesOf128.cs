using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Sixteen lanes in four 128-bit registers (SSE, NEON).</summary>
internal readonly unsafe struct ByteLanesOf128 : IByteLanes<ByteLanesOf128, Simd16Of128>
{
    private readonly Vector128<byte> _a, _b, _c, _d;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ByteLanesOf128(Vector128<byte> a, Vector128<byte> b, Vector128<byte> c, Vector128<byte> d)
    {
        _a = a;
        _b = b;
        _c = c;
        _d = d;
    }

    public static bool CollectsInts => false;

    public static ByteLanesOf128 Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => default;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 Load(byte* source) =>
        new(Vector128.Load(source), Vector128.Load(source + 16), Vector128.Load(source + 32), Vector128.Load(source + 48));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 BroadcastInt(int* source)
    {
        Vector128<byte> v = Vector128.Create(*source).AsByte();
        return new(v, v, v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 LowNibbles(ByteLanesOf128 bytes)
    {
        Vector128<byte> mask = Vector128.Create((byte)15);
        return new(bytes._a & mask, bytes._b & mask, bytes._c & mask, bytes._d & mask);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 HighNibbles(ByteLanesOf128 bytes) => LowNibbles(new(
        (bytes._a.AsUInt16() >> 4).AsByte(), (bytes._b.AsUInt16() >> 4).AsByte(), (bytes._c.AsUInt16() >> 4).AsByte(), (bytes._d.AsUInt16() >> 4).AsByte()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 OrBits(ByteLanesOf128 bytes, ByteLanesOf128 packed, int right, byte mask) => new(
        bytes._a | Bits(packed._a, right, mask), bytes._b | Bits(packed._b, right, mask), bytes._c | Bits(packed._c, right, mask), bytes._d | Bits(packed._d, right, mask));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 EvenBytes(ByteLanesOf128 bytes)
    {
        Vector128<byte> mask = Vector128.Create((ushort)0x00ff).AsByte();
        return new(bytes._a & mask, bytes._b & mask, bytes._c & mask, bytes._d & mask);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 OddBytes(ByteLanesOf128 bytes) => new(
        (bytes._a.AsUInt16() >> 8).AsByte(), (bytes._b.AsUInt16() >> 8).AsByte(), (bytes._c.AsUInt16() >> 8).AsByte(), (bytes._d.AsUInt16() >> 8).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 AddByteProducts(ByteLanesOf128 sums, ByteLanesOf128 weights, byte* x)
    {
        Vector128<sbyte> four = Vector128.Create(*(int*)x).AsSByte();
        return new(
            (sums._a.AsInt16() + ByteProducts(weights._a, four)).AsByte(),
            (sums._b.AsInt16() + ByteProducts(weights._b, four)).AsByte(),
            (sums._c.AsInt16() + ByteProducts(weights._c, four)).AsByte(),
            (sums._d.AsInt16() + ByteProducts(weights._d, four)).AsByte());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 AddShortProducts(ByteLanesOf128 sums, ByteLanesOf128 weights, byte* x) => AddInts(sums, ShortProducts(weights, Vector128.Create(*(int*)x).AsInt16()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 AddInts(ByteLanesOf128 a, ByteLanesOf128 b) => new(
        (a._a.AsInt32() + b._a.AsInt32()).AsByte(),
        (a._b.AsInt32() + b._b.AsInt32()).AsByte(),
        (a._c.AsInt32() + b._c.AsInt32()).AsByte(),
        (a._d.AsInt32() + b._d.AsInt32()).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf128 SumProducts(ByteLanesOf128 shorts) => ShortProducts(shorts, Vector128.Create((short)1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of128 ToSingle(ByteLanesOf128 ints) => Simd16Of128.FromQuarters(
        Vector128.ConvertToSingle(ints._a.AsInt32()),
        Vector128.ConvertToSingle(ints._b.AsInt32()),
        Vector128.ConvertToSingle(ints._c.AsInt32()),
        Vector128.ConvertToSingle(ints._d.AsInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Bits(Vector128<byte> packed, int right, byte mask) =>
        (right >= 0 ? packed.AsUInt16() >> right : packed.AsUInt16() << -right).AsByte() & Vector128.Create(mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ByteLanesOf128 ShortProducts(ByteLanesOf128 weights, Vector128<short> two) => new(
        ShortProducts(weights._a.AsInt16(), two).AsByte(),
        ShortProducts(weights._b.AsInt16(), two).AsByte(),
        ShortProducts(weights._c.AsInt16(), two).AsByte(),
        ShortProducts(weights._d.AsInt16(), two).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<short> ByteProducts(Vector128<byte> weights, Vector128<sbyte> x)
    {
        if (Ssse3.IsSupported)
        {
            return Ssse3.MultiplyAddAdjacent(weights, x);
        }

        Vector128<short> w = weights.AsInt16(), y = x.AsInt16();
        return ((w & Vector128.Create((short)0x00ff)) * ((y << 8) >> 8)) + (Vector128.ShiftRightLogical(w, 8) * (y >> 8));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> ShortProducts(Vector128<short> weights, Vector128<short> x)
    {
        if (Sse2.IsSupported)
        {
            return Sse2.MultiplyAddAdjacent(weights, x);
        }

        Vector128<int> w = weights.AsInt32(), y = x.AsInt32();
        return (((w << 16) >> 16) * ((y << 16) >> 16)) + ((w >> 16) * (y >> 16));
    }
}
