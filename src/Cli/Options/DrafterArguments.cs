using System.CommandLine;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Cli.Options;

/// <summary>Which drafter, and the tree it drafts.</summary>
internal sealed class DrafterArguments
{
    /// <summary>Plain decoding.</summary>
    private const string None = "none";

    private readonly Option<string?> _drafter;
    private readonly Option<string?> _tree = new("--tree") { Description = "Draft tree as depth,breadth,total tokens (e.g. 5,4,24), or off.", HelpName = "D,B,T" };
    private readonly NumberOption<int> _tli = new("--tli", "Target layer inference of a MoA drafter whose config does not say: the last N target layers run on drafted tokens too.", low: 0);
    private readonly NumberOption<int> _until = new("--draft-until", "Position from which nothing is drafted; 0 = the drafter's trained length.", low: 0);

    /// <summary>Creates the options; a command that compares needs a drafter.</summary>
    public DrafterArguments(bool required) => _drafter = new Option<string?>("--drafter")
    {
        Description = required ? "Drafter: a checkpoint (MoA, EAGLE-2, small Llama) or lookup (no weights)." : "Drafter: a checkpoint (MoA, EAGLE-2, small Llama), lookup (no weights) or none (the default).",
        HelpName = "PATH|lookup|none",
        Required = required,
    };

    /// <summary>The options, in the order of the help.</summary>
    public IEnumerable<Option> All => [_drafter, _tree, _tli, _until];

    /// <summary>Path or kind as given.</summary>
    public string Name(ParseResult result) => Filled.In("--drafter", result.GetValue(_drafter) ?? None);

    /// <summary>The tree; null where drafting is off.</summary>
    public TreeSettings? Tree(ParseResult result) => result.GetValue(_tree) is string text ? TreeSettings.Parse(text) : TreeSettings.Default;

    /// <summary>Reads how the drafter is to be opened, and whether the options fit together.</summary>
    /// <exception cref="UsageException">--tli without a checkpoint to use it.</exception>
    public DrafterOptions Options(ParseResult result)
    {
        DrafterOptions options = new() { TargetLayerInference = _tli.Read(result), MaxPosition = _until.Read(result) ?? 0 };
        return options.TargetLayerInference is not null && Name(result) is None or "lookup"
            ? throw new UsageException("--tli is for MoA checkpoints: give one with --drafter, or leave --tli out.")
            : options;
    }

    /// <summary>Opens the drafter; null for plain decoding.</summary>
    public Drafter? Open(ParseResult result, LanguageModel model) => Name(result) is not None and string name ? model.OpenDrafter(name, Options(result)) : null;
}
