using System.Diagnostics;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Decoding;

/// <summary>A checked request: everything that can be wrong with it has been found out before any memory is taken.</summary>
internal sealed record GenerationPlan
{
    public required int[] Prompt { get; init; }

    public required GenerationRequest Request { get; init; }

    /// <summary>Prompt and output never exceed this.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Tokens that end the text.</summary>
    public required int[] EndTokens { get; init; }

    public required Drafter Drafter { get; init; }

    public required Tokenizer? Tokenizer { get; init; }
}

/// <summary>
/// The one decoding loop: draft, verify, accept, compact (paper section 4; moa-architecture section 2). Plain decoding is the same
/// loop with a tree of one node. Verification asks the sampler for the target's token at each visited node and goes on while that token
/// is a child, so the text is what the sampler alone would have written (docs/lossless.md). A row's logits are the same bits whether they
/// are computed for all nodes at once or for a visited node alone: the backend says which is faster. One caller at a time.
/// </summary>
internal sealed class Generation : IDisposable
{
    /// <summary>Rows of one prefill pass: enough to reuse each weight, small enough to stay in cache and to cancel soon.</summary>
    internal const int ChunkRows = 128;

    private readonly IBackend _backend;
    private readonly LlamaModel _target;
    private readonly GenerationPlan _plan;
    private readonly TargetPass _pass;
    private readonly PassBatch _batch;
    private readonly KvCache _cache;
    private readonly SequenceState _sequence;
    private readonly DraftSession _session;
    private readonly TokenSampler _sampler;
    private readonly Detokenizer? _detokenizer;
    private readonly StopStringMatcher? _stopStrings;
    private readonly float[] _logits;
    private readonly int[] _argMax = new int[1];
    private readonly int[] _path = new int[DraftTree.MaxNodes], _pathNodes = new int[DraftTree.MaxNodes];
    private readonly int[] _chunkRows;
    private readonly int[] _accepted;
    private readonly int[] _acceptedPerDepth;
    private readonly bool _drafts;
    private readonly bool _logitsOnDemand;
    private readonly DeviceCycle? _deviceCycle;
    private readonly int _draftDepth;
    private bool _drafterFailed;
    private int _cycles;
    private long _draftedNodes;
    private long _prefillTicks, _draftTicks, _verifyTicks, _otherTicks;

    /// <param name="backend">Where everything runs.</param>
    /// <param name="target">The target model.</param>
    /// <param name="plan">The checked request.</param>
    /// <param name="logitsOnDemand">Whether a node's logits are computed when the walk visits it; null leaves that to the backend. The text is the same.</param>
    public Generation(IBackend backend, LlamaModel target, GenerationPlan plan, bool? logitsOnDemand = null)
    {
        (_backend, _target, _plan) = (backend, target, plan);
        _logitsOnDemand = logitsOnDemand ?? backend.PrefersLogitsOnDemand;
        GenerationRequest request = plan.Request;

        // A backend that runs whole cycles by itself asks nobody between levels, so its trees are of one shape.
        TreeSettings tree = request.Tree is null ? new TreeSettings(2, 1, 1) : request.Tree.Adapts && backend is ICycleBackend ? TreeSettings.Default : request.Tree;
        _drafts = request.Tree is not null && plan.Drafter is not NoDrafter;
        _draftDepth = tree.Depth;
        int slack = DraftSlack.Rows(_drafts ? tree : null), capacity = plan.MaxTokens + slack;
        int[] tokens = new int[plan.MaxTokens];
        plan.Prompt.CopyTo(tokens, 0);
        int maxNew = plan.MaxTokens - plan.Prompt.Length;
        _accepted = new int[maxNew];
        _acceptedPerDepth = new int[tree.Depth];
        _chunkRows = [.. Enumerable.Range(0, ChunkRows)];
        _sampler = new TokenSampler(request.Sampling, target.Config.VocabularySize, plan.Prompt);
        _logits = _sampler.IsPlainArgMax ? [] : new float[target.Config.VocabularySize];
        if (request.StopStrings.Count > 0 && plan.Tokenizer is not null)
        {
            _detokenizer = plan.Tokenizer.CreateDetokenizer();
            _stopStrings = new StopStringMatcher(request.StopStrings);
        }

        try
        {
            // The largest piece first: where a context is more than the machine holds, it refuses before anything else is built.
            _cache = target.CreateCache(capacity);
            target.Rope.Covering(capacity + 1);
            _sequence = new SequenceState(tokens, _cache) { Count = plan.Prompt.Length };
            int treeRows = _drafts ? tree.TotalTokens + 1 : 1;
            _pass = new TargetPass(backend, target, Math.Max(ChunkRows, treeRows), _logitsOnDemand ? Math.Min(DraftTree.MostLogitRows, treeRows) : treeRows);
            _batch = new PassBatch(_pass.MaxRows, treeRows * Math.Min(tree.Depth, DraftTree.MaxNodes));
            DraftContext context = new()
            {
                Backend = backend,
                Target = target,
                Sequence = _sequence,
                Tree = tree,
                MaxTokens = plan.MaxTokens,
                ChunkRows = ChunkRows,
                Lookup = request.Lookup,
            };
            _session = _drafts ? plan.Drafter.Begin(context) : new NoDrafter().CreateSession(context);

            // Penalties depend on tokens that the host counts.
            if (backend is ICycleBackend cycles && logitsOnDemand is null && !request.Sampling.HasPenalties && (!_drafts || _session.CanRecord))
            {
                _deviceCycle = new DeviceCycle(cycles, _pass, _batch, _cache, _session, tree, target.Config.VocabularySize, request.Sampling);
            }
        }
        catch
        {
            _deviceCycle?.Dispose();
            _session?.Dispose();
            _pass?.Dispose();
            _cache?.Dispose();
            throw;
        }
    }

