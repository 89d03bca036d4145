namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>What a drafter's generations have learned, for the next one to begin with. Thread-safe.</summary>
internal sealed class SpeculationRecord
{
    /// <summary>A drafter that has not paid is tried again after so many generations.</summary>
    private const int TryAgain = 8;

    /// <summary>Weight of a generation in the ratio.</summary>
    private const double Weight = 0.4;

    private readonly Lock _lock = new();
    private readonly AcceptanceTable _table = new();
    private readonly double[] _passScales = new double[TreePlanner.Sizes];
    private (double Came, double Expected) _evidence;
    private double _ratio, _net, _plainScale = 1;
    private int _skipped;

    /// <summary>Copies what is known into a generation's own table and planner.</summary>
    /// <returns>
    /// Speed of drafted steps over plain ones, 0 = not known; a plain step's time over what the table of costs says; whether to begin with the drafter: it has paid, what it took to
    /// enter the texts included; and <see cref="SpeculationBudget.Evidence"/>.
    /// </returns>
    public (double Ratio, double PlainScale, bool On, (double Came, double Expected) Evidence) Begin(AcceptanceTable table, TreePlanner planner)
    {
        lock (_lock)
        {
            table.CopyFrom(_table);
            planner.TakeOver(_passScales);
            bool pays = _net is 0 or >= 1;
            return (_ratio, _plainScale, pays || ++_skipped % TryAgain == 0, _evidence);
        }
    }

    /// <summary>Takes over what a generation has seen.</summary>
    public void End(AcceptanceTable table, TreePlanner planner, SpeculationBudget budget, double plainScale)
    {
        lock (_lock)
        {
            _table.CopyFrom(table);
            planner.HandOver(_passScales);
            _plainScale = plainScale;
            _evidence = budget.Evidence;
            Mix(ref _ratio, budget.Ratio);
            Mix(ref _net, budget.Net);
        }
    }

    private static void Mix(ref double mean, double value)
    {
        if (value > 0)
        {
            mean = mean == 0 ? value : mean + (Weight * (value - mean));
        }
    }
}
