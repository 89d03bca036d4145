using System.Text;

namespace LowLevelSpec.Cli.Output;

/// <summary>
/// A report's file, opened before the work starts: a path that can't be written is told at once and not after an hour. What was in
/// the file stays until the report is there.
/// </summary>
internal sealed class JsonTarget : IDisposable
{
    private readonly FileStream _file;
    private readonly bool _created;
    private bool _written;

    private JsonTarget(FileStream file, bool created) => (_file, _created) = (file, created);

    /// <summary>Opens the file for writing; null for null.</summary>
    public static JsonTarget? Open(string? path)
    {
        if (path is null)
        {
            return null;
        }

        bool created = !File.Exists(path);
        return new JsonTarget(new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write), created);
    }

    /// <summary>Replaces the content.</summary>
    public void Write(string json)
    {
        if (_file.CanSeek)
        {
            _file.SetLength(0);
        }

        _file.Write(Encoding.UTF8.GetBytes(json));
        _file.Flush();
        _written = true;
    }

    /// <summary>Closes the file; an empty one that this created goes.</summary>
    public void Dispose()
    {
        _file.Dispose();
        if (_created && !_written)
        {
            File.Delete(_file.Name);
        }
    }
}
