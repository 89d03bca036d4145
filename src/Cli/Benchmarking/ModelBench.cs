using System.Diagnostics;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Measuring;

namespace LowLevelSpec.Cli.Benchmarking;

/// <summary>
/// Measures one number of threads: rounds in which the engine, the memory and the peer take turns, so that a machine that slows down slows
/// all of them, after one unmeasured round in which code is compiled and memory touched.
/// </summary>
internal sealed class ModelBench : IDisposable
{
    /// <summary>Passes over one number of rows per round.</summary>
    private const int PassesPerRound = 3;

    /// <summary>The peer's repetitions per round, of short tests.</summary>
    private const int PeerRepetitions = 2;

    private const double Giga = 1e9, Milli = 1e3;

    private readonly BenchPlan _plan;
    private readonly int _threads;
    private readonly LlamaBench? _peer;
    private readonly ReadBandwidth _memory;
    private readonly LanguageModel _model;
    private readonly Drafter? _drafter;
    private readonly PassTimer _passes;
    private readonly Samples _bandwidth = new(), _decode = new(), _first = new(), _peerDecode = new(), _peerPrompt = new();
    private readonly Samples[] _rows, _peerRows;
    private readonly SpeculationBench? _speculation;

    public ModelBench(BenchPlan plan, int threads, LlamaBench? peer, ReadBandwidth memory)
    {
        (_plan, _threads, _peer, _memory) = (plan, threads, peer, memory);
        _rows = [.. plan.Rows.Select(static _ => new Samples())];
        _peerRows = [.. plan.Rows.Select(static _ => new Samples())];
        _model = LanguageModel.Open(plan.Model, plan.Engine with { Threads = threads });
        try
        {
            _passes = new PassTimer(_model, plan.Context, plan.Rows.Max());
            _drafter = plan.OpenDrafter(_model);
            _speculation = _drafter is null ? null : new SpeculationBench(plan, _model, _drafter);
        }
        catch
        {
            _passes?.Dispose();
            _model.Dispose();
            throw;
        }
    }

    /// <summary>What ran it.</summary>
    public string Backend => _model.BackendName;

    /// <summary>Bytes of weights that a pass reads.</summary>
    public long PassBytes => _model.PassBytes;

    /// <summary>Runs all rounds; <paramref name="advance"/> is called after each.</summary>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public ThreadsReport Run(Action advance, CancellationToken cancellation)
    {
        for (int round = 0; round <= _plan.Repeats; round++)
        {
            Round(measured: round > 0, cancellation);
            advance();
        }

        return Report();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _passes.Dispose();
        _drafter?.Dispose();
        _model.Dispose();
    }

    private void Round(bool measured, CancellationToken cancellation)
    {
        double bandwidth = _memory.Measure(_threads), decode = Decode(cancellation);
        double[][] passes = [.. _plan.Rows.Select(rows => Enumerable.Range(0, PassesPerRound).Select(_ => _passes.Measure(rows)).ToArray())];
        cancellation.ThrowIfCancellationRequested();
        double first = FirstToken(cancellation);
        _speculation?.Round(measured, cancellation);
        if (measured)
        {
            _bandwidth.Add(bandwidth / Giga);
            _decode.Add(decode);
            _first.Add(first * Milli);
            for (int i = 0; i < passes.Length; i++)
            {
                _rows[i].Add(passes[i].Select(static seconds => seconds * Milli));
            }

            AskPeer(cancellation);
        }
    }

    private double Decode(CancellationToken cancellation)
    {
        GenerationRequest request = new() { PromptIds = Prompt(_plan.Context), Tree = null, MaxNewTokens = _plan.DecodeTokens + 1, IgnoreEndTokens = true };
        return _model.Generate(request, cancellation).Statistics.TokensPerSecond;
    }

    private double FirstToken(CancellationToken cancellation)
    {
        GenerationRequest request = new() { PromptIds = Prompt(_plan.PromptTokens), Tree = null, MaxNewTokens = 1, IgnoreEndTokens = true };
        long start = Stopwatch.GetTimestamp();
        _ = _model.Generate(request, cancellation);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private void AskPeer(CancellationToken cancellation)
    {
        if (_peer is null)
        {
            return;
        }

        foreach (PeerResult result in _peer.Run(_threads, _plan.Context, _plan.Rows, _plan.DecodeTokens, PeerRepetitions, cancellation))
        {
            int row = result.Prompt == 0 ? -1 : Array.IndexOf(_plan.Rows, result.Prompt);
            (row < 0 ? _peerDecode : _peerRows[row]).Add(row < 0 ? result.TokensPerSecond : result.TokensPerSecond.Select(rate => result.Prompt * Milli / rate));
        }

        foreach (PeerResult result in _peer.Run(_threads, 0, [_plan.PromptTokens], 0, 1, cancellation))
        {
            _peerPrompt.Add(result.TokensPerSecond);
        }
    }

    /// <summary>Ids scattered over the vocabulary, as llama-bench's are.</summary>
    private int[] Prompt(int tokens)
    {
        Random random = new(1);
        return [.. Enumerable.Range(0, tokens).Select(_ => random.Next(_model.Config.VocabularySize))];
    }

    private ThreadsReport Report()
    {
        double limit = _bandwidth.Median, decode = _decode.Median, prompt = _plan.PromptTokens * Milli / _first.Median;
        double? peerDecode = _peerDecode.Count > 0 ? _peerDecode.Median : null, peerPrompt = _peerPrompt.Count > 0 ? _peerPrompt.Median : null;
        int one = Array.IndexOf(_plan.Rows, 1);
        return new ThreadsReport
        {
            Threads = _threads,
            DecodeTokensPerSecond = decode,
            DecodeSpread = _decode.Spread,
            PeerTokensPerSecond = peerDecode,
            PeerSpread = peerDecode is null ? null : _peerDecode.Spread,
            DecodeOverPeer = decode / peerDecode,
            ReadBandwidthGbPerSecond = limit,
            DecodeShareOfBandwidth = decode * PassBytes / Giga / limit,
            PeerShareOfBandwidth = peerDecode * PassBytes / Giga / limit,
            PromptTokens = _plan.PromptTokens,
            PromptTokensPerSecond = prompt,
            TimeToFirstTokenMs = _first.Median,
            TimeToFirstTokenSpread = _first.Spread,
            PeerPromptTokensPerSecond = peerPrompt,
            PromptOverPeer = prompt / peerPrompt,
            Rows = [.. _plan.Rows.Select((rows, i) => RowReport(rows, i, one))],
            Speculative = _speculation?.Report(peerDecode),
        };
    }

    private RowsReport RowReport(int rows, int i, int one) => new()
    {
        Rows = rows,
        Ms = _rows[i].Median,
        Spread = _rows[i].Spread,
        Relative = _rows[i].Median / _rows[one].Median,
        PeerMs = _peerRows[i].Count > 0 ? _peerRows[i].Median : null,
        PeerRelative = _peerRows[i].Count > 0 && _peerRows[one].Count > 0 ? Json.Ratio(_peerRows[i].Median, _peerRows[one].Median) : null,
    };
}
