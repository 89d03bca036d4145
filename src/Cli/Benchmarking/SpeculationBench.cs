using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Cli.Benchmarking;

/// <summary>Speculative against plain decoding of the same prompts, prompt by prompt in turns.</summary>
internal sealed class SpeculationBench
{
    private static readonly string[] BuiltIn =
    [
        "Write a short story about a lighthouse keeper who finds a message in a bottle.",
        "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
        "Repeat the following list twice: red, green, blue, yellow, orange, purple, black, white. Red, green, blue,",
    ];

    private readonly BenchPlan _plan;
    private readonly LanguageModel _model;
    private readonly Drafter _drafter;
    private readonly IReadOnlyList<PromptSet> _sets;
    private readonly SetSamples[] _samples;

    public SpeculationBench(BenchPlan plan, LanguageModel model, Drafter drafter)
    {
        (_plan, _model, _drafter) = (plan, model, drafter);
        _sets = plan.Sets.Count > 0 ? plan.Sets : [new PromptSet("built-in", [.. BuiltIn.Select(Fallback)])];
        _samples = [.. _sets.Select(static _ => new SetSamples())];
    }

    /// <summary>Every prompt once plainly and once speculatively.</summary>
    /// <exception cref="InvalidOperationException">The texts differ, which is a defect of the engine.</exception>
    public void Round(bool measured, CancellationToken cancellation)
    {
        for (int s = 0; s < _sets.Count; s++)
        {
            Sum plain = new(), speculative = new();
            foreach (FilePrompt prompt in _sets[s].Prompts)
            {
                GenerationRequest request = prompt.Fill(_plan.Request);
                GenerationResult one = _model.Generate(request, cancellation), other = _model.Generate(request with { Drafter = _drafter }, cancellation);
                if (!one.OutputIds.SequenceEqual(other.OutputIds))
                {
                    throw new InvalidOperationException($"{prompt.Place}: speculative text differs from plain text");
                }

                plain.Add(one.Statistics);
                speculative.Add(other.Statistics);
            }

            if (measured && plain.Tokens > 0)
            {
                _samples[s].Add(plain, speculative);
            }
        }
    }

    /// <summary>The medians; null where every text ended with its first token.</summary>
    public SpeculativeReport? Report(double? peerDecode)
    {
        SetReport[] sets = [.. _sets.Zip(_samples).Where(static pair => pair.Second.Speedup.Count > 0).Select(static pair => pair.Second.Report(pair.First.Name))];
        return sets.Length == 0 ? null : new SpeculativeReport
        {
            Drafter = _drafter.Kind,
            Tree = _plan.Tree,
            MeanSpeedup = sets.Average(static set => set.Speedup),
            MeanTokensPerSecond = sets.Average(static set => set.SpeculativeTokensPerSecond),
            OverPeer = sets.Average(static set => set.SpeculativeTokensPerSecond) / peerDecode,
            Sets = sets,
        };
    }

    /// <summary>A built-in prompt as text, or as some ids where the model has no tokenizer.</summary>
    private FilePrompt Fallback(string text, int index) => _model.Tokenizer is not null
        ? new FilePrompt("built-in", index + 1, null, null, text)
        : new FilePrompt("built-in", index + 1, [.. Enumerable.Range(0, 24).Select(i => ((i % 8) + index) % _model.Config.VocabularySize)], null, null);

    /// <summary>Pooled figures of one pass over a set.</summary>
    private sealed class Sum
    {
        public int Tokens { get; private set; }

        public int Passes { get; private set; }

        public double Seconds { get; private set; }

        public double TokensPerSecond => Tokens / Seconds;

        public void Add(GenerationStatistics figures)
        {
            Tokens += Math.Max(0, figures.NewTokens - 1);
            Passes += figures.TargetPasses;
            Seconds += figures.DraftSeconds + figures.VerifySeconds + figures.OtherSeconds;
        }
    }

    private sealed class SetSamples
    {
        private readonly Samples _plain = new(), _speculative = new(), _tau = new();

        public Samples Speedup { get; } = new();

        public void Add(Sum plain, Sum speculative)
        {
            _plain.Add(plain.TokensPerSecond);
            _speculative.Add(speculative.TokensPerSecond);
            Speedup.Add(speculative.TokensPerSecond / plain.TokensPerSecond);
            _tau.Add(speculative.Tokens / (double)speculative.Passes);
        }

        public SetReport Report(string name) => new()
        {
            Prompts = name,
            PlainTokensPerSecond = _plain.Median,
            SpeculativeTokensPerSecond = _speculative.Median,
            Speedup = Speedup.Median,
            Spread = Speedup.Spread,
            Tau = _tau.Median,
        };
    }
}
