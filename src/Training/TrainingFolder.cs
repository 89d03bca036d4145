using LowLevelSpec.Models;
using LowLevelSpec.Training.Optimisation;

namespace LowLevelSpec.Training;

/// <summary>A step as its log line says it.</summary>
public interface ITrainingStep
{
    /// <summary>Counted from 0.</summary>
    int Step { get; }
}

/// <summary>What all trainings share.</summary>
internal static class TrainingFolder
{
    /// <summary>The log of steps in a training's folder.</summary>
    public const string LogName = "log.jsonl";

    /// <summary>Ends a training whose loss is no number.</summary>
    /// <exception cref="InputException">It is not.</exception>
    public static void CheckLoss(int step, double loss)
    {
        if (!double.IsFinite(loss))
        {
            throw new InputException($"the loss of step {step} is {loss}, expected a number: use a lower learning rate or a tighter clip; the last checkpoint stands");
        }
    }
}

/// <summary>
/// The folder a training lives in: checkpoint, log and the model as the engine reads it. Opened on a folder with a checkpoint, it takes the
/// state over; a training that goes on from there is, bit for bit, one that never stopped.
/// </summary>
internal sealed class TrainingFolder<TStep> : IDisposable where TStep : class, ITrainingStep
{
    private readonly string _checkpoint, _fingerprint;
    private readonly AdamW<float> _optimiser;
    private readonly Action? _flush;
    private readonly Action _writeModel;
    private readonly StepLogFile<TStep> _log;

    /// <param name="folder">Made where absent.</param>
    /// <param name="optimiser">The state: weights, moments, steps.</param>
    /// <param name="fingerprint">What two runs must share for one to go on where the other ended.</param>
    /// <param name="flush">Makes durable what a checkpoint counts on, or null.</param>
    /// <param name="writeModel">Writes the model for the engine.</param>
    /// <exception cref="InputException">The folder is another training's, or in use.</exception>
    public TrainingFolder(string folder, AdamW<float> optimiser, string fingerprint, Action? flush, Action writeModel)
    {
        (_optimiser, _fingerprint, _flush, _writeModel) = (optimiser, fingerprint, flush, writeModel);
        _checkpoint = Path.Combine(folder, "checkpoint.safetensors");
        Directory.CreateDirectory(folder);
        if (File.Exists(_checkpoint))
        {
            TrainingCheckpoint.Read(_checkpoint, optimiser, fingerprint);
        }

        _log = StepLogFile<TStep>.Open(Path.Combine(folder, TrainingFolder.LogName), optimiser.Steps);

        // The open log keeps a second training out of this folder, so unfinished files are those of a killed one.
        foreach (string unfinished in Directory.GetFiles(folder, "*.safetensors.*.tmp"))
        {
            File.Delete(unfinished);
        }
    }

    /// <summary>Makes steps until there are <paramref name="steps"/> or <paramref name="stop"/> asks to end, and writes a checkpoint then, too.</summary>
    /// <param name="steps">Steps in all.</param>
    /// <param name="checkpointEvery">Steps between checkpoints.</param>
    /// <param name="step">Makes one.</param>
    /// <param name="progress">Called after each step.</param>
    /// <param name="stop">Ends the training after the step at hand.</param>
    public void Run(int steps, int checkpointEvery, Func<TStep> step, Action<TStep>? progress, CancellationToken stop)
    {
        int saved = -1;
        while (_optimiser.Steps < steps && !stop.IsCancellationRequested)
        {
            TStep made = step();
            _log.Write(made);
            progress?.Invoke(made);
            if (_optimiser.Steps % checkpointEvery == 0)
            {
                Save();
                saved = _optimiser.Steps;
            }
        }

        if (saved != _optimiser.Steps)
        {
            Save();
        }
    }

    /// <summary>Writes the checkpoint and the model.</summary>
    public void Save()
    {
        _log.Flush();
        _flush?.Invoke();
        TrainingCheckpoint.Write(_checkpoint, _optimiser, _fingerprint);
        _writeModel();
    }

    /// <inheritdoc/>
    public void Dispose() => _log.Dispose();
}
