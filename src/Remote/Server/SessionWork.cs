using System.Diagnostics;
using Google.Protobuf;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Server;

/// <summary>A session's rows in a pass.</summary>
/// <param name="First">First row.</param>
/// <param name="Count">Rows.</param>
/// <param name="IsFill">Whether they run committed tokens; otherwise a tree or one decoding row.</param>
internal readonly record struct RowRange(int First, int Count, bool IsFill);

/// <summary>
/// What a session contributes to a pass and what it takes from it: filling the cache, verifying a tree (the walk of paper section 4: go on while the target's
/// token is a child), decoding. Used by the scheduler's thread alone.
/// </summary>
internal sealed class SessionWork : IDisposable
{
    private readonly IBackend _backend;
    private readonly LlamaModel _target;
    private readonly ServedModel _served;
    private readonly TargetPass _pass;
    private readonly PassBatch _batch;
    private readonly SessionTable _sessions;
    private readonly ServerMetrics _metrics;
    private readonly MoaMixer? _mixer;
    private readonly DraftTree _root = new();
    private readonly int[] _token = new int[1], _pathRows = new int[DraftTree.MaxNodes], _pathNodes = new int[DraftTree.MaxNodes];
    private readonly TensorBuffer _stateBuffer;
    private readonly float[] _state;

    public SessionWork(ServedModel served, TargetPass pass, PassBatch batch, SessionTable sessions, ServerMetrics metrics)
    {
        (_served, _pass, _batch, _sessions, _metrics) = (served, pass, batch, sessions, metrics);
        _backend = served.Model.Backend;
        _target = served.Model.Target;
        _mixer = served.Moa is MoaDrafter moa ? new MoaMixer(moa, _backend, _target.Config) : null;
        int widest = Math.Max(StateSize(Drafting.Moa), StateSize(Drafting.Eagle));
        _stateBuffer = _backend.Allocate((long)batch.Capacity * widest, "state to send");
        _state = new float[batch.Capacity * widest];
    }

    /// <summary>Values of state per token.</summary>
    public int StateSize(Drafting drafting) => drafting switch
    {
        Drafting.Moa => _served.Moa is MoaDrafter moa ? 2 * moa.CrossAttentionConfig.KvHeads * moa.CrossAttentionConfig.HeadSize : 0,
        Drafting.Eagle => _target.Config.HiddenSize,
        _ => 0,
    };

    /// <summary>Makes sure that the session's job can run: it is wanted and has its caches. Otherwise says how it ends.</summary>
    public Ending? Prepare(TargetSession session)
    {
        Job job = session.Job!;
        if (session.GiveUpIfAbandoned())
        {
            // Of a Write the tokens written so far stay: the client asks for the rest anew.
            bool partly = job.Kind == JobKind.Write && session.StoredAnswer().Length > 0;
            if (partly)
            {
                session.CloseAnswer();
            }

            return new Ending(null, Answered: partly);
        }

        if (session.Cache is not null && session.Cache.Capacity < session.MaxTokens + DraftTree.MaxNodes)
        {
            _sessions.Release(session);
        }

        if (session.Cache is null && CacheBytes(session) is long bytes && bytes > _sessions.KvBudget)
        {
            _metrics.Refused("memory");
            return Ending.Refusal(
                job.RequestId, Refusal.BadRequest,
                $"keys and values of {session.MaxTokens} tokens take {bytes} bytes, of which the server has {_sessions.KvBudget}; ask for fewer tokens (--max-new), or start the server with a larger --kv-budget");
        }

        if (session.Cache is null && !TryCreateCaches(session))
        {
            _metrics.Refused("memory");
            return Ending.Refusal(job.RequestId, Refusal.Busy, "all key/value memory is in use by other sessions; try again", retryMs: 200);
        }

        return null;
    }

    /// <summary>Adds rows to the pass: up to <paramref name="chunk"/> of committed tokens, or a tree where <paramref name="room"/> is enough; null where nothing fits.</summary>
    public RowRange? TryAddRows(TargetSession session, int chunk, int room)
    {
        Job job = session.Job!;
        KvCache cache = session.Cache!;
        int first = _batch.Count, fill = job.Kind == JobKind.Start ? session.Count : session.Verified;
        if (cache.Length < fill)
        {
            int count = Math.Min(chunk, fill - cache.Length);
            for (int i = cache.Length; i < cache.Length + count; i++)
            {
                _batch.AddCausal(cache, new TokenId(session.Tokens[i]), new Position(i), new CacheRow(i));
            }

            return count == 0 ? null : new RowRange(first, count, IsFill: true);
        }

        DraftTree tree = job.Tree ?? _root;
        if (job.Tree is null)
        {
            _root.Reset(new TokenId(session.Tokens[session.Count - 1]));
        }

        if (tree.Count > room)
        {
            return null;
        }

        TreeRows.Add(_batch, cache, tree, session.Verified);
        return new RowRange(first, tree.Count, IsFill: false);
    }

