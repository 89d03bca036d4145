using System.Diagnostics;
using System.Numerics;

namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>
/// Chooses depth, breadth and size of each step's tree to earn the most tokens per second. With a long-run rate of r tokens a second, time spent is
/// worth r tokens a second elsewhere; so a level is grown, a node expanded and a node verified where the tokens it is expected to win exceed r times
/// the seconds it takes, from the measured tables. Expected tokens of a tree are the sum of its paths' calibrated probabilities.
/// </summary>
internal sealed class TreePlanner : ILevelPolicy
{
    /// <summary>Weight of a new measurement in the corrections of the tables.</summary>
    private const double Weight = 0.1;

    /// <summary>A measurement further off than this was disturbed.</summary>
    private const double Furthest = 3;

    /// <summary>Sizes of passes whose corrections are told apart: 1, 2, 3 to 4, 5 to 8, .. 33 to 64 rows.</summary>
    public const int Sizes = 7;

    private readonly StepCosts _costs;
    private readonly AcceptanceTable _table;
    private readonly Candidates _candidates;
    private readonly double[] _passScales = new double[Sizes], _knownScales = new double[Sizes];
    private double _plainScale = 1, _draftScale = 1, _usualNodes = 4;
    private long _mark;
    private int _width;

    public TreePlanner(StepCosts costs, AcceptanceTable table, Candidates candidates) => (_costs, _table, _candidates) = (costs, table, candidates);

    /// <summary>Seconds of a plain step.</summary>
    public double PlainSeconds => _costs.Pass[1] * _plainScale;

    /// <summary>Seconds for the drafter to take in tokens it has not seen.</summary>
    public double ObserveSeconds(int tokens) => tokens * _costs.CatchUp * _draftScale;

    /// <summary>Tokens per second that time is worth; set before a step.</summary>
    public double Worth { get; set; }

    /// <summary>Depth below which nothing can be committed any more: the text ends there.</summary>
    public int DeepestUseful { get; set; } = int.MaxValue;

    /// <summary>Tokens that the tree chosen last is expected to commit, the target's own included.</summary>
    public double Expected { get; private set; } = 1;

    /// <summary>Levels that the network scored in this step, the root's included.</summary>
    public int Levels { get; private set; }

    /// <summary>Whether any chain could win, were the drafter right four times in five: what is known before the first draft.</summary>
    public bool CouldPay()
    {
        double tokens = 1, path = 1, seconds = _costs.First + _costs.Observe;
        for (int depth = 1; depth < 8; depth++)
        {
            path *= 0.8;
            tokens += path;
            double step = seconds + _costs.Pass[depth + 1] + (tokens * _costs.Observe) + (_costs.Logits[Math.Min(depth + 1, DraftTree.MostLogitRows)] - _costs.Logits[1]);
            if (tokens / step > 1 / _costs.Pass[1])
            {
                return true;
            }

            seconds += _costs.Level[1];
        }

        return false;
    }

    /// <summary>Begins with earlier generations' corrections of passes by their size, over that of plain passes; 0 = not known. Trees cost more behind long texts than the table says.</summary>
    public void TakeOver(ReadOnlySpan<double> scales) => scales.CopyTo(_knownScales);

    /// <summary>The corrections for generations to come.</summary>
    public void HandOver(Span<double> scales)
    {
        for (int size = 0; size < Sizes; size++)
        {
            scales[size] = _passScales[size] > 0 ? _passScales[size] / _plainScale : _knownScales[size];
        }
    }

    /// <summary>Starts the clock of a step's drafting.</summary>
    public void Start()
    {
        (_mark, _width, Levels) = (Stopwatch.GetTimestamp(), 0, 0);
    }

    /// <inheritdoc/>
    public int Widen(int level, TreeGrower grower)
    {
        long now = Stopwatch.GetTimestamp();
        Levels = level;
        if (level > 1)
        {
            // The first step also takes in what was committed since, so it says little about the table.
            Correct(ref _draftScale, Stopwatch.GetElapsedTime(_mark, now).TotalSeconds, _costs.Level[_width]);
        }

        _mark = now;
        _width = 0;
        if (level >= DeepestUseful)
        {
            return 0;
        }

        double gain = 0, best = 0, children = _table.Children(level + 1);
        ReadOnlySpan<float> scores = grower.FrontierScores;

        // Wider levels than the measured ones are not grown.
        for (int f = 1; f <= Math.Min(grower.Width, _costs.Level.Length - 1); f++)
        {
            gain += children * _table.Path(level, scores[f - 1]);
            double cost = (_costs.Level[f] * _draftScale) + (Slope() * f);
            if (gain - (Worth * cost) > best)
            {
                (best, _width) = (gain - (Worth * cost), f);
            }
        }

        return _width;
    }

