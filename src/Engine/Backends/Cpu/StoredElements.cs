using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// One element of rows as they lie in memory: pointers step by its size, sixteen of them load as f32 without any rounding. Kernels over it
/// are the same ones for every stored type, and a type changes their result only by how values were rounded when they were stored.
/// </summary>
/// <typeparam name="TSelf">The element.</typeparam>
/// <typeparam name="TVec">What it loads into.</typeparam>
internal unsafe interface IStoredElement<TSelf, TVec>
    where TSelf : unmanaged, IStoredElement<TSelf, TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    /// <summary>16 consecutive elements, any alignment.</summary>
    static abstract TVec Load(TSelf* source);
}

/// <summary>f32.</summary>
[StructLayout(LayoutKind.Sequential, Size = sizeof(float))]
internal readonly unsafe struct StoredSingle<TVec> : IStoredElement<StoredSingle<TVec>, TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Load(StoredSingle<TVec>* source) => TVec.Load((float*)source);
}

/// <summary>bfloat16.</summary>
[StructLayout(LayoutKind.Sequential, Size = sizeof(ushort))]
internal readonly unsafe struct StoredBFloat16<TVec> : IStoredElement<StoredBFloat16<TVec>, TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Load(StoredBFloat16<TVec>* source) => TVec.LoadBFloat16((ushort*)source);
}

/// <summary>IEEE half, infinities and NaN included.</summary>
[StructLayout(LayoutKind.Sequential, Size = sizeof(ushort))]
internal readonly unsafe struct StoredHalf<TVec> : IStoredElement<StoredHalf<TVec>, TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Load(StoredHalf<TVec>* source) => TVec.LoadHalf((ushort*)source);
}

/// <summary>IEEE half that is known to be finite: the same values in half as many instructions.</summary>
[StructLayout(LayoutKind.Sequential, Size = sizeof(ushort))]
internal readonly unsafe struct StoredFiniteHalf<TVec> : IStoredElement<StoredFiniteHalf<TVec>, TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Load(StoredFiniteHalf<TVec>* source) => TVec.LoadFiniteHalf((ushort*)source);
}
