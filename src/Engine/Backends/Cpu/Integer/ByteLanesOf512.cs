using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Sixteen lanes in one AVX-512 register.</summary>
internal readonly unsafe struct ByteLanesOf512 : IByteLanes<ByteLanesOf512, Simd16Of512>
{
    private readonly Vector512<byte> _v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ByteLanesOf512(Vector512<byte> v) => _v = v;

    public static bool CollectsInts => false;

    public static ByteLanesOf512 Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => default;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 Load(byte* source) => new(Vector512.Load(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 BroadcastInt(int* source) => new(Vector512.Create(*source).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 LowNibbles(ByteLanesOf512 bytes) => new(bytes._v & Vector512.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 HighNibbles(ByteLanesOf512 bytes) => new((bytes._v.AsUInt16() >> 4).AsByte() & Vector512.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 OrBits(ByteLanesOf512 bytes, ByteLanesOf512 packed, int right, byte mask)
    {
        Vector512<ushort> v = packed._v.AsUInt16();
        v = right >= 0 ? v >> right : v << -right;
        return new(bytes._v | (v.AsByte() & Vector512.Create(mask)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 EvenBytes(ByteLanesOf512 bytes) => new(bytes._v & Vector512.Create((ushort)0x00ff).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 OddBytes(ByteLanesOf512 bytes) => new((bytes._v.AsUInt16() >> 8).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 AddByteProducts(ByteLanesOf512 sums, ByteLanesOf512 weights, byte* x) =>
        new((sums._v.AsInt16() + Avx512BW.MultiplyAddAdjacent(weights._v, Vector512.Create(*(int*)x).AsSByte())).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 AddShortProducts(ByteLanesOf512 sums, ByteLanesOf512 weights, byte* x) =>
        new((sums._v.AsInt32() + Avx512BW.MultiplyAddAdjacent(weights._v.AsInt16(), Vector512.Create(*(int*)x).AsInt16())).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 AddInts(ByteLanesOf512 a, ByteLanesOf512 b) => new((a._v.AsInt32() + b._v.AsInt32()).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ByteLanesOf512 SumProducts(ByteLanesOf512 shorts) =>
        new(Avx512BW.MultiplyAddAdjacent(shorts._v.AsInt16(), Vector512.Create((short)1)).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd16Of512 ToSingle(ByteLanesOf512 ints) => Simd16Of512.From(Vector512.ConvertToSingle(ints._v.AsInt32()));
}
