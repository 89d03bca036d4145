using System.CommandLine;
using System.Diagnostics;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Models;
using LowLevelSpec.Training;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Optimisation;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec train</c>: trains a drafter against a frozen target on distilled answers; goes on where a killed run's last checkpoint stands.</summary>
internal sealed class TrainCommand : Command
{
    private const int DefaultSteps = 1000, DefaultTokens = 2048, DefaultEvery = 100, DefaultKvHeads = 3, DefaultWidth = 768, DefaultLsaWidth = 384, MostHeldOut = 64;
    private const float DefaultPeak = 1e-3f;

    private static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(5);

    private readonly CliConsole _console;
    private readonly Option<string> _model = new("--model") { Description = "Frozen target.", HelpName = "PATH", Required = true };
    private readonly Option<string[]> _data = new("--data") { Description = "Answers of the target, JSON lines {\"p\": prompt ids, \"a\": answer ids}; several files may be given. Every hundredth sequence is held out.", HelpName = "FILE", Required = true };
    private readonly Option<string> _out = new("--out") { Description = "Folder of this training: checkpoint, log, drafter. An existing one is resumed.", HelpName = "DIR", Required = true };
    private readonly Option<string?> _init = new("--init") { Description = "Drafter of the same kind and sizes whose weights the training starts from; random ones without it.", HelpName = "DIR" };
    private readonly Option<string?> _kind = new("--kind") { Description = "moa (the default) or eagle.", HelpName = "KIND" };
    private readonly Option<string?> _loss = new("--loss") { Description = "kl (the default): cross entropy + 0.1 feature loss; paper: 0.1 cross entropy + feature loss.", HelpName = "LOSS" };
    private readonly Option<string?> _schedule = new("--schedule") { Description = "cosine (the default): 50 steps up to --lr, then down to 3 % of it; paper: 50 steps up to --lr, then straight down to a twentieth.", HelpName = "NAME" };
    private readonly NumberOption<int> _tli = new("--tli", "Target layer inference of a MoA drafter; 0 by default.", low: 0, high: 64);
    private readonly NumberOption<int> _steps = new("--steps", $"Optimiser steps in all; {DefaultSteps} by default.", low: 1);
    private readonly NumberOption<int> _tokens = new("--tokens", $"Most tokens of a micro-batch; {DefaultTokens} by default.", low: 16, high: 1 << 20);
    private readonly NumberOption<int> _accumulate = new("--accumulate", "Micro-batches whose gradients one step averages; 1 by default.", low: 1, high: 4096);
    private readonly NumberOption<int> _maxLength = new("--max-length", "Sequences are cut after this many tokens; 2048 by default.", low: 16, high: 1 << 20);
    private readonly NumberOption<float> _rate = new("--lr", $"Largest learning rate; {DefaultPeak} by default.", low: 0);
    private readonly NumberOption<float> _share = new("--kl-share", "Share of the response positions the cross entropy is taken over, drawn anew each step; 1 by default.", low: 0, high: 1);
    private readonly NumberOption<int> _klTokens = new("--kl-tokens", "The most frequent answer tokens that the cross entropy is taken over; all tokens without it.", low: 1);
    private readonly NumberOption<int> _klDrawn = new("--kl-drawn", "With --kl-tokens: how many of the other tokens, drawn anew each micro-batch, stand for all others; 0 by default.", low: 0);
    private readonly NumberOption<int> _staircase = new("--staircase-steps", "Steps over which the staircase mask fades out; 0, never, by default.", low: 0);
    private readonly NumberOption<int> _kvHeads = new("--kv-heads", $"kv heads of each drafter layer; {DefaultKvHeads} by default.", low: 1, high: 1024);
    private readonly NumberOption<int> _width = new("--mlp", $"MLP width of SA and CA, or of EAGLE's layer; {DefaultWidth} by default.", low: 1, high: 1 << 17);
    private readonly NumberOption<int> _lsaWidth = new("--lsa-mlp", $"MLP width of LSA; {DefaultLsaWidth} by default.", low: 1, high: 1 << 17);
    private readonly NumberOption<int> _every = new("--checkpoint-every", $"Steps between checkpoints; {DefaultEvery} by default.", low: 1);
    private readonly NumberOption<ulong> _seed = new("--seed", "Seed of weights, order and choices; 1 by default.");

    public TrainCommand(CliConsole console)
        : base("train", "Train a drafter on the target's own answers; a killed run resumes bit for bit.")
    {
        _console = console;
        foreach (Option option in (Option[])[_model, _data, _out, _init, _kind, _tli, _steps, _tokens, _accumulate, _maxLength, _rate, _schedule, _loss, _share, _klTokens, _klDrawn, _staircase, _kvHeads, _width, _lsaWidth, _every, _seed])
        {
            Add(option);
        }

        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string model = Filled.In("--model", result.GetRequiredValue(_model)), folder = Filled.In("--out", result.GetRequiredValue(_out));
        TrainerOptions options = ReadOptions(result);
        int vocabulary;
        using (ModelFile file = ModelFile.Open(model))
        {
            vocabulary = file.Tensors.Config.VocabularySize;
        }

        List<TrainingSequence> all = [.. result.GetRequiredValue(_data).SelectMany(path => AnswerFile.Read(Filled.In("--data", path), vocabulary, _maxLength.Read(result) ?? 2048))];
        List<TrainingSequence> heldOut = [.. all.Where(static (_, i) => i % 100 == 99).Take(MostHeldOut)], training = [.. all.Where(static (_, i) => i % 100 != 99)];
        using Interrupts.Work work = _console.Interrupts.Begin();
        using Trainer trainer = new(model, training, folder, options);
        _console.Error.WriteLine($"{trainer.ParameterCount:N0} weights, {training.Count} sequences of {training.Sum(static s => (long)s.Tokens.Count):N0} tokens, {heldOut.Count} held out, at step {trainer.Steps} of {options.Steps}");
        Watch watch = new(this, options.Steps, trainer.Steps);
        double peak = Trainer.MeasurePeak();
        trainer.Run(watch.Report, work.Token);
        watch.Summary(peak);
        if (heldOut.Count > 0)
        {
            HeldOutReport held = trainer.HeldOut(heldOut);
            _console.Out.WriteLine($"held out: agreement {held.Agreement:0.000}, by horizon {string.Join(' ', held.ByHorizon.Select(static a => a.ToString("0.000")))}, chain tau {held.ChainTau:0.00}");
        }

        _console.Out.WriteLine($"step {trainer.Steps} of {options.Steps}; drafter in {folder}");
        return work.Token.IsCancellationRequested ? ExitCode.Interrupted : ExitCode.Well;
    }

