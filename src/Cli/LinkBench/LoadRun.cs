using System.Diagnostics;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Server;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>What <c>llspec link-bench --clients</c> reports.</summary>
internal sealed record LoadReport
{
    public required string Model { get; init; }

    public required string? Drafter { get; init; }

    public required int Clients { get; init; }

    public required double Seconds { get; init; }

    /// <summary>Answers finished, and of these equal to local plain decoding.</summary>
    public required int Answers { get; init; }

    public required int Identical { get; init; }

    public required IReadOnlyList<string> Errors { get; init; }

    /// <summary>Verified tokens that all clients together received within the time.</summary>
    public required long Tokens { get; init; }

    public double TokensPerSecond => Tokens / Seconds;

    /// <summary>Most and fewest tokens that a client received.</summary>
    public required long MostTokens { get; init; }

    public required long FewestTokens { get; init; }

    /// <summary>Most / fewest: 1 is perfectly fair; null where a client received nothing.</summary>
    public double? Fairness => Json.Ratio(MostTokens, FewestTokens);

    /// <summary>Tokens per verification over all sessions.</summary>
    public required double Tau { get; init; }

    public required int MostSessions { get; init; }

    public required long KvBudgetBytes { get; init; }

    /// <summary>Most key/value bytes that sessions held, seen every 50 ms.</summary>
    public required long MostKvBytes { get; init; }

    public required long Evictions { get; init; }

    /// <summary>Resident memory of the process, clients included, after the model was loaded and at most.</summary>
    public required long ResidentBytesBefore { get; init; }

    public required long MostResidentBytes { get; init; }

    public required int SessionsLeft { get; init; }

    public required long KvBytesLeft { get; init; }

    /// <summary>Whether nothing failed.</summary>
    public bool Well => Errors.Count == 0 && Identical == Answers && FewestTokens > 0 && MostKvBytes <= KvBudgetBytes && SessionsLeft == 0 && KvBytesLeft == 0;
}

/// <summary>Many clients at once on one server, each asking for one answer after the other until the time is over.</summary>
internal sealed class LoadRun(BenchRig rig, BenchMethod method, int clients, TimeSpan time, long kvBudget)
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(2);

    public async Task<LoadReport> RunAsync(CancellationToken cancellation)
    {
        long before = Resident();
        TargetServer server = await TargetServer.StartAsync(rig.Served, new ServerOptions { Grace = Grace, KvBudgetBytes = kvBudget }, cancellation).ConfigureAwait(false);
        await using System.Runtime.CompilerServices.ConfiguredAsyncDisposable _ = server.ConfigureAwait(false);
        LoadClient[] all = [.. Enumerable.Range(0, clients).Select(i => new LoadClient(new BenchClient(rig, method, server.Address), i))];
        Peak peak = new();
        using CancellationTokenSource watched = new();
        Task watching = WatchAsync(server, peak, watched.Token);
        try
        {
            // Every client writes one answer first: connections, code and memory are then there.
            await Task.WhenAll(all.Select(c => c.WriteOneAsync(rig, cancellation))).ConfigureAwait(false);
            foreach (LoadClient client in all)
            {
                client.Client.ReceivedTokens = 0;
            }

            using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            long start = Stopwatch.GetTimestamp();
            Task[] running = [.. all.Select(c => Task.Run(() => c.WriteUntilAsync(rig, over.Token, cancellation), cancellation))];
            await Task.Delay(time, cancellation).ConfigureAwait(false);
            long[] tokens = [.. all.Select(static c => c.Client.ReceivedTokens)];
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            await over.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(running).ConfigureAwait(false);
            for (long closed = Stopwatch.GetTimestamp(); (server.Sessions > 0 || server.KvBytes > 0) && Stopwatch.GetElapsedTime(closed) < 3 * Grace;)
            {
                await Task.Delay(20, cancellation).ConfigureAwait(false);
            }

            return new LoadReport
            {
                Model = rig.Models.Target,
                Drafter = rig.Models.Drafter(method),
                Clients = clients,
                Seconds = seconds,
                Answers = all.Sum(static c => c.Answers),
                Identical = all.Sum(static c => c.Identical),
                Errors = [.. all.SelectMany(static c => c.Errors)],
                Tokens = tokens.Sum(),
                MostTokens = tokens.Max(),
                FewestTokens = tokens.Min(),
                Tau = server.Tau,
                MostSessions = peak.Sessions,
                KvBudgetBytes = kvBudget,
                MostKvBytes = peak.KvBytes,
                Evictions = server.Evictions,
                ResidentBytesBefore = before,
                MostResidentBytes = peak.Resident,
                SessionsLeft = server.Sessions,
                KvBytesLeft = server.KvBytes,
            };
        }
        finally
        {
            await watched.CancelAsync().ConfigureAwait(false);
            await watching.ConfigureAwait(false);
        }
    }

    private static async Task WatchAsync(TargetServer server, Peak peak, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            peak.KvBytes = Math.Max(peak.KvBytes, server.KvBytes);
            peak.Sessions = Math.Max(peak.Sessions, server.Sessions);
            peak.Resident = Math.Max(peak.Resident, Resident());
            await Task.Delay(50, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private static long Resident()
    {
        using Process self = Process.GetCurrentProcess();
        return self.WorkingSet64;
    }

    private sealed class Peak
    {
        public long KvBytes, Resident;
        public int Sessions;
    }

    /// <summary>One client of the load.</summary>
    private sealed class LoadClient(BenchClient client, int first)
    {
        private int _next = first;

        public BenchClient Client => client;

        public int Answers { get; private set; }

        public int Identical { get; private set; }

        public List<string> Errors { get; } = [];

        public async Task WriteUntilAsync(BenchRig rig, CancellationToken over, CancellationToken cancellation)
        {
            while (!over.IsCancellationRequested && Errors.Count == 0)
            {
                await WriteOneAsync(rig, cancellation).ConfigureAwait(false);
            }
        }

        public async Task WriteOneAsync(BenchRig rig, CancellationToken cancellation)
        {
            try
            {
                LinkAnswer answer = await client.WriteAsync(rig.Cases[_next++ % rig.Cases.Count], cancellation).ConfigureAwait(false);
                Answers++;
                Identical += answer.Identical ? 1 : 0;
            }
            catch (InputException e)
            {
                Errors.Add(e.Message);
            }
        }
    }
}
