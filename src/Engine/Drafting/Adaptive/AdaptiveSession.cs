using System.Diagnostics;

namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>
/// Drafts with a drafter's network, with prompt lookup, with both merged or not at all, step by step whatever is expected to earn the most tokens per
/// second. While the network is off it observes nothing and catches up when it is on again. Which tokens are drafted depends on times measured,
/// so it differs from run to run; the text does not depend on it. Allocates only when created.
/// </summary>
internal sealed class AdaptiveSession : DraftSession
{
    /// <summary>
    /// Verified tokens that a network that can leave some out takes in when it is switched on: layer self-attention costs it a large part of what prefill
    /// costs the target, which a long prompt and a short answer never earn back. The last 16 bring nearly all of tau; a quarter of what is still to come, if that is more.
    /// </summary>
    private const int LeastWindow = 16, MostWindow = 64;

    private readonly DraftContext _context;
    private readonly SequenceState _sequence;
    private readonly LevelDraftSession? _network;
    private readonly LookupIndex? _lookup;
    private readonly SpeculationRecord _record;
    private readonly AcceptanceTable _table = new(), _priors = new();
    private readonly Candidates _candidates;
    private readonly TreePlanner _planner;
    private readonly SpeculationBudget _budget = new();
    private readonly DraftTree _last = new();
    private readonly PlainClock _plain;
    private readonly bool _couldPay;
    private readonly double _tableSeconds;
    private LookupMatch _match = LookupMatch.None;
    private int _matchedAt, _levels;
    private bool _drafted, _usedNetwork, _enters;
    private long _started, _ready;

    /// <param name="network">The drafter's own session, which this one owns; null for prompt lookup alone.</param>
    /// <param name="costs">What steps cost here.</param>
    /// <param name="record">What earlier generations learned.</param>
    /// <param name="context">The generation.</param>
    public AdaptiveSession(LevelDraftSession? network, StepCosts costs, SpeculationRecord record, DraftContext context)
    {
        (_context, _sequence, _record) = (context, context.Sequence, record);
        _network = costs.HasNetwork ? network : null;
        _lookup = context.Lookup == LookupMode.Off ? null : new LookupIndex(context.MaxTokens);
        int breadth = network?.Grower.Breadth ?? 0;
        _candidates = new Candidates(breadth + (context.Tree.Depth * ((breadth * breadth) + 1)));
        _planner = new TreePlanner(costs, _table, _candidates);
        (double ratio, double plainScale, bool on, (double Came, double Expected) evidence) = record.Begin(_table, _planner);
        _plain = new PlainClock(_planner.PlainSeconds * plainScale);
        _tableSeconds = _planner.PlainSeconds;
        _couldPay = _network is not null && _planner.CouldPay();
        _budget.Start(_plain.Seconds, context.MaxTokens - context.Sequence.Count, ratio, on && _couldPay, evidence);
        Owned = network;
    }

    /// <summary>The drafter's own session.</summary>
    internal LevelDraftSession? Owned { get; }

    /// <inheritdoc/>
    public override void Observe(in VerifiedRows rows)
    {
        if (rows.IsPrefill)
        {
            // Others look at the prompt when they first draft, so that a text that is not worth it costs nothing.
            if (_network is { NeedsEveryRow: true })
            {
                _network.Observe(rows);
            }

            return;
        }

        int accepted = rows.Count - 1;
        long verified = Stopwatch.GetTimestamp();
        if (_drafted)
        {
            _planner.Verified(_last.Count - 1, Math.Min(_last.Count, _last.LogitRows), OnDemand(rows.HiddenRows), Stopwatch.GetElapsedTime(_ready, verified).TotalSeconds);
            Learn(rows.HiddenRows);
        }

        if (_network is not null && (_usedNetwork || _network.NeedsEveryRow))
        {
            _network.Observe(rows);
        }

        if (_drafted)
        {
            Account(accepted + 1, Stopwatch.GetElapsedTime(_started).TotalSeconds);
        }

        _drafted = false;
    }

