using System.CommandLine;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends.Ilgpu;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Options;

/// <summary>Which drafter, and the tree it drafts.</summary>
internal sealed class DrafterArguments
{
    /// <summary>Plain decoding.</summary>
    private const string None = "none";

    private readonly ModelArguments? _model;
    private readonly bool _required;
    private readonly Option<string?> _drafter;
    private readonly Option<string?> _tree = new("--tree") { Description = "Draft tree: auto (the default) chooses each step's by measured costs and falls back to none, depth (2..32), breadth (1..32) and total tokens (1..63) fix it, off switches drafting off.", HelpName = "auto|D,B,T|off" };
    private readonly Option<string?> _lookup = new("--lookup") { Description = "Prompt lookup beside the drafter, with --tree auto: auto (the default) merges it in where its measured hit rate pays, on where the match alone promises enough, off never.", HelpName = "on|off|auto" };
    private readonly NumberOption<int> _tli = new("--tli", "Target layer inference of a MoA drafter whose config does not say: the last N target layers run on drafted tokens too.", low: 0);
    private readonly NumberOption<int> _until = new("--draft-until", "Position from which nothing is drafted; 0 = the drafter's trained length (the default).", low: 0);
    private readonly Option<string?> _device = new("--drafter-device")
    {
        Description = "Where a drafter checkpoint runs: cpu, beside the target (the default); ilgpu:N, on a device that 'llspec doctor' lists; auto, on the first GPU there, else cpu. The text is the same.",
        HelpName = IlgpuDevices.Choices.Replace(", ", "|", StringComparison.Ordinal).Replace(" or ", "|", StringComparison.Ordinal),
    };

    private readonly DraftVocabularyOption _vocabulary = new();
    private readonly Option<string?> _eagleMask = new("--eagle-mask")
    {
        Description = "Tree mask of an EAGLE-2 drafter: reference (the default) follows the MoA authors' EAGLE-2, aligned gives each node exactly its ancestors, as EAGLE's own authors do; the text is the same either way.",
        HelpName = "reference|aligned",
    };

    /// <summary>Creates the options; a command that compares needs a drafter.</summary>
    /// <param name="model">The target, where none may be named: the embedded one brings its drafter.</param>
    /// <param name="required">Whether plain decoding is no choice.</param>
    public DrafterArguments(ModelArguments? model, bool required)
    {
        (_model, _required) = (model, required);
        _drafter = new Option<string?>("--drafter")
        {
            Description = $"Drafter: a checkpoint (MoA, EAGLE-2, small Llama){(required ? " or lookup (no weights)" : ", lookup (no weights) or none (the default)")}{(model is null ? "" : "; the embedded target's own where no --model is given")}.",
            HelpName = required ? "PATH|lookup" : "PATH|lookup|none",
        };
    }

    /// <summary>The options, in the order of the help.</summary>
    public IEnumerable<Option> All => [_drafter, _tree, _lookup, _tli, _until, _device, _vocabulary, _eagleMask];

    /// <summary>Path or kind as given, or what stands in.</summary>
    /// <exception cref="UsageException">The command needs a drafter and none is named for the target that is.</exception>
    public string Name(ParseResult result) => result.GetValue(_drafter) is string name ? Filled.In("--drafter", name)
        : _model?.IsGiven(result) == false ? EmbeddedModels.Find().Drafter
        : !_required ? None
        : throw new UsageException("Give a drafter with --drafter.");

    /// <summary>Options of how a checkpoint is opened that are given.</summary>
    public IReadOnlyList<string> HowGiven(ParseResult result) => [.. ((Option[])[_tli, _until, _device, _vocabulary, _eagleMask]).Where(option => result.GetResult(option) is { Implicit: false }).Select(static option => option.Name)];

    /// <summary>Files that are read: the checkpoint, the draft vocabulary.</summary>
    public IReadOnlyList<string> Files(ParseResult result) => [.. IsFile(result) ? [Name(result)] : (string[])[], .. _vocabulary.Files(result)];

    /// <summary>Whether anything drafts.</summary>
    public bool IsGiven(ParseResult result) => Name(result) is not None;

    /// <summary>Whether the drafter is a checkpoint.</summary>
    public bool IsFile(ParseResult result) => Name(result) is not (None or "lookup");

    /// <summary>The tree; null where drafting is off.</summary>
    public TreeSettings? Tree(ParseResult result) => result.GetValue(_tree) is string text ? TreeSettings.Parse(text) : TreeSettings.Auto;

    /// <summary>The tree as given, or what it is by default.</summary>
    public string TreeText(ParseResult result) => result.GetValue(_tree) ?? "auto";

    /// <summary>How prompt lookup joins in.</summary>
    /// <exception cref="UsageException">It is asked for where it can't.</exception>
    public LookupMode Lookup(ParseResult result)
    {
        string? text = result.GetValue(_lookup);
        LookupMode mode = text?.ToLowerInvariant() switch
        {
            null or "auto" => LookupMode.Auto,
            "on" => LookupMode.On,
            "off" => LookupMode.Off,
            _ => throw new InputException($"--lookup: found '{text}', expected on, off or auto"),
        };
        return mode == LookupMode.On && Tree(result) is not { Adapts: true } ? throw new UsageException("--lookup on joins trees that adapt: leave --tree at auto.")
            : mode == LookupMode.Off && Name(result) == "lookup" ? throw new UsageException("--lookup off leaves nothing of --drafter lookup: leave one of them out.")
            : mode;
    }

    /// <summary>Reads how the drafter is to be opened, and whether the options fit together.</summary>
    /// <exception cref="UsageException">--tli without a checkpoint to use it.</exception>
    public DrafterOptions Options(ParseResult result)
    {
        DrafterOptions options = new()
        {
            TargetLayerInference = _tli.Read(result),
            MaxPosition = _until.Read(result) ?? 0,
            AlignedEagleMask = AlignedMask(result.GetValue(_eagleMask)),
            DraftVocabulary = _vocabulary.Read(result),
            Device = result.GetValue(_device) is string device ? Filled.In("--drafter-device", device) : "cpu",
        };
        return options.DraftVocabulary is not null && !IsFile(result)
            ? throw new UsageException("--draft-vocabulary is for drafters with an LM head: give a checkpoint with --drafter, or leave --draft-vocabulary out.")
            : options.TargetLayerInference is not null && !IsFile(result)
            ? throw new UsageException("--tli is for MoA checkpoints: give one with --drafter, or leave --tli out.")
            : options;
    }

    /// <summary>Opens the drafter; null for plain decoding.</summary>
    public Drafter? Open(ParseResult result, LanguageModel model) => Name(result) is not None and string name ? model.OpenDrafter(name, Options(result)) : null;

    private static bool AlignedMask(string? text) => text switch
    {
        null or "reference" => false,
        "aligned" => true,
        _ => throw new InputException($"--eagle-mask: found '{text}', expected reference or aligned"),
    };
}
