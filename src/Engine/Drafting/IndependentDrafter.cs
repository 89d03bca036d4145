using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>A small Llama of its own with the target's vocabulary, drafting a tree like the others.</summary>
internal sealed class IndependentDrafter : Drafter
{
    private readonly DrafterFile _file;

    public IndependentDrafter(IBackend backend, DrafterFile file)
    {
        _file = file;
        Model = new LlamaModel(backend, file.Independent ?? throw new ArgumentException("not a Llama checkpoint", nameof(file)));
    }

    public override string Kind => "independent";

    public LlamaModel Model { get; }

    internal override DraftSession CreateSession(DraftContext context) => new IndependentSession(Model, Head, context);

    private protected override void Release() => _file.Dispose();
}

/// <summary>One generation's state of an independent drafter: its own KV cache over all tokens fed.</summary>
internal sealed class IndependentSession : LevelDraftSession
{
    private readonly LlamaModel _model;
    private readonly KvCache _cache;
    private readonly TargetPass _pass;
    private readonly PassBatch _batch;
    private readonly Matrix _logits, _last;
    private readonly int[] _ancestors;

    public IndependentSession(LlamaModel model, DraftHead? head, DraftContext context) : base(context, head)
    {
        _model = model;
        int capacity = context.MaxTokens + DraftSlack.Rows(context.Tree), rows = Math.Max(context.ChunkRows, Grower.Breadth);
        model.Rope.Covering(capacity + 1);
        _cache = model.CreateCache(capacity);
        _pass = new TargetPass(Backend, model, rows, 1);
        _logits = Activations.Allocate(Grower.Breadth, ScoredTokens, "independent drafter logits");
        _last = Activations.Allocate(1, model.Config.HiddenSize, "independent drafter output");
        _batch = new PassBatch(rows, Grower.Breadth * (Grower.Depth + 1));
        _ancestors = new int[Grower.Depth + 1];
    }

    public override void Observe(in VerifiedRows rows)
    {
        if (rows.IsPrefill)
        {
            Feed(rows.First + rows.Count);
        }
    }

    /// <inheritdoc/>
    public override int Behind => Math.Max(0, Verified - _cache.Length);

    public override bool CanRecord => true;

    public override int OwnRows => _cache.Length;

    /// <summary>Nothing: it takes verified tokens in when it drafts next.</summary>
    public override void RecordObserve(ICyclePlan plan, Matrix hidden)
    {
    }

    protected override Matrix FirstStep()
    {
        if (Plan is null)
        {
            Feed(Root + 1);
            return Score(_pass.Hidden.Slice(_batch.Count - 1, 1));
        }

        Plan.Fill(_batch, CycleRows.CatchUp, _cache, Grower.Depth);
        _pass.Forward(_batch);
        Plan.CopyLast(_pass.Hidden, _last);
        return Score(_last);
    }

    protected override Matrix NextStep(int level)
    {
        FillFrontier(level);
        _pass.Forward(_batch);
        return Score(_pass.Hidden);
    }

    private void FillFrontier(int level)
    {
        if (Plan is not null)
        {
            Plan.Fill(_batch, CycleRows.Frontier, _cache, Grower.Breadth);
            return;
        }

        int root = Root;
        _batch.Clear();
        for (int i = 0; i < Grower.Width; i++)
        {
            ReadOnlySpan<int> path = Path(i);
            for (int j = 0; j < path.Length; j++)
            {
                _ancestors[j] = root + 1 + path[j];
            }

            _batch.AddTree(_cache, new TokenId(Grower.FrontierTokens[i]), new Position(root + level), new CacheRow(root + 1 + Slot(level, i)), root + 1, _ancestors.AsSpan(0, path.Length));
        }
    }

    private Matrix Score(Matrix hidden)
    {
        Matrix logits = _logits.Slice(0, hidden.Rows);
        Head(_model, hidden, logits);
        return logits;
    }

    protected override void AfterDraft() => _cache.Length = Root + 1;

    public override void Crop(int count) => _cache.Length = Math.Min(_cache.Length, Math.Max(0, count - 1));

    public override void Dispose()
    {
        _cache.Dispose();
        _pass.Dispose();
        base.Dispose();
    }

    private void Feed(int end)
    {
        while (_cache.Length < end)
        {
            int first = _cache.Length, count = Math.Min(_pass.MaxRows, end - first);
            _batch.Clear();
            for (int i = first; i < first + count; i++)
            {
                _batch.AddCausal(_cache, new TokenId(Sequence.Tokens[i]), new Position(i), new CacheRow(i));
            }

            _pass.Forward(_batch);
            _cache.Length = first + count;
        }
    }
}
