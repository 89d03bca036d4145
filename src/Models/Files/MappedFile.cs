using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace LowLevelSpec.Models;

/// <summary>
/// A whole file mapped read-only. Pages come from the operating system's cache on first touch, so opening costs nothing per byte.
/// A file that another process shortens while it is mapped is outside what can be handled: touching the lost pages ends the
/// process (SIGBUS), as it does for every program that maps files. Replace model files by rename, never in place.
/// </summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile _map;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _start;

    private MappedFile(string path, MemoryMappedFile map, MemoryMappedViewAccessor view, long length)
    {
        Path = path;
        Length = length;
        _map = map;
        _view = view;

        // The acquired reference outlives a forgotten Dispose: the mapping then leaks instead of vanishing under a live pointer.
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref _start);
        _start += view.PointerOffset;
    }

    public string Path { get; }

    public long Length { get; }

    public byte* Start => _start;

    public static MappedFile Open(string path)
    {
        try
        {
            // Pipes and devices report length 0 here, so they are refused before an open that could block.
            if (new FileInfo(path) is { Exists: true, Length: 0 })
            {
                throw new ModelFileException(path, "is empty (0 bytes), expected a model file; download it again");
            }

            using SafeFileHandle handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            long length = RandomAccess.GetLength(handle);
            MemoryMappedFile map = MemoryMappedFile.CreateFromFile(handle, null, length, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            MemoryMappedViewAccessor? view = null;
            try
            {
                view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
                return new MappedFile(path, map, view, length);
            }
            catch
            {
                view?.Dispose();
                map.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw FileErrors.Unreadable(path, e);
        }
    }

    public ReadOnlySpan<byte> Span(long offset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Length - length);
        ObjectDisposedException.ThrowIf(_start == null, this);
        return new ReadOnlySpan<byte>(_start + offset, length);
    }

    public void Dispose()
    {
        if (_start != null)
        {
            _start = null;
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _map.Dispose();
        }
    }
}
