using System.Text;
using System.Text.Json;
using LowLevelSpec.Models;

namespace LowLevelSpec.Training;

/// <summary>log.jsonl: one line per step, each step once, however often the training was killed and resumed.</summary>
internal sealed class StepLogFile<TStep> : IDisposable where TStep : class, ITrainingStep
{
    private readonly FileStream _stream;

    private StepLogFile(FileStream stream) => _stream = stream;

    /// <summary>Opens the log of a training that goes on at <paramref name="step"/>: what a killed run wrote of later steps, or half a line, is cut off, as these steps come again.</summary>
    public static StepLogFile<TStep> Open(string path, int step)
    {
        FileStream stream;
        try
        {
            stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path}: the training's log can't be opened: {e.Message}; is another training running in this folder?", e);
        }

        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        int end = 0;
        for (int line = 0; line < step; line++)
        {
            int length = bytes.AsSpan(end).IndexOf((byte)'\n');
            if (length < 0 || !IsStep(bytes.AsSpan(end, length), line))
            {
                stream.Dispose();
                throw new InputException($"{path}: line {line + 1} is not that of step {line}, but the checkpoint beside it has made {step} steps; put the log back or train into another folder");
            }

            end += length + 1;
        }

        stream.SetLength(end);
        stream.Seek(end, SeekOrigin.Begin);
        return new StepLogFile<TStep>(stream);
    }

    /// <summary>The whole lines of a log; none where there is no file.</summary>
    public static IReadOnlyList<TStep> Read(string path)
    {
        if (!File.Exists(path))
        {
            return [];
        }

        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using StreamReader reader = new(stream);
        List<TStep> steps = [];
        while (reader.ReadLine() is { } line && JsonSerializer.Deserialize<TStep>(line) is { } step)
        {
            steps.Add(step);
        }

        return steps;
    }

    /// <summary>Appends a step; <see cref="Flush"/> makes it durable.</summary>
    public void Write(TStep step)
    {
        _stream.Write(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(step) + "\n"));
        _stream.Flush();
    }

    /// <summary>To disk: called before a checkpoint, so that a checkpoint never knows of steps that the log lacks.</summary>
    public void Flush() => _stream.Flush(flushToDisk: true);

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private static bool IsStep(ReadOnlySpan<byte> line, int step)
    {
        try
        {
            return JsonSerializer.Deserialize<TStep>(line)?.Step == step;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
