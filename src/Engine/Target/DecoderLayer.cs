using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Target;

/// <summary>
/// One Llama decoder layer: RMSNorm, RoPE attention with grouped queries, residual, RMSNorm, SwiGLU MLP, residual. The one
/// implementation behind the target's layers, the drafter's SA, CA and LSA, EAGLE's layer and independent drafters.
/// Letters: n rows, E hidden, H heads, K kv heads, D head size (H*D need not equal E), F MLP width.
/// </summary>
internal sealed class DecoderLayer
{
    private readonly IBackend _backend;
    private readonly Weight _inputNorm, _query, _key, _value, _output, _postNorm, _gate, _up, _down;
    private readonly Weight? _queryBias, _keyBias, _valueBias, _outputBias;
    private readonly int _heads, _kvHeads, _headSize;
    private readonly float _epsilon, _scale;
    private readonly RopeTable _rope;

    /// <summary>One of the target's layers.</summary>
    public DecoderLayer(IBackend backend, LayerTensors tensors, int heads, int kvHeads, int headSize, float epsilon, RopeTable rope)
        : this(backend, tensors, heads, kvHeads, headSize, epsilon, rope, backend.LoadMatrix)
    {
    }

    /// <summary>One of a drafter's layers.</summary>
    public DecoderLayer(IBackend backend, LayerTensors tensors, DrafterLayerConfig config, float epsilon, RopeTable rope)
        : this(backend, tensors, config.Heads, config.KvHeads, config.HeadSize, epsilon, rope, backend.LoadDraftMatrix)
    {
    }

    private DecoderLayer(IBackend backend, LayerTensors tensors, int heads, int kvHeads, int headSize, float epsilon, RopeTable rope, Func<TensorView, Weight> load)
    {
        _backend = backend;
        _inputNorm = backend.LoadWeight(tensors.InputNorm);
        _query = load(tensors.Query);
        _key = load(tensors.Key);
        _value = load(tensors.Value);
        _output = load(tensors.Output);
        _postNorm = backend.LoadWeight(tensors.PostAttentionNorm);
        _gate = load(tensors.Gate);
        _up = load(tensors.Up);
        _down = load(tensors.Down);
        _queryBias = tensors.QueryBias is null ? null : backend.LoadWeight(tensors.QueryBias);
        _keyBias = tensors.KeyBias is null ? null : backend.LoadWeight(tensors.KeyBias);
        _valueBias = tensors.ValueBias is null ? null : backend.LoadWeight(tensors.ValueBias);
        _outputBias = tensors.OutputBias is null ? null : backend.LoadWeight(tensors.OutputBias);
        (_heads, _kvHeads, _headSize, _epsilon, _rope) = (heads, kvHeads, headSize, epsilon, rope);
        _scale = 1f / MathF.Sqrt(headSize);
    }

    /// <summary>Activations for up to <paramref name="rows"/> rows of this layer.</summary>
    public LayerScratch CreateScratch(Activations activations, int rows, string purpose) =>
        new(activations, rows, _query.Columns, _heads * _headSize, _kvHeads * _headSize, _gate.Rows, purpose);

    /// <summary>Self-attention through a cache: x [n, E] in place; keys and values go to layer <paramref name="cacheLayer"/> of each row's cache.</summary>
    public void Forward(PassBatch batch, int cacheLayer, Matrix x, LayerScratch scratch)
    {
        int n = batch.Count;
        Matrix norm = scratch.Norm.Slice(0, n), q = scratch.Query.Slice(0, n), k = scratch.Key.Slice(0, n), v = scratch.Value.Slice(0, n);
        _backend.RmsNorm(x, _inputNorm, _epsilon, norm);
        _backend.MatMulAll(norm, [new(_query, q, _queryBias), new(_key, k, _keyBias), new(_value, v, _valueBias)]);
        _backend.RopeAndStore(batch, cacheLayer, _rope, q, _heads, k, v);
        Attend(batch, cacheLayer, q, x, scratch);
    }

    /// <summary>Cross-attention's keys and values: source [n, E] (left as it is) through this layer's input norm, k and v, RoPE on k, into each row's cache.</summary>
    public void StoreCrossKeys(PassBatch batch, Matrix source, LayerScratch scratch)
    {
        int n = batch.Count;
        Matrix norm = scratch.Norm.Slice(0, n), k = scratch.Key.Slice(0, n), v = scratch.Value.Slice(0, n);
        _backend.RmsNorm(source, _inputNorm, _epsilon, norm);
        _backend.MatMulAll(norm, [new(_key, k, _keyBias), new(_value, v, _valueBias)]);
        _backend.Rope(k, _kvHeads, _rope, batch);
        _backend.StoreKv(batch, 0, k, v);
    }

