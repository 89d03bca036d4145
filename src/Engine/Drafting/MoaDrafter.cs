using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>A Mixture-of-Attentions drafter (paper section 3): weights shared by all generations.</summary>
internal sealed class MoaDrafter : Drafter
{
    private readonly DrafterFile _file;

    public MoaDrafter(IBackend backend, DrafterFile file, LlamaModel target, int targetLayerInference)
    {
        _file = file;
        MoaTensors tensors = file.Moa ?? throw new ArgumentException("not a Mixture-of-Attentions checkpoint", nameof(file));
        LlamaConfig config = target.Config;
        if (targetLayerInference < 0 || targetLayerInference > config.Layers)
        {
            throw new InputException($"target layer inference: found {targetLayerInference}, expected 0 to {config.Layers} (the target's layers)");
        }

        TargetLayers = targetLayerInference;
        float epsilon = tensors.RmsNormEpsilon, theta = tensors.RopeTheta;

        // The reference builds SA with the target's RoPE scaling and CA and LSA without (golden README, point 5); checkpoints are trained so.
        SelfAttentionConfig = tensors.SelfAttentionConfig;
        SelfAttention = new DecoderLayer(backend, tensors.SelfAttention, SelfAttentionConfig, epsilon, Table(SelfAttentionConfig, config.RopeScaling));
        CrossAttentionConfig = tensors.CrossAttentionConfig;
        CrossAttention = new DecoderLayer(backend, tensors.CrossAttention, CrossAttentionConfig, epsilon, Table(CrossAttentionConfig, null));
        if (tensors.LayerSelfAttention is not null && tensors.LayerSelfAttentionConfig is not null)
        {
            LayerSelfAttention = new DecoderLayer(backend, tensors.LayerSelfAttention, tensors.LayerSelfAttentionConfig, epsilon, Table(tensors.LayerSelfAttentionConfig, null));
        }

        Ekv2E = backend.LoadMatrix(tensors.Ekv2E);
        Ekv2EBias = backend.LoadWeight(tensors.Ekv2EBias);

        RopeTable Table(DrafterLayerConfig layer, RopeScaling? scaling)
        {
            RopeTable table = new(layer.HeadSize, theta, scaling);
            Tables.Add(table);
            return table;
        }
    }

    public override string Kind => TargetLayers == 0 ? "moa" : $"moa-tli{TargetLayers}";

    /// <summary>N of target layer inference.</summary>
    public int TargetLayers { get; }

    public DecoderLayer SelfAttention { get; }

    public DrafterLayerConfig SelfAttentionConfig { get; }

    public DecoderLayer CrossAttention { get; }

    public DrafterLayerConfig CrossAttentionConfig { get; }

    public DecoderLayer? LayerSelfAttention { get; }

    public Weight Ekv2E { get; }

    public Weight Ekv2EBias { get; }

    /// <summary>RoPE tables to extend before a generation starts, so that a step allocates nothing.</summary>
    public List<RopeTable> Tables { get; } = [];

    internal override DraftSession CreateSession(DraftContext context) => new MoaSession(this, context);

    private protected override void Release() => _file.Dispose();
}

/// <summary>One generation's Mixture-of-Attentions state: the SA cache over all tokens and the CA cache over the verified ones.</summary>
internal sealed class MoaSession : LevelDraftSession
{
    /// <summary>Tokens whose layers LSA mixes at once: 32 tokens x 32 layers are a thousand rows, enough to reuse each weight.</summary>
    private const int LsaTokens = 32;

    private readonly MoaDrafter _drafter;
    private readonly PassBatch _batch;
    private readonly Matrix _x, _last, _logits, _lsa, _lsaMean, _mixed, _normed;
    private readonly LayerScratch _saScratch, _caScratch;
    private readonly LayerScratch? _lsaScratch, _tliScratch;
    private readonly int[] _layerPositions;
    private readonly int[] _ancestors;

    public MoaSession(MoaDrafter drafter, DraftContext context) : base(context)
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
        CrossCache = Backend.AllocateKvCache(1, ca.KvHeads, ca.HeadSize, capacity);
        _batch = new PassBatch(Math.Max(rows, LsaTokens), Grower.Breadth * (Grower.Depth + 1));
        _x = Activations.Allocate(rows, target.HiddenSize, "drafter residual stream");
        _last = Activations.Allocate(Grower.Breadth, target.HiddenSize, "drafter output");
        _normed = Activations.Allocate(Grower.Breadth, target.HiddenSize, "drafter output, normed");
        _logits = Activations.Allocate(Grower.Breadth, target.VocabularySize, "drafter logits");
        _lsa = Activations.Allocate(LsaTokens * target.Layers, target.KvSize, "layer self-attention");
        _lsaMean = Activations.Allocate(LsaTokens, target.KvSize, "layer self-attention mean");
        _mixed = Activations.Allocate(LsaTokens, target.HiddenSize, "mixed target state");
        _saScratch = drafter.SelfAttention.CreateScratch(Activations, rows, "self-attention");
        _caScratch = drafter.CrossAttention.CreateScratch(Activations, Math.Max(LsaTokens, Grower.Breadth), "cross-attention");
        _lsaScratch = drafter.LayerSelfAttention?.CreateScratch(Activations, LsaTokens * target.Layers, "layer self-attention");
        _tliScratch = drafter.TargetLayers == 0 ? null : context.Target.CreateScratch(Activations, Grower.Breadth, "target layer inference");
        _layerPositions = new int[LsaTokens * target.Layers];
        for (int i = 0; i < _layerPositions.Length; i++)
        {
            _layerPositions[i] = i % target.Layers;
        }

