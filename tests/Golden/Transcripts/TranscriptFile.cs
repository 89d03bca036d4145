using System.Text.Json;
using System.Text.Json.Serialization;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>transcripts.json or tli-transcripts.json: greedy outputs with the draft trees of the first cycles.</summary>
internal sealed record TranscriptFile
{
    /// <summary>End token or tokens; null where the text ends by length alone.</summary>
    public JsonElement? Eos { get; init; }

    public required int MaxNewTokens { get; init; }

    public required Dictionary<string, TranscriptSetting> Settings { get; init; }

    public required List<TranscriptPrompt> Prompts { get; init; }

    /// <summary>The end tokens as ids.</summary>
    [JsonIgnore]
    public int[] EndTokens => Eos switch
    {
        { ValueKind: JsonValueKind.Number } id => [id.GetInt32()],
        { ValueKind: JsonValueKind.Array } ids => [.. ids.EnumerateArray().Select(static id => id.GetInt32())],
        _ => [],
    };

    /// <summary>Reads a file.</summary>
    /// <exception cref="InputException">Unreadable, or without something it must have.</exception>
    public static TranscriptFile Read(string path)
    {
        using FileStream stream = File.OpenRead(path);
        return JsonSerializer.Deserialize<TranscriptFile>(stream, GoldenJson.Options) ?? throw new InputException($"{path}: holds null, expected transcripts");
    }
}

/// <summary>Tree settings of a run.</summary>
internal sealed record TranscriptSetting
{
    public required int Depth { get; init; }

    public required int Breadth { get; init; }

    public required int TotalTokens { get; init; }
}

/// <summary>One prompt with the plain greedy output and a run per drafter and setting.</summary>
internal sealed record TranscriptPrompt
{
    public required int[] Ids { get; init; }

    public required int[] Greedy { get; init; }

    public required Dictionary<string, Dictionary<string, TranscriptRun>> Runs { get; init; }
}

/// <summary>One run of the reference's loop.</summary>
internal sealed record TranscriptRun
{
    public required int[] Output { get; init; }

    /// <summary>False where the reference's own output left the greedy one (golden README, point 10).</summary>
    public bool SameAsGreedy { get; init; } = true;

    public required int TargetCalls { get; init; }

    public required int[] Accepted { get; init; }

    public required int[] Emitted { get; init; }

    public double? Tau { get; init; }

    public bool? EndsInsideRun { get; init; }

    public double? MinSelectionGap { get; init; }

    public List<TranscriptCycle> Cycles { get; init; } = [];
}

/// <summary>The draft tree of one cycle.</summary>
internal sealed record TranscriptCycle
{
    public required int Prefix { get; init; }

    public required int[] Tokens { get; init; }

    public required int[] Parents { get; init; }

    public required int[] Depths { get; init; }

    public required double[] LogProbs { get; init; }

    public required int[] AcceptedNodes { get; init; }

    /// <summary>Null where the output ends inside the accepted run.</summary>
    public int? Bonus { get; init; }
}

/// <summary>How golden JSON is read: snake case, required members checked, unknown ones ignored.</summary>
internal static class GoldenJson
{
    public static JsonSerializerOptions Options { get; } = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>The objects of a .jsonl file; empty lines are left out.</summary>
    public static List<T> ReadLines<T>(string path)
    {
        List<T> rows = [];
        foreach (string line in File.ReadLines(path).Where(static l => l.Length > 0))
        {
            rows.Add(JsonSerializer.Deserialize<T>(line, Options) ?? throw new InputException($"{path}: line {rows.Count + 1} holds null"));
        }

        return rows;
    }
}
