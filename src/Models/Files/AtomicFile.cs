namespace LowLevelSpec.Models;

/// <summary>Writes a file beside its destination and renames it into place, so that a reader sees the old file or the whole new one.</summary>
internal static class AtomicFile
{
    /// <param name="path">The destination.</param>
    /// <param name="write">Writes the content.</param>
    /// <param name="check">Given the path of the whole new file before it takes the old one's place; throws where it must not.</param>
    public static void Write(string path, Action<Stream> write, Action<string>? check = null)
    {
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            using (FileStream stream = new(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            check?.Invoke(temporary);
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e)
        {
            TryDelete(temporary);
            if (e is IOException or UnauthorizedAccessException)
            {
                throw new ModelFileException(path, $"cannot be written ({FileErrors.Plain(e.Message)}); check the folder, its permissions and the free space", e);
            }

            throw;
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The first failure is the one worth reporting.
        }
    }
}
