using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Target;

/// <summary>
/// A Llama or Qwen2 decoder over a backend: weights only, no state of a sequence, so any number of passes may share it.
/// The target is one; an independent drafter is another.
/// </summary>
internal sealed class LlamaModel
{
    private readonly IBackend _backend;
    private readonly Weight _embedding, _finalNorm, _lmHead;
    private readonly DecoderLayer[] _layers;

    /// <param name="backend">Where it runs.</param>
    /// <param name="tensors">The model's tensors; a client pack's have no layers.</param>
    /// <param name="endsOnly">Embeddings, final norm and LM head alone: what a drafter away from the target needs of it.</param>
    /// <param name="headTokens">Token of each row of a trimmed LM head, ascending; null where it has a row for every token.</param>
    /// <param name="kvType">How its caches store keys and values, on the CPU.</param>
    public LlamaModel(IBackend backend, LlamaTensors tensors, bool endsOnly = false, int[]? headTokens = null, KvType kvType = KvType.F32)
    {
        _backend = backend;
        HeadTokens = headTokens;
        KvType = kvType;
        Config = tensors.Config;
        Rope = new RopeTable(Config.HeadSize, Config.RopeTheta, Config.RopeScaling);
        _embedding = backend.LoadWeight(tensors.Embedding);
        _finalNorm = backend.LoadWeight(tensors.FinalNorm);
        _lmHead = backend.LoadMatrix(tensors.LmHead);
        _layers = endsOnly ? [] : [.. tensors.Layers.Select(layer =>
            new DecoderLayer(backend, layer, Config.Heads, Config.KvHeads, Config.HeadSize, Config.RmsNormEpsilon, Rope))];
    }

    public LlamaConfig Config { get; }

    /// <summary>Token of each row of a trimmed LM head; null where every token has its row. A target that verifies is never trimmed.</summary>
    public int[]? HeadTokens { get; }

    /// <summary>Rows of the LM head.</summary>
    public int HeadRows => HeadTokens?.Length ?? Config.VocabularySize;

    /// <summary>The target's RoPE, scaling included.</summary>
    public RopeTable Rope { get; }

    /// <summary>How its caches store keys and values, on the CPU.</summary>
    public KvType KvType { get; }

    public KvCache CreateCache(int capacity) => _backend.AllocateKvCache(Config.Layers, Config.KvHeads, Config.HeadSize, capacity, KvType);

    /// <summary>Bytes of a cache of <paramref name="capacity"/> rows.</summary>
    public long CacheBytes(int capacity) => _backend.KvCacheBytes(Config.Layers, Config.KvHeads, Config.HeadSize, capacity, KvType);

    /// <summary>Activations for up to <paramref name="rows"/> rows through this model's layers.</summary>
    public LayerScratch CreateScratch(Activations activations, int rows, string purpose) => _layers[0].CreateScratch(activations, rows, purpose);

    /// <summary>Embeddings of the rows' tokens: x [n, E].</summary>
    public void Embed(PassBatch batch, Matrix x) => _backend.Embed(_embedding, batch, x);

    /// <summary>Layers first..last-1 on x [n, E], in place, each with its layer of the rows' caches.</summary>
    public void RunLayers(PassBatch batch, int first, int last, Matrix x, LayerScratch scratch, Action<string, Matrix>? trace = null)
    {
        for (int l = first; l < last; l++)
        {
            trace?.Invoke($"hidden.{l}", x);
            _layers[l].Forward(batch, l, x, scratch);
        }
    }

    /// <summary>The final norm: hidden [n, E] from the last layer's output.</summary>
    public void FinalNorm(Matrix x, Matrix hidden) => _backend.RmsNorm(x, _finalNorm, Config.RmsNormEpsilon, hidden);

    /// <summary>The LM head: logits [n, <see cref="HeadRows"/>] from normed hidden states [n, E].</summary>
    public void Head(Matrix hidden, Matrix logits) => _backend.MatMul(_lmHead, hidden, logits);
}
