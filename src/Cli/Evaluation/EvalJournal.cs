using System.Text;
using System.Text.Json;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Evaluation;

/// <summary>One prompt decoded one way, a line of the journal.</summary>
/// <param name="Prompt">Place among all prompts, 0 = first.</param>
/// <param name="Drafter">Label of the drafter; none = plain decoding.</param>
/// <param name="Tree">The tree's name; empty for plain decoding.</param>
/// <param name="FirstDifference">First output index at which the text differs from plain decoding's; null where it doesn't.</param>
/// <param name="FinishReason">Why the text ended.</param>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="NewTokens">Tokens written.</param>
/// <param name="TargetPasses">Passes after prefill.</param>
/// <param name="PrefillSeconds">Seconds of prefill.</param>
/// <param name="DraftSeconds">Seconds in the drafter.</param>
/// <param name="VerifySeconds">Seconds in the target's passes after prefill.</param>
/// <param name="OtherSeconds">All other seconds after prefill.</param>
internal sealed record EvalRecord(
    int Prompt, string Drafter, string Tree, int? FirstDifference, FinishReason FinishReason, int PromptTokens, int NewTokens, int TargetPasses, double PrefillSeconds, double DraftSeconds, double VerifySeconds, double OtherSeconds)
{
    /// <summary>What a generation came to.</summary>
    public static EvalRecord From(int prompt, string drafter, string tree, int? firstDifference, GenerationResult result)
    {
        GenerationStatistics figures = result.Statistics;
        return new EvalRecord(
            prompt, drafter, tree, firstDifference, result.FinishReason, figures.PromptTokens, figures.NewTokens, figures.TargetPasses, figures.PrefillSeconds, figures.DraftSeconds, figures.VerifySeconds, figures.OtherSeconds);
    }

    /// <summary>The figures as the engine gives them.</summary>
    public GenerationStatistics Figures() => new()
    {
        PromptTokens = PromptTokens,
        NewTokens = NewTokens,
        TargetPasses = TargetPasses,
        PrefillSeconds = PrefillSeconds,
        DraftSeconds = DraftSeconds,
        VerifySeconds = VerifySeconds,
        OtherSeconds = OtherSeconds,
    };
}

/// <summary>
/// The file that an evaluation keeps its results in while it runs: first what was asked, then a line per prompt and way of decoding, on disk before the
/// next begins. A killed run leaves whole lines and at most one half, which is cut off when the same command goes on.
/// </summary>
internal sealed class EvalJournal : IDisposable
{
    private readonly FileStream _stream;
    private readonly List<EvalRecord> _records;

    private EvalJournal(FileStream stream, List<EvalRecord> records) => (_stream, _records) = (stream, records);

    /// <summary>Everything measured so far.</summary>
    public IReadOnlyList<EvalRecord> Records => _records;

    /// <summary>Opens the journal, or begins it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="asked">Everything that the figures depend on.</param>
    /// <exception cref="InputException">It can't be written, another run has it open, or it answers another question.</exception>
    public static EvalJournal Open(string path, string asked)
    {
        FileStream? stream = null;
        try
        {
            stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
            byte[] bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            int end = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
            string[] lines = Encoding.UTF8.GetString(bytes, 0, end).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            List<EvalRecord> records = [];
            for (int i = 0; i < lines.Length; i++)
            {
                Take(path, lines[i], i, asked, records);
            }

            stream.SetLength(end);
            stream.Seek(end, SeekOrigin.Begin);
            EvalJournal journal = new(stream, records);
            if (end == 0)
            {
                journal.Append(Json.Line(asked));
            }

            return journal;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            stream?.Dispose();
            throw new InputException($"{path}: can't be opened for results: {FileProblem.Reason(e)}; is another evaluation writing it?", e);
        }
        catch
        {
            stream?.Dispose();
            throw;
        }
    }

    /// <summary>Appends a result; it survives the process from here on.</summary>
    public void Write(EvalRecord record)
    {
        Append(Json.Line(record));
        _records.Add(record);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stream.Flush(flushToDisk: true);
        _stream.Dispose();
    }

    private static void Take(string path, string line, int index, string asked, List<EvalRecord> records)
    {
        try
        {
            if (index > 0)
            {
                records.Add(Json.Read<EvalRecord>(line));
                return;
            }

            string found = Json.Read<string>(line);
            if (found != asked)
            {
                throw new InputException($"{path}: holds results of '{found}', expected '{asked}'; go on with its own options, or give another --out");
            }
        }
        catch (JsonException e)
        {
            throw new InputException($"{path}: line {index + 1} is not one that eval wrote; take the file away, or give another --out", e);
        }
    }

    private void Append(string line)
    {
        _stream.Write(Encoding.UTF8.GetBytes(line));
        _stream.Flush();
    }
}
