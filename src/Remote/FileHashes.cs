using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace LowLevelSpec.Remote;

/// <summary>SHA-256 of files, computed once per file and process: a file that changed in size or time is read again.</summary>
internal static class FileHashes
{
    private static readonly ConcurrentDictionary<(string Path, long Bytes, DateTime Changed), byte[]> Known = new();

    public static byte[] Of(string path)
    {
        FileInfo file = new(path);
        return Known.GetOrAdd((file.FullName, file.Length, file.LastWriteTimeUtc), static key =>
        {
            using FileStream stream = new(key.Path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1);
            return SHA256.HashData(stream);
        });
    }
}
