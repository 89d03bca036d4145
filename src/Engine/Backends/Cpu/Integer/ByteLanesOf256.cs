using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Sixteen lanes in two AVX2 registers.</summary>
internal readonly unsafe struct ByteLanesOf256 : IByteLanes<ByteLanesOf256, Simd16Of256>
{
    private readonly Vector256<byte> _a, _b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ByteLanesOf256(Vector256<byte> a, Vector256<byte> b)
    {
        _a = a;
        _b = b;
    }

    public static ByteLanesOf256 Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => default;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 Load(byte* source) => new(Vector256.Load(source), Vector256.Load(source + 32));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 BroadcastInt(int* source)
    {
        Vector256<byte> v = Vector256.Create(*source).AsByte();
        return new(v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 LowNibbles(ByteLanesOf256 bytes) => new(bytes._a & Vector256.Create((byte)15), bytes._b & Vector256.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 HighNibbles(ByteLanesOf256 bytes) => new(
        (bytes._a.AsUInt16() >> 4).AsByte() & Vector256.Create((byte)15),
        (bytes._b.AsUInt16() >> 4).AsByte() & Vector256.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 OrBits(ByteLanesOf256 bytes, ByteLanesOf256 packed, int right, byte mask)
    {
        Vector256<ushort> a = packed._a.AsUInt16(), b = packed._b.AsUInt16();
        (a, b) = right >= 0 ? (a >> right, b >> right) : (a << -right, b << -right);
        return new(bytes._a | (a.AsByte() & Vector256.Create(mask)), bytes._b | (b.AsByte() & Vector256.Create(mask)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 EvenBytes(ByteLanesOf256 bytes) => new(
        bytes._a & Vector256.Create((ushort)0x00ff).AsByte(), bytes._b & Vector256.Create((ushort)0x00ff).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 OddBytes(ByteLanesOf256 bytes) => new((bytes._a.AsUInt16() >> 8).AsByte(), (bytes._b.AsUInt16() >> 8).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 AddByteProducts(ByteLanesOf256 sums, ByteLanesOf256 weights, byte* x)
    {
        Vector256<sbyte> four = Vector256.Create(*(int*)x).AsSByte();
        return new(
            (sums._a.AsInt16() + Avx2.MultiplyAddAdjacent(weights._a, four)).AsByte(),
            (sums._b.AsInt16() + Avx2.MultiplyAddAdjacent(weights._b, four)).AsByte());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 AddShortProducts(ByteLanesOf256 sums, ByteLanesOf256 weights, byte* x)
    {
        Vector256<short> two = Vector256.Create(*(int*)x).AsInt16();
        return new(
            (sums._a.AsInt32() + Avx2.MultiplyAddAdjacent(weights._a.AsInt16(), two)).AsByte(),
            (sums._b.AsInt32() + Avx2.MultiplyAddAdjacent(weights._b.AsInt16(), two)).AsByte());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 AddInts(ByteLanesOf256 a, ByteLanesOf256 b) =>
        new((a._a.AsInt32() + b._a.AsInt32()).AsByte(), (a._b.AsInt32() + b._b.AsInt32()).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256 SumShorts(ByteLanesOf256 shorts)
    {
        Vector256<short> ones = Vector256.Create((short)1);
        return new(Avx2.MultiplyAddAdjacent(shorts._a.AsInt16(), ones).AsByte(), Avx2.MultiplyAddAdjacent(shorts._b.AsInt16(), ones).AsByte());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 ToSingle(ByteLanesOf256 ints) =>
        Simd16Of256.FromHalves(Vector256.ConvertToSingle(ints._a.AsInt32()), Vector256.ConvertToSingle(ints._b.AsInt32()));
}
