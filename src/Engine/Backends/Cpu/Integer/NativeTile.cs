using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>A weight layout of the native library, as a type.</summary>
internal interface INativeLayout
{
    /// <summary>Its number in llspec_cpu.h.</summary>
    static abstract int Number { get; }
}

/// <summary>Q8_0.</summary>
internal readonly struct NativeBytes : INativeLayout
{
    public static int Number => 0;
}

/// <summary>Q4_0.</summary>
internal readonly struct NativeOffsetNibbles : INativeLayout
{
    public static int Number => 1;
}

/// <summary>Q4_1.</summary>
internal readonly struct NativeMinimumNibbles : INativeLayout
{
    public static int Number => 2;
}

/// <summary>The same tile in the native library (AVX-512 VNNI): the same integers and the same f32 steps.</summary>
internal readonly unsafe struct NativeTile<TLayout> : IIntegerTile
    where TLayout : struct, INativeLayout
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run<TRows>(void* function, byte* weights, byte* inputs, int blocks, float* sums)
        where TRows : struct, IRowCount =>
        ((delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, byte*, int, int, float*, void>)function)(TLayout.Number, weights, inputs, blocks, TRows.Count, sums);
}
