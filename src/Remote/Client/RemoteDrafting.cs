using System.Diagnostics;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Drafting.Adaptive;
using LowLevelSpec.Remote.Protocol;
using Encoding = LowLevelSpec.Remote.Protocol.Encoding;

namespace LowLevelSpec.Remote.Client;

/// <summary>
/// The drafter's side of one remote generation: trees for the next call, tokens ahead of the target, and the target's state as it arrives. A drafter whose
/// numbers overflow, or whose trained length is reached, is heard no more. One caller at a time.
/// </summary>
internal sealed class RemoteDrafting : ILevelPolicy, IDisposable
{
    private readonly ClientModel _model;
    private readonly SequenceState _sequence;
    private readonly LevelDraftSession _session;
    private readonly TreeSettings _settings;
    private readonly CallPlanner? _planner;
    private readonly DraftTree _tree = new();
    private readonly float[] _chain;
    private readonly int _groupSize;
    private float[] _state = [];
    private long _draftStart;
    private bool _failed;
    private bool _fresh;

    /// <param name="model">The client's parts; has a drafter.</param>
    /// <param name="sequence">The text, whose target is elsewhere.</param>
    /// <param name="tree">Largest tree.</param>
    /// <param name="maxTokens">Most tokens of the text.</param>
    /// <param name="planner">Decides depth and width; null = always the largest tree.</param>
    public RemoteDrafting(ClientModel model, SequenceState sequence, TreeSettings tree, int maxTokens, CallPlanner? planner)
    {
        (_model, _sequence, _settings, _planner) = (model, sequence, tree, planner);
        DraftContext context = new()
        {
            Backend = model.Backend,
            Target = model.Head,
            Sequence = sequence,
            Tree = tree,
            MaxTokens = maxTokens,
            ChunkRows = Generation.ChunkRows,
        };
        _session = (LevelDraftSession)model.Drafter!.CreateSession(context);
        _chain = new float[maxTokens];
        _groupSize = StateGroups.Size(model.Drafting, model.Config, (model.Drafter as MoaDrafter)?.CrossAttentionConfig);
    }

    /// <summary>Levels of the last tree.</summary>
    public int Levels { get; private set; }

    /// <summary>Seconds spent on trees.</summary>
    public double Seconds { get; private set; }

    /// <summary>Log-probability of each token of the tail, by its position.</summary>
    public ReadOnlySpan<float> Chain(int first, int count) => _chain.AsSpan(first, count);

    /// <summary>Whether it may draft up to <paramref name="depth"/> tokens from here.</summary>
    public bool CanDraft(int depth) => !_failed && _sequence.Count + depth <= Math.Min(_model.Drafter!.MaxPosition, _sequence.Tokens.Length);

    /// <summary>Draws up a tree below the last token; null where the drafter does not draft.</summary>
    public DraftTree? Draft()
    {
        if (!CanDraft(1))
        {
            return null;
        }

        _draftStart = Stopwatch.GetTimestamp();
        _planner?.BeginDraft();
        Levels = _settings.Depth - 1;
        try
        {
            _session.Crop(_sequence.Count);
            _fresh = false;
            if (_planner is null)
            {
                _session.Draft(_tree);
            }
            else
            {
                _session.Draft(this);
                _session.Grower.Select(_tree);
            }
        }
        catch (ArithmeticException e) when (e is not (DivideByZeroException or OverflowException))
        {
            _failed = true;
            return null;
        }

        TimeSpan spent = Stopwatch.GetElapsedTime(_draftStart);
        Seconds += spent.TotalSeconds;
        _planner?.Drafted(Levels, spent.TotalMilliseconds);
        return _tree;
    }

    /// <inheritdoc/>
    int ILevelPolicy.Widen(int level, TreeGrower grower)
    {
        Levels = level;

        // Deeper than this nothing can be committed: the text or the drafter's trained length ends there.
        if (!CanDraft(level + 1) || !_planner!.WantsLevel(grower.FrontierScores, level, Stopwatch.GetElapsedTime(_draftStart).TotalMilliseconds))
        {
            return 0;
        }

        return _planner.Width(grower.FrontierScores);
    }

    /// <summary>The most likely token after the last one; false where the drafter says none. Its log-probability is kept by position.</summary>
    public bool TryNext(out TokenId token)
    {
        token = default;
        if (!CanDraft(1))
        {
            return false;
        }

        try
        {
            if (!_fresh)
            {
                // Also after a tree: EAGLE's own features and SA's rows begin anew at the root.
                _session.Crop(_sequence.Count);
                _fresh = true;
            }

            token = _session.Next(out float logProbability);
            _chain[_sequence.Count] = logProbability;
            return true;
        }
        catch (ArithmeticException e) when (e is not (DivideByZeroException or OverflowException))
        {
            _failed = true;
            return false;
        }
    }

    /// <summary>The tail has changed other than by <see cref="TryNext"/>'s token: the drafter starts over from the last token that stays.</summary>
    public void TailChanged()
    {
        _session.Crop(_sequence.Count);
        _fresh = true;
    }

    /// <summary>Takes in state of verified tokens first..first+count-1, all committed.</summary>
    /// <exception cref="Models.InputException">The bytes do not fit.</exception>
    public void Receive(Encoding encoding, int first, int count, ReadOnlySpan<byte> values)
    {
        int size = _session.StateSize;
        if (size == 0 || count == 0)
        {
            return;
        }

        if (_state.Length < count * size)
        {
            _state = new float[count * size];
        }

        Span<float> state = _state.AsSpan(0, count * size);
        StateCodec.Decode(encoding, values, state, _groupSize);
        _session.Receive(first, count, state);
        _fresh = false;
    }

    /// <summary>Whether verified tokens come with state.</summary>
    public bool WantsState => _session.StateSize > 0;

    public void Dispose() => _session.Dispose();
}
