using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>
/// A drafter on another device than the target's. Of a Mixture-of-Attentions drafter layer self-attention stays beside the target's cache, which only the target's backend can
/// read; CA's keys and values of the verified tokens (or EAGLE's features) are all that crosses, as between a server and a client.
/// </summary>
internal sealed class DeviceDrafter : Drafter
{
    private readonly IBackend _device;
    private readonly MoaDrafter? _beside;
    private readonly Drafter _drafting;
    private readonly LlamaModel _ends;

    private DeviceDrafter(IBackend device, LlamaModel ends, MoaDrafter? beside, Drafter drafting) =>
        (_device, _ends, _beside, _drafting) = (device, ends, beside, drafting);

    public override string Kind => _drafting.Kind;

    public override string? DeviceName => _device.Name;

    /// <summary>Opens a checkpoint for a device of its own.</summary>
    /// <param name="backend">The target's.</param>
    /// <param name="target">The target.</param>
    /// <param name="tensors">The target's tensors: the device gets its own copy of embeddings and LM head.</param>
    /// <param name="device">The device; owned by the drafter from here on, also where opening fails.</param>
    /// <param name="path">Checkpoint.</param>
    /// <param name="options">How it is opened.</param>
    /// <exception cref="InputException">No such checkpoint, target layer inference, or too little memory on the device.</exception>
    public static DeviceDrafter Open(IBackend backend, LlamaModel target, LlamaTensors tensors, IBackend device, string path, DrafterOptions options)
    {
        Drafter? drafting = null;
        try
        {
            LlamaModel ends = new(device, tensors, endsOnly: true);
            drafting = Drafters.OpenCheckpoint(device, ends, tensors, path, options);
            if (drafting is not MoaDrafter moa)
            {
                return new DeviceDrafter(device, ends, null, drafting) { MaxPosition = drafting.MaxPosition };
            }

            return moa.TargetLayers > 0
                ? throw new InputException($"{path}: target layer inference (N = {moa.TargetLayers}) runs the target's own layers, which are not on {device.Name}; take --drafter-device cpu")
                : new DeviceDrafter(device, ends, moa.OnBackend(backend, target), moa) { MaxPosition = moa.MaxPosition };
        }
        catch
        {
            drafting?.Dispose();
            device.Dispose();
            throw;
        }
    }

    internal override DraftSession CreateSession(DraftContext context) => new DeviceDraftSession(_device, _ends, _beside, _drafting, context);

    private protected override void Release()
    {
        // The checkpoint's file, which the half beside the target reads too, is the drafting half's.
        _drafting.Dispose();
        _device.Dispose();
    }
}

/// <summary>One generation's drafter on another device: hands over the verified tokens' state and lets the session there draft.</summary>
internal sealed class DeviceDraftSession : DraftSession
{
    private readonly DraftContext _context;
    private readonly SequenceState _sequence;
    private readonly LevelDraftSession _session;
    private readonly MoaMixer? _mixer;
    private readonly KvCache? _crossCache;
    private readonly Activations _activations;
    private readonly Matrix _rows;
    private readonly float[] _state = [];

    public DeviceDraftSession(IBackend device, LlamaModel ends, MoaDrafter? beside, Drafter drafting, DraftContext context)
    {
        _context = context;
        _sequence = new SequenceState(context.Sequence.Tokens, null);
        _activations = new Activations(context.Backend);
        _session = (LevelDraftSession)drafting.CreateSession(new DraftContext
        {
            Backend = device,
            Target = ends,
            Sequence = _sequence,
            Tree = context.Tree,
            MaxTokens = context.MaxTokens,
            ChunkRows = context.ChunkRows,
        });
        try
        {
            if (_session.StateSize == 0)
            {
                return;
            }

            _state = new float[context.ChunkRows * _session.StateSize];
            _rows = _activations.Allocate(context.ChunkRows, _session.StateSize, "state of verified tokens");
            if (beside is not null)
            {
                _mixer = new MoaMixer(beside, context.Backend, context.Target.Config);
                _crossCache = MoaMixer.CreateCrossCache(beside, context.Backend, context.MaxTokens + DraftSlack.Rows(context.Tree));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override void Observe(in VerifiedRows rows)
    {
        _mixer?.Mix(_context.Sequence.Cache, _crossCache!, _context.Sequence.Tokens, rows.First, rows.Count);
        for (int done = 0; _session.StateSize > 0 && done < rows.Count; done += _rows.Rows)
        {
            int count = Math.Min(_rows.Rows, rows.Count - done);
            Matrix part = _rows.Slice(0, count);
            if (_crossCache is not null)
            {
                // One layer's heads as [K_h ; V_h], which is how they cross.
                _context.Backend.GatherLayers(_crossCache, new CacheRow(rows.First + done), count, part);
            }
            else
            {
                _context.Backend.CopyRows(rows.Hidden, rows.HiddenRows.Slice(done, count), part);
            }

            Span<float> state = _state.AsSpan(0, count * _session.StateSize);
            _context.Backend.Read(part, state);
            _sequence.Count = _context.Sequence.Count;
            _session.Receive(rows.First + done, count, state);
        }

        _sequence.Verified = rows.First + rows.Count;
    }

    public override void Draft(DraftTree tree)
    {
        _sequence.Count = _context.Sequence.Count;
        _session.Draft(tree);
    }

    public override void Dispose()
    {
        _session.Dispose();
        _mixer?.Dispose();
        _crossCache?.Dispose();
        _activations.Dispose();
        base.Dispose();
    }
}
