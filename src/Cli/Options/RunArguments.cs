using System.CommandLine;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;

namespace LowLevelSpec.Cli.Options;

/// <summary>Everything that generate, chat and compare share: target, drafter, sampling and ends.</summary>
internal sealed class RunArguments
{
    private readonly ModelArguments _model = new();
    private readonly DrafterArguments _drafter;
    private readonly SamplingArguments _sampling = new();
    private readonly EndArguments _ends = new();

    /// <summary>Creates the options; a command that compares needs a drafter.</summary>
    public RunArguments(bool drafterRequired) => _drafter = new DrafterArguments(_model, drafterRequired);

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in (IEnumerable<Option>)[.. _model.All, .. _drafter.All, .. _ends.All, .. _sampling.All])
        {
            command.Add(option);
        }
    }

    /// <summary>Path of the target, as given or the embedded one's.</summary>
    public string ModelPath(ParseResult result) => _model.Path(result);

    /// <summary>Path or kind of the drafter, as given or what stands in.</summary>
    public string DrafterName(ParseResult result) => _drafter.Name(result);

    /// <summary>Whether anything drafts.</summary>
    public bool HasDrafter(ParseResult result) => _drafter.IsGiven(result);

    /// <summary>Paths that a report must not overwrite.</summary>
    public IReadOnlyList<string> Inputs(ParseResult result) => [ModelPath(result), .. _drafter.Files(result)];

    /// <summary>A request without prompt and drafter. Reads every option, so call it before opening files: mistakes then show at once.</summary>
    public GenerationRequest Request(ParseResult result)
    {
        _ = _model.Engine(result);
        _ = _drafter.Options(result);
        return _ends.Read(result) with { Sampling = _sampling.Read(result), Tree = _drafter.Tree(result), Lookup = _drafter.Lookup(result) };
    }

    /// <summary>Opens the target.</summary>
    public LanguageModel OpenModel(ParseResult result) => _model.Open(result);

    /// <summary>Opens what a remote client holds: the target's embeddings and head, and the drafter where it <paramref name="drafts"/>; or a client pack, which has it all.</summary>
    /// <exception cref="UsageException">A pack and a model, or options that it has no use for.</exception>
    public ClientModel OpenClient(ParseResult result, bool drafts)
    {
        if (_drafter.IsFile(result) && ClientPack.IsPack(DrafterName(result)))
        {
            IReadOnlyList<string> unused = [.. _model.UnusedByPacks(result), .. _drafter.HowGiven(result)];
            return _model.IsGiven(result) ? throw new UsageException($"{DrafterName(result)} is a client pack, which brings the target's parts along: leave --model out.")
                : unused.Count > 0 ? throw new UsageException($"{DrafterName(result)} is a client pack, which drafts on the CPU as it was made: leave {string.Join(", ", unused)} out.")
                : ClientModel.OpenPack(DrafterName(result), _model.Engine(result));
        }

        return ClientModel.Open(Filled.In("--model", ModelPath(result)), drafts ? DrafterName(result) : null, _model.Engine(result), _drafter.Options(result));
    }

    /// <summary>Opens the drafter; null for plain decoding.</summary>
    public Drafter? OpenDrafter(ParseResult result, LanguageModel model) => _drafter.Open(result, model);
}
