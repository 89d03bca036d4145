using System.Net;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Links;
using LowLevelSpec.Remote.Server;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>One server with one link and one client, whose answers are cut at random. Several lanes run side by side on one loaded model.</summary>
internal sealed class CutLane : IAsyncDisposable
{
    /// <summary>How long a server keeps a session whose stream is lost: short, so that the bench can see that it goes.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(2);

    /// <summary>Longer than a client waits for an answer: half a second and, after asking again, one second more.</summary>
    private static readonly TimeSpan LongSilence = TimeSpan.FromMilliseconds(2000);

    private readonly BenchRig _rig;
    private readonly Random _random;
    private readonly LinkRelay _relay;
    private readonly BenchClient _client;
    private TargetServer _server;
    private double _typicalMs = 100;
    private long _typicalUp = 2000, _typicalDown = 8000;

    private CutLane(BenchRig rig, BenchMethod method, LinkProfile profile, TargetServer server, int seed)
    {
        (_rig, _server, _random) = (rig, server, new Random(seed));
        _relay = new LinkRelay(profile, new IPEndPoint(IPAddress.Loopback, server.Address.Port), seed);
        _client = new BenchClient(rig, method, new Uri($"http://{_relay.EndPoint}")) { Unreliable = true };
    }

    /// <summary>Sessions that the server holds, clients' own included.</summary>
    public int Sessions => _server.Sessions;

    public long KvBytes => _server.KvBytes;

    public static async Task<CutLane> StartAsync(BenchRig rig, BenchMethod method, LinkProfile profile, TimeSpan passTime, int seed, CancellationToken cancellation) =>
        new(rig, method, profile, await StartServerAsync(rig, passTime, 0, cancellation).ConfigureAwait(false), seed);

    /// <summary>Writes answers until no cut is left.</summary>
    /// <param name="next">The next answer's case and the most cuts for it; null = stop.</param>
    /// <param name="done">Told about each answer.</param>
    /// <param name="cancellation">Stops.</param>
    public async Task RunAsync(Func<(int Prompt, int Cuts)?> next, Action<CutAnswer> done, CancellationToken cancellation)
    {
        // A second answer, uncut and with code compiled, shows how many bytes and how much time there are to cut in.
        await _client.WriteAsync(_rig.Cases[0], cancellation).ConfigureAwait(false);
        (long up, long down, long start) = (_relay.BytesUp, _relay.BytesDown, System.Diagnostics.Stopwatch.GetTimestamp());
        await _client.WriteAsync(_rig.Cases[0], cancellation).ConfigureAwait(false);
        (_typicalUp, _typicalDown) = (_relay.BytesUp - up, _relay.BytesDown - down);
        _typicalMs = System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        while (next() is var (prompt, cuts))
        {
            using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            List<CutForm> made = [];
            Task cutting = CutAsync(cuts, made, over.Token);
            LinkAnswer? answer = null;
            string reason = "";
            try
            {
                answer = await _client.WriteAsync(_rig.Cases[prompt], cancellation).ConfigureAwait(false);
                reason = answer.Identical ? "" : "the tokens differ from local plain decoding, or are not all verified, or the stream said otherwise";
            }
            catch (InputException e)
            {
                reason = e.Message;
            }
            finally
            {
                await over.CancelAsync().ConfigureAwait(false);
                await cutting.ConfigureAwait(false);
            }

            done(new CutAnswer(prompt, cuts, made, answer, reason));
        }
    }