    /// <inheritdoc/>
    public override void Draft(DraftTree tree)
    {
        _started = Stopwatch.GetTimestamp();
        ReadOnlySpan<int> tokens = _sequence.Tokens.AsSpan(0, _sequence.Count);
        TokenId root = new(tokens[^1]);

        // The target's own token takes one of the places that are left.
        int room = Math.Min(_context.Tree.Depth - 1, _context.MaxTokens - tokens.Length - 1);
        tree.Reset(root);
        _candidates.Clear();
        _planner.DeepestUseful = room;
        _planner.Worth = Math.Max(1 / _plain.Seconds, _budget.IsOn ? _budget.Rate : 0);
        LookUp(tokens, room);
        bool measured = _plain.IsDue;
        if (measured)
        {
            _candidates.Clear();
        }

        _usedNetwork = _couldPay && !measured && room > 0 && _budget.Next(_planner.ObserveSeconds(Entering()), _context.MaxTokens - tokens.Length) && !LookupDoes();
        _levels = 0;
        if (_usedNetwork)
        {
            _candidates.Clear();
            _planner.Start();
            _enters = _network!.Behind > LeastWindow / 2;
            if (LeavesOut())
            {
                _network.SkipTo(_sequence.Verified - Window);
            }

            _network!.Draft(_planner);
            _levels = _planner.Levels;
            _candidates.AddDrafted(_network.Grower, _table);
            LookUpAgain(tokens, room);
        }

        _planner.Choose(tree, _context.Tree.TotalTokens);
        Keep(tree);
        _drafted = true;
        _ready = Stopwatch.GetTimestamp();
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _record.End(_table, _planner, _budget, _plain.Seconds / _tableSeconds);
        Owned?.Dispose();
        base.Dispose();
    }

    private int Window => Math.Clamp((_context.MaxTokens - _sequence.Count) / 4, LeastWindow, MostWindow);

    /// <summary>Tokens that the network must take in before it can draft.</summary>
    private int Entering() => LeavesOut() ? Window : _network!.Behind;

    /// <summary>Whether tokens are left out for good, with all that the network holds: where it holds nothing, or has not followed for long.</summary>
    private bool LeavesOut() => _network!.CanSkip && _network.Behind > (_network.Behind == _sequence.Verified ? Window : MostWindow);

    private void Account(int tokens, double seconds)
    {
        if (_last.Count == 1 && !_usedNetwork)
        {
            _plain.Plain(seconds);
        }
        else
        {
            _plain.Drafted();
        }

        if (_usedNetwork && _enters)
        {
            _budget.Entered(_plain.Seconds, tokens, seconds);
        }
        else if (_usedNetwork)
        {
            _budget.Drafted(_plain.Seconds, _planner.Expected, tokens, seconds);
        }
        else
        {
            _budget.Plain(_plain.Seconds, tokens);
        }
    }

    private AcceptanceTable LookupTable => _context.Lookup == LookupMode.On ? _priors : _table;

    /// <summary>Judges the last continuation by what has been committed since, and finds the next one.</summary>
    private void LookUp(ReadOnlySpan<int> tokens, int room)
    {
        if (_lookup is null)
        {
            return;
        }

        if (_match.Found)
        {
            for (int i = 0; _matchedAt + i < tokens.Length; i++)
            {
                bool came = tokens[_match.Start + i] == tokens[_matchedAt + i];
                _table.SawLookup(_match.Length, i + 1, came);
                if (!came)
                {
                    break;
                }
            }
        }

        _lookup.Update(tokens);
        (_match, _matchedAt) = (_lookup.Best(tokens), tokens.Length);
        LookUpAgain(tokens, room);
    }

    private void LookUpAgain(ReadOnlySpan<int> tokens, int room)
    {
        if (_match.Found)
        {
            _candidates.AddContinuation(tokens.Slice(_match.Start, Math.Min(room, tokens.Length - _match.Start)), _match.Length, LookupTable);
        }
    }

    /// <summary>Whether the continuation alone is expected to earn more than a step of the network does on average.</summary>
    private bool LookupDoes() =>
        _match.Found && 1 + _planner.Value(_context.Tree.TotalTokens) > _planner.Worth * _plain.Seconds * 1.05;

    private void Keep(DraftTree tree)
    {
        _last.Reset(new TokenId(tree.Tokens[0]));
        _last.LogitRows = tree.LogitRows;
        for (int i = 1; i < tree.Count; i++)
        {
            _last.Add(new NodeIndex(tree.Parents[i]), new TokenId(tree.Tokens[i]), tree.LogProbabilities[i]);
        }
    }

    /// <summary>Nodes of the accepted path whose logits were not among those computed at once.</summary>
    private int OnDemand(ReadOnlySpan<int> path)
    {
        int count = 0;
        foreach (int node in path)
        {
            count += node >= _last.LogitRows ? 1 : 0;
        }

        return count;
    }

    /// <summary>Notes which drafted nodes were accepted.</summary>
    private void Learn(ReadOnlySpan<int> path)
    {
        ulong accepted = 0;
        foreach (int node in path)
        {
            accepted |= 1UL << node;
        }

        for (int node = 1; node < _last.Count; node++)
        {
            if (_candidates.IsDrafted(node))
            {
                _table.SawPath(_last.Depths[node], _candidates.LogProbability(node), (accepted >> node & 1) != 0);
            }
        }

        for (int depth = 0; depth < path.Length && depth < _levels; depth++)
        {
            if (depth == 0 || _candidates.IsExpanded(path[depth]))
            {
                _table.SawChildren(depth + 1, depth + 1 < path.Length && _candidates.IsDrafted(path[depth + 1]));
            }
        }
    }
}
