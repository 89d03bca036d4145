using LowLevelSpec.Engine.Backends;

namespace LowLevelSpec.Engine.Target;

/// <summary>
/// Activations of one forward pass of a model and the pass itself: prefill, decoding, tree verification and several sequences at
/// once are the same call with other rows. Belongs to one caller at a time; allocates only when created.
/// </summary>
internal sealed class TargetPass : IDisposable
{
    private readonly LlamaModel _model;
    private readonly Activations _activations;
    private readonly Matrix _x, _hidden, _logits;
    private readonly LayerScratch _scratch;

    /// <param name="backend">Where the activations live.</param>
    /// <param name="model">The model.</param>
    /// <param name="maxRows">Most rows of one pass.</param>
    /// <param name="maxLogitRows">Most rows whose logits are asked for at once.</param>
    public TargetPass(IBackend backend, LlamaModel model, int maxRows, int maxLogitRows)
    {
        _model = model;
        _activations = new Activations(backend);
        MaxRows = maxRows;
        int hidden = model.Config.HiddenSize;
        _x = _activations.Allocate(maxRows, hidden, "target residual stream");
        _hidden = _activations.Allocate(maxRows, hidden, "target hidden states");
        _logits = _activations.Allocate(maxLogitRows, model.Config.VocabularySize, "target logits");
        _scratch = model.CreateScratch(_activations, maxRows, "target layer");
    }

    /// <summary>Most rows of one pass.</summary>
    public int MaxRows { get; }

    /// <summary>Called with the name and value of each stage: hidden.0 (embeddings), hidden.l (input of layer l), last_layer_output, hidden.L (final norm). For golden checks.</summary>
    public Action<string, Matrix>? Trace { get; set; }

    /// <summary>Called with the rows of each pass before it runs. For golden checks.</summary>
    public Action<PassBatch>? TraceRows { get; set; }

    /// <summary>Final normed hidden states of the last pass: [rows, E].</summary>
    public Matrix Hidden { get; private set; }

    /// <summary>Runs the rows through all layers, writing keys and values to their cache rows, and the final norm.</summary>
    public void Forward(PassBatch batch)
    {
        Matrix x = _x.Slice(0, batch.Count);
        Hidden = _hidden.Slice(0, batch.Count);
        TraceRows?.Invoke(batch);
        _model.Embed(batch, x);
        _model.RunLayers(batch, 0, _model.Config.Layers, x, _scratch, Trace);
        Trace?.Invoke("last_layer_output", x);
        _model.FinalNorm(x, Hidden);
        Trace?.Invoke($"hidden.{_model.Config.Layers}", Hidden);
    }

    /// <summary>Logits [count, V] of rows first..first+count-1 of the last pass.</summary>
    public Matrix Logits(int first, int count)
    {
        Matrix logits = _logits.Slice(0, count);
        _model.Head(Hidden.Slice(first, count), logits);
        return logits;
    }

    public void Dispose() => _activations.Dispose();
}
