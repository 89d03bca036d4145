using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>
/// One generation's Mixture-of-Attentions state, the drafting half: the SA cache over all tokens and the CA cache over the verified ones. Beside the
/// target it mixes the verified tokens' layers itself; away from it the CA cache is filled with what the target's side sends.
/// </summary>
internal sealed class MoaSession : LevelDraftSession
{
    private readonly MoaDrafter _drafter;
    private readonly MoaMixer? _mixer;
    private readonly PassBatch _batch;
    private readonly Matrix _x, _last, _logits, _normed, _keys, _values;
    private readonly float[] _keyValues = [], _valueValues = [];
    private readonly LayerScratch _saScratch, _caScratch;
    private readonly LayerScratch? _tliScratch;
    private readonly int[] _ancestors;

    /// <summary>Tokens at the start of the text that neither cache has rows for.</summary>
    private int _skipped;

    public MoaSession(MoaDrafter drafter, DraftContext context) : base(context, drafter.Head)
    {
        _drafter = drafter;
        LlamaConfig target = context.Target.Config;
        int capacity = context.MaxTokens + DraftSlack.Rows(context.Tree), rows = Math.Max(context.ChunkRows, Grower.Breadth);
        foreach (RopeTable table in drafter.Tables)
        {
            table.Covering(capacity + 1);
        }

        DrafterLayerConfig sa = drafter.SelfAttentionConfig, ca = drafter.CrossAttentionConfig;
        SelfCache = Backend.AllocateKvCache(1, sa.KvHeads, sa.HeadSize, capacity);
        CrossCache = MoaMixer.CreateCrossCache(drafter, Backend, capacity);
        _batch = new PassBatch(rows, Grower.Breadth * (Grower.Depth + 1));
        _x = Activations.Allocate(rows, target.HiddenSize, "drafter residual stream");
        _last = Activations.Allocate(Grower.Breadth, target.HiddenSize, "drafter output");
        _normed = Activations.Allocate(Grower.Breadth, target.HiddenSize, "drafter output, normed");
        _logits = Activations.Allocate(Grower.Breadth, ScoredTokens, "drafter logits");
        _saScratch = drafter.SelfAttention.CreateScratch(Activations, rows, "self-attention");
        _caScratch = drafter.CrossAttention.CreateScratch(Activations, Grower.Breadth, "cross-attention");
        _ancestors = new int[Grower.Depth + 1];
        if (Sequence.HasTarget)
        {
            _mixer = new MoaMixer(drafter, Backend, target);
            _tliScratch = drafter.TargetLayers == 0 ? null : context.Target.CreateScratch(Activations, Grower.Breadth, "target layer inference");
            return;
        }

        if (drafter.TargetLayers > 0)
        {
            throw new InputException($"target layer inference (N = {drafter.TargetLayers}) needs the target's own layers and cache, which are not on this side of the link; use a drafter without it");
        }

        int size = ca.KvHeads * ca.HeadSize;
        _keys = Activations.Allocate(context.ChunkRows, size, "received keys");
        _values = Activations.Allocate(context.ChunkRows, size, "received values");
        _keyValues = new float[context.ChunkRows * size];
        _valueValues = new float[context.ChunkRows * size];
    }

    /// <summary>SA's keys and values of all tokens fed, drafted ones included while drafting.</summary>
    public KvCache SelfCache { get; }

    /// <summary>CA's keys and values of the verified tokens.</summary>
    public KvCache CrossCache { get; }

    public override int StateSize => 2 * CrossCache.KvHeads * CrossCache.HeadSize;

    /// <summary>LSA, Ekv2E and CA's keys and values for the verified rows; in prefill also SA over the prompt so far.</summary>
    public override void Observe(in VerifiedRows rows)
    {
        MixUpTo(rows.First + rows.Count);
        if (rows.IsPrefill)
        {
            FeedSelfAttention(rows.First + rows.Count);
        }
    }

    /// <inheritdoc/>
    public override int Behind => Verified - _skipped - CrossCache.Length;

    /// <inheritdoc/>
    public override bool CanSkip => true;

    /// <inheritdoc/>
    public override void SkipTo(int position)
    {
        if (position > _skipped + CrossCache.Length)
        {
            (_skipped, CrossCache.Length, SelfCache.Length) = (position, 0, 0);
        }
    }

