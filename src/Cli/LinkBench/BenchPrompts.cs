using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>Prompts of a link bench: those of files, evenly over them, or openings made here, which need nothing from outside.</summary>
internal static class BenchPrompts
{
    private static readonly string[] Speakers = ["the king", "the prophet", "the people", "his servant", "the woman", "my father", "the elders", "the young man", "the stranger", "her brother"];

    private static readonly string[] Deeds =
    [
        "said unto", "went up with", "stood before", "sent word to", "looked for", "sat down with", "gave bread to", "made a covenant with", "told all these things to", "rose early and called",
    ];

    /// <summary>Token ids of <paramref name="count"/> prompts, all different.</summary>
    /// <param name="model">The target.</param>
    /// <param name="count">How many.</param>
    /// <param name="files">Files of JSON lines; none = openings made here.</param>
    /// <param name="maxTokens">Longer prompts are passed over.</param>
    public static IReadOnlyList<int[]> Take(LanguageModel model, int count, IReadOnlyList<string> files, int maxTokens)
    {
        IEnumerable<GenerationRequest> requests = files.Count > 0 ? FromFiles(files) : Enumerable.Range(0, count).Select(static i => new GenerationRequest { Prompt = Opening(i) });
        List<int[]> prompts = [.. requests.Select(request => Ids(model, request)).Where(ids => ids.Length > 0 && ids.Length <= maxTokens).Take(count)];
        return prompts.Count == count
            ? prompts
            : throw new Models.InputException($"--prompts: found {prompts.Count} prompts of at most {maxTokens} tokens, expected {count}; ask for fewer, or give more with --prompt-file");
    }

    /// <summary>The files of spec-bench below a shared folder, where it holds them.</summary>
    public static IReadOnlyList<string> SharedFiles()
    {
        string? folder = SharedFolder.Find() is string shared ? Path.Combine(shared, "data", "spec-bench") : null;
        return folder is not null && Directory.Exists(folder) ? [.. Directory.EnumerateFiles(folder, "*.jsonl").Order(StringComparer.Ordinal)] : [];
    }

    /// <summary>Line 1 of each file, then line 2 of each.</summary>
    private static IEnumerable<GenerationRequest> FromFiles(IReadOnlyList<string> files)
    {
        List<List<FilePrompt>> all = [.. files.Select(PromptFile.Read)];
        return Enumerable.Range(0, all.Max(static f => f.Count)).SelectMany(line => all.Where(f => line < f.Count).Select(f => f[line].Fill(new GenerationRequest())));
    }

    /// <summary>Openings that any text model continues; neighbours differ in both halves.</summary>
    private static string Opening(int i)
    {
        string speaker = Speakers[i % Speakers.Length], deed = Deeds[(i / Speakers.Length + i) % Deeds.Length];
        string round = i < Speakers.Length * Deeds.Length ? "And" : $"And in the year {i / (Speakers.Length * Deeds.Length)}";
        return $"{round} {speaker} {deed}";
    }

    private static int[] Ids(LanguageModel model, GenerationRequest request)
    {
        Models.Tokenizer tokenizer = model.Tokenizer ?? throw new Models.InputException("--model: comes without a tokenizer, so it can't read the prompts; give a model with one");
        return request.PromptIds is not null ? [.. request.PromptIds]
            : request.Messages is null ? WithBegin(tokenizer, tokenizer.Encode(request.Prompt!))
            : tokenizer.HasChatTemplate ? tokenizer.EncodeChat(request.Messages)
            : WithBegin(tokenizer, tokenizer.Encode(request.Messages[^1].Content));
    }

    private static int[] WithBegin(Models.Tokenizer tokenizer, int[] ids) => tokenizer.AddsBeginToken ? [tokenizer.BosTokenId!.Value, .. ids] : ids;
}
