using LowLevelSpec.Engine;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>What to check and how.</summary>
/// <param name="Folder">A golden folder: cases, tokenizers/, smollm2/.</param>
internal sealed record GoldenOptions(string Folder)
{
    /// <summary>Checks only this case (a folder's name, "tokenizers" or "smollm2"); null = all.</summary>
    public string? Only { get; init; }

    /// <summary>How models are opened: the golden vectors were made with f32 inputs.</summary>
    public EngineOptions Engine { get; init; } = new() { Arithmetic = Arithmetic.Exact, KvType = KvType.F32 };

    /// <summary>Told the name of each part before it runs.</summary>
    public Action<string>? Progress { get; init; }
}

/// <summary>
/// Checks the engine against a folder of golden vectors. All of it is read from the files: shapes, settings, prompts, which drafters and
/// which files there are. What a case lacks is not checked; what one of its files refers to must be there.
/// </summary>
internal sealed class GoldenRunner
{
    private const string Tokenizers = "tokenizers", Smollm2 = "smollm2";
    private const string MoaForward = "forward.safetensors", EagleForward = "eagle-forward.safetensors", Transcripts = "transcripts.json", TliTranscripts = "tli-transcripts.json";
    private static readonly string[] Training = ["training.safetensors", "training.json"];
    private static readonly string[] CaseFiles = [MoaForward, EagleForward, TliChecks.FileName, Transcripts, TliTranscripts, .. Training];
    private readonly GoldenOptions _options;
    private readonly string _folder;
    private readonly GoldenReport _report = new();

    private GoldenRunner(GoldenOptions options) => (_options, _folder) = (options, Path.GetFullPath(options.Folder));

    /// <summary>Runs all checks.</summary>
    /// <exception cref="InputException">There is nothing to check at that path.</exception>
    public static GoldenReport Run(GoldenOptions options) => new GoldenRunner(options).RunAll();

    private GoldenReport RunAll()
    {
        if (!Directory.Exists(_folder))
        {
            throw new InputException($"{_options.Folder}: no such folder; give a folder of golden vectors");
        }

        SharedFiles shared = new(_folder);
        List<(string Name, Action Run)> parts = [.. Cases().Select(folder => (Path.GetFileName(folder), (Action)(() => RunCase(folder))))];
        if (HasLines(Tokenizers))
        {
            parts.Add((Tokenizers, () => TokenizerChecks.Run(_report, Path.Combine(_folder, Tokenizers), shared)));
        }

        if (HasLines(Smollm2))
        {
            parts.Add((Smollm2, () => SmolChecks.Run(_report, Path.Combine(_folder, Smollm2), shared, _options.Engine)));
        }

        if (parts.Count == 0)
        {
            throw new InputException($"{_options.Folder}: holds no golden vectors: expected case folders (target/ with {MoaForward}, {Transcripts} and so on), tokenizers/*.jsonl or smollm2/*.jsonl");
        }

        if (_options.Only is not null && !parts.Exists(p => p.Name == _options.Only))
        {
            throw new InputException($"--only: found '{_options.Only}', expected one of {string.Join(", ", parts.Select(static p => p.Name))}");
        }

        foreach ((string name, Action run) in parts.Where(p => _options.Only is null || p.Name == _options.Only))
        {
            _options.Progress?.Invoke(name);
            _report.Prepare(name, name, run);
        }

        return _report;
    }

    /// <summary>The folder itself where it is a case, else its subfolders that are.</summary>
    private IEnumerable<string> Cases() =>
        IsCase(_folder) ? [Path.TrimEndingDirectorySeparator(_folder)] : Directory.GetDirectories(_folder).Where(IsCase).Order(StringComparer.Ordinal);

    private static bool IsCase(string folder) => CaseFiles.Any(file => File.Exists(Path.Combine(folder, file)));

    /// <summary>Whether a case that lacks <paramref name="file"/> has the drafter whose vectors that file would hold.</summary>
    private static bool WouldNeed(string file, string path) => file switch
    {
        MoaForward => Directory.Exists(Path.Combine(path, "moa")),
        EagleForward => Directory.Exists(Path.Combine(path, "eagle")),
        Transcripts => true,
        _ => Directory.EnumerateDirectories(path, "moa-tli*").Any(),
    };

    private bool HasLines(string name) => Directory.Exists(Path.Combine(_folder, name)) && Directory.EnumerateFiles(Path.Combine(_folder, name), "*.jsonl").Any();

    private void RunCase(string path)
    {
        using CaseFolder folder = new(path, _options.Engine);
        if (Training.Any(folder.Has))
        {
            TrainingChecks.Run(_report, folder, Training);
        }

        if (!CaseFiles.Except(Training).Any(folder.Has) || !_report.Prepare(folder.Name, "target", () => _ = folder.Model))
        {
            return;
        }

        WhereThere(MoaForward, file => ForwardChecks.Run(_report, folder, file, "moa", Tolerances.Moa));
        WhereThere(EagleForward, file => ForwardChecks.Run(_report, folder, file, "eagle", Tolerances.Eagle));
        WhereThere(TliChecks.FileName, _ => TliChecks.Run(_report, folder));
        WhereThere(Transcripts, file => TranscriptChecks.Run(_report, folder, file));
        WhereThere(TliTranscripts, file => TranscriptChecks.Run(_report, folder, file));

        void WhereThere(string file, Action<string> run)
        {
            if (folder.Has(file))
            {
                run(file);
            }
            else if (WouldNeed(file, path))
            {
                _report.Add(folder.Name, file, file, Outcome.Skip("the case has the drafter but not these vectors"));
            }
        }
    }
}
