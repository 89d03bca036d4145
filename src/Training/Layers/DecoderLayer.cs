using System.Numerics;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>
/// One Llama decoder layer, forward and backward: RMSNorm, RoPE attention with grouped queries, residual, RMSNorm, SwiGLU MLP, residual.
/// The layer of the target, of SA, CA, LSA, EAGLE and independent drafters. Letters: n rows, E hidden, H heads, K kv heads, D head size
/// (H*D need not equal E), F MLP width.
/// </summary>
internal sealed class DecoderLayer<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly DrafterLayerConfig _shape;
    private readonly LayerParameters<T> _weights;
    private readonly T _epsilon;
    private readonly Rope<T> _rope;

    /// <param name="shape">Sizes.</param>
    /// <param name="weights">Weights; frozen ones get no gradient.</param>
    /// <param name="epsilon">RMSNorm's epsilon.</param>
    /// <param name="rope">RoPE of head size D.</param>
    public DecoderLayer(DrafterLayerConfig shape, LayerParameters<T> weights, float epsilon, Rope<T> rope)
    {
        (_shape, _weights, _rope) = (shape, weights, rope);
        _epsilon = T.CreateTruncating(epsilon);
        int q = shape.Heads * shape.HeadSize, kv = shape.KvHeads * shape.HeadSize;
        weights.Query.Value.Expect(q, shape.HiddenSize, weights.Query.Name);
        weights.Key.Value.Expect(kv, shape.HiddenSize, weights.Key.Name);
        weights.Value.Value.Expect(kv, shape.HiddenSize, weights.Value.Name);
        weights.Output.Value.Expect(shape.HiddenSize, q, weights.Output.Name);
    }

    /// <summary>Sizes.</summary>
    public DrafterLayerConfig Shape => _shape;

    /// <summary>The layer's weights by their roles.</summary>
    public LayerParameters<T> Weights => _weights;

    /// <summary>The layer's weights.</summary>
    public IEnumerable<Parameter<T>> Parameters => _weights.All;

    /// <summary>
    /// Runs the layer. Keys and values come from x, or in cross-attention from <paramref name="source"/> through the same input norm (paper section 3.2).
    /// </summary>
    /// <param name="arena">Where activations go.</param>
    /// <param name="x">[n, E], left as it is.</param>
    /// <param name="plan">Who sees whom.</param>
    /// <param name="source">[n, E] or null.</param>
    /// <param name="group">Rows whose mean is the output (LSA: the layers of a token). The last matrix then runs once per group, as the mean passes through it.</param>
    /// <returns>Output and what the backward pass needs; valid as long as the arena's memory.</returns>
    public LayerState<T> Forward(Arena<T> arena, Tensor<T> x, AttentionPlan plan, Tensor<T>? source = null, int group = 1)
    {
        int n = x.Rows, e = _shape.HiddenSize, qSize = _shape.Heads * _shape.HeadSize, kvSize = _shape.KvHeads * _shape.HeadSize, f = _shape.IntermediateSize;
        x.Expect(plan.Rows, e, "x");
        source?.Expect(plan.Rows, e, "source");
        Tensor<T> norm = arena.Allocate(n, e), scale = arena.Allocate(n, 1);
        RmsNorm.Forward(x, _weights.InputNorm, _epsilon, norm, scale);
        Tensor<T> sourceNorm = norm, sourceScale = scale;
        if (source is not null)
        {
            sourceNorm = arena.Allocate(n, e);
            sourceScale = arena.Allocate(n, 1);
            RmsNorm.Forward(source, _weights.InputNorm, _epsilon, sourceNorm, sourceScale);
        }

        Tensor<T> q = arena.Allocate(n, qSize), k = arena.Allocate(n, kvSize), v = arena.Allocate(n, kvSize), attention = arena.Allocate(n, qSize), lse = arena.Allocate(n, _shape.Heads);
        Linear.Forward(norm, _weights.Query, _weights.QueryBias, q);
        Linear.Forward(sourceNorm, _weights.Key, _weights.KeyBias, k);
        Linear.Forward(sourceNorm, _weights.Value, _weights.ValueBias, v);
        _rope.Rotate(q, plan.Positions);
        _rope.Rotate(k, plan.Positions);
        Attention.Forward(q, k, v, plan, _shape.HeadSize, attention, lse);
        Tensor<T> middle = arena.Allocate(n, e);
        Copy(x, middle);
        Linear.Forward(attention, _weights.Output, null, middle, accumulate: true);

        Tensor<T> postNorm = arena.Allocate(n, e), postScale = arena.Allocate(n, 1), gate = arena.Allocate(n, f), up = arena.Allocate(n, f), output = arena.Allocate(n / group, e);
        RmsNorm.Forward(middle, _weights.PostNorm, _epsilon, postNorm, postScale);
        Linear.Forward(postNorm, _weights.Gate, null, gate);
        Linear.Forward(postNorm, _weights.Up, null, up);
        Tensor<T> product = arena.Allocate(n / group, f);
        if (group == 1)
        {
            SwiGlu.Forward(gate, up, product);
            Copy(middle, output);
        }
        else
        {
            ArenaMark mark = arena.Mark();
            Tensor<T> products = arena.Allocate(n, f);
            SwiGlu.Forward(gate, up, products);
            GroupMean.Forward(products, group, product);
            GroupMean.Forward(middle, group, output);
            arena.Release(mark);
        }

        Linear.Forward(product, _weights.Down, null, output, accumulate: true);
        return new LayerState<T>(plan, x, norm, scale, source, sourceNorm, sourceScale, q, k, v, attention, lse, middle, postNorm, postScale, gate, up, product, output);
    }

    /// <summary>Adds the weights' gradients and returns the inputs' gradients.</summary>
    /// <param name="arena">Where they go; what lies above them when the call returns is given back.</param>
    /// <param name="state">Of the forward pass.</param>
    /// <param name="dOutput">Shaped as the output, left as it is.</param>
    /// <param name="needInput">False where nobody reads the gradient of x (with a source: of either), which saves its products.</param>
    /// <returns>dX [n, E] (null if not needed), dSource [n, E] (null without a source).</returns>
    public (Tensor<T>? X, Tensor<T>? Source) Backward(Arena<T> arena, LayerState<T> state, Tensor<T> dOutput, bool needInput = true)
    {
        int n = state.X.Rows, e = _shape.HiddenSize, qSize = _shape.Heads * _shape.HeadSize, kvSize = _shape.KvHeads * _shape.HeadSize, f = _shape.IntermediateSize;
        dOutput.Expect(state.Output.Rows, e, "dOutput");
        int group = n / state.Output.Rows;
        ArenaMark entry = arena.Mark();
        Tensor<T> dX = arena.Allocate(n, e);
        Tensor<T>? dSource = needInput && state.Source is not null ? arena.Zeros(n, e) : null;
        ArenaMark mark = arena.Mark();

        // dX first holds the gradient of the middle residual, then of the input: each residual adds its branch's part.
        Tensor<T> dGate = arena.Allocate(n, f), dUp = arena.Allocate(n, f), dNorm = arena.Allocate(n, e), dProduct = group == 1 ? dUp : arena.Allocate(n / group, f);
        Linear.Backward(state.Product, _weights.Down, null, dOutput, dProduct);
        if (group == 1)
        {
            Copy(dOutput, dX);
        }
        else
        {
            GroupMean.Backward(dOutput, group, dX);
            GroupMean.Backward(dProduct, group, dUp);
        }

        SwiGlu.Backward(state.Gate, state.Up, dUp, dGate, dUp);
        Linear.Backward(state.PostNorm, _weights.Gate, null, dGate, dNorm);
        Linear.Backward(state.PostNorm, _weights.Up, null, dUp, dNorm, accumulate: true);
        RmsNorm.Backward(state.Middle, _weights.PostNorm, state.PostScale, dNorm, dX);

        Tensor<T> dQuery = arena.Allocate(n, qSize), dKey = arena.Allocate(n, kvSize), dValue = arena.Allocate(n, kvSize);
        Linear.Backward(state.Attention, _weights.Output, null, dX, dQuery);
        Attention.Backward(state.Query, state.Key, state.Value, state.LogSumExp, state.Plan, _shape.HeadSize, dQuery, dQuery, dKey, dValue);
        _rope.Rotate(dQuery, state.Plan.Positions, inverse: true);
        _rope.Rotate(dKey, state.Plan.Positions, inverse: true);

        if (!needInput && state.Source is null && GainFromWeights.Possible(_weights.InputNorm))
        {
            // Nobody reads the input's gradient, and the gain's follows from those of the matrices.
            GainFromWeights.Add(arena, state.Norm, _weights.InputNorm, [(_weights.Query, _weights.QueryBias, dQuery), (_weights.Key, _weights.KeyBias, dKey), (_weights.Value, _weights.ValueBias, dValue)]);
            arena.Release(entry);
            return (null, null);
        }

        // The norm's gain has a gradient even where the layer's input needs none.
        bool needNorm = needInput || _weights.InputNorm.Gradient is not null;
        Tensor<T>? dSourceNorm = !needNorm ? null : state.Source is null ? dNorm : arena.Allocate(n, e);
        Linear.Backward(state.Norm, _weights.Query, _weights.QueryBias, dQuery, needNorm ? dNorm : null);
        Linear.Backward(state.SourceNorm, _weights.Key, _weights.KeyBias, dKey, dSourceNorm, accumulate: state.Source is null);
        Linear.Backward(state.SourceNorm, _weights.Value, _weights.ValueBias, dValue, dSourceNorm, accumulate: true);
        if (needNorm)
        {
            RmsNorm.Backward(state.X, _weights.InputNorm, state.Scale, dNorm, needInput ? dX : null);
            if (state.Source is not null)
            {
                RmsNorm.Backward(state.Source, _weights.InputNorm, state.SourceScale, dSourceNorm!, dSource);
            }
        }

        arena.Release(needInput ? mark : entry);
        return (needInput ? dX : null, dSource);
    }

    private static void Copy(Tensor<T> from, Tensor<T> to) => from.Span.CopyTo(to.Span);
}

