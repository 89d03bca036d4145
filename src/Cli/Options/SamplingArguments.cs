using System.CommandLine;
using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Cli.Options;

/// <summary>How tokens are chosen; the engine checks the ranges.</summary>
internal sealed class SamplingArguments
{
    private readonly NumberOption<float> _temperature = new("--temperature", "0 = greedy (the default); higher is more varied.");
    private readonly NumberOption<int> _topK = new("--top-k", "Keep the N most probable tokens; 0 = all.");
    private readonly NumberOption<float> _topP = new("--top-p", "Keep the most probable tokens up to this probability; 1 = all.");
    private readonly NumberOption<float> _minP = new("--min-p", "Drop tokens below this share of the most probable one; 0 = none.");
    private readonly NumberOption<float> _repetition = new("--repetition-penalty", "Divides the logits of tokens that occurred; 1 = off.");
    private readonly NumberOption<float> _frequency = new("--frequency-penalty", "Taken off a token's logit per occurrence in the output; 0 = off.");
    private readonly NumberOption<float> _presence = new("--presence-penalty", "Taken off the logit of tokens that occur in the output; 0 = off.");
    private readonly NumberOption<ulong> _seed = new("--seed", "Seed of the random choices.");

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
