using System.Runtime.InteropServices;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>
/// A read-only copy of bytes whose last byte is the last of its page, with an inaccessible page behind: like a tensor at the end of a
/// mapped file, reading beyond it crashes. Plain memory where there is no mmap.
/// </summary>
internal sealed unsafe partial class GuardedMemory : IDisposable
{
    private const int Page = 4096, ReadOnly = 1, ReadWrite = 3, NoAccess = 0, PrivateAnonymous = 0x22;

    private nint _block;
    private readonly nuint _length;

    public GuardedMemory(byte[] bytes)
    {
        nuint used = (nuint)((bytes.Length + Page - 1) / Page * Page);
        if (!OperatingSystem.IsLinux())
        {
            _block = (nint)NativeMemory.Alloc(used + 1);
            Pointer = _block;
            bytes.CopyTo(new Span<byte>((void*)Pointer, bytes.Length));
            return;
        }

        _length = used + Page;
        _block = Map(0, _length, ReadWrite, PrivateAnonymous, -1, 0);
        if (_block == -1)
        {
            throw new InvalidOperationException("mmap failed");
        }

        Pointer = _block + (nint)used - bytes.Length;
        bytes.CopyTo(new Span<byte>((void*)Pointer, bytes.Length));
        if (Protect(_block, used, ReadOnly) != 0 || Protect(_block + (nint)used, Page, NoAccess) != 0)
        {
            throw new InvalidOperationException("mprotect failed");
        }
    }

    public nint Pointer { get; }

    public void Dispose()
    {
        if (_block == 0)
        {
            return;
        }

        if (_length == 0)
        {
            NativeMemory.Free((void*)_block);
        }
        else
        {
            _ = Unmap(_block, _length);
        }

        _block = 0;
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Unmap(nint address, nuint length);
}
