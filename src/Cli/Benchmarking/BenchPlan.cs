using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Cli.Benchmarking;

/// <summary>Prompts that are measured together.</summary>
/// <param name="Name">The file as given, or "built-in".</param>
/// <param name="Prompts">At least one.</param>
internal sealed record PromptSet(string Name, IReadOnlyList<FilePrompt> Prompts);

/// <summary>What a run measures.</summary>
internal sealed record BenchPlan
{
    /// <summary>The model's path.</summary>
    public required string Model { get; init; }

    /// <summary>How it is opened; the number of threads is set per measurement.</summary>
    public required EngineOptions Engine { get; init; }

    /// <summary>Opens the drafter, null for plain decoding.</summary>
    public required Func<LanguageModel, Drafter?> OpenDrafter { get; init; }

    /// <summary>Request of the speculative part: tree, length, sampling.</summary>
    public required GenerationRequest Request { get; init; }

    /// <summary>The tree as given.</summary>
    public required string Tree { get; init; }

    /// <summary>Prompts of the speculative part; empty = the built-in ones.</summary>
    public required IReadOnlyList<PromptSet> Sets { get; init; }

    /// <summary>Numbers of threads.</summary>
    public required IReadOnlyList<int> Threads { get; init; }

    /// <summary>Rows of passes, 1 among them.</summary>
    public required int[] Rows { get; init; }

    /// <summary>Tokens in front of decoding and of the passes.</summary>
    public required int Context { get; init; }

    /// <summary>Tokens of the prompt whose time to the first token is measured.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Tokens of one measurement of decoding.</summary>
    public required int DecodeTokens { get; init; }

    /// <summary>Interleaved rounds.</summary>
    public required int Repeats { get; init; }

    /// <summary>Steps that <see cref="ModelBench"/> reports in all: a warm-up and the rounds, per number of threads.</summary>
    public int Steps => Threads.Count * (Repeats + 1);
}