    private TrainerOptions ReadOptions(ParseResult result)
    {
        int layers = _tli.Read(result) ?? 0, steps = _steps.Read(result) ?? DefaultSteps, kv = _kvHeads.Read(result) ?? DefaultKvHeads, width = _width.Read(result) ?? DefaultWidth;
        float peak = _rate.Read(result) ?? DefaultPeak;
        DrafterPlan plan = (result.GetValue(_kind) ?? "moa") switch
        {
            "moa" => new MoaPlan(new MoaSizes(kv, _lsaWidth.Read(result) ?? DefaultLsaWidth, kv, width, kv, width), layers),
            "eagle" when layers == 0 => new EaglePlan(kv, width),
            "eagle" => throw new UsageException("--tli is for MoA drafters: leave it out with --kind eagle."),
            string other => throw new InputException($"--kind: found '{other}', expected moa or eagle"),
        };
        return new TrainerOptions
        {
            Drafter = plan,
            Loss = (result.GetValue(_loss) ?? "kl") switch
            {
                "kl" => LossWeights.Kl(layers),
                "paper" => LossWeights.Paper(layers),
                string other => throw new InputException($"--loss: found '{other}', expected kl or paper"),
            },
            Schedule = (result.GetValue(_schedule) ?? "cosine") switch
            {
                "cosine" => new CosineSchedule(peak, 50, steps),
                "paper" => new PeakSchedule(peak / 20, 50, Math.Max(1, steps - 50)),
                string other => throw new InputException($"--schedule: found '{other}', expected cosine or paper"),
            },
            Steps = steps,
            MicroBatchTokens = _tokens.Read(result) ?? DefaultTokens,
            MicroBatches = _accumulate.Read(result) ?? 1,
            StaircaseSteps = _staircase.Read(result) ?? 0,
            KlShare = _share.Read(result) ?? 1,
            KlTokens = _klTokens.Read(result) ?? 0,
            KlDrawnTokens = _klDrawn.Read(result) ?? 0,
            CheckpointEvery = _every.Read(result) ?? DefaultEvery,
            StartFrom = result.GetValue(_init) is { } init ? Filled.In("--init", init) : null,
            Seed = _seed.Read(result) ?? 1,
        };
    }

    /// <summary>Prints where the training stands every few seconds, averaged since the last line.</summary>
    private sealed class Watch(TrainCommand command, int steps, int from)
    {
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private TimeSpan _last;
        private int _count, _done;
        private readonly long _operationsBefore = Trainer.Operations;
        private long _tokens, _allTokens, _operations = Trainer.Operations;
        private double _loss, _divergence, _agreement;

        public void Report(StepLog step)
        {
            _count++;
            _done++;
            _tokens += step.Tokens;
            _allTokens += step.Tokens;
            _loss += step.Loss;
            _divergence += step.ForwardKl - step.Entropy;
            _agreement += step.Agreement;
            TimeSpan since = _clock.Elapsed - _last;
            if (since < ReportEvery && step.Step + 1 < steps)
            {
                return;
            }

            TimeSpan left = _clock.Elapsed / _done * (steps - from - _done);
            command._console.Error.WriteLine($"step {step.Step + 1} of {steps}  loss {_loss / _count:0.000}  KL {_divergence / _count:0.000}  agreement {_agreement / _count:0.000}  {_tokens / since.TotalSeconds:0} tokens/s  {(Trainer.Operations - _operations) / since.TotalSeconds / 1e9:0} GFLOP/s  {(long)left.TotalHours}:{left.Minutes:00}:{left.Seconds:00} left");
            (_last, _count, _tokens, _loss, _divergence, _agreement, _operations) = (_clock.Elapsed, 0, 0, 0, 0, 0, Trainer.Operations);
        }

        /// <summary>Says what this run's steps reached of the processor's best.</summary>
        public void Summary(double peak)
        {
            if (_done > 0)
            {
                double seconds = _clock.Elapsed.TotalSeconds, rate = (Trainer.Operations - _operationsBefore) / seconds;
                command._console.Error.WriteLine($"{_done} steps, {_allTokens:N0} tokens in {seconds:0} s: {_allTokens / seconds:0} tokens/s, {rate / 1e9:0} GFLOP/s in matrix products, {rate / peak:0 %} of the {peak / 1e9:0} GFLOP/s that registers alone reach");
            }
        }
    }
}