    public override void Receive(int first, int count, ReadOnlySpan<float> state)
    {
        int heads = CrossCache.KvHeads, size = CrossCache.HeadSize;
        for (int done = 0; done < count; done += _keys.Rows)
        {
            int rows = Math.Min(_keys.Rows, count - done);
            _batch.Clear();
            for (int i = 0; i < rows; i++)
            {
                int position = first + done + i;
                _batch.AddCausal(CrossCache, new TokenId(Sequence.Tokens[position]), new Position(position), new CacheRow(position));
                for (int h = 0; h < heads; h++)
                {
                    ReadOnlySpan<float> head = state.Slice(((done + i) * StateSize) + (2 * h * size), 2 * size);
                    head[..size].CopyTo(_keyValues.AsSpan(((i * heads) + h) * size));
                    head[size..].CopyTo(_valueValues.AsSpan(((i * heads) + h) * size));
                }
            }

            Matrix k = _keys.Slice(0, rows), v = _values.Slice(0, rows);
            Backend.Write(_keyValues.AsSpan(0, rows * heads * size), k);
            Backend.Write(_valueValues.AsSpan(0, rows * heads * size), v);
            Backend.StoreKv(_batch, 0, k, v);
        }

        CrossCache.Length = first + count;
    }

    public override void Crop(int count)
    {
        // The root is fed again: its row of the last pass is what drafting starts from.
        SelfCache.Length = Math.Min(SelfCache.Length, Math.Max(0, count - 1 - _skipped));
    }

    public override bool CanRecord => _mixer is not null;

    public override int OwnRows => SelfCache.Length;

    public override void RecordObserve(ICyclePlan plan, Matrix hidden) => (_mixer ?? throw NotRecorded()).Record(plan, Sequence.Cache, CrossCache, Grower.Depth);

    public override void Follow(int verified) => CrossCache.Length = verified;

    /// <summary>Takes in the verified tokens before <paramref name="end"/> that are not in yet: they lie in the target's cache.</summary>
    private void MixUpTo(int end)
    {
        int first = _skipped + CrossCache.Length;
        if (first < end)
        {
            _mixer!.Trace = Trace;
            _mixer.Mix(Sequence.Cache, CrossCache, Sequence.Tokens, first, end - first, _skipped);
        }
    }

    /// <summary>Runs SA causally over the tokens it has not cached, up to position end-1; returns its rows of the last pass.</summary>
    private Matrix FeedSelfAttention(int end)
    {
        if (Plan is not null)
        {
            Plan.Fill(_batch, CycleRows.CatchUp, SelfCache, Grower.Depth);
            return RunSelfAttention(_x.Slice(0, _batch.Count));
        }

        Matrix x = _x.Slice(0, 0);
        while (_skipped + SelfCache.Length < end)
        {
            int first = _skipped + SelfCache.Length, count = Math.Min(_x.Rows, end - first);
            _batch.Clear();
            for (int i = first; i < first + count; i++)
            {
                _batch.AddCausal(SelfCache, new TokenId(Sequence.Tokens[i]), new Position(i), new CacheRow(i - _skipped));
            }

            x = RunSelfAttention(_x.Slice(0, count));
            SelfCache.Length = first + count - _skipped;
        }

        return x;
    }

    /// <summary>Embeds the batch's tokens and runs SA over them, in place.</summary>
    private Matrix RunSelfAttention(Matrix x)
    {
        Context.Target.Embed(_batch, x);
        TraceRows?.Invoke("sa", _batch);
        _drafter.SelfAttention.Forward(_batch, 0, x, _saScratch);
        Trace?.Invoke("sa_output", x);
        return x;
    }

    protected override Matrix FirstStep()
    {
        int root = Root;
        if (_mixer is not null && Plan is null)
        {
            MixUpTo(Verified);
        }

        Matrix x = FeedSelfAttention(root + 1), last = _last.Slice(0, 1);
        if (Plan is not null)
        {
            Plan.CopyLast(x, last);
            Plan.Fill(_batch, CycleRows.LastQuery, CrossCache, 1);
        }
        else
        {
            Backend.CopyRows(x, [x.Rows - 1], last);
            _batch.Clear();
            _batch.AddQuery(CrossCache, new TokenId(Sequence.Tokens[root]), new Position(root), Verified - _skipped);
        }

        TraceRows?.Invoke("ca", _batch);
        _drafter.CrossAttention.CrossAttend(_batch, last, _caScratch);
        if (_drafter.TargetLayers > 0)
        {
            FillTargetRoot(root);
        }

        return Score(last);
    }

