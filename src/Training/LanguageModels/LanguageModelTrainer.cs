using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Optimisation;

namespace LowLevelSpec.Training.LanguageModels;

/// <summary>
/// Trains a Llama from scratch on plain text into a folder: <c>checkpoint.safetensors</c>, <c>log.jsonl</c> and the model as the engine reads it.
/// Opened on a folder with a checkpoint it goes on from there, bit for bit as if it had never stopped.
/// </summary>
public sealed class LanguageModelTrainer : IDisposable
{
    private readonly LanguageModelOptions _options;
    private readonly IndependentModel<float> _model;
    private readonly AdamW<float> _optimiser;
    private readonly BatchPlan _plan;
    private readonly TrainingFolder<LanguageModelStep> _folder;
    private readonly Arena<float> _arena = new();

    /// <summary>Makes or resumes the model.</summary>
    /// <param name="sequences">Training data, see <see cref="TextCorpus.Sequences"/>.</param>
    /// <param name="folder">Where the training lives; made where absent.</param>
    /// <param name="options">How.</param>
    /// <exception cref="InputException">No data, or a folder of another training.</exception>
    public LanguageModelTrainer(IReadOnlyList<TrainingSequence> sequences, string folder, LanguageModelOptions options)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        ArgumentNullException.ThrowIfNull(options);
        if (sequences.Count == 0)
        {
            throw new InputException("there is nothing to train on: found 0 sequences, expected a text of some documents");
        }

        _options = options;
        _model = IndependentModel<float>.Create(options.Config);
        Initialisation.Normal(_model.Parameters, options.Seed);
        if (options.StartFrom is not null)
        {
            DrafterFolder.Read(options.StartFrom, _model);
        }

        _optimiser = new AdamW<float>(_model.Parameters, options.AdamW);
        _plan = new BatchPlan(sequences, options.Seed, options.MicroBatchTokens);
        _folder = new TrainingFolder<LanguageModelStep>(folder, _optimiser, options.Fingerprint(sequences), flush: null, () => DrafterFolder.Write(folder, _model, options.ModelType));
    }

    /// <summary>Steps made, those of resumed runs included.</summary>
    public int Steps => _optimiser.Steps;

    /// <summary>Trainable weights.</summary>
    public long ParameterCount => _model.Parameters.Sum(static p => p.Value.Length);

    /// <summary>Trains until all steps are made or <paramref name="stop"/> asks to end, and writes a checkpoint then, too.</summary>
    /// <param name="progress">Called after each step.</param>
    /// <param name="stop">Ends the training after the step at hand.</param>
    public void Run(Action<LanguageModelStep>? progress = null, CancellationToken stop = default) =>
        _folder.Run(_options.Steps, _options.CheckpointEvery, Step, progress, stop);

    /// <summary>Measures the model on texts it does not train on.</summary>
    public HeldOutLoss HeldOut(IReadOnlyList<TrainingSequence> sequences)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        double loss = 0;
        long tokens = 0, hits = 0;
        foreach (TrainingSequence sequence in sequences)
        {
            NextTokenTerms terms = NextTokenLoss.Compute(_arena, _model, new TrainingBatch([sequence]), gradients: false);
            loss += terms.Loss * terms.Positions;
            tokens += terms.Positions;
            hits += terms.Hits;
        }

        return new HeldOutLoss(loss / Math.Max(1, tokens), hits / (double)Math.Max(1, tokens), tokens);
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();

    private LanguageModelStep Step()
    {
        int step = Steps, positions = 0, hits = 0, tokens = 0, parts = _options.MicroBatches;
        double loss = 0;
        _model.ClearGradients();
        for (int part = 0; part < parts; part++)
        {
            TrainingBatch batch = _plan.Batch(((long)step * parts) + part);
            NextTokenTerms terms = NextTokenLoss.Compute(_arena, _model, batch, gradients: true, 1.0 / parts);
            loss += terms.Loss / parts;
            positions += terms.Positions;
            hits += terms.Hits;
            tokens += batch.Rows;
        }

        TrainingFolder.CheckLoss(step, loss);
        double rate = _options.Schedule.Rate(step), norm = GradientClipping.Clip(_model.Parameters, _options.Clip);
        _optimiser.Step(rate);
        return new LanguageModelStep(step, rate, loss, hits / (double)Math.Max(1, positions), norm, tokens);
    }
}
