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
    private double _ratio, _plainScale = 1;
    private int _skipped;

    /// <summary>Copies what is known into a generation's own table and planner.</summary>
    /// <returns>Speed of drafted steps over plain ones, 0 = not known; a plain step's time over what the table of costs says; and whether to begin with the drafter.</returns>
    public (double Ratio, double PlainScale, bool On) Begin(AcceptanceTable table, TreePlanner planner)
    {
        lock (_lock)
        {
            table.CopyFrom(_table);
            planner.TakeOver(_passScales);
            bool pays = _ratio is 0 or >= 1;
            return (_ratio, _plainScale, pays || ++_skipped % TryAgain == 0);
        }
    }

    /// <summary>Takes over what a generation has seen.</summary>
    public void End(AcceptanceTable table, TreePlanner planner, double ratio, double plainScale)
    {
        lock (_lock)
        {
            _table.CopyFrom(table);
            planner.HandOver(_passScales);
            _plainScale = plainScale;
            if (ratio > 0)
            {
                _ratio = _ratio == 0 ? ratio : _ratio + (Weight * (ratio - _ratio));
            }
        }
    }
}
