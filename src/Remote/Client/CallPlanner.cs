using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Remote.Client;

/// <summary>
/// Decides how much to draft before a call, so that the expected time per token is least. A call of expected gain E tokens (the target's own included)
/// costs T = round trip + pass + drafting; one more level or node is worth it while its gain per millisecond exceeds E / T. The gain of a level is
/// the probability that the target follows the tree that far, by the drafter's own confidence, corrected by how often it was right so far.
/// </summary>
internal sealed class CallPlanner
{
    private const double Weight = 0.2;

    /// <summary>What branches are taken to add at least: where the text has just repeated itself they added nothing, and its end is when they are needed.</summary>
    private const double LeastBranchTokens = 0.25;

    /// <summary>Before anything is measured: milliseconds.</summary>
    private const double FirstRoundTrip = 30, FirstPass = 20, FirstLevel = 2;

    private readonly double[] _predicted = new double[DraftTree.MaxNodes], _observed = new double[DraftTree.MaxNodes];
    private readonly double[] _reach = new double[DraftTree.MaxNodes];
    private double _roundTrip = -1, _pass = -1, _perRow, _level = -1, _draft = -1, _startPass, _treeTokens = 2, _branchTokens = 0.5, _meanRows, _meanPass, _meanSquare, _meanProduct;
    private int _levels;

    /// <summary>Smoothed round trip without queue and pass, ms.</summary>
    public double RoundTrip => _roundTrip < 0 ? FirstRoundTrip : _roundTrip;

    /// <summary>Smoothed time of a pass, ms.</summary>
    public double Pass => _pass < 0 ? Math.Max(FirstPass, _startPass) : _pass;

    /// <summary>Expected time of an answer, ms.</summary>
    public double Answer => RoundTrip + Pass;

    /// <summary>Smoothed time of drafting a tree, ms.</summary>
    private double Draft => _draft < 0 ? 4 * FirstLevel : _draft;

    /// <summary>What a millisecond is worth.</summary>
    private double TokensPerMillisecond => _treeTokens / Math.Max(1, Answer + Draft);

    private double Level => _level < 0 ? FirstLevel : _level;

    /// <summary>A draft begins.</summary>
    public void BeginDraft() => _levels = 0;

    /// <summary>Whether another level is worth its time.</summary>
    /// <param name="scores">Cumulative log-probabilities of the present frontier, whose nodes have depth <paramref name="depth"/>.</param>
    /// <param name="depth">Depth of the frontier, 1 = first drafted token.</param>
    /// <param name="spent">Milliseconds of drafting so far.</param>
    public bool WantsLevel(ReadOnlySpan<float> scores, int depth, double spent)
    {
        double mass = 0;
        foreach (float score in scores)
        {
            mass += Math.Exp(score);
        }

        mass = Math.Min(1, mass);
        _reach[depth] = mass;
        _levels = depth;
        double tokens = 1;
        for (int d = 1; d <= depth; d++)
        {
            tokens += _reach[d] * Trust(d);
        }

        // The next level keeps the share that this one kept.
        double before = depth == 1 ? 1 : _reach[depth - 1], share = before <= 0 ? 0 : Math.Min(1, mass / before);
        double gain = mass * share * Trust(depth + 1);
        return gain / Level > tokens / (Answer + spent);
    }

    /// <summary>How many nodes of a frontier, best first, are worth scoring the children of: at least one.</summary>
    /// <param name="scores">Cumulative log-probabilities, best first.</param>
    public int Width(ReadOnlySpan<float> scores)
    {
        // What a node costs here is a share of its level's time: no more than the quarter that it would have in the narrow trees of fast links.
        double least = Math.Log(Math.Min(0.5, (_perRow + (Level / 4)) * TokensPerMillisecond));
        int width = 1;
        while (width < scores.Length && scores[width] >= least)
        {
            width++;
        }

        return width;
    }

    /// <summary>Least probability of a node that pays for its row in the pass.</summary>
    public double LeastProbability => Math.Min(0.5, _perRow * TokensPerMillisecond);

