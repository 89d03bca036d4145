using System.Diagnostics;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Measuring;
using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>Measures <see cref="StepCosts"/>: the least of a few repeats, because whatever disturbs a measurement adds to it. Takes about a second.</summary>
internal static class CostProbe
{
    private const int Context = 64, Observed = 10, Surely = 5;

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(0.15), PassTime = TimeSpan.FromSeconds(0.8);

    /// <summary>Row counts, the most telling first: a slow machine gets the first few and then no further than its time allows.</summary>
    private static readonly int[] RowCounts = [1, 2, 4, 8, 16, 32, 64, 3, 6, 5, 12, 10, 24, 20, 48];

    private const int Rounds = 5;

    /// <summary>Row counts that are measured <see cref="Repeats"/> times however slow the machine is, so that it can be said whether repeats agree.</summary>
    private const int Repeated = 2, Repeats = 3;

    /// <summary>What the medians of undisturbed measurements exceed their minima by.</summary>
    private const double QuietSpread = 1.2;

    private static readonly int[] Widths = [1, 2, 4, 8];

    /// <summary>Measures passes and, where a network drafts, the drafter.</summary>
    /// <param name="backend">Where they run.</param>
    /// <param name="target">The target.</param>
    /// <param name="drafter">The drafter.</param>
    public static StepCosts Measure(IBackend backend, LlamaModel target, Drafter drafter)
    {
        int context = Math.Clamp(target.Config.ContextLength / 4, 1, Context);
        using PassTimer timer = new(backend, target, context, StepCosts.MaxRows);
        (double[] pass, bool quiet) = Passes(timer);
        double[] logits = new double[DraftTree.MostLogitRows + 1];
        if (backend.PrefersLogitsOnDemand)
        {
            Array.Fill(logits, double.PositiveInfinity);
            logits[0] = 0;
            foreach (int rows in (int[])[1, 2, 4, 8])
            {
                logits[rows] = Least(4, () => timer.MeasureLogits(rows));
            }

            Complete(logits);
        }

        StepCosts costs = new() { Pass = pass, Logits = logits, Observe = 0, CatchUp = 0, First = 0, Level = [], IsQuiet = quiet };
        return Drafts(costs, timer, backend, target, drafter, context);
    }

    /// <summary>Fills the gaps of a table of least times, infinite where nothing was measured: straight lines between, the last slope beyond (not a flat one), never falling.</summary>
    internal static void Complete(double[] pass)
    {
        int last = 1;
        for (int k = 2; k < pass.Length; k++)
        {
            if (!double.IsFinite(pass[k]))
            {
                continue;
            }

            pass[k] = Math.Max(pass[k], pass[last]);
            for (int i = last + 1; i < k; i++)
            {
                pass[i] = pass[last] + ((pass[k] - pass[last]) * (i - last) / (k - last));
            }

            last = k;
        }

        // What was not reached in time is not promised cheap.
        double slope = last == 1 ? pass[1] : Math.Max((pass[last] - pass[last / 2]) / (last - (last / 2)), pass[1] / 8);
        for (int i = last + 1; i < pass.Length; i++)
        {
            pass[i] = pass[last] + (slope * (i - last));
        }
    }

    /// <summary>Whether repeats agree: a machine busy with other things gives figures that do not hold later.</summary>
    /// <param name="samples">Seconds of each row count's repeats.</param>
    internal static bool Agree(IEnumerable<IReadOnlyList<double>> samples)
    {
        double medians = 0, minima = 0;
        foreach (IReadOnlyList<double> repeats in samples.Where(static s => s.Count >= Repeats))
        {
            medians += repeats.Order().ElementAt(repeats.Count / 2);
            minima += repeats.Min();
        }

        return medians < QuietSpread * minima;
    }

    private static (double[] Seconds, bool Quiet) Passes(PassTimer timer)
    {
        double[] pass = new double[StepCosts.MaxRows + 1];
        Array.Fill(pass, double.PositiveInfinity);
        pass[0] = 0;
        List<double>[] samples = [.. RowCounts.Select(static _ => new List<double>())];
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < WarmUp;)
        {
            _ = timer.Measure(1);
            _ = timer.Measure(8);
        }

