using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cpu;

/// <summary>
/// The optional C library of CPU kernels (native/cpu/llspec_cpu.h), for instructions that .NET has no class for. It is looked for where LLSPEC_NATIVE
/// points (a file, a folder, or "off"), else beside the program. Loaded once, never unloaded.
/// </summary>
public sealed unsafe class NativeCpu
{
    /// <summary>The interface this class binds; a library of another one is refused.</summary>
    private const int Version = 7;

    private const uint Int8Feature = 1, Bf16Feature = 2, HalfFeature = 4, Avx2Feature = 8;

    private NativeCpu(string path, nint library, uint features)
    {
        Path = path;
        HasInt8 = (features & Int8Feature) != 0;
        HasBf16 = (features & Bf16Feature) != 0;
        HasHalf = (features & HalfFeature) != 0;
        Int8Tile = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, long, int, byte*, int, int, byte*, int, float*, void>)NativeLibrary.GetExport(library, "llspec_int8_tile");
        Bf16Tile = (delegate* unmanaged[Cdecl, SuppressGCTransition]<uint*, long, uint*, int, int, float*, void>)NativeLibrary.GetExport(library, "llspec_bf16_tile");
        Bf16Gemm = (delegate* unmanaged[Cdecl]<Bf16GemmJob*, uint*, void>)NativeLibrary.GetExport(library, "llspec_bf16_gemm");
        HalfTile = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, float*, long, int, int, byte*, int, float*, void>)NativeLibrary.GetExport(library, "llspec_half_tile");
        if (HasAvx2 = (features & Avx2Feature) != 0)
        {
            Int8TileOf256 = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, long, int, byte*, int, int, byte*, int, float*, void>)NativeLibrary.GetExport(library, "llspec_int8_tile_256");
            HalfTileOf256 = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, float*, long, int, int, byte*, int, float*, void>)NativeLibrary.GetExport(library, "llspec_half_tile_256");
            ScoresOf256 = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, int*, int, float*, int, float, float*, long, byte*, void>)NativeLibrary.GetExport(library, "llspec_scores_256");
            ValuesOf256 = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, float*, long, byte*, int, int*, int, float*, int, void>)NativeLibrary.GetExport(library, "llspec_values_256");
        }
    }

    /// <summary>The file it was loaded from.</summary>
    public string Path { get; }

    /// <summary>Whether this processor runs <see cref="Int8Tile"/> (AVX-512 VNNI).</summary>
    public bool HasInt8 { get; }

    /// <summary>Whether this processor runs <see cref="Bf16Tile"/> and <see cref="Bf16Gemm"/> (AVX-512 BF16).</summary>
    public bool HasBf16 { get; }

    /// <summary>llspec_int8_tile(layout, weights, groupBytes, groups, inputs, blocks, rows, ahead, lines, sums). Returns within microseconds, so the collector need not be told.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, long, int, byte*, int, int, byte*, int, float*, void> Int8Tile { get; }

    /// <summary>llspec_bf16_tile(a, aStride, b, pairs, rows, sums), likewise.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<uint*, long, uint*, int, int, float*, void> Bf16Tile { get; }

    /// <summary>llspec_bf16_gemm(job, scratch): at most <see cref="Bf16GemmJob.MaxRows"/> rows, scratch of <see cref="Bf16GemmJob.ScratchWords"/> words aligned to 64 bytes, one thread's.</summary>
    public delegate* unmanaged[Cdecl]<Bf16GemmJob*, uint*, void> Bf16Gemm { get; }

    /// <summary>Whether this processor runs <see cref="HalfTile"/> (AVX-512).</summary>
    public bool HasHalf { get; }

    /// <summary>llspec_half_tile(layout, weights, groups, x, stride, inputs, rows, ahead, lines, sums), likewise.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, float*, long, int, int, byte*, int, float*, void> HalfTile { get; }

    /// <summary>Whether this processor runs what is named Of256 here (AVX2, FMA, F16C); else all of it is null.</summary>
    public bool HasAvx2 { get; }

    /// <summary><see cref="Int8Tile"/> over AVX2: llspec_int8_tile_256.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, long, int, byte*, int, int, byte*, int, float*, void> Int8TileOf256 { get; }

    /// <summary><see cref="HalfTile"/> over AVX2: llspec_half_tile_256.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, float*, long, int, int, byte*, int, float*, void> HalfTileOf256 { get; }

    /// <summary>llspec_scores_256(type, keys, rowSize, rows, count, q, queries, scale, scores, stride, values), likewise.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, int*, int, float*, int, float, float*, long, byte*, void> ScoresOf256 { get; }

    /// <summary>llspec_values_256(type, p, pStride, values, rowSize, rows, count, sums, queries), likewise.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<int, float*, long, byte*, int, int*, int, float*, int, void> ValuesOf256 { get; }

    /// <summary>The library's file name on this system.</summary>
    public static string FileName => LibraryName("llspec_cpu");

    /// <summary>Looks for the library.</summary>
    /// <param name="note">What was found, or why nothing is used.</param>
    /// <returns>The library, or null.</returns>
    public static NativeCpu? TryFind(out string note)
    {
        string? wanted = Environment.GetEnvironmentVariable("LLSPEC_NATIVE");
        if (string.Equals(wanted, "off", StringComparison.OrdinalIgnoreCase))
        {
            note = "switched off by LLSPEC_NATIVE";
            return null;
        }

        string folder = string.IsNullOrEmpty(wanted) ? AppContext.BaseDirectory : wanted;
        string path = Directory.Exists(folder) ? System.IO.Path.Combine(folder, FileName) : folder;
        if (!File.Exists(path))
        {
            note = $"not built ({path} is not there); ./build.sh native builds it";
            return null;
        }

        return TryLoad(path, out note);
    }

    /// <summary>Loads one file.</summary>
    /// <param name="path">The library.</param>
    /// <param name="note">What was loaded, or why not.</param>
    /// <returns>The library, or null.</returns>
    public static NativeCpu? TryLoad(string path, out string note)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!NativeLibrary.TryLoad(System.IO.Path.GetFullPath(path), out nint library))
        {
            note = $"{path} is no library that this process can load";
            return null;
        }

        if (!NativeLibrary.TryGetExport(library, "llspec_cpu_version", out nint version) || ((delegate* unmanaged[Cdecl]<int>)version)() != Version)
        {
            note = $"{path} is of another version; build it again with ./build.sh native";
            return null;
        }

        uint features = ((delegate* unmanaged[Cdecl]<uint>)NativeLibrary.GetExport(library, "llspec_cpu_features"))();
        note = path;
        return new NativeCpu(path, library, features);
    }

    /// <summary>A library's file name on this system.</summary>
    /// <param name="name">Name without prefix and ending.</param>
    /// <returns>E.g. libname.so.</returns>
    public static string LibraryName(string name) =>
        OperatingSystem.IsWindows() ? $"{name}.dll" : OperatingSystem.IsMacOS() ? $"lib{name}.dylib" : $"lib{name}.so";
}
