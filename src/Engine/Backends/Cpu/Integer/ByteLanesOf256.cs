using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>How 32 bytes of weights meet four inputs, as a type.</summary>
internal interface IByteProducts
{
    /// <summary><see cref="IByteLanes{T, TVec}.CollectsInts"/>.</summary>
    static abstract bool CollectsInts { get; }

    /// <summary><see cref="IByteLanes{T, TVec}.AddByteProducts"/>.</summary>
    static abstract Vector256<byte> Add(Vector256<byte> sums, Vector256<byte> weights, Vector256<sbyte> inputs);

    /// <summary><see cref="IByteLanes{T, TVec}.SumProducts"/>.</summary>
    static abstract Vector256<byte> Sum(Vector256<byte> sums);
}

/// <summary>AVX2: vpmaddubsw into shorts.</summary>
internal readonly struct ShortProducts : IByteProducts
{
    public static bool CollectsInts => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(Vector256<byte> sums, Vector256<byte> weights, Vector256<sbyte> inputs) =>
        (sums.AsInt16() + Avx2.MultiplyAddAdjacent(weights, inputs)).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Sum(Vector256<byte> sums) => Avx2.MultiplyAddAdjacent(sums.AsInt16(), Vector256.Create((short)1)).AsByte();
}

/// <summary>AVX-VNNI: vpdpbusd into ints, which consumer processors without AVX-512 have, too.</summary>
internal readonly struct IntProducts : IByteProducts
{
    public static bool CollectsInts => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(Vector256<byte> sums, Vector256<byte> weights, Vector256<sbyte> inputs) =>
        AvxVnni.MultiplyWideningAndAdd(sums.AsInt32(), weights, inputs).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Sum(Vector256<byte> sums) => sums;
}

/// <summary>Sixteen lanes in two 256-bit registers.</summary>
internal readonly unsafe struct ByteLanesOf256<TProducts> : IByteLanes<ByteLanesOf256<TProducts>, Simd16Of256>
    where TProducts : struct, IByteProducts
{
    private readonly Vector256<byte> _a, _b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ByteLanesOf256(Vector256<byte> a, Vector256<byte> b)
    {
        _a = a;
        _b = b;
    }

    public static bool CollectsInts => TProducts.CollectsInts;

    public static ByteLanesOf256<TProducts> Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => default;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> Load(byte* source) => new(Vector256.Load(source), Vector256.Load(source + 32));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> BroadcastInt(int* source)
    {
        Vector256<byte> v = Vector256.Create(*source).AsByte();
        return new(v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> LowNibbles(ByteLanesOf256<TProducts> bytes) => new(bytes._a & Vector256.Create((byte)15), bytes._b & Vector256.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> HighNibbles(ByteLanesOf256<TProducts> bytes) => new(
        (bytes._a.AsUInt16() >> 4).AsByte() & Vector256.Create((byte)15),
        (bytes._b.AsUInt16() >> 4).AsByte() & Vector256.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> OrBits(ByteLanesOf256<TProducts> bytes, ByteLanesOf256<TProducts> packed, int right, byte mask)
    {
        Vector256<ushort> a = packed._a.AsUInt16(), b = packed._b.AsUInt16();
        (a, b) = right >= 0 ? (a >> right, b >> right) : (a << -right, b << -right);
        return new(bytes._a | (a.AsByte() & Vector256.Create(mask)), bytes._b | (b.AsByte() & Vector256.Create(mask)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> EvenBytes(ByteLanesOf256<TProducts> bytes) => new(
        bytes._a & Vector256.Create((ushort)0x00ff).AsByte(), bytes._b & Vector256.Create((ushort)0x00ff).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> OddBytes(ByteLanesOf256<TProducts> bytes) => new((bytes._a.AsUInt16() >> 8).AsByte(), (bytes._b.AsUInt16() >> 8).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> AddByteProducts(ByteLanesOf256<TProducts> sums, ByteLanesOf256<TProducts> weights, byte* x)
    {
        Vector256<sbyte> four = Vector256.Create(*(int*)x).AsSByte();
        return new(TProducts.Add(sums._a, weights._a, four), TProducts.Add(sums._b, weights._b, four));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> AddShortProducts(ByteLanesOf256<TProducts> sums, ByteLanesOf256<TProducts> weights, byte* x)
    {
        Vector256<short> two = Vector256.Create(*(int*)x).AsInt16();
        return new(
            (sums._a.AsInt32() + Avx2.MultiplyAddAdjacent(weights._a.AsInt16(), two)).AsByte(),
            (sums._b.AsInt32() + Avx2.MultiplyAddAdjacent(weights._b.AsInt16(), two)).AsByte());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> AddInts(ByteLanesOf256<TProducts> a, ByteLanesOf256<TProducts> b) =>
        new((a._a.AsInt32() + b._a.AsInt32()).AsByte(), (a._b.AsInt32() + b._b.AsInt32()).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf256<TProducts> SumProducts(ByteLanesOf256<TProducts> sums) => new(TProducts.Sum(sums._a), TProducts.Sum(sums._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of256 ToSingle(ByteLanesOf256<TProducts> ints) =>
        Simd16Of256.FromHalves(Vector256.ConvertToSingle(ints._a.AsInt32()), Vector256.ConvertToSingle(ints._b.AsInt32()));
}
