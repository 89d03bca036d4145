using System.Runtime.InteropServices;

namespace LowLevelSpec.Engine.Measuring;

/// <summary>Asks the system for large pages.</summary>
internal static unsafe partial class LargePages
{
    /// <summary>Bytes of a large page on x64 and arm64 Linux.</summary>
    public const int Bytes = 2 << 20;

    private const int HugePages = 14;

    /// <summary>Asks for large pages behind a block aligned to <see cref="Bytes"/>. A refusal leaves small pages: slower, not wrong.</summary>
    public static void Advise(byte* block, long bytes)
    {
        if (OperatingSystem.IsLinux())
        {
            _ = Advise(block, (nuint)bytes, HugePages);
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);
}
