using LowLevelSpec.Models;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Optimisation;

namespace LowLevelSpec.Training.LanguageModels;

/// <summary>How a language model is trained. Everything but <see cref="CheckpointEvery"/> and <see cref="Steps"/> decides what a step does; a run resumes only under the same.</summary>
public sealed record LanguageModelOptions
{
    /// <summary>Sizes; the first end token ends a document.</summary>
    public required LlamaConfig Config { get; init; }

    /// <summary>Learning rate by step.</summary>
    public required LearningRateSchedule Schedule { get; init; }

    /// <summary>Steps in all.</summary>
    public required int Steps { get; init; }

    /// <summary>AdamW's constants.</summary>
    public AdamWOptions AdamW { get; init; } = new(WeightDecay: 0.1);

    /// <summary>Limit of the global gradient norm.</summary>
    public double Clip { get; init; } = 1;

    /// <summary>Most tokens of a micro-batch.</summary>
    public int MicroBatchTokens { get; init; } = 2048;

    /// <summary>Micro-batches whose gradients one step averages.</summary>
    public int MicroBatches { get; init; } = 1;

    /// <summary>Folder of a model of the same sizes whose weights this one starts from; null for random ones.</summary>
    public string? StartFrom { get; init; }

    /// <summary>Steps between checkpoints.</summary>
    public int CheckpointEvery { get; init; } = 100;

    /// <summary>Seed of starting weights and order of data.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Storage type of the model written for the engine; the checkpoint itself is F32.</summary>
    public TensorType ModelType { get; init; } = TensorType.BF16;

    /// <summary>What two runs must share for one to go on where the other ended.</summary>
    /// <param name="texts">The data.</param>
    internal string Fingerprint(IReadOnlyList<TrainingSequence> texts) =>
        $"{this with { Steps = 0, CheckpointEvery = 0, ModelType = TensorType.F32, StartFrom = StartFrom is null ? null : DrafterFolder.Hash(StartFrom), Config = Config with { EndTokens = [] } }}, end {string.Join(',', Config.EndTokens)}, over {texts.Count} sequences of {texts.Sum(static s => (long)s.Tokens.Count)} tokens ({SequenceHash.Of(texts, responses: true)})";
}

/// <summary>One step, as its line in the log says it.</summary>
/// <param name="Step">Counted from 0.</param>
/// <param name="LearningRate">Of this step.</param>
/// <param name="Loss">Mean cross entropy of the next token before the step, in nats.</param>
/// <param name="Agreement">Share of positions where the next token was the most likely one.</param>
/// <param name="GradientNorm">Before clipping.</param>
/// <param name="Tokens">Tokens of this step.</param>
public sealed record LanguageModelStep(int Step, double LearningRate, double Loss, double Agreement, double GradientNorm, int Tokens) : ITrainingStep;

/// <summary>A language model on held-out text.</summary>
/// <param name="Loss">Mean cross entropy of the next token, in nats.</param>
/// <param name="Agreement">Share of positions where the next token was the most likely one.</param>
/// <param name="Tokens">Tokens predicted.</param>
public sealed record HeldOutLoss(double Loss, double Agreement, long Tokens);
