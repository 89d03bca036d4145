using LowLevelSpec.Models;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Optimisation;

namespace LowLevelSpec.Training;

/// <summary>Which drafter to train.</summary>
public abstract record DrafterPlan
{
    /// <summary>N of target layer inference.</summary>
    public virtual int TargetLayers => 0;
}

/// <summary>Mixture of Attentions.</summary>
/// <param name="Sizes">Sizes of its layers.</param>
/// <param name="Layers">N of target layer inference: 0, 1 or 3 in the paper.</param>
/// <param name="CrossAttention">False for the ablation whose cross-attention adds nothing: its values stay zero, so the drafter sees nothing of the target.</param>
public sealed record MoaPlan(MoaSizes Sizes, int Layers, bool CrossAttention = true) : DrafterPlan
{
    /// <inheritdoc/>
    public override int TargetLayers => Layers;
}

/// <summary>EAGLE-2.</summary>
/// <param name="KvHeads">kv heads of its layer.</param>
/// <param name="Width">MLP width of its layer.</param>
public sealed record EaglePlan(int KvHeads, int Width) : DrafterPlan;

/// <summary>A small Llama of its own.</summary>
/// <param name="Config">Sizes; the vocabulary is the target's.</param>
public sealed record IndependentPlan(LlamaConfig Config) : DrafterPlan;

/// <summary>What moves the matrices of a drafter.</summary>
public enum OptimiserKind
{
    /// <summary>AdamW, as in the paper.</summary>
    AdamW,

    /// <summary>Muon: steps along orthogonalised momentum.</summary>
    Muon,
}

/// <summary>How a drafter is trained. Everything but <see cref="CheckpointEvery"/>, <see cref="CacheLayers"/>, <see cref="DrafterType"/>, <see cref="DraftVocabulary"/> and <see cref="Steps"/> decides what a step does; a run resumes only under the same.</summary>
public sealed record TrainerOptions
{
    /// <summary>Which drafter.</summary>
    public required DrafterPlan Drafter { get; init; }

    /// <summary>Weights of the loss terms.</summary>
    public required LossWeights Loss { get; init; }

    /// <summary>Learning rate by step.</summary>
    public required LearningRateSchedule Schedule { get; init; }

    /// <summary>Steps in all.</summary>
    public required int Steps { get; init; }

    /// <summary>What moves the matrices; norms and biases are always AdamW's.</summary>
    public OptimiserKind Optimiser { get; init; }

    /// <summary>Whether SA of a MoA drafter starts from the target's first layer, whose input it shares; its MLP takes as many of the first neurons as it has.</summary>
    public bool StartFromTarget { get; init; }

    /// <summary>AdamW's constants.</summary>
    public AdamWOptions AdamW { get; init; } = new();

    /// <summary>Limit of the global gradient norm.</summary>
    public double Clip { get; init; } = 1;

    /// <summary>Most tokens of a micro-batch.</summary>
    public int MicroBatchTokens { get; init; } = 2048;

    /// <summary>Micro-batches whose gradients one step averages.</summary>
    public int MicroBatches { get; init; } = 1;

    /// <summary>Steps over which the probability of the staircase mask falls linearly from 1 to 0 (half of the training in the paper); 0 for never.</summary>
    public int StaircaseSteps { get; init; }

    /// <summary>Share of the response positions, drawn anew each step, that the cross entropy is taken over: two vocabularies of logits per position are most of a small drafter's work.</summary>
    public double KlShare { get; init; } = 1;

    /// <summary>The most frequent tokens of the responses that the cross entropy is always taken over; 0 for the whole vocabulary.</summary>
    public int KlTokens { get; init; }

    /// <summary>With <see cref="KlTokens"/>: how many of the other tokens, drawn anew each micro-batch, stand for all others.</summary>
    public int KlDrawnTokens { get; init; }

    /// <summary>Steps between checkpoints.</summary>
    public int CheckpointEvery { get; init; } = 100;

    /// <summary>Folder of a drafter of the same kind and sizes whose weights this one starts from; null for random ones.</summary>
    public string? StartFrom { get; init; }

    /// <summary>Seed of starting weights, order of data and random choices.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>n of the verification points for all sequences (ablation); 0 for n drawn from 6..14 per sequence and step.</summary>
    public int Horizon { get; init; }

    /// <summary>Folder that keeps the target's states in bf16 between epochs and trainings; null to compute them at every step.</summary>
    public string? CacheFolder { get; init; }

    /// <summary>N of target layer inference that the cache serves besides this training's own, so that several trainings share one.</summary>
    public IReadOnlyList<int> CacheLayers { get; init; } = [];

