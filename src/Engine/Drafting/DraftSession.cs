using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Drafting.Adaptive;
using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>What a drafter may see of one generation: the committed tokens and the target's cache of the verified ones.</summary>
internal sealed class SequenceState
{
    private readonly KvCache? _cache;
    private int _verified;

    /// <param name="tokens">Buffer for prompt and output; filled by the decoding loop.</param>
    /// <param name="cache">The target's cache, whose Length is P, the verified tokens; null where the target runs elsewhere.</param>
    public SequenceState(int[] tokens, KvCache? cache) => (Tokens, _cache) = (tokens, cache);

    /// <summary>Committed tokens; the first <see cref="Count"/> are valid. At draft time the last of them is the root, not yet verified.</summary>
    public int[] Tokens { get; }

    /// <summary>Tokens committed.</summary>
    public int Count { get; set; }

    /// <summary>Whether the target runs here.</summary>
    public bool HasTarget => _cache is not null;

    /// <summary>The target's KV cache.</summary>
    public KvCache Cache => _cache ?? throw new InvalidOperationException("the target runs elsewhere, and so does its cache");

    /// <summary>P: tokens whose keys and values are in the target's cache for good. Set only where the target runs elsewhere.</summary>
    public int Verified
    {
        get => _cache?.Length ?? _verified;
        set => _verified = HasTarget ? throw new InvalidOperationException("the target's cache says how many tokens are verified") : value;
    }
}

/// <summary>Rows that a target pass has just verified: positions First..First+Count-1.</summary>
internal readonly ref struct VerifiedRows
{
    /// <summary>Position (= cache row) of the first.</summary>
    public required int First { get; init; }

    /// <summary>How many.</summary>
    public int Count => HiddenRows.Length;

    /// <summary>The target's final normed hidden states of the pass [rows, E].</summary>
    public required Matrix Hidden { get; init; }

    /// <summary>Row of <see cref="Hidden"/> that belongs to each verified token.</summary>
    public required ReadOnlySpan<int> HiddenRows { get; init; }

    /// <summary>Whether the rows are part of a prompt; then the tokens after them (all but the last one's) are already known.</summary>
    public required bool IsPrefill { get; init; }
}

/// <summary>A drafter's state for one generation. Allocates only when created and when a prompt grows a buffer.</summary>
internal abstract class DraftSession : IDisposable
{
    /// <summary>Takes in rows that the target has verified; the target's cache holds them at their positions.</summary>
    public abstract void Observe(in VerifiedRows rows);

    /// <summary>Proposes a tree below the last committed token.</summary>
    public abstract void Draft(DraftTree tree);

    /// <summary>Whether a backend can run its drafting as part of a recorded cycle: <see cref="RecordDraft"/>.</summary>
    public virtual bool CanRecord => false;

    /// <summary>Committed tokens that its own cache has taken in.</summary>
    public virtual int OwnRows => 0;

    /// <summary>Token of each column of the logits it drafts from, where those are not the whole vocabulary's; else null.</summary>
    public virtual int[]? ColumnTokens => null;

    /// <summary>The passes of <see cref="Draft"/>, with rows and choices that <paramref name="plan"/> makes.</summary>
    /// <exception cref="InvalidOperationException"><see cref="CanRecord"/> is false.</exception>
    public virtual void RecordDraft(ICyclePlan plan) => throw NotRecorded();

    /// <summary>The passes of <see cref="Observe"/> for the tokens that a recorded cycle has just verified.</summary>
    /// <param name="plan">The cycle.</param>
    /// <param name="hidden">The target's final normed hidden states of the tree's nodes [nodes, E].</param>
    /// <exception cref="InvalidOperationException"><see cref="CanRecord"/> is false.</exception>
    public virtual void RecordObserve(ICyclePlan plan, Matrix hidden) => throw NotRecorded();

    /// <summary>Takes note of a recorded cycle, after which <paramref name="verified"/> tokens are verified.</summary>
    public virtual void Follow(int verified)
    {
    }

    /// <summary>Whether every verified row must be shown to <see cref="Observe"/>; others catch up from the caches when they draft next.</summary>
    public virtual bool NeedsEveryRow => false;

    /// <summary>Verified tokens it has not taken in, where it can catch up.</summary>
    public virtual int Behind => 0;

    /// <summary>Whether it can draft without having taken in the start of the text.</summary>
    public virtual bool CanSkip => false;

    /// <summary>Leaves out what it has not taken in of the tokens before <paramref name="position"/>, where <see cref="CanSkip"/>: cheaper to enter, a little less often right.</summary>
    public virtual void SkipTo(int position)
    {
    }

