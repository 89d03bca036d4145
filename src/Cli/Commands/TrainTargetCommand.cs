using System.CommandLine;
using System.Diagnostics;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.LanguageModels;
using LowLevelSpec.Training.Optimisation;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec train-target</c>: trains a small Llama from scratch on a text; goes on where a killed run's last checkpoint stands.</summary>
internal sealed class TrainTargetCommand : Command
{
    private const int DefaultLayers = 4, DefaultHidden = 256, DefaultHeads = 4, DefaultKvHeads = 2, DefaultWidth = 640, DefaultContext = 256;
    private const int DefaultSteps = 2000, DefaultTokens = 2048, DefaultEvery = 100, WarmUpSteps = 50;
    private const float DefaultPeak = 2e-3f, DefaultDecay = 0.1f;

    private static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(5);

    private readonly CliConsole _console;
    private readonly Option<string> _text = new("--text") { Description = $"UTF-8 text; a blank line ends a document. Every {TextCorpus.HeldOutEvery}th document is held out.", HelpName = "FILE", Required = true };
    private readonly Option<string> _tokenizer = new("--tokenizer") { Description = "Folder with the tokenizer, e.g. of train-tokenizer.", HelpName = "DIR", Required = true };
    private readonly Option<string> _out = new("--out") { Description = "Folder of this training: checkpoint, log, model. An existing one is resumed.", HelpName = "DIR", Required = true };
    private readonly NumberOption<int> _layers = new("--layers", $"Decoder layers; {DefaultLayers} by default.", low: 1, high: 256);
    private readonly NumberOption<int> _hidden = new("--hidden", $"Hidden size; {DefaultHidden} by default.", low: 8, high: 1 << 14);
    private readonly NumberOption<int> _heads = new("--heads", $"Query heads; {DefaultHeads} by default.", low: 1, high: 256);
    private readonly NumberOption<int> _kvHeads = new("--kv-heads", $"Key/value heads; {DefaultKvHeads} by default.", low: 1, high: 256);
    private readonly NumberOption<int> _width = new("--mlp", $"MLP width; {DefaultWidth} by default.", low: 1, high: 1 << 17);
    private readonly NumberOption<int> _context = new("--context", $"Context length, and the length of the sequences trained on; {DefaultContext} by default.", low: 8, high: 1 << 17);
    private readonly NumberOption<int> _steps = new("--steps", $"Optimiser steps in all; {DefaultSteps} by default.", low: 1);
    private readonly NumberOption<int> _scheduleSteps = new("--schedule-steps", "Steps over which the learning rate goes down; --steps by default. More of them end a training early, for another with --start-from.", low: 1);
    private readonly Option<string?> _startFrom = new("--start-from") { Description = "Folder of a model of the same sizes whose weights to start from.", HelpName = "DIR" };
    private readonly NumberOption<int> _tokens = new("--tokens", $"Most tokens of a micro-batch; {DefaultTokens} by default.", low: 16, high: 1 << 20);
    private readonly NumberOption<int> _accumulate = new("--accumulate", "Micro-batches whose gradients one step averages; 1 by default.", low: 1, high: 4096);
    private readonly NumberOption<float> _rate = new("--lr", $"Largest learning rate, after {WarmUpSteps} steps; then a cosine down to 3 % of it. {DefaultPeak} by default.", low: 0);
    private readonly NumberOption<float> _decay = new("--weight-decay", $"AdamW's weight decay; {DefaultDecay} by default.", low: 0, high: 1);
    private readonly NumberOption<int> _every = new("--checkpoint-every", $"Steps between checkpoints; {DefaultEvery} by default.", low: 1);
    private readonly NumberOption<ulong> _seed = new("--seed", "Seed of weights and order; 1 by default.");

