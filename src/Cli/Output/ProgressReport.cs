using System.Diagnostics;
using Spectre.Console;

namespace LowLevelSpec.Cli.Output;

/// <summary>Says on standard error how far long work is: a bar on a terminal, a line every ten seconds elsewhere.</summary>
internal static class ProgressReport
{
    private static readonly TimeSpan LineEvery = TimeSpan.FromSeconds(10);

    /// <summary>Runs work of <paramref name="total"/> steps; it calls its argument after each.</summary>
    public static void Run(CliConsole console, string what, int total, Action<Action> work)
    {
        if (console.ErrorIsTerminal)
        {
            console.RichError().Progress()
                .AutoClear(true)
                .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn(), new RemainingTimeColumn())
                .Start(context =>
                {
                    ProgressTask task = context.AddTask(what, autoStart: true, maxValue: total);
                    work(() => task.Increment(1));
                });
            return;
        }

        Stopwatch watch = Stopwatch.StartNew();
        TimeSpan last = TimeSpan.Zero;
        int done = 0;
        work(() =>
        {
            done++;
            if (watch.Elapsed - last < LineEvery || done == total)
            {
                return;
            }

            last = watch.Elapsed;
            console.Error.WriteLine($"{what}: {done} of {total}, {Clock(watch.Elapsed / done * (total - done))} left");
        });
    }

    /// <summary>Hours, minutes and seconds: 1:02:03.</summary>
    public static string Clock(TimeSpan time) => $"{(long)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}";
}
