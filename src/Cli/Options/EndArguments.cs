using System.CommandLine;
using LowLevelSpec.Engine.Decoding;

namespace LowLevelSpec.Cli.Options;

/// <summary>Where a text ends.</summary>
internal sealed class EndArguments
{
    private readonly NumberOption<int> _maxNew = new("--max-new", $"Most new tokens; {new GenerationRequest().MaxNewTokens} by default.", low: 1);
    private readonly Option<string[]> _stop = new("--stop") { Description = "Text that ends the output; it is cut off. May be repeated.", HelpName = "TEXT", Arity = ArgumentArity.OneOrMore };
    private readonly Option<string[]> _stopToken = new("--stop-token") { Description = "Token id that ends the output. May be repeated.", HelpName = "ID", Arity = ArgumentArity.OneOrMore };
    private readonly Option<bool> _ignoreEnd = new("--ignore-eos") { Description = "Go on after the model's own end tokens (benchmarks)." };

    /// <summary>The options, in the order of the help.</summary>
    public IEnumerable<Option> All => [_maxNew, _stop, _stopToken, _ignoreEnd];

    /// <summary>A request with these ends set and nothing else.</summary>
    public GenerationRequest Read(ParseResult result)
    {
        GenerationRequest defaults = new();
        return defaults with
        {
            MaxNewTokens = _maxNew.Read(result) ?? defaults.MaxNewTokens,
            StopStrings = result.GetValue(_stop) ?? [],
            StopTokens = [.. (result.GetValue(_stopToken) ?? []).SelectMany(text => TokenIds.Parse("--stop-token", text))],
            IgnoreEndTokens = result.GetValue(_ignoreEnd),
        };
    }
}