    public TrainTargetCommand(CliConsole console)
        : base("train-target", "Train a small Llama from scratch on a text; a killed run resumes bit for bit.")
    {
        _console = console;
        foreach (Option option in (Option[])[_text, _tokenizer, _out, _layers, _hidden, _heads, _kvHeads, _width, _context, _steps, _scheduleSteps, _startFrom, _tokens, _accumulate, _rate, _decay, _every, _seed])
        {
            Add(option);
        }

        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string tokenizerFolder = Filled.In("--tokenizer", result.GetRequiredValue(_tokenizer)), folder = Filled.In("--out", result.GetRequiredValue(_out));
        Func<Tokenizer, int, LanguageModelOptions> options = ReadOptions(result);
        TextCorpus corpus = TextCorpus.Read(Filled.In("--text", result.GetRequiredValue(_text)));
        Tokenizer tokenizer = Tokenizer.Open(tokenizerFolder) ?? throw new InputException($"--tokenizer {tokenizerFolder}: holds no tokenizer.json; make one with train-tokenizer");
        int end = tokenizer.EosTokenId ?? throw new InputException($"--tokenizer {tokenizerFolder}: names no eos_token, which has to end the documents; make one with train-tokenizer");
        LanguageModelOptions chosen = options(tokenizer, end);
        IReadOnlyList<TrainingSequence> training = TextCorpus.Sequences(corpus.Training, tokenizer, end, chosen.Config.ContextLength);
        IReadOnlyList<TrainingSequence> heldOut = TextCorpus.Sequences(corpus.HeldOut, tokenizer, end, chosen.Config.ContextLength);
        using Interrupts.Work work = _console.Interrupts.Begin();
        using LanguageModelTrainer trainer = new(training, folder, chosen);
        CopyTokenizer(tokenizerFolder, folder);
        _console.Error.WriteLine($"{trainer.ParameterCount:N0} weights, {corpus.Training.Count} documents of {training.Sum(static s => (long)s.Tokens.Count - 1):N0} tokens, {corpus.HeldOut.Count} held out, at step {trainer.Steps} of {chosen.Steps}");
        Watch watch = new(_console, chosen.Steps, trainer.Steps);
        trainer.Run(watch.Report, work.Token);
        if (heldOut.Count > 0)
        {
            HeldOutLoss held = trainer.HeldOut(heldOut);
            double bits = held.Loss * held.Tokens / Math.Log(2) / corpus.HeldOut.Sum(static d => (double)System.Text.Encoding.UTF8.GetByteCount(d) + 1);
            _console.Out.WriteLine($"held out: loss {held.Loss:0.000} a token ({bits:0.000} bits a byte), {held.Agreement:0.000} of {held.Tokens} tokens most likely");
        }

        _console.Out.WriteLine($"step {trainer.Steps} of {chosen.Steps}; model in {folder}");
        return work.Token.IsCancellationRequested ? ExitCode.Interrupted : ExitCode.Well;
    }

    /// <summary>Reads every option at once, so that mistakes show before files are opened; vocabulary and end token come later.</summary>
    private Func<Tokenizer, int, LanguageModelOptions> ReadOptions(ParseResult result)
    {
        int hidden = _hidden.Read(result) ?? DefaultHidden, heads = _heads.Read(result) ?? DefaultHeads, kvHeads = _kvHeads.Read(result) ?? DefaultKvHeads;
        int layers = _layers.Read(result) ?? DefaultLayers, width = _width.Read(result) ?? DefaultWidth, context = _context.Read(result) ?? DefaultContext;
        int steps = _steps.Read(result) ?? DefaultSteps;
        if (hidden % heads != 0 || hidden / heads % 2 != 0 || heads % kvHeads != 0)
        {
            throw new InputException($"--hidden {hidden}, --heads {heads}, --kv-heads {kvHeads}: expected heads that divide the hidden size into even parts, and kv heads that divide the heads");
        }

        LanguageModelOptions options = new()
        {
            Config = new LlamaConfig
            {
                ModelType = "llama",
                VocabularySize = 0,
                HiddenSize = hidden,
                Layers = layers,
                Heads = heads,
                KvHeads = kvHeads,
                HeadSize = hidden / heads,
                IntermediateSize = width,
                RmsNormEpsilon = 1e-5f,
                RopeTheta = 10000,
                ContextLength = context,
                TiedEmbeddings = true,
            },
            Schedule = new CosineSchedule(_rate.Read(result) ?? DefaultPeak, WarmUpSteps, _scheduleSteps.Read(result) ?? steps),
            Steps = steps,
            StartFrom = result.GetValue(_startFrom) is string start ? Filled.In("--start-from", start) : null,
            AdamW = new AdamWOptions(WeightDecay: _decay.Read(result) ?? DefaultDecay),
            MicroBatchTokens = _tokens.Read(result) ?? DefaultTokens,
            MicroBatches = _accumulate.Read(result) ?? 1,
            CheckpointEvery = _every.Read(result) ?? DefaultEvery,
            Seed = _seed.Read(result) ?? 1,
        };
        return (tokenizer, end) => options with { Config = options.Config with { VocabularySize = tokenizer.VocabularySize, EndTokens = [end] } };
    }

    /// <summary>The engine looks for a model's tokenizer beside its weights.</summary>
    private static void CopyTokenizer(string from, string to)
    {
        foreach (string name in (string[])["tokenizer.json", "tokenizer_config.json"])
        {
            string source = Path.Combine(from, name), target = Path.Combine(to, name);
            if (File.Exists(source) && Path.GetFullPath(source) != Path.GetFullPath(target))
            {
                File.Copy(source, target, overwrite: true);
            }
        }
    }

    /// <summary>Prints where the training stands every few seconds, averaged since the last line.</summary>
    private sealed class Watch(CliConsole console, int steps, int from)
    {
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private TimeSpan _last;
        private int _count, _done;
        private long _tokens;
        private double _loss;

        public void Report(LanguageModelStep step)
        {
            _count++;
            _done++;
            _tokens += step.Tokens;
            _loss += step.Loss;
            TimeSpan since = _clock.Elapsed - _last;
            if (since < ReportEvery && step.Step + 1 < steps)
            {
                return;
            }

            TimeSpan left = _clock.Elapsed / _done * (steps - from - _done);
            console.Error.WriteLine($"step {step.Step + 1} of {steps}  loss {_loss / _count:0.000}  {_tokens / since.TotalSeconds:0} tokens/s  {ProgressReport.Clock(left)} left");
            (_last, _count, _tokens, _loss) = (_clock.Elapsed, 0, 0, 0);
        }
    }
}