    /// <summary>Called with the name and value of each stage, for golden checks.</summary>
    public Action<string, Matrix>? Trace { get; set; }

    /// <summary>Called with a layer's name and the rows it is about to run (tokens, positions, what they see), for golden checks.</summary>
    public Action<string, PassBatch>? TraceRows { get; set; }

    public virtual void Dispose() => GC.SuppressFinalize(this);

    /// <summary>What is thrown where <see cref="CanRecord"/> was not asked.</summary>
    protected InvalidOperationException NotRecorded() => new($"{GetType().Name} can't be part of a recorded cycle: ask {nameof(CanRecord)} first");
}

/// <summary>What a drafter needs to set up a session.</summary>
internal sealed record DraftContext
{
    public required IBackend Backend { get; init; }

    public required LlamaModel Target { get; init; }

    public required SequenceState Sequence { get; init; }

    public required TreeSettings Tree { get; init; }

    /// <summary>How prompt lookup joins a drafter's tree where the tree adapts.</summary>
    public LookupMode Lookup { get; init; }

    /// <summary>Most tokens the sequence will ever hold.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Most rows of one pass (prefill chunk).</summary>
    public required int ChunkRows { get; init; }
}

/// <summary>
/// Rows a pass writes beyond the verified ones while it drafts: one slot for the root's row and breadth slots per deeper level; also the slots
/// of a verification tree.
/// </summary>
internal static class DraftSlack
{
    public static int Rows(TreeSettings? tree) =>
        tree is null ? 1 : Math.Max(DraftTree.MaxNodes, 1 + (tree.Breadth * Math.Max(1, tree.Depth - 1)));
}

/// <summary>Base of the drafters that score levels with a network: MoA, EAGLE-2, independent.</summary>
internal abstract class LevelDraftSession : DraftSession
{
    private readonly int[] _previousPath, _path;
    private readonly int[] _nextToken = new int[1];
    private readonly float[] _nextLogProbability = new float[1];
    private readonly DraftHead? _textHead;
    private readonly int[]? _columnTokens;
    private int _pathLength;

    /// <param name="context">The generation; what its sequence holds already is the text that a trimmed head follows.</param>
    /// <param name="head">The LM head over a trimmed vocabulary; null = the whole one.</param>
    protected LevelDraftSession(DraftContext context, DraftHead? head)
    {
        (Context, TrimmedHead) = (context, head);
        _textHead = head?.OfText(context.Sequence.Tokens.AsSpan(0, context.Sequence.Count));
        _columnTokens = _textHead is null ? head?.Tokens : [.. head!.Tokens, .. _textHead.Tokens];
        Grower = new TreeGrower(context.Backend, context.Tree, ScoredTokens, ColumnTokens);
        Activations = new Activations(context.Backend);
        _previousPath = new int[Grower.Breadth * Grower.Depth];
        _path = new int[Grower.Breadth * Grower.Depth];
    }

    /// <summary>The tree being grown; golden checks read it.</summary>
    public TreeGrower Grower { get; }

    protected DraftContext Context { get; }

    /// <summary>The LM head over a trimmed vocabulary; null = the whole one.</summary>
    protected DraftHead? TrimmedHead { get; }

    /// <summary>Columns of the drafter's logits.</summary>
    protected int ScoredTokens => _columnTokens?.Length ?? Context.Target.HeadRows;

    /// <inheritdoc/>
    public sealed override int[]? ColumnTokens => _columnTokens ?? Context.Target.HeadTokens;

    protected Activations Activations { get; }

    protected IBackend Backend => Context.Backend;

    protected SequenceState Sequence => Context.Sequence;

    /// <summary>Tokens verified, P.</summary>
    protected int Verified => Context.Sequence.Verified;

    /// <summary>Position of the last committed token, which drafting goes on from: P, or beyond where tokens are assumed ahead of the target.</summary>
    protected int Root => Context.Sequence.Count - 1;

    /// <summary>Asked before each level after the first whether it is worth its time, by the level's number (1 = second drafted token); null = always.</summary>
    public Func<int, bool>? KeepGrowing { get; set; }

    /// <summary>Values of state per verified token that <see cref="Receive"/> takes; 0 = none.</summary>
    public virtual int StateSize => 0;

    /// <summary>Takes in the state [count, <see cref="StateSize"/>] of verified tokens first..first+count-1 from a target that runs elsewhere.</summary>
    public virtual void Receive(int first, int count, ReadOnlySpan<float> state)
    {
    }

