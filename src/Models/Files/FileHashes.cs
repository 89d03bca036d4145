using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace LowLevelSpec.Models;

/// <summary>SHA-256 of the files of models, computed once per file and process: a file that changed in size or time is read again. Thread-safe.</summary>
public static class FileHashes
{
    private static readonly ConcurrentDictionary<(string Path, long Bytes, DateTime Changed), byte[]> Known = new();

    /// <summary>SHA-256 of a file, 32 bytes.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InputException">It can't be read.</exception>
    public static byte[] Of(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            FileInfo file = new(path);
            return [.. Known.GetOrAdd((file.FullName, file.Length, file.LastWriteTimeUtc), static key =>
            {
                using FileStream stream = new(key.Path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1);
                return SHA256.HashData(stream);
            })];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path}: can't be read: {e.Message}", e);
        }
    }

    /// <summary>SHA-256 over the hashes of a checkpoint's weight files and of those files beside them that there are, in lower-case hexadecimal.</summary>
    /// <param name="tensors">The checkpoint's tensors, which name their files; may be empty.</param>
    /// <param name="path">The checkpoint: a folder or a file in it.</param>
    /// <param name="beside">Names of further files in the folder.</param>
    /// <exception cref="InputException">A file can't be read.</exception>
    public static string Of(IReadOnlyList<TensorInfo> tensors, string path, params string[] beside)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(beside);
        string folder = Directory.Exists(path) ? path : Path.GetDirectoryName(Path.GetFullPath(path))!;
        IEnumerable<string> weights = tensors.Select(static tensor => tensor.FilePath).Distinct().Order(StringComparer.Ordinal);
        IEnumerable<string> files = weights.Concat(beside.Select(name => Path.Combine(folder, name)).Where(File.Exists));
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in files)
        {
            hash.AppendData(Of(file));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