    /// <summary>Takes the results of a pass: commits, compacts, mixes, answers. Says how the job ends where it does.</summary>
    /// <param name="session">Whose.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="passStart">When the pass began, in ticks of <see cref="Stopwatch"/>.</param>
    /// <param name="passSeconds">How long it took.</param>
    /// <param name="passRows">Rows of the pass, all sessions together.</param>
    public Ending? Finish(TargetSession session, RowRange rows, long passStart, double passSeconds, int passRows)
    {
        Job job = session.Job!;
        double queued = Math.Max(0, (passStart - job.WaitingSince) / (double)Stopwatch.Frequency);
        _metrics.Queued(queued);
        Result result = new() { RequestId = job.RequestId, PassUs = Micro(passSeconds), QueueUs = Micro(queued), PassRows = (uint)passRows };
        try
        {
            bool ends = rows.IsFill ? Fill(session, rows, result) : Walk(session, rows, result);
            job.WaitingSince = Stopwatch.GetTimestamp();
            return ends ? new Ending(Counted(new ServerMessage { Result = result }), Answered: true) : null;
        }
        catch (ArithmeticException)
        {
            _metrics.Refused("model");
            return Ending.Refusal(job.RequestId, Refusal.Model, "the model's logits are not finite: its weights hold NaN or infinity, or overflow; the server's model needs replacing");
        }
    }

    public void Dispose()
    {
        _mixer?.Dispose();
        _stateBuffer.Dispose();
    }

    private MoaDrafter? MoaOf(TargetSession session) => session.Drafting == Drafting.Moa ? _served.Moa : null;

    /// <summary>Bytes of a session's keys and values, the drafter's included.</summary>
    private long CacheBytes(TargetSession session)
    {
        int capacity = session.MaxTokens + DraftTree.MaxNodes;
        return _target.CacheBytes(capacity)
            + (MoaOf(session) is { CrossAttentionConfig: var cross } ? _backend.KvCacheBytes(1, cross.KvHeads, cross.HeadSize, capacity) : 0);
    }

    private bool TryCreateCaches(TargetSession session)
    {
        int capacity = session.MaxTokens + DraftTree.MaxNodes;
        MoaDrafter? moa = MoaOf(session);
        if (!_sessions.TryReserve(session, CacheBytes(session)))
        {
            return false;
        }

        try
        {
            session.Cache = _target.CreateCache(capacity);
            session.CrossCache = moa is null ? null : MoaMixer.CreateCrossCache(moa, _backend, capacity);
        }
        catch (Exception e) when (e is InputException or OutOfMemoryException)
        {
            _sessions.Release(session);
            return false;
        }

        _target.Rope.Covering(capacity + 1);
        moa?.Tables.ForEach(table => table.Covering(capacity + 1));
        return true;
    }

    /// <summary>Committed tokens were run: mix, send their state, and after the last choose the next token.</summary>
    private bool Fill(TargetSession session, RowRange rows, Result result)
    {
        Job job = session.Job!;
        KvCache cache = session.Cache!;
        int first = cache.Length, end = first + rows.Count;
        cache.Length = end;
        if (session.CrossCache is KvCache cross)
        {
            _mixer!.Mix(cache, cross, session.Tokens, first, rows.Count);
        }

        int send = Math.Max(first, job.KnownState);
        if (job.Kind == JobKind.Start && send < end && StateSize(session.Drafting) > 0)
        {
            ByteString values = State(session, send, end - send, rows.First + send - first);
            Send(session, new ServerMessage { State = new State { RequestId = job.RequestId, First = (uint)send, Count = (uint)(end - send), Values = values } });
        }

        if (job.Kind != JobKind.Start || end < session.Count)
        {
            return false;
        }

        session.Verified = session.Count;
        Commit(session, Choose(rows.First + rows.Count - 1), result);
        result.Verified = (uint)session.Verified;
        result.Finish = session.Finish;
        return true;
    }