    /// <summary>Committed tokens, prompt first.</summary>
    public ReadOnlySpan<int> Tokens => _sequence.Tokens.AsSpan(0, _sequence.Count);

    /// <summary>Tokens written so far.</summary>
    public int NewTokens => _sequence.Count - _plan.Prompt.Length;

    /// <summary>Why the text ended; null while it goes on.</summary>
    public FinishReason? Finished { get; private set; }

    /// <summary>Text so far where stop strings are watched for: pieces are taken with <see cref="TakeText"/>.</summary>
    public bool WatchesText => _stopStrings is not null;

    /// <summary>Drafted tokens accepted in the last cycle.</summary>
    public int LastAccepted { get; private set; }

    /// <summary>Seconds that the last cycle took by the clock of the device that ran it whole; 0 where the host ran it.</summary>
    internal double DeviceSeconds => _deviceCycle?.LastSeconds ?? 0;

    /// <summary>Most drafted tokens that a cycle run by a device accepts; lowered by measurements that ask for a certain acceptance length.</summary>
    internal int MostAccepted { get; set; } = DraftTree.MaxNodes;

    /// <summary>The last cycle's tree, for golden checks.</summary>
    internal DraftTree Tree { get; } = new();

    internal DraftSession Session => _session;

    internal TargetPass Pass => _pass;

    internal KvCache Cache => _cache;

    /// <summary>Nodes of <see cref="Tree"/> that the last cycle accepted, root excluded.</summary>
    internal ReadOnlySpan<int> AcceptedNodes => _pathNodes.AsSpan(1, LastAccepted);

    /// <summary>Runs the prompt through target and drafter and commits the first token.</summary>
    /// <exception cref="OperationCanceledException">Cancelled between two chunks.</exception>
    public void Prefill(CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        int length = _plan.Prompt.Length;
        for (int first = 0; first < length; first += ChunkRows)
        {
            cancellation.ThrowIfCancellationRequested();
            int begin = first, count = Math.Min(ChunkRows, length - first);
            _backend.Prefill(() => PrefillChunk(begin, count));
        }

        Commit(ChooseAt(_pass.Logits(_batch.Count - 1, 1)));
        LastAccepted = 0;
        _prefillTicks += Stopwatch.GetTimestamp() - start;
    }

    private void PrefillChunk(int first, int count)
    {
        _batch.Clear();
        for (int i = first; i < first + count; i++)
        {
            _batch.AddCausal(_cache, new TokenId(_plan.Prompt[i]), new Position(i), new CacheRow(i));
        }

        _pass.Forward(_batch);
        _cache.Length = first + count;
        if (DrafterSees(first + count))
        {
            _session.Observe(new VerifiedRows { First = first, Hidden = _pass.Hidden, HiddenRows = _chunkRows.AsSpan(0, count), IsPrefill = true });
        }
    }