/// <summary>Activations of one forward pass of a <see cref="DecoderLayer{T}"/>: n rows each, columns as named there.</summary>
/// <param name="Plan">Who saw whom.</param>
/// <param name="X">Input [n, E].</param>
/// <param name="Norm">Normed input [n, E].</param>
/// <param name="Scale">1 / root mean square of the input [n, 1].</param>
/// <param name="Source">Cross-attention's source [n, E], or null.</param>
/// <param name="SourceNorm">What keys and values were made of [n, E].</param>
/// <param name="SourceScale">1 / root mean square of the source [n, 1].</param>
/// <param name="Query">After RoPE [n, H*D].</param>
/// <param name="Key">After RoPE [n, K*D].</param>
/// <param name="Value">[n, K*D].</param>
/// <param name="Attention">Before the output matrix [n, H*D].</param>
/// <param name="LogSumExp">[n, H].</param>
/// <param name="Middle">After the first residual [n, E].</param>
/// <param name="PostNorm">Its norm [n, E].</param>
/// <param name="PostScale">1 / its root mean square [n, 1].</param>
/// <param name="Gate">[n, F].</param>
/// <param name="Up">[n, F].</param>
/// <param name="Product">silu(gate) * up [n, F]; its means over groups [n/group, F].</param>
/// <param name="Output">[n, E]; means over groups [n/group, E].</param>
internal sealed record LayerState<T>(
    AttentionPlan Plan, Tensor<T> X, Tensor<T> Norm, Tensor<T> Scale, Tensor<T>? Source, Tensor<T> SourceNorm, Tensor<T> SourceScale,
    Tensor<T> Query, Tensor<T> Key, Tensor<T> Value, Tensor<T> Attention, Tensor<T> LogSumExp, Tensor<T> Middle, Tensor<T> PostNorm,
    Tensor<T> PostScale, Tensor<T> Gate, Tensor<T> Up, Tensor<T> Product, Tensor<T> Output) where T : unmanaged, IBinaryFloatingPointIeee754<T>;