    /// <summary>
    /// Whether a chain of drafted tokens at hand is worth a call now, rather than drafting a tree first. The tree has the same most likely path, so it promises what the
    /// chain does and what branches have added lately.
    /// </summary>
    /// <param name="logProbabilities">Of each token of the chain, given those before it.</param>
    public bool PrefersChain(ReadOnlySpan<float> logProbabilities)
    {
        double tokens = 1, reach = 1;
        for (int i = 0; i < logProbabilities.Length; i++)
        {
            reach *= Math.Exp(logProbabilities[i]);
            tokens += reach * Trust(i + 1);
        }

        return tokens / Answer > (tokens + Math.Max(LeastBranchTokens, _branchTokens)) / (Answer + Draft);
    }

    /// <summary>Whether a step of drafting fits before the answer is expected, or the answer is so late that it may take long.</summary>
    /// <param name="waited">Milliseconds since the call was sent.</param>
    public bool HasTimeAhead(double waited) => waited + Level < Answer || waited > 2 * Answer;

    /// <summary>A tree was drafted.</summary>
    public void Drafted(int levels, double milliseconds)
    {
        _draft = _draft < 0 ? milliseconds : Smooth(_draft, milliseconds);
        _level = _level < 0 ? milliseconds / Math.Max(1, levels) : Smooth(_level, milliseconds / Math.Max(1, levels));
    }

    /// <summary>A prompt's last pass was made: what a pass takes until one over a tree is measured.</summary>
    /// <param name="pass">Milliseconds, waiting included.</param>
    public void Started(double pass) => _startPass = pass;

    /// <summary>An answer came.</summary>
    /// <param name="elapsed">Milliseconds from sending to receiving.</param>
    /// <param name="queue">Of these, waiting at the server.</param>
    /// <param name="pass">Of these, the pass.</param>
    /// <param name="rows">Rows of the pass.</param>
    /// <param name="committed">Tokens it brought.</param>
    /// <param name="ofChain">Where a freshly drafted tree was verified: tokens that its most likely path alone would have brought; else null.</param>
    public void Answered(double elapsed, double queue, double pass, int rows, int committed, int? ofChain)
    {
        double trip = Math.Max(0, elapsed - queue - pass);
        _roundTrip = _roundTrip < 0 ? trip : Smooth(_roundTrip, trip);
        Fit(rows, pass);
        _pass = _pass < 0 ? pass : Smooth(_pass, pass);
        if (ofChain is not int chain)
        {
            return;
        }

        _branchTokens = Smooth(_branchTokens, committed - chain);
        _treeTokens = Smooth(_treeTokens, committed);
        for (int d = 1; d <= _levels; d++)
        {
            _predicted[d] = (0.95 * _predicted[d]) + _reach[d];
            _observed[d] = (0.95 * _observed[d]) + (committed > d ? 1 : 0);
        }
    }

    /// <summary>Milliseconds that one more row adds to a pass: the slope through what was seen lately.</summary>
    private void Fit(int rows, double pass)
    {
        bool first = _pass < 0;
        _meanRows = first ? rows : Smooth(_meanRows, rows);
        _meanPass = first ? pass : Smooth(_meanPass, pass);
        _meanSquare = first ? (double)rows * rows : Smooth(_meanSquare, (double)rows * rows);
        _meanProduct = first ? rows * pass : Smooth(_meanProduct, rows * pass);
        double variance = _meanSquare - (_meanRows * _meanRows);
        _perRow = variance < 1 ? 0 : Math.Clamp((_meanProduct - (_meanRows * _meanPass)) / variance, 0, _meanPass / Math.Max(1, _meanRows));
    }

    /// <summary>How often the target follows as deep as the drafter believes, near 1 for a calibrated drafter. Starts at 1 with the weight of two calls.</summary>
    private double Trust(int depth)
    {
        int d = Math.Min(depth, _predicted.Length - 1);
        return (_observed[d] + 2) / (_predicted[d] + 2);
    }

    private static double Smooth(double old, double value) => old + (Weight * (value - old));
}
