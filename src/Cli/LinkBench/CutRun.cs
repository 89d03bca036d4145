using System.Diagnostics;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Links;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>Random cuts: answers are written while their link is cut at any byte and any moment, and compared with local plain decoding.</summary>
internal sealed class CutRun(BenchRig rig, BenchMethod method, LinkProfile profile, TimeSpan passTime, int cuts, int seed)
{
    /// <summary>Servers side by side: while one waits for a client to come back, others work.</summary>
    private const int Lanes = 4;

    /// <summary>Most cuts of one answer.</summary>
    private const int MostPerAnswer = 3;

    /// <summary>Failures told one by one.</summary>
    private const int NamedFailures = 20;

    private readonly Lock _lock = new();
    private readonly List<CutAnswer> _answers = [];
    private int _made, _promised, _next;

    public async Task<CutReport> RunAsync(Action advance, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        List<CutLane> lanes = [];
        try
        {
            for (int i = 0; i < Lanes; i++)
            {
                lanes.Add(await CutLane.StartAsync(rig, method, profile, passTime, unchecked((seed * 7919) + i), cancellation).ConfigureAwait(false));
            }

            Random random = new(seed);
            await Task.WhenAll(lanes.Select(lane => Task.Run(() => lane.RunAsync(() => Next(random), answer => Done(answer, advance), cancellation), cancellation))).ConfigureAwait(false);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            await Task.WhenAll(lanes.Select(lane => lane.SettleAsync(cancellation))).ConfigureAwait(false);
            return Report(seconds, lanes.Sum(static l => l.Sessions), lanes.Sum(static l => l.KvBytes));
        }
        finally
        {
            foreach (CutLane lane in lanes)
            {
                await lane.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    /// <summary>Hands out answers while cuts are left that no running answer has been promised; a lane that gets none ends, and the last ones running take what was not made.</summary>
    private (int Prompt, int Cuts)? Next(Random random)
    {
        lock (_lock)
        {
            int left = cuts - _made - _promised;
            if (left <= 0)
            {
                return null;
            }

            int most = Math.Min(random.Next(1, MostPerAnswer + 1), left);
            _promised += most;
            return (_next++ % rig.Cases.Count, most);
        }
    }

    private void Done(CutAnswer answer, Action advance)
    {
        lock (_lock)
        {
            _promised -= answer.Promised;
            _made += answer.Cuts.Count;
            _answers.Add(answer);
            foreach (CutForm _ in answer.Cuts)
            {
                advance();
            }
        }
    }

    private CutReport Report(double seconds, int sessionsLeft, long kvBytesLeft)
    {
        CutAnswer[] bad = [.. _answers.Where(static a => a.Reason.Length > 0)];
        RemoteStatistics[] all = [.. _answers.Select(static a => a.Answer?.Statistics).OfType<RemoteStatistics>()];
        double[] reconnects = [.. all.SelectMany(static s => s.ReconnectSeconds)];

        // A wrong answer without a cut counts as well.
        int failed = bad.Sum(static a => Math.Max(1, a.Cuts.Count));
        return new CutReport
        {
            Model = rig.Models.Target,
            Drafter = rig.Models.Drafter(method),
            Profile = profile.Name,
            Seed = seed,
            Passed = _answers.Where(static a => a.Reason.Length == 0).Sum(static a => a.Cuts.Count),
            Failed = failed,
            CutsByForm = Enum.GetValues<CutForm>().ToDictionary(static f => f.ToString(), f => _answers.Sum(a => a.Cuts.Count(c => c == f))),
            Answers = _answers.Count,
            Tokens = all.Sum(static s => (long)s.NewTokens),
            Seconds = seconds,
            Reconnects = all.Sum(static s => s.Reconnects),
            Rebuilds = all.Sum(static s => s.Rebuilds),
            WrittenAlone = all.Sum(static s => s.WrittenAlone),
            RolledBack = all.Sum(static s => s.RolledBack),
            ReconnectP50Ms = 1000 * Quantiles.Of(reconnects, 0.5),
            ReconnectP95Ms = 1000 * Quantiles.Of(reconnects, 0.95),
            ReconnectMaxMs = 1000 * Quantiles.Of(reconnects, 1),
            SessionsLeft = sessionsLeft,
            KvBytesLeft = kvBytesLeft,
            Failures = [.. bad.Take(NamedFailures).Select(static a => new CutFailure(a.Prompt, a.Cuts, a.Reason))],
        };
    }
}