    /// <summary>What the operands of matrix products are rounded to; held-out measurements are not.</summary>
    public Products Products { get; init; }

    /// <summary>Most frequent tokens of the responses whose ids the drafter's file lists, for a draft head of fewer tokens; 0 for no list.</summary>
    public int DraftVocabulary { get; init; }

    /// <summary>Storage type of the drafter written for the engine; the checkpoint itself is F32.</summary>
    public TensorType DrafterType { get; init; } = TensorType.BF16;

    /// <summary>What two runs must share for one to go on where the other ended.</summary>
    /// <param name="target">The target's weights, as a hash.</param>
    /// <param name="texts">The data.</param>
    internal string Fingerprint(string target, IReadOnlyList<TrainingSequence> texts) =>
        $"{this with { Steps = 0, CheckpointEvery = 0, DrafterType = TensorType.F32, DraftVocabulary = 0, CacheLayers = [], CacheFolder = CacheFolder is null ? null : "bf16", StartFrom = StartFrom is null ? null : DrafterFolder.Hash(StartFrom) }} over {texts.Count} sequences of {texts.Sum(static s => (long)s.Tokens.Count)} tokens ({SequenceHash.Of(texts, responses: true)}) of target {target}";
}

/// <summary>One step, as its line in the log says it: what does not depend on the machine's speed.</summary>
/// <param name="Step">Counted from 0.</param>
/// <param name="LearningRate">Of this step.</param>
/// <param name="Loss">Mean over micro-batches of the weighed loss before the step.</param>
/// <param name="ForwardKl">Mean cross entropy to the target.</param>
/// <param name="Feature">Mean SmoothL1 of final states.</param>
/// <param name="PreviousFeature">Mean SmoothL1 at the input of layer L-N.</param>
/// <param name="Entropy">Mean entropy of the target.</param>
/// <param name="Agreement">Share of response positions where both have the same most likely token.</param>
/// <param name="GradientNorm">Before clipping.</param>
/// <param name="Tokens">Tokens of this step, prompts included.</param>
public sealed record StepLog(
    int Step, double LearningRate, double Loss, double ForwardKl, double Feature, double PreviousFeature, double Entropy, double Agreement, double GradientNorm, int Tokens) : ITrainingStep;

/// <summary>A training's logs, as the folder holds them.</summary>
/// <param name="Steps">A line per step.</param>
/// <param name="HeldOut">A line per measurement on held-out text.</param>
public sealed record TrainingLogs(IReadOnlyList<StepLog> Steps, IReadOnlyList<HeldOutLog> HeldOut)
{
    /// <summary>Reads the logs of a training that does not run.</summary>
    /// <param name="folder">The training's folder.</param>
    public static TrainingLogs Read(string folder) =>
        new(StepLogFile<StepLog>.Read(Path.Combine(folder, Trainer.StepLogName)), HeldOutLogFile.Read(Path.Combine(folder, Trainer.HeldOutLogName)));
}

/// <summary>Texts that a training is measured on as it goes.</summary>
/// <param name="Texts">None of them is trained on.</param>
/// <param name="Every">Steps between measurements; there is one at the end, too.</param>
/// <param name="Report">Called after each, or null.</param>
public sealed record HeldOutPlan(IReadOnlyList<TrainingSequence> Texts, int Every, Action<HeldOutLog>? Report = null);

/// <summary>A measurement on held-out text, as its line in the log says it.</summary>
/// <param name="Step">Steps made.</param>
/// <param name="Divergence">Mean KL divergence of the drafter's from the target's distribution, over the whole vocabulary.</param>
/// <param name="Agreement">See <see cref="HeldOutReport"/>.</param>
/// <param name="ByHorizon">See <see cref="HeldOutReport"/>.</param>
/// <param name="ChainTau">See <see cref="HeldOutReport"/>.</param>
public sealed record HeldOutLog(int Step, double Divergence, double Agreement, IReadOnlyList<double> ByHorizon, double ChainTau);

/// <summary>A drafter on held-out text, horizon fixed to 8.</summary>
/// <param name="Divergence">Mean KL divergence of the drafter's from the target's distribution.</param>
/// <param name="Agreement">Share of response positions where drafter and target agree on the most likely token.</param>
/// <param name="ByHorizon">The same for drafts 1, 2, .. 7 positions behind the last verified one.</param>
/// <param name="ChainTau">1 + the sum of products of <paramref name="ByHorizon"/>: what a chain of drafts would commit per target pass.</param>
public sealed record HeldOutReport(double Divergence, double Agreement, IReadOnlyList<double> ByHorizon, double ChainTau);