    /// <summary>
    /// Forgets everything about tokens from position <paramref name="count"/> on, which are all unverified, and makes the root be fed anew. For targets that run elsewhere.
    /// </summary>
    public abstract void Crop(int count);

    /// <summary>
    /// The most likely token after the last one and its log-probability: writing on without the target. The caller appends it to the sequence before it asks again.
    /// </summary>
    public TokenId Next(out float logProbability)
    {
        Backend.TopLogProbabilities(FirstStep(), 1, _nextToken, _nextLogProbability);
        AfterNext();
        logProbability = _nextLogProbability[0];
        return new TokenId(ColumnTokens is { } tokens ? tokens[_nextToken[0]] : _nextToken[0]);
    }

    /// <summary>Prepares for the token after the one <see cref="Next"/> proposes.</summary>
    protected virtual void AfterNext()
    {
    }

    public sealed override void Draft(DraftTree tree)
    {
        TokenId root = new(Sequence.Tokens[Sequence.Count - 1]);
        Grower.Start(root, FirstStep());
        _pathLength = 0;
        for (int level = 1; level < Grower.Depth - 1 && KeepGrowing?.Invoke(level) != false; level++)
        {
            ExtendPaths(level);
            Grower.Grow(NextStep(level));
        }

        Grower.Select(tree);
        AfterDraft();
    }

    /// <summary>What writes the rows while a cycle is recorded, else null: the host does.</summary>
    protected ICyclePlan? Plan { get; private set; }

    public sealed override void RecordDraft(ICyclePlan plan)
    {
        if (!CanRecord)
        {
            throw NotRecorded();
        }

        Plan = plan;
        try
        {
            plan.StartTree(FirstStep());
            for (int level = 1; level < Grower.Depth - 1; level++)
            {
                plan.GrowTree(NextStep(level));
            }

            plan.SelectTree();
        }
        finally
        {
            Plan = null;
        }
    }

    /// <summary>Scores as many levels, each as wide, as <paramref name="policy"/> asks for; the grower holds what was scored.</summary>
    public void Draft(ILevelPolicy policy)
    {
        Grower.Start(new TokenId(Sequence.Tokens[Sequence.Count - 1]), FirstStep());
        _pathLength = 0;
        for (int level = 1; level < Grower.Depth - 1 && policy.Widen(level, Grower) is > 0 and int width; level++)
        {
            Grower.Narrow(width);
            ExtendPaths(level);
            Grower.Grow(NextStep(level));
        }

        AfterDraft();
    }

    /// <summary>Feeds what the drafter has not seen up to and including the root; logits [1, V] of the root.</summary>
    protected abstract Matrix FirstStep();

    /// <summary>Feeds the best of the frontier, whose nodes have depth <paramref name="level"/>; logits [width, V].</summary>
    protected abstract Matrix NextStep(int level);

    /// <summary>Crops caches to what stays valid.</summary>
    protected abstract void AfterDraft();

    /// <summary>Logits [n, scored tokens] from normed hidden states [n, E] by <paramref name="model"/>'s LM head, or the trimmed part of it.</summary>
    protected void Head(LlamaModel model, Matrix hidden, Matrix logits)
    {
        if (TrimmedHead is null)
        {
            model.Head(hidden, logits);
        }
        else
        {
            int trimmed = TrimmedHead.Tokens.Length;
            Backend.MatMul(TrimmedHead.Weight, hidden, logits.SliceColumns(0, trimmed));
            if (_textHead is not null)
            {
                Backend.MatMul(_textHead.Weight, hidden, logits.SliceColumns(trimmed, _textHead.Tokens.Length));
            }
        }
    }

    /// <summary>Slot of frontier node i at a level, counted from the first drafted node: (level-1)*breadth + i.</summary>
    protected int Slot(int level, int i) => ((level - 1) * Grower.Breadth) + i;

    /// <summary>Slots of frontier node i's drafted ancestors, itself last.</summary>
    protected ReadOnlySpan<int> Path(int i) => _path.AsSpan(i * Grower.Depth, _pathLength);

    public override void Dispose()
    {
        Activations.Dispose();
        _textHead?.Dispose();
        base.Dispose();
    }

    private void ExtendPaths(int level)
    {
        int stride = Grower.Depth;
        _path.CopyTo(_previousPath.AsSpan());
        for (int i = 0; i < Grower.Width; i++)
        {
            if (level > 1)
            {
                _previousPath.AsSpan(Grower.FrontierParents[i] * stride, level - 1).CopyTo(_path.AsSpan(i * stride));
            }

            _path[(i * stride) + level - 1] = Slot(level, i);
        }

        _pathLength = level;
    }
}