    /// <summary>One cycle: draft, verify, accept, compact. Commits at least one token. Allocates nothing unless stop strings are watched for.</summary>
    public void Step()
    {
        long start = Stopwatch.GetTimestamp();
        if (_deviceCycle is not null)
        {
            StepOnDevice(_deviceCycle);
            _verifyTicks += Stopwatch.GetTimestamp() - start;
            return;
        }

        int verified = _cache.Length;
        TokenId root = new(_sequence.Tokens[_sequence.Count - 1]);
        if (_drafts && DrafterSees(verified + _draftDepth))
        {
            Draft(root);
        }
        else
        {
            Tree.Reset(root);
        }

        long drafted = Stopwatch.GetTimestamp();
        _batch.Clear();
        TreeRows.Add(_batch, _cache, Tree, verified);
        _pass.Forward(_batch);
        Matrix logits = _pass.Logits(0, _logitsOnDemand ? Math.Min(Tree.LogitRows, Tree.Count) : Tree.Count);
        long verifiedAt = Stopwatch.GetTimestamp();
        int accepted = Accept(logits, out long logitTicks);
        _draftedNodes += Tree.Count - 1;
        if (Finished is null)
        {
            int kept = accepted + 1;
            for (int i = 0; i < kept; i++)
            {
                _path[i] = verified + _pathNodes[i];
            }

            _backend.KeepRows(_cache, new CacheRow(verified), _path.AsSpan(0, kept));
        }

        long acceptedAt = Stopwatch.GetTimestamp();
        if (Finished is null && DrafterSees(_cache.Length))
        {
            _session.Observe(new VerifiedRows { First = verified, Hidden = _pass.Hidden, HiddenRows = _pathNodes.AsSpan(0, accepted + 1), IsPrefill = false });
        }

        long end = Stopwatch.GetTimestamp();
        Count(accepted);
        _draftTicks += drafted - start + (end - acceptedAt);
        _verifyTicks += verifiedAt - drafted + logitTicks;
        _otherTicks += acceptedAt - verifiedAt - logitTicks;
    }

    /// <summary>A cycle that the backend runs whole: its time is counted as verification, of which drafting is a part that no clock of the host sees.</summary>
    private void StepOnDevice(DeviceCycle cycle)
    {
        CycleOutcome outcome = cycle.Run(DrafterSees(_cache.Length + _draftDepth), _sequence, NewTokens, MostAccepted);
        if (outcome.Failed)
        {
            throw NotFinite(null);
        }

        _drafterFailed |= outcome.DrafterFailed;
        _draftedNodes += outcome.TreeNodes - 1;
        int accepted = 0;
        _pathNodes[0] = 0;
        for (int i = 0; i < outcome.Tokens.Length && Finished is null; i++)
        {
            Commit(new TokenId(outcome.Tokens[i]));
            if (i < outcome.Accepted)
            {
                _pathNodes[++accepted] = outcome.Path[i + 1];
            }
        }

        Count(accepted);
    }

    private void Count(int accepted)
    {
        LastAccepted = accepted;
        _accepted[_cycles++] = accepted;
        for (int d = 0; d < accepted; d++)
        {
            _acceptedPerDepth[d]++;
        }
    }

    /// <summary>The rest of a text that is broken off, where stop strings are watched for.</summary>
    public string TakeRest()
    {
        if (Finished is null)
        {
            ReleaseHeldText();
        }

        return TakeText();
    }

    /// <summary>Text that became final since the last call, where stop strings are watched for.</summary>
    public string TakeText()
    {
        string text = _text.ToString();
        _text.Clear();
        return text;
    }

    private readonly System.Text.StringBuilder _text = new();

    /// <summary>Adds time spent outside the loop on the text's behalf (detokenizing).</summary>
    public void AddOtherTicks(long ticks) => _otherTicks += ticks;

    /// <summary>Figures so far.</summary>
    public GenerationStatistics Statistics() => new()
    {
        PromptTokens = _plan.Prompt.Length,
        NewTokens = NewTokens,
        TargetPasses = _cycles,
        Accepted = _accepted[.._cycles],
        AcceptedPerDepth = [.. _acceptedPerDepth],
        DraftedNodes = _draftedNodes,
        PrefillSeconds = Seconds(_prefillTicks),
        DraftSeconds = Seconds(_draftTicks),
        VerifySeconds = Seconds(_verifyTicks),
        OtherSeconds = Seconds(_otherTicks),
    };