        long begin = Stopwatch.GetTimestamp();
        for (int round = 0; round < Rounds; round++)
        {
            for (int i = 0; i < RowCounts.Length && ((round == 0 && i < Surely) || (round < Repeats && i < Repeated) || Stopwatch.GetElapsedTime(begin) < PassTime); i++)
            {
                samples[i].Add(timer.Measure(RowCounts[i]));
                pass[RowCounts[i]] = Math.Min(pass[RowCounts[i]], samples[i][^1]);
            }
        }

        Complete(pass);
        return (pass, Agree(samples));
    }

    private static StepCosts Drafts(StepCosts costs, PassTimer timer, IBackend backend, LlamaModel target, Drafter drafter, int context)
    {
        int[] tokens = [.. Enumerable.Range(0, context + Observed + 1).Select(i => timer.Token(i).Value)];
        SequenceState sequence = new(tokens, timer.Cache);
        DraftContext draft = new()
        {
            Backend = backend,
            Target = target,
            Sequence = sequence,
            Tree = TreeSettings.Auto,
            Lookup = LookupMode.Off,
            MaxTokens = context + Observed,
            ChunkRows = PassTimer.ChunkRows,
        };
        using DraftSession session = drafter.CreateSession(draft);
        if (session is not LevelDraftSession network)
        {
            return costs;
        }

        try
        {
            // A pass over all rows, so that there are hidden states to show; their values do not matter.
            _ = timer.Measure(StepCosts.MaxRows);
            return Drafts(costs, network, sequence, timer.Hidden, context);
        }
        catch (ArithmeticException)
        {
            // A drafter whose numbers overflow drafts nothing.
            return costs;
        }
        finally
        {
            timer.Cache.Length = context;
        }
    }

    private static StepCosts Drafts(StepCosts costs, LevelDraftSession network, SequenceState sequence, Matrix hidden, int context)
    {
        Clock clock = new(network.Grower.Breadth);
        sequence.Count = context;
        long start = Stopwatch.GetTimestamp();
        network.Observe(new VerifiedRows { First = 0, Hidden = hidden, HiddenRows = [.. Enumerable.Range(0, context)], IsPrefill = true });
        double catchUp = Stopwatch.GetElapsedTime(start).TotalSeconds / context, observe = double.PositiveInfinity;
        int[] widths = [.. Widths.Where(w => w <= network.Grower.Breadth)];
        for (int i = 0; i < Observed; i++)
        {
            sequence.Count = sequence.Verified + 1;
            clock.Start(widths[i % widths.Length]);
            network.Draft(clock);
            sequence.Cache.Length++;
            sequence.Count = sequence.Verified + 1;
            start = Stopwatch.GetTimestamp();
            network.Observe(new VerifiedRows { First = sequence.Verified - 1, Hidden = hidden, HiddenRows = [0], IsPrefill = false });
            observe = Math.Min(observe, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        Complete(clock.Level);
        return costs with { Observe = observe, CatchUp = Math.Min(catchUp, Math.Max(observe, 1e-9)), First = clock.First, Level = clock.Level };
    }

    private static double Least(int times, Func<double> measure) => Enumerable.Range(0, times).Min(_ => measure());

    /// <summary>Asks for one level of a given width and takes the times.</summary>
    private sealed class Clock : ILevelPolicy
    {
        private long _mark;
        private int _width;

        public Clock(int breadth)
        {
            Level = new double[breadth + 1];
            Array.Fill(Level, double.PositiveInfinity);
            Level[0] = 0;
        }

        public double First { get; private set; } = double.PositiveInfinity;

        public double[] Level { get; }

        public void Start(int width) => (_width, _mark) = (width, Stopwatch.GetTimestamp());

        public int Widen(int level, TreeGrower grower)
        {
            double seconds = Stopwatch.GetElapsedTime(_mark).TotalSeconds;
            if (level == 1)
            {
                First = Math.Min(First, seconds);
                _mark = Stopwatch.GetTimestamp();
                return _width;
            }

            Level[_width] = Math.Min(Level[_width], seconds);
            return 0;
        }
    }
}
