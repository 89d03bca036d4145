using LowLevelSpec.Training;

namespace LowLevelSpec.Cli.Output.Plots;

/// <summary>A training's curves in its folder: <c>loss.svg</c> (loss and divergence by step), <c>held-out.svg</c> (agreement by horizon) and <c>tau.svg</c> (chain tau).</summary>
internal static class TrainingCurves
{
    /// <summary>Points of a curve at most; each is a mean of as many steps as it takes.</summary>
    private const int Points = 200;

    /// <summary>Draws what the logs in <paramref name="folder"/> hold so far.</summary>
    public static void Write(string folder)
    {
        TrainingLogs logs = TrainingLogs.Read(folder);
        if (logs.Steps.Count > 0)
        {
            int size = (logs.Steps.Count + Points - 1) / Points;
            StepLog[][] blocks = [.. logs.Steps.Chunk(size)];
            double[] at = [.. blocks.Select(static b => b[^1].Step + 1.0)];
            using Chart chart = new("Training", "step", "nats");
            chart.Line("loss", at, [.. blocks.Select(static b => b.Average(static s => s.Loss))])
                .Line("KL divergence", at, [.. blocks.Select(static b => b.Average(static s => s.ForwardKl - s.Entropy))]);
            if (logs.HeldOut.Count > 0)
            {
                chart.Line("KL divergence, held out", [.. logs.HeldOut.Select(static h => (double)h.Step)], [.. logs.HeldOut.Select(static h => h.Divergence)], markers: true);
            }

            chart.Save(Path.Combine(folder, "loss.svg"));
        }

        if (logs.HeldOut.Count == 0)
        {
            return;
        }

        double[] steps = [.. logs.HeldOut.Select(static h => (double)h.Step)];
        using Chart agreement = new("Held-out agreement with the target", "step", "share of positions"), tau = new("Held-out chain tau", "step", "tokens per target pass");
        for (int h = 0; h < logs.HeldOut.Max(static l => l.ByHorizon.Count); h++)
        {
            agreement.Line($"draft {h + 1}", steps, [.. logs.HeldOut.Select(l => h < l.ByHorizon.Count ? l.ByHorizon[h] : double.NaN)], markers: true);
        }

        agreement.Save(Path.Combine(folder, "held-out.svg"));
        tau.Line("chain tau", steps, [.. logs.HeldOut.Select(static h => h.ChainTau)], markers: true).Save(Path.Combine(folder, "tau.svg"));
    }
}
