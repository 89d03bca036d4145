using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Output.Plots;
using LowLevelSpec.Models;
using LowLevelSpec.Training;
using LowLevelSpec.Training.Data;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec train</c>: trains a drafter against a frozen target on distilled answers; goes on where a killed run's last checkpoint stands.</summary>
internal sealed class TrainCommand : Command
{
    private const int DefaultHeldOut = 64, DefaultMeasureEvery = 250;

    private readonly CliConsole _console;
    private readonly Option<string> _model = new("--model") { Description = "Frozen target.", HelpName = "PATH", Required = true };
    private readonly Option<string[]> _data = new("--data") { Description = "Answers of the target, JSON lines {\"p\": prompt ids, \"a\": answer ids}; several files may be given. Every hundredth sequence is held out.", HelpName = "FILE", Required = true };
    private readonly Option<string> _out = new("--out") { Description = "Folder of this training: checkpoint, logs, curves, drafter. An existing one is resumed.", HelpName = "DIR", Required = true };
    private readonly NumberOption<int> _maxLength = new("--max-length", "Sequences are cut after this many tokens; 2048 by default.", low: 16, high: 1 << 16);
    private readonly NumberOption<int> _heldOut = new("--held-out", $"Most held-out sequences that the drafter is measured on; {DefaultHeldOut} by default.", low: 0);
    private readonly NumberOption<int> _measureEvery = new("--measure-every", $"Steps between measurements on held-out text; {DefaultMeasureEvery} by default.", low: 1);
    private readonly TrainArguments _how = new();

    public TrainCommand(CliConsole console)
        : base("train", "Train a drafter on the target's own answers; a killed run resumes bit for bit.")
    {
        _console = console;
        foreach (Option option in (Option[])[_model, _data, _out, .. _how.All, _maxLength, _heldOut, _measureEvery])
        {
            Add(option);
        }

        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string model = Filled.In("--model", result.GetRequiredValue(_model)), folder = Filled.In("--out", result.GetRequiredValue(_out));
        int measureEvery = _measureEvery.Read(result) ?? DefaultMeasureEvery, most = _heldOut.Read(result) ?? DefaultHeldOut;
        LlamaConfig target;
        using (ModelFile file = ModelFile.Open(model))
        {
            target = file.Tensors.Config;
        }

        TrainerOptions options = _how.Read(result, target);
        List<TrainingSequence> all = [.. result.GetRequiredValue(_data).SelectMany(path => AnswerFile.Read(Filled.In("--data", path), target.VocabularySize, _maxLength.Read(result) ?? 2048))];
        List<TrainingSequence> heldOut = [.. all.Where(static (_, i) => i % 100 == 99).Take(most)], training = [.. all.Where(static (_, i) => i % 100 != 99)];
        using Interrupts.Work work = _console.Interrupts.Begin();
        using Trainer trainer = new(model, training, folder, options);
        _console.Error.WriteLine($"{trainer.ParameterCount:N0} weights, {training.Count} sequences of {training.Sum(static s => (long)s.Tokens.Count):N0} tokens, {heldOut.Count} held out, at step {trainer.Steps} of {options.Steps}");
        if (trainer.CacheSize is { } size)
        {
            _console.Error.WriteLine($"cache: {size}");
        }

        double peak = Trainer.MeasurePeak();
        TrainProgress progress = new(_console.Error, options.Steps, trainer.Steps);
        HeldOutPlan? measured = heldOut.Count == 0 ? null : new HeldOutPlan(heldOut, measureEvery, log =>
        {
            progress.Report(log);
            TrainingCurves.Write(folder);
        });
        trainer.Run(progress.Report, measured, work.Token);
        progress.Summary(peak);
        TrainingCurves.Write(folder);
        if (TrainingLogs.Read(folder).HeldOut is { Count: > 0 } logs)
        {
            _console.Out.WriteLine(TrainProgress.Line(logs[^1]));
        }

        _console.Out.WriteLine($"step {trainer.Steps} of {options.Steps}; drafter and curves in {folder}");
        return work.Token.IsCancellationRequested ? ExitCode.Interrupted : ExitCode.Well;
    }
}
