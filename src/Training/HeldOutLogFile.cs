using System.Text.Json;
using LowLevelSpec.Models;

namespace LowLevelSpec.Training;

/// <summary>held-out.jsonl: one line per measurement on held-out text. What a killed run wrote past its checkpoint is cut off, as it comes again.</summary>
internal sealed class HeldOutLogFile
{
    private readonly string _path;

    /// <summary>Opens the file of a training that goes on at <paramref name="step"/>.</summary>
    /// <exception cref="InputException">It can't be read or written.</exception>
    public HeldOutLogFile(string path, int step)
    {
        _path = path;
        try
        {
            if (File.Exists(path))
            {
                string[] kept = [.. File.ReadLines(path).Where(line => Parse(line) is { } log && log.Step <= step)];
                File.WriteAllText(path, string.Concat(kept.Select(static line => line + "\n")));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path}: the held-out log can't be opened: {e.Message}", e);
        }
    }

    /// <summary>Appends a measurement; one of the same step is not written twice.</summary>
    public void Write(HeldOutLog log)
    {
        if (Last(_path) is not { } last || last.Step < log.Step)
        {
            File.AppendAllText(_path, JsonSerializer.Serialize(log) + "\n");
        }
    }

    /// <summary>The lines of a log; none where there is no file.</summary>
    public static IReadOnlyList<HeldOutLog> Read(string path) => File.Exists(path) ? [.. File.ReadLines(path).Select(Parse).OfType<HeldOutLog>()] : [];

    private static HeldOutLog? Last(string path) => Read(path) is { Count: > 0 } logs ? logs[^1] : null;

    private static HeldOutLog? Parse(string line)
    {
        try
        {
            return JsonSerializer.Deserialize<HeldOutLog>(line);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
