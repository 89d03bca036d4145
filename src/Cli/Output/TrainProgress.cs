using System.Diagnostics;
using LowLevelSpec.Training;

namespace LowLevelSpec.Cli.Output;

/// <summary>Says on standard error where a training stands: every few seconds the mean since the last line, every measurement, and at the end what the run reached of the processor's best.</summary>
/// <param name="error">Where lines go.</param>
/// <param name="steps">Steps in all.</param>
/// <param name="from">Steps that earlier runs made.</param>
internal sealed class TrainProgress(TextWriter error, int steps, int from)
{
    private static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(5);

    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly long _operationsBefore = Trainer.Operations;
    private TimeSpan _last;
    private int _count, _done;
    private long _tokens, _allTokens, _operations = Trainer.Operations;
    private double _loss, _divergence, _agreement;

    /// <summary>A measurement in words.</summary>
    public static string Line(HeldOutLog log) =>
        $"held out at step {log.Step}: KL {log.Divergence:0.000}  agreement {log.Agreement:0.000}  by horizon {string.Join(' ', log.ByHorizon.Select(static a => a.ToString("0.000")))}  chain tau {log.ChainTau:0.00}";

    /// <summary>Counts a step.</summary>
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
        error.WriteLine($"step {step.Step + 1} of {steps}  loss {_loss / _count:0.000}  KL {_divergence / _count:0.000}  agreement {_agreement / _count:0.000}  {_tokens / since.TotalSeconds:0} tokens/s  {(Trainer.Operations - _operations) / since.TotalSeconds / 1e9:0} GFLOP/s  {(long)left.TotalHours}:{left.Minutes:00}:{left.Seconds:00} left");
        (_last, _count, _tokens, _loss, _divergence, _agreement, _operations) = (_clock.Elapsed, 0, 0, 0, 0, 0, Trainer.Operations);
    }

    /// <summary>Says a measurement.</summary>
    public void Report(HeldOutLog log) => error.WriteLine(Line(log));

    /// <summary>Says what this run's steps, measurements included, reached of the processor's best.</summary>
    /// <param name="peak">Operations a second of multiply-adds on registers alone.</param>
    public void Summary(double peak)
    {
        if (_done > 0)
        {
            double seconds = _clock.Elapsed.TotalSeconds, rate = (Trainer.Operations - _operationsBefore) / seconds;
            error.WriteLine($"{_done} steps, {_allTokens:N0} tokens in {seconds:0} s: {_allTokens / seconds:0} tokens/s, {rate / 1e9:0} GFLOP/s in matrix products, {100 * rate / peak:0} % of the {peak / 1e9:0} GFLOP/s that registers alone reach");
        }
    }
}