    /// <summary>Cross-attention: queries from x [n, E] over what the cache holds, then the MLP; x in place. Writes no keys.</summary>
    public void CrossAttend(PassBatch batch, Matrix x, LayerScratch scratch)
    {
        int n = batch.Count;
        Matrix norm = scratch.Norm.Slice(0, n), q = scratch.Query.Slice(0, n);
        _backend.NormedQuery(batch, x, _inputNorm, _epsilon, norm, _query, _queryBias, _rope, q);
        Attend(batch, 0, q, x, scratch);
    }

    /// <summary>
    /// Unmasked attention inside groups of <paramref name="groupRows"/> rows (LSA: the L layers of one token, positions 0..L-1): x [groups*L, E] in place.
    /// </summary>
    public void ForwardGroups(Matrix x, int groupRows, FixedPositions positions, LayerScratch scratch)
    {
        AttendGroups(x, groupRows, positions, scratch);
        Mlp(x, scratch);
    }

    /// <summary>
    /// The means over groups of what <see cref="ForwardGroups"/> gives: mean [groups, E]; x [groups*L, E] is left in an intermediate state. The MLP's last
    /// product is linear: it is multiplied with the mean of a group's gates once, instead of with each of them.
    /// </summary>
    public void MeanOfGroups(Matrix x, int groupRows, FixedPositions positions, LayerScratch scratch, Matrix mean)
    {
        AttendGroups(x, groupRows, positions, scratch);
        Matrix gate = Gate(x, scratch), gates = scratch.Up.Slice(0, mean.Rows);
        _backend.GroupMean(x, groupRows, mean);
        _backend.GroupMean(gate, groupRows, gates);
        _backend.MatMul(_down, gates, mean, accumulate: true);
    }

    private void AttendGroups(Matrix x, int groupRows, FixedPositions positions, LayerScratch scratch)
    {
        int n = x.Rows;
        Matrix norm = scratch.Norm.Slice(0, n), q = scratch.Query.Slice(0, n), k = scratch.Key.Slice(0, n), v = scratch.Value.Slice(0, n);
        _backend.RmsNorm(x, _inputNorm, _epsilon, norm);
        _backend.MatMulAll(norm, [new(_query, q, _queryBias), new(_key, k, _keyBias), new(_value, v, _valueBias)]);
        _backend.Rope(q, _heads, _rope, positions);
        _backend.Rope(k, _kvHeads, _rope, positions);
        Matrix attention = scratch.Attention.Slice(0, n);
        _backend.GroupAttention(q, k, v, attention, groupRows, _heads, _kvHeads, _scale);
        _backend.MatMul(_output, attention, x, _outputBias, accumulate: true);
    }

    private void Attend(PassBatch batch, int cacheLayer, Matrix q, Matrix x, LayerScratch scratch)
    {
        Matrix attention = scratch.Attention.Slice(0, batch.Count);
        _backend.Attention(batch, cacheLayer, q, attention, _heads, _scale);
        _backend.MatMul(_output, attention, x, _outputBias, accumulate: true);
        Mlp(x, scratch);
    }

    private void Mlp(Matrix x, LayerScratch scratch) => _backend.MatMul(_down, Gate(x, scratch), x, accumulate: true);

    /// <summary>silu(gate) * up of the normed x: [n, F].</summary>
    private Matrix Gate(Matrix x, LayerScratch scratch)
    {
        int n = x.Rows;
        Matrix norm = scratch.Norm.Slice(0, n), gate = scratch.Gate.Slice(0, n), up = scratch.Up.Slice(0, n);
        _backend.RmsNorm(x, _postNorm, _epsilon, norm);
        _backend.MatMulAll(norm, [new(_gate, gate), new(_up, up)]);
        _backend.SwiGlu(gate, up, gate);
        return gate;
    }
}

/// <summary>Intermediate activations of one decoder layer; shared by layers of equal shape, one row per row of the pass.</summary>
internal sealed class LayerScratch(Activations activations, int rows, int hidden, int querySize, int kvSize, int intermediate, string purpose)
{
    /// <summary>[rows, E]</summary>
    public Matrix Norm { get; } = activations.Allocate(rows, hidden, $"{purpose}: norm");

    /// <summary>[rows, H*D]</summary>
    public Matrix Query { get; } = activations.Allocate(rows, querySize, $"{purpose}: queries");

    /// <summary>[rows, K*D]</summary>
    public Matrix Key { get; } = activations.Allocate(rows, kvSize, $"{purpose}: keys");

    /// <summary>[rows, K*D]</summary>
    public Matrix Value { get; } = activations.Allocate(rows, kvSize, $"{purpose}: values");

    /// <summary>[rows, H*D]</summary>
    public Matrix Attention { get; } = activations.Allocate(rows, querySize, $"{purpose}: attention");

    /// <summary>[rows, F]</summary>
    public Matrix Gate { get; } = activations.Allocate(rows, intermediate, $"{purpose}: gate");

    /// <summary>[rows, F]</summary>
    public Matrix Up { get; } = activations.Allocate(rows, intermediate, $"{purpose}: up");
}
