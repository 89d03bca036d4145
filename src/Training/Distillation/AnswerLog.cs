using System.Text;
using System.Text.Json;
using LowLevelSpec.Models;

namespace LowLevelSpec.Training.Distillation;

/// <summary>
/// The file that answers go to: JSON lines {"p": prompt ids, "a": answer ids, "i": the prompt's index}, which a run appends to. A killed
/// run leaves whole lines and at most one half, which is cut off when the next run opens it. Beside it lies FILE.meta.json with what made
/// it, so that a run with other options does not mix its answers in.
/// </summary>
public sealed class AnswerLog : IDisposable
{
    private readonly FileStream _stream;

    private AnswerLog(FileStream stream, int count, long next) => (_stream, Count, Next) = (stream, count, next);

    /// <summary>Answers in the file.</summary>
    public int Count { get; private set; }

    /// <summary>Index of the prompt that comes next.</summary>
    public long Next { get; private set; }

    /// <summary>Opens the file, or begins it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="options">Everything that the answers depend on.</param>
    /// <exception cref="InputException">It can't be written, another run has it open, or other options made it.</exception>
    public static AnswerLog Open(string path, string options)
    {
        FileStream? stream = null;
        try
        {
            stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
            CheckOptions(path, options, stream.Length == 0);
            (long end, int count, long last) = WholeLines(path, stream);
            stream.SetLength(end);
            stream.Seek(end, SeekOrigin.Begin);
            return new AnswerLog(stream, count, last + 1);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            stream?.Dispose();
            throw new InputException($"{path}: can't be opened for answers: {e.Message.TrimEnd('.')}; is another run writing it?", e);
        }
        catch
        {
            stream?.Dispose();
            throw;
        }
    }

    /// <summary>Appends an answer; it survives the process from here on.</summary>
    public void Write(DistilledAnswer answer)
    {
        ArgumentNullException.ThrowIfNull(answer);
        _stream.Write(Encoding.ASCII.GetBytes($"{{\"p\":[{string.Join(',', answer.Prompt)}],\"a\":[{string.Join(',', answer.Answer)}],\"i\":{answer.Index}}}\n"));
        _stream.Flush();
        Count++;
        Next = answer.Index + 1;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stream.Flush(flushToDisk: true);
        _stream.Dispose();
    }

    /// <summary>Compares the options with those beside the file, or puts them there: before the first answer, so that no answer is ever without.</summary>
    private static void CheckOptions(string path, string options, bool empty)
    {
        string meta = path + ".meta.json";
        if (empty)
        {
            string temporary = meta + ".tmp";
            File.WriteAllText(temporary, JsonSerializer.Serialize(new Dictionary<string, string> { ["options"] = options }) + "\n");
            File.Move(temporary, meta, overwrite: true);
            return;
        }

        string found = "nothing";
        try
        {
            using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(meta));
            found = json.RootElement.GetProperty("options").GetString() ?? found;
        }
        catch (Exception e) when (e is FileNotFoundException or JsonException or KeyNotFoundException or InvalidOperationException)
        {
            // Said below: a file without readable options is not one to append to.
        }

        if (found != options)
        {
            throw new InputException($"{path}: was made with '{found}' (by {Path.GetFileName(meta)}), expected '{options}'; go on with its own options, or give another --out");
        }
    }

    /// <summary>Where the last whole line ends, how many there are and the last one's index, -1 where there is none.</summary>
    private static (long End, int Count, long Last) WholeLines(string path, FileStream stream)
    {
        byte[] buffer = new byte[1 << 16];
        long position = 0, end = 0, lastStart = 0;
        int count = 0;
        for (int read = stream.Read(buffer); read > 0; read = stream.Read(buffer))
        {
            for (int i = 0; i < read; i++)
            {
                if (buffer[i] == (byte)'\n')
                {
                    (lastStart, end) = (end, position + i + 1);
                    count++;
                }
            }

            position += read;
        }

        if (count == 0)
        {
            return (0, 0, -1);
        }

        byte[] line = new byte[end - lastStart];
        stream.Seek(lastStart, SeekOrigin.Begin);
        stream.ReadExactly(line);
        try
        {
            using JsonDocument json = JsonDocument.Parse(line);
            return (end, count, json.RootElement.GetProperty("i").GetInt64());
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InputException($"{path}: line {count} is not an answer that distill wrote; take it out, or give another --out", e);
        }
    }
}
