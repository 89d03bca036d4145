using System.CommandLine;
using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Cli.Options;

/// <summary>How tokens are chosen; the engine checks the ranges once more, which its other callers need.</summary>
internal sealed class SamplingArguments
{
    private readonly NumberOption<float> _temperature = new("--temperature", "0 = greedy (the default) to 100; higher is more varied.", low: 0, high: 100);
    private readonly NumberOption<int> _topK = new("--top-k", "Keep the N most probable tokens; 0 = all (the default).", low: 0);
    private readonly NumberOption<float> _topP = new("--top-p", "Keep the most probable tokens up to this probability, above 0; 1 = all (the default).") { Range = "a number above 0 and at most 1" };
    private readonly NumberOption<float> _minP = new("--min-p", "Drop tokens below this share of the most probable one, up to 1; 0 = none (the default).", low: 0, high: 1);
    private readonly NumberOption<float> _repetition = new("--repetition-penalty", "Divides the logits of tokens that occurred, above 0; 1 = off (the default).") { Range = "a number above 0" };
    private readonly NumberOption<float> _frequency = new("--frequency-penalty", "Taken off a token's logit per occurrence in the output, -100 to 100; 0 = off (the default).", low: -100, high: 100);
    private readonly NumberOption<float> _presence = new("--presence-penalty", "Taken off the logit of tokens that occur in the output, -100 to 100; 0 = off (the default).", low: -100, high: 100);
    private readonly NumberOption<ulong> _seed = new("--seed", "Seed of the random choices; 0 by default, so that two runs give the same text.");

    /// <summary>The options, in the order of the help.</summary>
    public IEnumerable<Option> All => [_temperature, _topK, _topP, _minP, _repetition, _frequency, _presence, _seed];

    /// <summary>Reads them.</summary>
    public SamplingOptions Read(ParseResult result)
    {
        SamplingOptions defaults = new();
        return new SamplingOptions
        {
            Temperature = _temperature.Read(result) ?? defaults.Temperature,
            TopK = _topK.Read(result) ?? defaults.TopK,
            TopP = _topP.Read(result) ?? defaults.TopP,
            MinP = _minP.Read(result) ?? defaults.MinP,
            RepetitionPenalty = _repetition.Read(result) ?? defaults.RepetitionPenalty,
            FrequencyPenalty = _frequency.Read(result) ?? defaults.FrequencyPenalty,
            PresencePenalty = _presence.Read(result) ?? defaults.PresencePenalty,
            Seed = _seed.Read(result) ?? defaults.Seed,
        };
    }
}
