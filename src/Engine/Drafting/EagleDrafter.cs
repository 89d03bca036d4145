using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>EAGLE-2: one Llama layer over fc([embedding(token t+1) ; feature t]), the feature being the target's final normed hidden state.</summary>
internal sealed class EagleDrafter : Drafter
{
    private readonly DrafterFile _file;

    public EagleDrafter(IBackend backend, DrafterFile file, LlamaConfig target, bool alignedMask)
    {
        _file = file;
        AlignedMask = alignedMask;
        EagleTensors tensors = file.Eagle ?? throw new ArgumentException("not an EAGLE-2 checkpoint", nameof(file));
        LayerConfig = tensors.LayerConfig;
        Rope = new RopeTable(LayerConfig.HeadSize, tensors.RopeTheta, target.RopeScaling);
        Layer = new DecoderLayer(backend, tensors.Layer, LayerConfig, tensors.RmsNormEpsilon, Rope);
        Fc = backend.LoadDraftMatrix(tensors.Fc);
        FcBias = tensors.FcBias is null ? null : backend.LoadWeight(tensors.FcBias);
    }

    public override string Kind => "eagle";

    /// <summary>See <see cref="DrafterOptions.AlignedEagleMask"/>.</summary>
    public bool AlignedMask { get; }

    public DecoderLayer Layer { get; }

    public DrafterLayerConfig LayerConfig { get; }

    public RopeTable Rope { get; }

    public Weight Fc { get; }

    public Weight? FcBias { get; }

    internal override DraftSession CreateSession(DraftContext context) => new EagleSession(this, context);

    private protected override void Release() => _file.Dispose();
}

/// <summary>
/// One generation's EAGLE state. Row t of its cache belongs to the feature of position t (with the embedding of token t+1) and RoPE uses t;
/// features of drafted nodes are the layer's own outputs.
/// </summary>
internal sealed class EagleSession : LevelDraftSession
{
    private readonly EagleDrafter _drafter;
    private readonly KvCache _cache;
    private readonly PassBatch _batch;
    private readonly Matrix _input, _x, _features, _pending, _logits;
    private readonly LayerScratch _scratch;
    private readonly int[] _ancestors;
    private readonly Matrix _lastReal;
    private int _pendingCount;

    // Rows of the cache that come from the target's features; more only while tokens are assumed ahead of the target.
    private int _realRows;
    private bool _pendingIsOwn;

    public EagleSession(EagleDrafter drafter, DraftContext context) : base(context, drafter.Head)
    {
        _drafter = drafter;
        LlamaConfig target = context.Target.Config;
        int capacity = context.MaxTokens + DraftSlack.Rows(context.Tree), b = Grower.Breadth;
        int rows = Math.Max(context.ChunkRows, DraftTree.MaxNodes) + 1;
        drafter.Rope.Covering(capacity + 1);
        _cache = Backend.AllocateKvCache(1, drafter.LayerConfig.KvHeads, drafter.LayerConfig.HeadSize, capacity);
        rows = Math.Max(rows, b);
        _batch = new PassBatch(rows, b * (Grower.Depth + 1));
        _input = Activations.Allocate(rows, 2 * target.HiddenSize, "EAGLE fc input");
        _x = Activations.Allocate(rows, target.HiddenSize, "EAGLE layer");
        _features = Activations.Allocate(b, target.HiddenSize, "EAGLE features");
        _pending = Activations.Allocate(rows, target.HiddenSize, "EAGLE pending features");
        _lastReal = Activations.Allocate(1, target.HiddenSize, "EAGLE last feature");
        _logits = Activations.Allocate(b, ScoredTokens, "EAGLE logits");
        _scratch = drafter.Layer.CreateScratch(Activations, rows, "EAGLE layer");
        _ancestors = new int[Grower.Depth + 1];
    }

    /// <summary>Keeps the verified rows' features until the token after each is known; in prefill all but the last are fed at once.</summary>
    public override void Observe(in VerifiedRows rows)
    {
        if (_pendingCount + rows.Count > _pending.Rows)
        {
            // Nothing has been drafted for long; the tokens after all of these are known by now.
            FeedPending(_pendingCount);
        }

        Backend.CopyRows(rows.Hidden, rows.HiddenRows, _pending.Slice(_pendingCount, rows.Count));
        _pendingCount += rows.Count;
        if (rows.IsPrefill)
        {
            FeedPending(_pendingCount - 1);
        }
    }

    public override int StateSize => _x.Columns;

    public override void Receive(int first, int count, ReadOnlySpan<float> state)
    {
        DropOwnFeatures();
        for (int done = 0; done < count;)
        {
            int rows = Math.Min(count - done, _pending.Rows - _pendingCount);
            Backend.Write(state.Slice(done * StateSize, rows * StateSize), _pending.Slice(_pendingCount, rows));
            _pendingCount += rows;
            done += rows;
            Backend.CopyRows(_pending.Slice(_pendingCount - 1, 1), Identity(1), _lastReal);

            // The token after the last of them may not be known yet, so one always waits.
            FeedPending(_pendingCount - 1);
        }
    }

    public override void Crop(int count)
    {
        DropOwnFeatures();
        if (_pendingCount == 0 && _realRows > 0)
        {
            Backend.CopyRows(_lastReal, Identity(1), _pending.Slice(0, 1));
            _pendingCount = 1;
            _realRows = --_cache.Length;
        }
    }

    /// <inheritdoc/>
    public override bool NeedsEveryRow => true;

    public override bool CanRecord => true;

    /// <summary>Its cache's row t holds token t+1 too.</summary>
    public override int OwnRows => _cache.Length + 1;

    public override void RecordObserve(ICyclePlan plan, Matrix hidden) => plan.CopyPath(hidden, _pending.Slice(0, Grower.Depth));