    public void Dispose()
    {
        _deviceCycle?.Dispose();
        _session.Dispose();
        _pass.Dispose();
        _cache.Dispose();
    }

    private static double Seconds(long ticks) => ticks / (double)Stopwatch.Frequency;

    /// <summary>A drafter whose numbers overflow (a broken or badly converted checkpoint) is heard no more: the text is the target's with any drafter.</summary>
    private void Draft(TokenId root)
    {
        try
        {
            _session.Draft(Tree);
        }
        catch (ArithmeticException e) when (e is not (DivideByZeroException or OverflowException))
        {
            _drafterFailed = true;
            Tree.Reset(root);
        }
    }

    /// <summary>Beyond its trained length a drafter neither sees nor proposes anything; the text goes on without it.</summary>
    private bool DrafterSees(int end) => _drafts && !_drafterFailed && end <= _plan.Drafter.MaxPosition;

    /// <summary>Walks from the root while the target's token is a child; commits each token. Returns how many were drafted ones.</summary>
    /// <param name="logits">Of the first nodes, or of all; the others' are computed on demand, into the same memory: a path never leads back to the first.</param>
    /// <param name="logitTicks">Time that the walk spends on logits computed on demand.</param>
    private int Accept(Matrix logits, out long logitTicks)
    {
        NodeIndex node = NodeIndex.Root;
        int accepted = 0;
        _pathNodes[0] = 0;
        logitTicks = 0;
        while (true)
        {
            Matrix row;
            if (node.Value >= logits.Rows)
            {
                long start = Stopwatch.GetTimestamp();
                row = _pass.Logits(node.Value, 1);
                logitTicks += Stopwatch.GetTimestamp() - start;
            }
            else
            {
                row = logits.Slice(node.Value, 1);
            }

            TokenId token = ChooseAt(row);
            Commit(token);
            bool drafted = Tree.TryGetChild(node, token, out NodeIndex child);
            if (drafted)
            {
                _pathNodes[++accepted] = child.Value;
                node = child;
            }

            if (!drafted || Finished is not null)
            {
                return accepted;
            }
        }
    }

    private TokenId ChooseAt(Matrix logits)
    {
        try
        {
            if (_sampler.IsPlainArgMax)
            {
                _backend.ArgMax(logits, _argMax);
                return new TokenId(_argMax[0]);
            }

            SamplingOptions sampling = _plan.Request.Sampling;
            if (!sampling.HasPenalties && _backend.TrySample(logits, sampling, NewTokens, out int drawn))
            {
                return new TokenId(drawn);
            }

            _backend.Read(logits, _logits);
            return _sampler.Choose(_logits);
        }
        catch (ArithmeticException e)
        {
            throw NotFinite(e);
        }
    }

    private InputException NotFinite(ArithmeticException? cause) =>
        new($"the model's logits for token {NewTokens} are not finite: its weights hold NaN or infinity, or overflow{(_target.KvType == KvType.F16 ? " (keys and values above 65504 do in f16: use --kv-type f32 or bf16)" : "")}; check the file with 'llspec inspect' and download or convert it again", cause ?? new ArithmeticException("a logit is NaN or infinite"));

    private void Commit(TokenId token)
    {
        _sampler.Commit(token);
        _sequence.Tokens[_sequence.Count++] = token.Value;
        if (Array.IndexOf(_plan.EndTokens, token.Value) >= 0)
        {
            Finished = FinishReason.Stop;
        }

        if (_stopStrings is not null)
        {
            _text.Append(_stopStrings.Push(_detokenizer!.Add(token.Value)));
            if (_stopStrings.Matched)
            {
                Finished = FinishReason.Stop;
            }
        }

        if (Finished is null && _sequence.Count == _plan.MaxTokens)
        {
            Finished = FinishReason.Length;
        }

        if (Finished is not null)
        {
            ReleaseHeldText();
        }
    }

    /// <summary>The text ends here: what was held back, as it might have begun a stop string or a character, is text.</summary>
    private void ReleaseHeldText()
    {
        if (_stopStrings is { Matched: false })
        {
            _text.Append(_stopStrings.Push(_detokenizer!.Flush()));
            if (!_stopStrings.Matched)
            {
                _text.Append(_stopStrings.Flush());
            }
        }
    }
}