    /// <summary>Waits until the server's grace is over and it holds nothing of the answers any more.</summary>
    public async Task SettleAsync(CancellationToken cancellation)
    {
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        while ((Sessions > 0 || KvBytes > 0) && System.Diagnostics.Stopwatch.GetElapsedTime(start) < Grace * 3)
        {
            await Task.Delay(20, cancellation).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync().ConfigureAwait(false);
        await _server.DisposeAsync().ConfigureAwait(false);
    }

    private static Task<TargetServer> StartServerAsync(BenchRig rig, TimeSpan passTime, int port, CancellationToken cancellation) =>
        TargetServer.StartAsync(rig.Served, new ServerOptions { Listen = $"127.0.0.1:{port}", Grace = Grace, PassTime = passTime }, cancellation);

    /// <summary>Makes up to <paramref name="cuts"/> cuts while an answer is being written.</summary>
    private async Task CutAsync(int cuts, List<CutForm> made, CancellationToken over)
    {
        try
        {
            for (int i = 0; i < cuts; i++)
            {
                CutForm form = Choose();
                if (await MakeAsync(form, over).ConfigureAwait(false))
                {
                    made.Add(form);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The answer was finished before the next cut.
        }
        finally
        {
            _relay.Arm(null);
            _relay.Restore();
        }
    }

    private CutForm Choose() => _random.NextDouble() switch
    {
        < 0.42 => CutForm.ResetAtByte,
        < 0.62 => CutForm.ResetAtMoment,
        < 0.72 => CutForm.Away,
        < 0.80 => CutForm.Silence,
        < 0.86 => CutForm.SilenceOneWay,
        < 0.89 => CutForm.LongSilence,
        _ => CutForm.ServerRestart,
    };

    /// <summary>Makes one cut; false where the answer ended first.</summary>
    private async Task<bool> MakeAsync(CutForm form, CancellationToken over)
    {
        LinkDirection direction = _random.Next(2) == 0 ? LinkDirection.Up : LinkDirection.Down;
        switch (form)
        {
            case CutForm.ResetAtByte:
                return await AtByteAsync(new LinkCut(CutKind.Reset, direction, AnyByte(direction)), over).ConfigureAwait(false);
            case CutForm.ResetAtMoment:
                await AnyMomentAsync(over).ConfigureAwait(false);
                _relay.Cut(CutKind.Reset);
                return true;
            case CutForm.Away:
                await AnyMomentAsync(over).ConfigureAwait(false);
                _relay.Close();
                _relay.Cut(CutKind.Reset);
                await Task.Delay(_random.Next(10, 150), over).ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default).ConfigureAwait(false);
                _relay.Restore();
                return true;
            case CutForm.Silence or CutForm.SilenceOneWay:
                if (!await AtByteAsync(new LinkCut(CutKind.Silence, direction, AnyByte(direction), form == CutForm.SilenceOneWay), over).ConfigureAwait(false))
                {
                    return false;
                }

                await Task.Delay(_random.Next(10, 120), CancellationToken.None).ConfigureAwait(false);
                _relay.Restore();
                return true;
            case CutForm.LongSilence:
                await AnyMomentAsync(over).ConfigureAwait(false);
                _relay.Cut(CutKind.Silence);
                await Task.Delay(LongSilence, CancellationToken.None).ConfigureAwait(false);
                _relay.Cut(CutKind.Reset);
                _relay.Restore();
                return true;
            default:
                await AnyMomentAsync(over).ConfigureAwait(false);
                int port = _server.Address.Port;
                await _server.DisposeAsync().ConfigureAwait(false);
                await Task.Delay(_random.Next(50), CancellationToken.None).ConfigureAwait(false);
                _server = await StartServerAsync(_rig, _server.PassTime, port, CancellationToken.None).ConfigureAwait(false);
                return true;
        }
    }

    private long AnyByte(LinkDirection direction) => _random.NextInt64(direction == LinkDirection.Up ? _typicalUp : _typicalDown);

    private Task AnyMomentAsync(CancellationToken over) => Task.Delay(TimeSpan.FromMilliseconds(_random.NextDouble() * _typicalMs), over);

    private async Task<bool> AtByteAsync(LinkCut cut, CancellationToken over)
    {
        TaskCompletionSource happened = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _relay.OnCut = made =>
        {
            if (made == cut)
            {
                happened.TrySetResult();
            }
        };
        _relay.Arm(cut);
        try
        {
            await happened.Task.WaitAsync(over).ConfigureAwait(false);
            return true;
        }
        catch (OperationCanceledException)
        {
            // The cut may have happened in the very last moment of the answer.
            _relay.Arm(null);
            return happened.Task.IsCompleted;
        }
    }
}

/// <summary>One answer of a lane.</summary>
/// <param name="Prompt">Its case.</param>
/// <param name="Promised">Cuts that were to be made.</param>
/// <param name="Cuts">Cuts made while it was written.</param>
/// <param name="Answer">What came out; null where it failed.</param>
/// <param name="Reason">What is wrong with it; "" for nothing.</param>
internal sealed record CutAnswer(int Prompt, int Promised, IReadOnlyList<CutForm> Cuts, LinkAnswer? Answer, string Reason);
