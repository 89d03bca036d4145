namespace LowLevelSpec.Models;

/// <summary>Whether a layer carries biases on q, k and v.</summary>
internal enum BiasRule
{
    Never,
    Always,

    /// <summary>All three or none.</summary>
    IfPresent,
}

/// <summary>Takes the tensors of one decoder layer out of a <see cref="WeightSet"/>.</summary>
internal static class LayerLoader
{
    /// <param name="weights">Where from.</param>
    /// <param name="names">Names of the tensors.</param>
    /// <param name="sizes">Shapes.</param>
    /// <param name="bias">Biases on q, k, v.</param>
    /// <param name="outputBias">Bias on o: always or never as told, with <see cref="BiasRule.IfPresent"/> wherever it is there.</param>
    /// <param name="interleaved">Whether rows of q and k lie in GGUF's order of architecture llama.</param>
    public static LayerTensors Load(WeightSet weights, LayerNames names, DrafterLayerConfig sizes, BiasRule bias, bool interleaved, BiasRule outputBias = BiasRule.IfPresent)
    {
        long e = sizes.HiddenSize, f = sizes.IntermediateSize, q = (long)sizes.Heads * sizes.HeadSize, kv = (long)sizes.KvHeads * sizes.HeadSize;
        bool biased = bias == BiasRule.Always
            || (bias == BiasRule.IfPresent && (weights.Has(names.QueryBias) || weights.Has(names.KeyBias) || weights.Has(names.ValueBias)));
        return new LayerTensors
        {
            InputNorm = weights.Take(names.InputNorm, WeightUse.Vector, e),
            Query = Order(weights.Take(names.Query, WeightUse.Matrix, q, e), sizes.Heads),
            Key = Order(weights.Take(names.Key, WeightUse.Matrix, kv, e), sizes.KvHeads),
            Value = weights.Take(names.Value, WeightUse.Matrix, kv, e),
            Output = weights.Take(names.Output, WeightUse.Matrix, e, q),
            QueryBias = biased ? Order(weights.Take(names.QueryBias, WeightUse.Vector, q), sizes.Heads) : null,
            KeyBias = biased ? Order(weights.Take(names.KeyBias, WeightUse.Vector, kv), sizes.KvHeads) : null,
            ValueBias = biased ? weights.Take(names.ValueBias, WeightUse.Vector, kv) : null,
            OutputBias = biased && (outputBias == BiasRule.Always || (outputBias == BiasRule.IfPresent && weights.Has(names.OutputBias)))
                ? weights.Take(names.OutputBias, WeightUse.Vector, e) : null,
            PostAttentionNorm = weights.Take(names.PostAttentionNorm, WeightUse.Vector, e),
            Gate = weights.Take(names.Gate, WeightUse.Matrix, f, e),
            Up = weights.Take(names.Up, WeightUse.Matrix, f, e),
            Down = weights.Take(names.Down, WeightUse.Matrix, e, f),
        };

        TensorView Order(TensorView view, int heads) => interleaved ? view with { InterleavedHeads = heads } : view;
    }

    /// <summary>
    /// Sizes of a drafter layer whose config may be silent: kv heads from k_proj's rows, MLP width from gate_proj's rows.
    /// </summary>
    public static DrafterLayerConfig Infer(WeightSet weights, LayerNames names, int hidden, int heads, int headSize)
    {
        int rows = weights.Rows(names.Key, hidden, $"kv heads x {headSize}");
        int kvHeads = rows / headSize;
        if (rows % headSize != 0 || heads % kvHeads != 0)
        {
            throw weights.WrongShape(names.Key, $"[kv heads x {headSize}, {hidden}] with a number of kv heads that divides {heads}");
        }

        return new DrafterLayerConfig(hidden, heads, kvHeads, headSize, weights.Rows(names.Gate, hidden, "MLP width"));
    }
}
