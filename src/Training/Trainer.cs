using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Optimisation;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training;

/// <summary>
/// Trains a drafter against a frozen target into a folder: <c>checkpoint.safetensors</c> (weights, moments, steps), <c>log.jsonl</c> (a line per step)
/// and the drafter itself as the engine reads it. Opened on a folder with a checkpoint it goes on from there, bit for bit as if it had never stopped.
/// </summary>
public sealed class Trainer : IDisposable
{
    /// <summary>Names of the logs in a training's folder.</summary>
    internal const string StepLogName = TrainingFolder.LogName, HeldOutLogName = "held-out.jsonl";

    /// <summary>Horizon of the held-out check: drafts of up to seven positions.</summary>
    private const int HeldOutHorizon = 8;

    private readonly TrainerOptions _options;
    private readonly FrozenTarget<float> _target;
    private readonly DrafterModel<float> _drafter;
    private readonly AdamW<float> _optimiser;
    private readonly BatchPlan _plan;
    private readonly VocabularySampler? _vocabulary;
    private readonly StateCache? _cache;
    private readonly int[] _ranked;
    private readonly TrainingFolder<StepLog> _folder;
    private readonly HeldOutLogFile _heldOut;
    private readonly Arena<float> _arena = new();

    /// <summary>Loads the target, makes or resumes the drafter.</summary>
    /// <param name="target">The target's folder or file.</param>
    /// <param name="sequences">Training data, see <see cref="AnswerFile"/>.</param>
    /// <param name="folder">Where the training lives; made where absent.</param>
    /// <param name="options">How.</param>
    /// <exception cref="InputException">Unusable files, or a folder of another training.</exception>
    public Trainer(string target, IReadOnlyList<TrainingSequence> sequences, string folder, TrainerOptions options)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        ArgumentNullException.ThrowIfNull(options);
        if (sequences.Count == 0)
        {
            throw new InputException("there is nothing to train on: found 0 sequences, expected at least one with an answer");
        }

        string targetHash;
        using (ModelFile model = ModelFile.Open(target))
        {
            targetHash = FileHashes.Of(model.AllTensors, target, "config.json")[..16];
            _target = new FrozenTarget<float>(model.Tensors);
        }

        _options = options;
        _drafter = Create(options.Drafter);
        Initialisation.Normal(_drafter.Parameters, options.Seed);
        if (options.StartFromTarget)
        {
            _drafter.StartFromTarget();
        }

        if (options.StartFrom is not null)
        {
            DrafterFolder.Read(options.StartFrom, _drafter);
        }

        _optimiser = options.Optimiser == OptimiserKind.Muon ? new Muon<float>(_drafter.Parameters, options.AdamW) : new AdamW<float>(_drafter.Parameters, options.AdamW);
        _plan = new BatchPlan(sequences, options.Seed, options.MicroBatchTokens);
        foreach (Parameter<float> zero in _drafter.HeldAtZero)
        {
            zero.Value.Clear();
        }

        _ranked = TokenRanking.Of(sequences, _target.Config.VocabularySize);
        _vocabulary = options.KlTokens == 0 ? null : new VocabularySampler(_ranked, options.KlTokens, options.KlDrawnTokens, options.Seed);
        _folder = new TrainingFolder<StepLog>(folder, _optimiser, options.Fingerprint(targetHash, sequences), () => _cache?.Flush(), WriteDrafter);
        _heldOut = new HeldOutLogFile(Path.Combine(folder, HeldOutLogName), _optimiser.Steps);
        if (options.CacheFolder is not null)
        {
            _cache = StateCache.Open(options.CacheFolder, _target, sequences, [_drafter.TargetLayers, .. options.CacheLayers], options.Products);
        }