        _ancestors = new int[Grower.Depth + 1];
    }

    /// <summary>SA's keys and values of all tokens fed, drafted ones included while drafting.</summary>
    public KvCache SelfCache { get; }

    /// <summary>CA's keys and values of the verified tokens.</summary>
    public KvCache CrossCache { get; }

    /// <summary>LSA, Ekv2E and CA's keys and values for the verified rows; in prefill also SA over the prompt so far.</summary>
    public override void Observe(in VerifiedRows rows)
    {
        for (int done = 0; done < rows.Count; done += LsaTokens)
        {
            MixLayers(rows.First + done, Math.Min(LsaTokens, rows.Count - done));
        }

        CrossCache.Length = rows.First + rows.Count;
        if (rows.IsPrefill)
        {
            FeedSelfAttention(rows.First + rows.Count);
        }
    }

    /// <summary>Mixes the layers of verified tokens first..first+count-1 and stores CA's keys and values (paper section 3.1, 3.2).</summary>
    private void MixLayers(int first, int count)
    {
        int layers = Sequence.Cache.Layers;
        Matrix states = _lsa.Slice(0, count * layers), mean = _lsaMean.Slice(0, count), mixed = _mixed.Slice(0, count);
        Backend.GatherLayers(Sequence.Cache, new CacheRow(first), count, states);
        Trace?.Invoke("lsa.input", states);
        if (_drafter.LayerSelfAttention is not null)
        {
            _drafter.LayerSelfAttention.ForwardGroups(states, layers, _layerPositions.AsSpan(0, count * layers), _lsaScratch!);
        }

        Trace?.Invoke("lsa.output", states);
        Backend.GroupMean(states, layers, mean);
        Trace?.Invoke("lsa.mean", mean);
        Backend.MatMul(_drafter.Ekv2E, mean, mixed, _drafter.Ekv2EBias);
        Trace?.Invoke("ekv2e.output", mixed);
        _batch.Clear();
        for (int i = 0; i < count; i++)
        {
            _batch.AddCausal(CrossCache, new TokenId(Sequence.Tokens[first + i]), new Position(first + i), new CacheRow(first + i));
        }

        _drafter.CrossAttention.StoreCrossKeys(_batch, mixed, _caScratch);
    }

    /// <summary>Runs SA causally over the tokens it has not cached, up to position end-1; returns its rows of the last pass.</summary>
    private Matrix FeedSelfAttention(int end)
    {
        Matrix x = _x.Slice(0, 0);
        while (SelfCache.Length < end)
        {
            int first = SelfCache.Length, count = Math.Min(_x.Rows, end - first);
            _batch.Clear();
            for (int i = first; i < first + count; i++)
            {
                _batch.AddCausal(SelfCache, new TokenId(Sequence.Tokens[i]), new Position(i), new CacheRow(i));
            }

            x = _x.Slice(0, count);
            Context.Target.Embed(_batch.Tokens, x);
            TraceRows?.Invoke("sa", _batch);
            _drafter.SelfAttention.Forward(_batch, 0, x, _saScratch);
            SelfCache.Length = first + count;
            Trace?.Invoke("sa_output", x);
        }

        return x;
    }

    protected override Matrix FirstStep()
    {
        int root = Verified;
        Matrix x = FeedSelfAttention(root + 1);
        Matrix last = _last.Slice(0, 1);
        Backend.CopyRows(x, [x.Rows - 1], last);
        _batch.Clear();
        _batch.AddQuery(CrossCache, new TokenId(Sequence.Tokens[root]), new Position(root), root);
        TraceRows?.Invoke("ca", _batch);
        _drafter.CrossAttention.CrossAttend(_batch, last, _caScratch);
        if (_drafter.TargetLayers > 0)
        {
            _batch.Clear();
            _batch.AddTree(Sequence.Cache, new TokenId(Sequence.Tokens[root]), new Position(root), new CacheRow(root), root, [root]);
        }

        return Score(last);
    }

    protected override Matrix NextStep(int level)
    {
        int b = Grower.Breadth, root = Verified;
        Position position = new(root + level);
        _batch.Clear();
        for (int i = 0; i < b; i++)
        {
            _batch.AddTree(SelfCache, new TokenId(Grower.FrontierTokens[i]), position, new CacheRow(root + 1 + Slot(level, i)), root + 1, Shifted(i, root + 1));
        }

        Matrix x = _last.Slice(0, b);
        Context.Target.Embed(_batch.Tokens, x);
        TraceRows?.Invoke("sa", _batch);
        _drafter.SelfAttention.Forward(_batch, 0, x, _saScratch);
        Trace?.Invoke("sa_output", x);
        _batch.Clear();
        for (int i = 0; i < b; i++)
        {
            _batch.AddQuery(CrossCache, new TokenId(Grower.FrontierTokens[i]), position, root);
        }

        TraceRows?.Invoke("ca", _batch);
        _drafter.CrossAttention.CrossAttend(_batch, x, _caScratch);
        if (_drafter.TargetLayers > 0)
        {
            // Drafted keys go to the target's free rows: the root at P, node slots after it; verification overwrites them.
            _batch.Clear();
            for (int i = 0; i < b; i++)
            {
                ReadOnlySpan<int> path = Path(i);
                _ancestors[0] = root;
                for (int j = 0; j < path.Length; j++)
                {
                    _ancestors[j + 1] = root + 1 + path[j];
                }

                _batch.AddTree(Sequence.Cache, new TokenId(Grower.FrontierTokens[i]), position, new CacheRow(root + 1 + Slot(level, i)), root, _ancestors.AsSpan(0, path.Length + 1));
            }
        }

        return Score(x);
    }

    protected override void AfterDraft() => SelfCache.Length = Verified + 1;

    public override void Dispose()
    {
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

        Context.Target.Head(hidden, logits);
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
