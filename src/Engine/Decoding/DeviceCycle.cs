using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.Engine.Decoding;

/// <summary>
/// A generation's cycles where the backend runs them whole: the same passes as the host's loop makes (draft, verify, accept, compact, observe), recorded once and
/// repeated. The host launches a cycle, waits once and reads what was committed.
/// </summary>
internal sealed class DeviceCycle : IDisposable
{
    private readonly ICyclePlan _plan;
    private readonly TargetPass _pass;
    private readonly PassBatch _batch;
    private readonly KvCache _cache;
    private readonly DraftSession _session;
    private readonly int _treeNodes;
    private readonly Dictionary<int, IDisposable> _drafting = [];
    private IDisposable? _plain;
    private bool _isStarted;

    /// <param name="backend">The backend.</param>
    /// <param name="pass">The target.</param>
    /// <param name="batch">The target's rows.</param>
    /// <param name="cache">The target's cache.</param>
    /// <param name="session">What drafts.</param>
    /// <param name="tree">Shape of the trees.</param>
    /// <param name="vocabulary">V, which the drafter scores where its head is not trimmed.</param>
    /// <param name="sampling">How tokens are chosen.</param>
    public DeviceCycle(ICycleBackend backend, TargetPass pass, PassBatch batch, KvCache cache, DraftSession session, TreeSettings tree, int vocabulary, SamplingOptions sampling)
    {
        (_pass, _batch, _cache, _session) = (pass, batch, cache, session);
        int columns = session.ColumnTokens?.Length ?? vocabulary, breadth = Math.Min(tree.Breadth, columns), scored = breadth + ((tree.Depth - 2) * breadth * breadth);
        _treeNodes = Math.Min(tree.TotalTokens, scored) + 1;
        _plan = backend.CreateCycle(tree, columns, session.ColumnTokens, sampling);
    }

    /// <summary>Seconds that the last cycle took by the device's clock.</summary>
    public double LastSeconds => _plan.LastSeconds;

    /// <summary>Runs a cycle.</summary>
    /// <param name="drafts">Whether anything is drafted; false verifies the root alone. Once false, it stays so.</param>
    /// <param name="sequence">The committed tokens; read where a first cycle begins.</param>
    /// <param name="written">Tokens written so far.</param>
    /// <param name="mostAccepted">Most drafted tokens to accept.</param>
    public CycleOutcome Run(bool drafts, SequenceState sequence, int written, int mostAccepted)
    {
        if (!_isStarted)
        {
            _plan.Start(sequence.Verified, new TokenId(sequence.Tokens[sequence.Count - 1]), written, _session.OwnRows);
            _isStarted = true;
        }

        CycleOutcome outcome = _plan.Run(drafts ? Drafting(mostAccepted) : _plain ??= _plan.Record(RecordPlain));
        if (!outcome.Failed)
        {
            _cache.Length = outcome.Verified;
            if (drafts)
            {
                _session.Follow(outcome.Verified);
            }
        }

        return outcome;
    }

    public void Dispose()
    {
        foreach (IDisposable recording in _drafting.Values)
        {
            recording.Dispose();
        }

        _plain?.Dispose();
        _plan.Dispose();
    }

    private IDisposable Drafting(int mostAccepted)
    {
        if (!_drafting.TryGetValue(mostAccepted, out IDisposable? recording))
        {
            _drafting[mostAccepted] = recording = RecordDrafting(mostAccepted);
        }

        return recording;
    }

    // Apart, because what a lambda captures is allocated when its method begins, and a cycle that is recorded already allocates nothing.
    private IDisposable RecordDrafting(int mostAccepted) => _plan.Record(() =>
    {
        _session.RecordDraft(_plan);
        RecordVerification(_treeNodes, mostAccepted);
        _session.RecordObserve(_plan, _pass.Hidden);
    });

    private void RecordPlain()
    {
        _plan.RootTree();
        RecordVerification(1, 0);
    }

    private void RecordVerification(int nodes, int mostAccepted)
    {
        _plan.Fill(_batch, CycleRows.Verify, _cache, nodes);
        _pass.Forward(_batch);
        _plan.Accept(_pass.Logits(0, nodes), mostAccepted);
        _plan.KeepPath(_cache);
    }
}
