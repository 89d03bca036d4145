namespace LowLevelSpec.Golden;

/// <summary>What became of one check.</summary>
internal enum CheckStatus
{
    /// <summary>Within the tolerance.</summary>
    Passed,

    /// <summary>Outside the tolerance, or it could not be carried out.</summary>
    Failed,

    /// <summary>Not carried out, for a reason that is not the engine's.</summary>
    Skipped,
}

/// <summary>Result of one comparison: a tensor, a transcript run, a tokenizer file, a model's answer.</summary>
/// <param name="Status">What became of it.</param>
/// <param name="Values">Values compared.</param>
/// <param name="LargestError">Largest difference found; 0 where values are compared exactly and agree.</param>
/// <param name="Tolerance">Largest difference allowed; 0 where values are compared exactly.</param>
/// <param name="Detail">Why it failed or was skipped.</param>
/// <param name="Note">Something that does not fail the check and still is listed, e.g. a near tie.</param>
internal sealed record Outcome(CheckStatus Status, long Values, double LargestError, double Tolerance, string? Detail = null, string? Note = null)
{
    /// <summary>An exact comparison of <paramref name="values"/> values that agree.</summary>
    public static Outcome Exact(long values) => new(CheckStatus.Passed, values, 0, 0);

    /// <summary>A comparison that found a difference which no tolerance measures.</summary>
    public static Outcome Fail(string detail, long values = 0) => new(CheckStatus.Failed, values, 0, 0, detail);

    /// <summary>Not carried out.</summary>
    public static Outcome Skip(string reason) => new(CheckStatus.Skipped, 0, 0, 0, reason);
}

/// <summary>One check of the report.</summary>
/// <param name="Case">Case folder, "tokenizers" or "smollm2".</param>
/// <param name="Group">Row of the table, with its tolerance (<see cref="Tolerances"/>).</param>
/// <param name="Name">Tensor, run or file.</param>
/// <param name="Outcome">Result.</param>
internal sealed record Check(string Case, string Group, string Name, Outcome Outcome);

/// <summary>All checks of a run.</summary>
internal sealed class GoldenReport
{
    private readonly List<Check> _checks = [];

    /// <summary>Checks in the order they ran.</summary>
    public IReadOnlyList<Check> Checks => _checks;

    /// <summary>Checks that passed.</summary>
    public int Passed => Count(CheckStatus.Passed);

    /// <summary>Checks that failed.</summary>
    public int Failed => Count(CheckStatus.Failed);

    /// <summary>Checks that were skipped.</summary>
    public int Skipped => Count(CheckStatus.Skipped);

    /// <summary>Nothing failed and something passed: a run that compared nothing proves nothing.</summary>
    public bool Succeeded => Failed == 0 && Passed > 0;

    /// <summary>The last line of the output.</summary>
    public string Summary => $"{Passed} passed, {Failed} failed, {Skipped} skipped";

    /// <summary>Adds a result.</summary>
    public void Add(string caseName, string group, string name, Outcome outcome) => _checks.Add(new Check(caseName, group, name, outcome));

    /// <summary>Things to know that belong to no single check, e.g. near ties: case and sentence.</summary>
    public List<(string Case, string Text)> Notes { get; } = [];

    /// <summary>Prepares checks (reads a file, runs the engine); only a failure is a result of its own.</summary>
    /// <returns>Whether it worked.</returns>
    public bool Prepare(string caseName, string name, Action preparation)
    {
        try
        {
            preparation();
            return true;
        }
#pragma warning disable CA1031 // Any exception is a finding about the engine or the folder, and belongs in the report.
        catch (Exception e)
#pragma warning restore CA1031
        {
            Add(caseName, "files", name, Outcome.Fail(Describe(e)));
            return false;
        }
    }

    /// <summary>Carries a check out; whatever it throws is its failure, so that one broken part never hides the others.</summary>
    public void Run(string caseName, string group, string name, Func<Outcome> check)
    {
        Outcome outcome;
        try
        {
            outcome = check();
        }
#pragma warning disable CA1031 // Any exception is a finding about the engine or the folder, and belongs in the report.
        catch (Exception e)
#pragma warning restore CA1031
        {
            outcome = Outcome.Fail(Describe(e));
        }

        Add(caseName, group, name, outcome);
    }

    /// <summary>One line for an exception: input errors speak for themselves, others bring their type.</summary>
    public static string Describe(Exception e) => e switch
    {
        Models.InputException or IOException or System.Text.Json.JsonException => e.Message,
        _ => $"{e.GetType().Name}: {e.Message} ({e.StackTrace?.Split('\n').FirstOrDefault()?.Trim()})",
    };

    private int Count(CheckStatus status) => _checks.Count(c => c.Outcome.Status == status);
}