    protected override Matrix NextStep(int level)
    {
        FillFrontier(level);
        Matrix x = RunSelfAttention(_last.Slice(0, Grower.Width));
        FillQueries(level);
        TraceRows?.Invoke("ca", _batch);
        _drafter.CrossAttention.CrossAttend(_batch, x, _caScratch);
        if (_drafter.TargetLayers > 0)
        {
            FillTargetFrontier(level);
        }

        return Score(x);
    }

    /// <summary>The root in the target's cache, where its drafted key goes to its own row.</summary>
    private void FillTargetRoot(int root)
    {
        if (Plan is not null)
        {
            Plan.Fill(_batch, CycleRows.TargetRoot, Sequence.Cache, 1);
            return;
        }

        _batch.Clear();
        _batch.AddTree(Sequence.Cache, new TokenId(Sequence.Tokens[root]), new Position(root), new CacheRow(root), root, [root]);
    }

    /// <summary>The frontier in SA's cache.</summary>
    private void FillFrontier(int level)
    {
        if (Plan is not null)
        {
            Plan.Fill(_batch, CycleRows.Frontier, SelfCache, Grower.Breadth);
            return;
        }

        int root = Root, free = root + 1 - _skipped;
        _batch.Clear();
        for (int i = 0; i < Grower.Width; i++)
        {
            _batch.AddTree(
                SelfCache, new TokenId(Grower.FrontierTokens[i]), new Position(root + level), new CacheRow(free + Slot(level, i)), free, Shifted(i, free));
        }
    }

    /// <summary>The frontier as queries over the verified tokens.</summary>
    private void FillQueries(int level)
    {
        if (Plan is not null)
        {
            Plan.Fill(_batch, CycleRows.Query, CrossCache, Grower.Breadth);
            return;
        }

        _batch.Clear();
        for (int i = 0; i < Grower.Width; i++)
        {
            _batch.AddQuery(CrossCache, new TokenId(Grower.FrontierTokens[i]), new Position(Root + level), Verified - _skipped);
        }
    }

    /// <summary>The frontier in the target's free rows: the root at P, node slots after it; verification overwrites them.</summary>
    private void FillTargetFrontier(int level)
    {
        if (Plan is not null)
        {
            Plan.Fill(_batch, CycleRows.TargetFrontier, Sequence.Cache, Grower.Breadth);
            return;
        }

        int root = Root;
        _batch.Clear();
        for (int i = 0; i < Grower.Width; i++)
        {
            ReadOnlySpan<int> path = Path(i);
            _ancestors[0] = root;
            for (int j = 0; j < path.Length; j++)
            {
                _ancestors[j + 1] = root + 1 + path[j];
            }

            _batch.AddTree(
                Sequence.Cache, new TokenId(Grower.FrontierTokens[i]), new Position(root + level), new CacheRow(root + 1 + Slot(level, i)), root, _ancestors.AsSpan(0, path.Length + 1));
        }
    }

    protected override void AfterDraft() => SelfCache.Length = Root + 1 - _skipped;

    public override void Dispose()
    {
        _mixer?.Dispose();
        SelfCache.Dispose();
        CrossCache.Dispose();
        base.Dispose();
    }

    /// <summary>Target layer inference where configured, then the target's LM head. With N = 0 the CA output plays the normed final hidden state.</summary>
    private Matrix Score(Matrix x)
    {
        Trace?.Invoke("ca_output", x);
        Matrix logits = _logits.Slice(0, x.Rows), hidden = x;
        if (_drafter.TargetLayers > 0)
        {
            int layers = Context.Target.Config.Layers;
            Context.Target.RunLayers(_batch, layers - _drafter.TargetLayers, layers, x, _tliScratch!);
            hidden = _normed.Slice(0, x.Rows);
            Context.Target.FinalNorm(x, hidden);
        }

        Head(Context.Target, hidden, logits);
        Trace?.Invoke("logits", logits);
        return logits;
    }

    private ReadOnlySpan<int> Shifted(int i, int firstRow)
    {
        ReadOnlySpan<int> path = Path(i);
        for (int j = 0; j < path.Length; j++)
        {
            _ancestors[j] = firstRow + path[j];
        }

        return _ancestors.AsSpan(0, path.Length);
    }
}
