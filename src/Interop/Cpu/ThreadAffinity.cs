using System.Diagnostics;
using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cpu;

/// <summary>Which processor cores threads run on: sched_setaffinity(2) on Linux, SetThreadAffinityMask on Windows (its first 64 cores), nothing elsewhere.</summary>
public static unsafe partial class ThreadAffinity
{
    /// <summary>Bytes of a mask of 8,192 cores, more than any kernel is built for.</summary>
    private const int MaskBytes = 1024;

    /// <summary>Numbers of the cores that the calling thread may use, ascending; empty where the system does not say.</summary>
    public static int[] Allowed()
    {
        if (OperatingSystem.IsLinux())
        {
            byte* mask = stackalloc byte[MaskBytes];
            new Span<byte>(mask, MaskBytes).Clear();
            return GetAffinity(0, MaskBytes, mask) == 0 ? Cores(new ReadOnlySpan<byte>(mask, MaskBytes)) : [];
        }

        if (OperatingSystem.IsWindows())
        {
            nint mask = Process.GetCurrentProcess().ProcessorAffinity;
            return Cores(new ReadOnlySpan<byte>(&mask, sizeof(nint)));
        }

        return [];
    }

    /// <summary>Keeps the calling thread on one core.</summary>
    /// <param name="core">Its number, as <see cref="Allowed"/> gives it.</param>
    /// <returns>False where the system refuses or has no such call: the thread then runs where it did.</returns>
    public static bool PinCurrentThread(int core)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(core);
        if (OperatingSystem.IsLinux() && core < 8 * MaskBytes)
        {
            byte* mask = stackalloc byte[MaskBytes];
            new Span<byte>(mask, MaskBytes).Clear();
            mask[core / 8] = (byte)(1 << (core % 8));
            return SetAffinity(0, MaskBytes, mask) == 0;
        }

        return OperatingSystem.IsWindows() && core < 8 * sizeof(nint) && SetThreadAffinityMask(GetCurrentThread(), (nuint)1 << core) != 0;
    }

    private static int[] Cores(ReadOnlySpan<byte> mask)
    {
        List<int> cores = [];
        for (int i = 0; i < 8 * mask.Length; i++)
        {
            if ((mask[i / 8] >> (i % 8) & 1) != 0)
            {
                cores.Add(i);
            }
        }

        return [.. cores];
    }

    [LibraryImport("libc", EntryPoint = "sched_getaffinity")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int GetAffinity(int thread, nint bytes, byte* mask);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SetAffinity(int thread, nint bytes, byte* mask);

    [LibraryImport("kernel32")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint GetCurrentThread();

    [LibraryImport("kernel32")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nuint SetThreadAffinityMask(nint thread, nuint mask);
}