    /// <summary>Fills the tree, which holds its root, from the candidates: as many as pay, at most <paramref name="most"/>.</summary>
    /// <returns>Expected tokens besides the target's own, less the price of verifying them in tokens.</returns>
    public double Choose(DraftTree tree, int most)
    {
        double sum = 0, best = 0;
        (int count, int logitRows) = Count(most, ref sum, ref best);
        _candidates.Write(tree, count);
        tree.LogitRows = logitRows;
        _usualNodes += 0.1 * (count - _usualNodes);
        Expected = 1;
        for (int n = 0; n < count; n++)
        {
            Expected += _candidates.Probability(n);
        }

        return best;
    }

    /// <summary>What <see cref="Choose"/> would return.</summary>
    public double Value(int most)
    {
        double sum = 0, best = 0;
        _ = Count(most, ref sum, ref best);
        return best;
    }

    /// <summary>A pass was verified and walked.</summary>
    /// <param name="nodes">Drafted nodes.</param>
    /// <param name="logitRows">Rows whose logits were computed at once.</param>
    /// <param name="onDemand">Rows whose logits the walk asked for one by one.</param>
    /// <param name="seconds">What it took.</param>
    public void Verified(int nodes, int logitRows, int onDemand, double seconds)
    {
        // A table that is wrong about trees must not change what is thought of plain steps, or trees that lose seem to pay.
        if (nodes > 0)
        {
            ref double scale = ref _passScales[Size(nodes + 1)];
            scale = scale == 0 ? Scale(nodes + 1) : scale;
            Correct(ref scale, seconds, _costs.Pass[nodes + 1] + _costs.Logits[logitRows] - _costs.Logits[1] + (onDemand * _costs.Logits[1]));
            return;
        }

        Correct(ref _plainScale, seconds, _costs.Pass[1]);
    }

    private (int Nodes, int LogitRows) Count(int most, ref double sum, ref double best)
    {
        double one = PlainSeconds;

        // Below this a node does not even pay for the flattest part of the table.
        _candidates.Rank(0.002f);
        (int Nodes, int LogitRows) chosen = (0, 1);
        for (int n = 1; n <= Math.Min(most, _candidates.Ranked); n++)
        {
            sum += _candidates.Probability(n - 1);
            (double logits, int rows) = Logits(n, sum);
            double value = sum - (Worth * (((_costs.Pass[n + 1] + logits) * Scale(n + 1)) - one));
            if (value > best)
            {
                (best, chosen) = (value, (n, rows));
            }
        }

        return chosen;
    }

    /// <summary>
    /// What the walk's logits are expected to cost beyond the root's, and how many rows' to compute at once for that: one row more reads nothing more of the
    /// head, so a node that is visited often enough is cheaper with the root than on demand.
    /// </summary>
    /// <param name="nodes">Drafted nodes, the most probable first.</param>
    /// <param name="visited">Sum of their probabilities.</param>
    private (double Seconds, int Rows) Logits(int nodes, double visited)
    {
        double[] logits = _costs.Logits;
        double least = visited * logits[1];
        int rows = 1;
        for (int m = 2; m <= Math.Min(nodes + 1, DraftTree.MostLogitRows); m++)
        {
            visited -= _candidates.Probability(m - 2);
            double seconds = logits[m] - logits[1] + (Math.Max(0, visited) * logits[1]);
            if (seconds < least)
            {
                (least, rows) = (seconds, m);
            }
        }

        return (least, rows);
    }

    /// <summary>Seconds of one more row near the usual size.</summary>
    private double Slope()
    {
        int from = Math.Clamp((int)_usualNodes + 1, 1, StepCosts.MaxRows - 4);
        return (_costs.Pass[from + 4] - _costs.Pass[from]) / 4 * Scale(from + 4);
    }

    /// <summary>What a pass over so many rows has taken of late, over what the table says; where there was none, as in earlier generations, or like plain passes.</summary>
    private double Scale(int rows) => _passScales[Size(rows)] is > 0 and double scale ? scale : _plainScale * (_knownScales[Size(rows)] is > 0 and double known ? known : 1);

    private static int Size(int rows) => rows == 1 ? 0 : BitOperations.Log2((uint)(rows - 1)) + 1;

    private static void Correct(ref double scale, double measured, double expected)
    {
        double ratio = measured / expected;
        if (ratio is > 1 / Furthest and < Furthest || ratio / scale is > 1 / Furthest and < Furthest)
        {
            scale += Weight * (ratio - scale);
        }
    }
}