        void WriteDrafter() => DrafterFolder.Write(folder, _drafter, options.DrafterType, _ranked.AsSpan(0, Math.Min(options.DraftVocabulary, _ranked.Length)));
    }

    /// <summary>Steps made, those of resumed runs included.</summary>
    public int Steps => _optimiser.Steps;

    /// <summary>Trainable weights.</summary>
    public long ParameterCount => _drafter.Parameters.Sum(static p => p.Value.Length);

    /// <summary>Multiplications and additions of all matrix products of this process so far.</summary>
    public static long Operations => Gemm.Operations;

    /// <summary>Measures in a quarter of a second how many single-precision multiplications and additions a second the trainer's threads could do at best.</summary>
    public static double MeasurePeak() => PeakMeter.Measure();

    /// <summary>What the cache of the target's states holds or will hold, in words; null without one.</summary>
    public string? CacheSize => _cache?.Size;

    /// <summary>See <see cref="StateCache.TakenAhead"/>.</summary>
    internal int BatchesReadAhead => _cache?.TakenAhead ?? 0;

    /// <summary>Trains until all steps are made or <paramref name="stop"/> asks to end, and writes a checkpoint then, too.</summary>
    /// <param name="progress">Called after each step.</param>
    /// <param name="heldOut">What the drafter is measured on as it goes, or null.</param>
    /// <param name="stop">Ends the training after the step at hand.</param>
    public void Run(Action<StepLog>? progress = null, HeldOutPlan? heldOut = null, CancellationToken stop = default)
    {
        _folder.Run(_options.Steps, _options.CheckpointEvery, Step, AfterStep, stop);

        void AfterStep(StepLog step)
        {
            progress?.Invoke(step);
            if (heldOut is not null && (Steps % heldOut.Every == 0 || Steps == _options.Steps))
            {
                Measure(heldOut);
            }
        }
    }

    private void Measure(HeldOutPlan plan)
    {
        HeldOutReport report = HeldOut(plan.Texts);
        HeldOutLog log = new(Steps, report.Divergence, report.Agreement, report.ByHorizon, report.ChainTau);
        _heldOut.Write(log);
        plan.Report?.Invoke(log);
    }

    /// <summary>Measures the drafter on texts it does not train on.</summary>
    public HeldOutReport HeldOut(IReadOnlyList<TrainingSequence> sequences)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        double divergence = 0;
        LossWeights plain = _options.Loss with { Temperature = 1 };
        long[] hits = new long[HeldOutHorizon], counts = new long[HeldOutHorizon];
        foreach (TrainingSequence sequence in sequences)
        {
            TrainingBatch batch = new([sequence]);
            LossTerms terms = TrainingStep.Loss(_arena, _target, _drafter, batch, new PracticeChoices([HeldOutHorizon], null), plain);
            divergence += (terms.ForwardKl - terms.Entropy) * terms.Positions;
            for (int h = 0; h < Math.Min(HeldOutHorizon, terms.Counts.Count); h++)
            {
                hits[h] += terms.Hits[h];
                counts[h] += terms.Counts[h];
            }
        }

        List<double> accuracies = [];
        double tau = 1, product = 1;
        for (int h = 1; h < HeldOutHorizon && counts[h] > 0; h++)
        {
            accuracies.Add(hits[h] / (double)counts[h]);
            product *= accuracies[^1];
            tau += product;
        }

        return new HeldOutReport(divergence / Math.Max(1, counts.Sum()), hits.Sum() / (double)Math.Max(1, counts.Sum()), accuracies, tau);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _folder.Dispose();
        _cache?.Dispose();
    }

    private StepLog Step()
    {
        int step = Steps, positions = 0, hits = 0, tokens = 0, parts = _options.MicroBatches;
        double staircase = step < _options.StaircaseSteps ? 1 - (step / (double)_options.StaircaseSteps) : 0;
        double loss = 0, kl = 0, feature = 0, previous = 0, entropy = 0;
        _drafter.ClearGradients();
        using Gemm.Scope rounding = Gemm.In(_options.Products);
        for (int part = 0; part < parts; part++)
        {
            long number = ((long)step * parts) + part;
            TrainingBatch batch = _plan.Batch(number);
            PracticeChoices choices = _plan.Choices(number, batch.Sequences.Count, staircase, _options.Horizon);
            _cache?.ReadNext(_plan.Batch(number + 1));
            LossTerms terms = TrainingStep.Backward(_arena, _target, _drafter, batch, choices, _options.Loss, 1.0 / parts, _plan.KlRows(number, batch.Rows, _options.KlShare), _vocabulary?.Draw(number), _cache);
            loss += terms.Total / parts;
            kl += terms.ForwardKl / parts;
            feature += terms.Feature / parts;
            previous += terms.PreviousFeature / parts;
            entropy += terms.Entropy / parts;
            positions += terms.Positions;
            hits += terms.Hits.Sum();
            tokens += batch.Rows;
        }

        foreach (Parameter<float> zero in _drafter.HeldAtZero)
        {
            zero.Gradient!.Clear();
        }

        TrainingFolder.CheckLoss(step, loss);
        double rate = _options.Schedule.Rate(step), norm = GradientClipping.Clip(_drafter.Parameters, _options.Clip);
        _optimiser.Step(rate);
        return new StepLog(step, rate, loss, kl, feature, previous, entropy, hits / (double)Math.Max(1, positions), norm, tokens);
    }

    private DrafterModel<float> Create(DrafterPlan plan) => plan switch
    {
        MoaPlan moa => MoaModel<float>.Create(_target, moa.Sizes, moa.Layers, moa.CrossAttention),
        EaglePlan eagle => EagleModel<float>.Create(_target, eagle.KvHeads, eagle.Width),
        IndependentPlan independent when independent.Config.VocabularySize == _target.Config.VocabularySize => IndependentModel<float>.Create(independent.Config),
        IndependentPlan independent => throw new InputException($"the independent drafter has {independent.Config.VocabularySize} tokens, expected the target's {_target.Config.VocabularySize}"),
        _ => throw new ArgumentException($"unknown drafter {plan}", nameof(plan)),
    };
}