    /// <summary>A tree or a decoding row was run.</summary>
    private bool Walk(TargetSession session, RowRange rows, Result result)
    {
        Job job = session.Job!;
        int verified = session.Verified, accepted = 0;
        NodeIndex node = NodeIndex.Root;
        _pathNodes[0] = 0;
        while (true)
        {
            TokenId token = Choose(rows.First + node.Value);
            bool drafted = job.Tree is DraftTree tree && tree.TryGetChild(node, token, out node);
            if (!drafted)
            {
                Commit(session, token, result);
                break;
            }

            _pathNodes[++accepted] = node.Value;
            result.Accepted.Add((uint)node.Value);
            Append(session, token);
            if (session.Finish != Protocol.Finish.None)
            {
                break;
            }
        }

        for (int i = 0; i <= accepted; i++)
        {
            _pathRows[i] = verified + _pathNodes[i];
        }

        _backend.KeepRows(session.Cache!, new CacheRow(verified), _pathRows.AsSpan(0, accepted + 1));
        session.Verified = verified + accepted + 1;
        if (session.CrossCache is KvCache cross)
        {
            _mixer!.Mix(session.Cache!, cross, session.Tokens, verified, accepted + 1);
        }

        if (job.Kind == JobKind.Verify && session.Finish == Protocol.Finish.None && StateSize(session.Drafting) > 0)
        {
            result.Values = StateOfPath(session, verified, accepted + 1, rows.First);
        }

        job.Remaining--;
        bool done = job.Kind == JobKind.Verify || session.Finish != Protocol.Finish.None || job.Remaining == 0;
        result.Verified = (uint)session.Verified;
        result.Finish = session.Finish;
        result.Last = done;
        _metrics.Verified(accepted + 1, rows.Count - 1);
        if (!done)
        {
            Send(session, new ServerMessage { Result = result });
        }

        return done;
    }

    private TokenId Choose(int row)
    {
        _backend.ArgMax(_pass.Logits(row, 1), _token);
        return new TokenId(_token[0]);
    }

    private static void Commit(TargetSession session, TokenId token, Result result)
    {
        Append(session, token);
        result.Next = (uint)token.Value;
    }

    private static void Append(TargetSession session, TokenId token)
    {
        session.Tokens[session.Count++] = token.Value;
        session.Finish = Array.IndexOf(session.EndTokens, token.Value) >= 0 ? Protocol.Finish.Stop
            : session.Count == session.MaxTokens ? Protocol.Finish.Length
            : Protocol.Finish.None;
    }

    /// <summary>State of consecutive tokens; hidden states come from rows <paramref name="passRow"/> on of the pass.</summary>
    private ByteString State(TargetSession session, int first, int count, int passRow)
    {
        Matrix values = session.Drafting == Drafting.Moa ? Gathered(session, first, count) : _pass.Hidden.Slice(passRow, count);
        return Encode(session, values);
    }

    /// <summary>State of the accepted path, whose hidden states are scattered over the pass.</summary>
    private ByteString StateOfPath(TargetSession session, int first, int count, int passRow)
    {
        if (session.Drafting == Drafting.Moa)
        {
            return Encode(session, Gathered(session, first, count));
        }

        Matrix values = StateRows(session, count);
        for (int i = 0; i < count; i++)
        {
            _pathRows[i] = passRow + _pathNodes[i];
        }

        _backend.CopyRows(_pass.Hidden, _pathRows.AsSpan(0, count), values);
        return Encode(session, values);
    }

    private Matrix Gathered(TargetSession session, int first, int count)
    {
        // One layer's heads as [K_h ; V_h], which is how they travel.
        Matrix values = StateRows(session, count);
        _backend.GatherLayers(session.CrossCache!, new CacheRow(first), count, values);
        return values;
    }

    private Matrix StateRows(TargetSession session, int count)
    {
        int size = StateSize(session.Drafting);
        return new Matrix(_stateBuffer, 0, count, size, size);
    }

    private ByteString Encode(TargetSession session, Matrix values)
    {
        Span<float> host = _state.AsSpan(0, values.Rows * values.Columns);
        _backend.Read(values, host);
        return UnsafeByteOperations.UnsafeWrap(StateCodec.Encode(session.Encoding, host, GroupSize(session.Drafting)));
    }

    /// <summary>Values that share a scale in <see cref="Encoding.Int8"/>.</summary>
    private int GroupSize(Drafting drafting) => StateGroups.Size(drafting, _target.Config, _served.Moa?.CrossAttentionConfig);

    private void Send(TargetSession session, ServerMessage message) => session.Answer(Counted(message));

    private ServerMessage Counted(ServerMessage message)
    {
        _metrics.BytesDown(message.CalculateSize());
        return message;
    }

    private static uint Micro(double seconds) => (uint)Math.Min(uint.MaxValue, seconds * 1e6);
}