    protected override Matrix FirstStep()
    {
        if (Plan is not null)
        {
            Plan.Fill(_batch, CycleRows.Features, _cache, Grower.Depth);
            Plan.Copy(_pending.Slice(0, Grower.Depth), FeaturePart(Grower.Depth));
            RunLayer(Grower.Depth);
            Plan.CopyLast(_x.Slice(0, Grower.Depth), _features.Slice(0, 1));
            return Score(1);
        }

        int last = _pendingCount - 1;
        FeedPending(_pendingCount);
        while (_cache.Length < Root)
        {
            // Tokens assumed ahead of the target: its features of them are not known, so the layer's own outputs stand in.
            HoldOwnFeature(last);
            FeedPending(1);
            last = 0;
        }

        Backend.CopyRows(_x, [last], _features.Slice(0, 1));
        return Score(1);
    }

    /// <summary>Away from the target its own output stands for the feature of the token it goes on to.</summary>
    protected override void AfterNext()
    {
        Backend.CopyRows(_features.Slice(0, 1), Identity(1), _pending.Slice(0, 1));
        (_pendingCount, _pendingIsOwn) = (1, true);
    }

    private void HoldOwnFeature(int row)
    {
        Backend.CopyRows(_x, [row], _pending.Slice(0, 1));
        (_pendingCount, _pendingIsOwn) = (1, true);
    }

    protected override Matrix NextStep(int level)
    {
        int b = Grower.Width, verified = Root;
        if (Plan is not null)
        {
            Plan.Fill(_batch, _drafter.AlignedMask ? CycleRows.FeatureFrontier : CycleRows.FeatureReference, _cache, b);
            Plan.CopyParents(_features, FeaturePart(b));
            RunLayer(b);
            Plan.Copy(_x.Slice(0, b), _features);
            return Score(b);
        }

        _batch.Clear();
        for (int i = 0; i < b; i++)
        {
            ReadOnlySpan<int> visible = VisibleRows(level, i);
            _batch.AddTree(_cache, new TokenId(Grower.FrontierTokens[i]), new Position(verified - 1 + level), new CacheRow(verified + Slot(level, i)), verified, visible);
        }

        Backend.CopyRows(_features, Grower.FrontierParents[..b], FeaturePart(b));
        RunLayer(b);
        Backend.CopyRows(_x, Identity(b), _features.Slice(0, b));
        return Score(b);
    }

    protected override void AfterDraft() => _cache.Length = Root;

    public override void Dispose()
    {
        _cache.Dispose();
        base.Dispose();
    }

    /// <summary>Feeds the first <paramref name="count"/> pending features with the tokens after them and keeps the rest pending.</summary>
    private void FeedPending(int count)
    {
        int first = _cache.Length;
        if (count > 0)
        {
            _batch.Clear();
            for (int i = 0; i < count; i++)
            {
                _batch.AddCausal(_cache, new TokenId(Sequence.Tokens[first + i + 1]), new Position(first + i), new CacheRow(first + i));
            }

            Backend.CopyRows(_pending, Identity(count), FeaturePart(count));
            RunLayer(count);
            _cache.Length = first + count;
            _realRows = _pendingIsOwn ? _realRows : _cache.Length;
        }

        int rest = _pendingCount - count;
        if (rest > 0 && count > 0)
        {
            Backend.CopyRows(_pending.Slice(count, rest), Identity(rest), _pending.Slice(0, rest));
        }

        _pendingCount = rest;
    }

    private void DropOwnFeatures()
    {
        if (_pendingIsOwn)
        {
            (_pendingCount, _pendingIsOwn) = (0, false);
        }

        _cache.Length = Math.Min(_cache.Length, _realRows);
    }

    private void RunLayer(int count)
    {
        Matrix input = _input.Slice(0, count), x = _x.Slice(0, count);
        Context.Target.Embed(_batch, input.SliceColumns(0, x.Columns));
        Trace?.Invoke("fc_input", input);
        Backend.MatMul(_drafter.Fc, input, x, _drafter.FcBias);
        Trace?.Invoke("fc_output", x);
        TraceRows?.Invoke("layer", _batch);
        _drafter.Layer.Forward(_batch, 0, x, _scratch);
        Trace?.Invoke("layer_output", x);
    }

    /// <summary>Cache rows that frontier node i sees after the verified ones.</summary>
    private ReadOnlySpan<int> VisibleRows(int level, int i)
    {
        int verified = Root, count = 0;
        if (_drafter.AlignedMask)
        {
            foreach (int slot in Path(i))
            {
                _ancestors[count++] = verified + slot;
            }

            return _ancestors.AsSpan(0, count);
        }

        // Reference: its mask has a column for the root, its cache has none (the root's feature is the last verified row), so the mask lies one
        // column too far right: every node sees slot 0, and slot a+1 where it should see slot a; the last column falls off. Golden vectors and
        // the paper's EAGLE-2 figures come from that code; GoldenTests pins it.
        _ancestors[count++] = verified;
        foreach (int slot in Path(i))
        {
            if (slot + 1 < Slot(level, Grower.Breadth))
            {
                _ancestors[count++] = verified + slot + 1;
            }
        }

        return _ancestors.AsSpan(0, count);
    }

    private Matrix Score(int count)
    {
        Matrix logits = _logits.Slice(0, count);
        Head(Context.Target, _features.Slice(0, count), logits);
        Trace?.Invoke("logits", logits);
        return logits;
    }

    private Matrix FeaturePart(int count) => _input.Slice(0, count).SliceColumns(_x.Columns, _x.Columns);

    private static readonly int[] Ascending = [.. Enumerable.Range(0, 4096)];

    private static ReadOnlySpan<int> Identity(int count) => Ascending.AsSpan(0, count);
}
