using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>
/// The half of a Mixture-of-Attentions drafter that sits beside the target: layer self-attention, Ekv2E and CA's keys and values of verified
/// tokens (paper sections 3.1, 3.2). What it leaves in the cross cache is all that the drafting half needs to see of the target.
/// Allocates only when created.
/// </summary>
internal sealed class MoaMixer : IDisposable
{
    /// <summary>Tokens whose layers LSA mixes at once: 32 tokens x 32 layers are a thousand rows, enough to reuse each weight.</summary>
    internal const int TokensAtOnce = 32;

    private readonly MoaDrafter _drafter;
    private readonly IBackend _backend;
    private readonly Activations _activations;
    private readonly PassBatch _batch = new(TokensAtOnce, 0);
    private readonly Matrix _states, _mean, _mixed;
    private readonly LayerScratch _caScratch;
    private readonly LayerScratch? _lsaScratch;
    private readonly FixedPositions _layerPositions;

    /// <param name="drafter">Weights.</param>
    /// <param name="backend">Where it runs.</param>
    /// <param name="target">Sizes of the target.</param>
    public MoaMixer(MoaDrafter drafter, IBackend backend, LlamaConfig target)
    {
        (_drafter, _backend) = (drafter, backend);
        _activations = new Activations(backend);
        int rows = TokensAtOnce * target.Layers;
        _states = _activations.Allocate(rows, target.KvSize, "layer self-attention");
        _mean = _activations.Allocate(TokensAtOnce, target.KvSize, "layer self-attention mean");
        _mixed = _activations.Allocate(TokensAtOnce, target.HiddenSize, "mixed target state");
        _caScratch = drafter.CrossAttention.CreateScratch(_activations, TokensAtOnce, "cross-attention keys");
        _lsaScratch = drafter.LayerSelfAttention?.CreateScratch(_activations, rows, "layer self-attention");
        _layerPositions = FixedPositions.Repeating(target.Layers, rows);
    }

    /// <summary>Called with the name and value of each stage, for golden checks; with it, LSA's output of every layer is computed, not their mean alone.</summary>
    public Action<string, Matrix>? Trace { get; set; }

    /// <summary>CA's keys and values of up to <paramref name="capacity"/> verified tokens.</summary>
    public static KvCache CreateCrossCache(MoaDrafter drafter, IBackend backend, int capacity)
    {
        DrafterLayerConfig ca = drafter.CrossAttentionConfig;
        return backend.AllocateKvCache(1, ca.KvHeads, ca.HeadSize, capacity);
    }

    /// <summary>Mixes the layers of verified tokens first..first+count-1 of <paramref name="targetCache"/> and stores CA's keys and values; the cross cache then ends after them.</summary>
    /// <param name="targetCache">The target's cache.</param>
    /// <param name="crossCache">CA's.</param>
    /// <param name="tokens">The text.</param>
    /// <param name="first">First token to mix.</param>
    /// <param name="count">Tokens to mix.</param>
    /// <param name="skipped">Tokens at the start of the text that the cross cache has no rows for.</param>
    public void Mix(KvCache targetCache, KvCache crossCache, ReadOnlySpan<int> tokens, int first, int count, int skipped = 0)
    {
        for (int done = 0; done < count; done += TokensAtOnce)
        {
            MixSome(targetCache, crossCache, tokens, first + done, Math.Min(TokensAtOnce, count - done), skipped);
        }

        crossCache.Length = first + count - skipped;
    }

    /// <summary><see cref="Mix"/> of the tokens that a recorded cycle has just verified, at most <paramref name="most"/> of them.</summary>
    public void Record(ICyclePlan plan, KvCache targetCache, KvCache crossCache, int most)
    {
        plan.GatherObserved(targetCache, _states.Slice(0, most * targetCache.Layers));
        Matrix mixed = MixStates(targetCache.Layers, most);
        plan.Fill(_batch, CycleRows.Observed, crossCache, most);
        _drafter.CrossAttention.StoreCrossKeys(_batch, mixed, _caScratch);
    }

    public void Dispose() => _activations.Dispose();

    private void MixSome(KvCache targetCache, KvCache crossCache, ReadOnlySpan<int> tokens, int first, int count, int skipped)
    {
        _backend.GatherLayers(targetCache, new CacheRow(first), count, _states.Slice(0, count * targetCache.Layers));
        Matrix mixed = MixStates(targetCache.Layers, count);
        _batch.Clear();
        for (int i = 0; i < count; i++)
        {
            _batch.AddCausal(crossCache, new TokenId(tokens[first + i]), new Position(first + i), new CacheRow(first + i - skipped));
        }

        _drafter.CrossAttention.StoreCrossKeys(_batch, mixed, _caScratch);
    }

    /// <summary>LSA, mean and Ekv2E over the gathered states of <paramref name="count"/> tokens: [count, E].</summary>
    private Matrix MixStates(int layers, int count)
    {
        Matrix states = _states.Slice(0, count * layers), mean = _mean.Slice(0, count), mixed = _mixed.Slice(0, count);
        Trace?.Invoke("lsa.input", states);
        if (Trace is null && _drafter.LayerSelfAttention is { } lsa)
        {
            lsa.MeanOfGroups(states, layers, _layerPositions, _lsaScratch!, mean);
        }
        else
        {
            _drafter.LayerSelfAttention?.ForwardGroups(states, layers, _layerPositions, _lsaScratch!);
            Trace?.Invoke("lsa.output", states);
            _backend.GroupMean(states, layers, mean);
        }

        Trace?.Invoke("lsa.mean", mean);
        _backend.MatMul(_drafter.Ekv2E, mean, mixed, _drafter.Ekv2EBias);
        Trace?.Invoke("ekv2e.output", mixed);
        return mixed;
    }
}
