using System.Text;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Output;

/// <summary>
/// A report's file, tried before the work starts: a path that can't be written is told at once and not after an hour. What was in
/// the file stays until the report is there whole, as it is written beside it and renamed.
/// </summary>
internal sealed class JsonTarget : IDisposable
{
    /// <summary>Files that the engine reads beside a weight file.</summary>
    private static readonly string[] Beside = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "vocab.json", "merges.txt"];

    private readonly string _given;
    private readonly string _path;
    private readonly FileStream? _device;

    private JsonTarget(string given, string path, FileStream? device) => (_given, _path, _device) = (given, path, device);

    /// <summary>Checks that the report can be written, and harms none of the inputs; null for null.</summary>
    /// <param name="given">The path as given.</param>
    /// <param name="inputs">Files and folders that the command reads.</param>
    /// <exception cref="InputException">It can't, or it would.</exception>
    public static JsonTarget? Open(string? given, IReadOnlyList<string> inputs)
    {
        if (given is null)
        {
            return null;
        }

        try
        {
            string path = RealPath.Of(given);
            if (inputs.FirstOrDefault(input => Harms(path, input)) is string harmed)
            {
                throw new InputException($"--json {given}: would overwrite or add to the input {harmed}; write the report elsewhere");
            }

            if (Directory.Exists(given) || Path.EndsInDirectorySeparator(given))
            {
                throw new InputException($"--json {given}: is a folder; name a file");
            }

            JsonTarget target = new(given, path, OpenDevice(given));
            target.Try();
            return target;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unwritable(given, e);
        }
    }

    /// <summary>Writes the report in place of what was there.</summary>
    /// <exception cref="InputException">It can't be written; what was there stays.</exception>
    public void Write(string json)
    {
        try
        {
            byte[] bytes = Encoding.UTF8.GetBytes(json);
            if (_device is not null)
            {
                _device.Write(bytes);
                _device.Flush();
                return;
            }

            Replace(bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unwritable(_given, e);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _device?.Dispose();

    private static InputException Unwritable(string given, Exception e) => new($"--json {given}: can't be written: {FileProblem.Reason(e)}; choose another file", e);

    /// <summary>Devices and pipes can't be renamed over: they are written as they are. Null for a file, which is there and writable or not there.</summary>
    private static FileStream? OpenDevice(string given)
    {
        string full = Path.GetFullPath(given);
        bool system = !OperatingSystem.IsWindows() && (RealPath.IsInside(full, "/dev") || RealPath.IsInside(full, "/proc")) && !RealPath.IsInside(full, "/dev/shm");
        if (!system && !File.Exists(given))
        {
            return null;
        }

        FileStream file = new(given, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        if (system || !file.CanSeek)
        {
            return file;
        }

        file.Dispose();
        return null;
    }

    private static bool Harms(string path, string input)
    {
        if (input.Length == 0)
        {
            return false;
        }

        string real = RealPath.Of(input);
        if (path.Equals(real, RealPath.Comparison) || RealPath.IsInside(path, real))
        {
            return true;
        }

        // Files of a folder may be links to elsewhere (a download cache), and a weight file has others beside it.
        IEnumerable<string> files = Directory.Exists(real)
            ? Directory.EnumerateFiles(real)
            : Beside.Select(name => Path.Combine(Path.GetDirectoryName(Path.GetFullPath(input))!, name)).Where(File.Exists);
        return files.Any(file => path.Equals(RealPath.Of(file), RealPath.Comparison));
    }

    private string Temporary() => Path.Combine(Path.GetDirectoryName(_path)!, $".{Guid.NewGuid():N}.tmp");

    /// <summary>Makes and removes a file in the folder.</summary>
    private void Try()
    {
        if (_device is null)
        {
            string temporary = Temporary();
            new FileStream(temporary, FileMode.CreateNew, FileAccess.Write).Dispose();
            File.Delete(temporary);
        }
    }

    private void Replace(byte[] bytes)
    {
        string temporary = Temporary();
        try
        {
            using (FileStream file = new(temporary, FileMode.CreateNew, FileAccess.Write))
            {
                file.Write(bytes);
                file.Flush(flushToDisk: true);
            }

            if (!OperatingSystem.IsWindows() && File.Exists(_path))
            {
                File.SetUnixFileMode(temporary, File.GetUnixFileMode(_path));
            }

            File.Move(temporary, _path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }
}
