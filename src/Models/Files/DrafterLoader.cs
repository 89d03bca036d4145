namespace LowLevelSpec.Models;

/// <summary>Takes a drafter's tensors out of a checkpoint and checks them, and its config, against the target.</summary>
internal static class DrafterLoader
{
    public const string MoaModelType = "moa_spec";
    public const string EaglePrefix = "spec_model";
    private const string OtherTarget = "the drafter was made for another target, or its files do not belong together; use the drafter made for this target";
    private const string Lsa = "layer_self_attention";
    private const string Sa = "self_attention";
    private const string Ca = "cross_attention";

    public static IReadOnlyList<string> MoaPrefixes { get; } = [Lsa + ".", Sa + ".", Ca + ".", "Ekv2E."];

    public static MoaTensors Moa(WeightSet weights, JsonConfig json, LlamaConfig target)
    {
        CheckModelType(json, MoaModelType, "llama", "qwen2");
        weights.Hint = OtherTarget;
        int hidden = target.HiddenSize, kv = target.KvSize, heads = target.Heads;

        // SA and CA come first: their widths tell a drafter for another target most plainly.
        (LayerTensors sa, DrafterLayerConfig saSizes) = Layer(weights, Sa, hidden, heads, HeadSize(weights, target));
        (LayerTensors ca, DrafterLayerConfig caSizes) = Layer(weights, Ca, hidden, heads, HeadSize(weights, target));
        TensorView project = weights.Take("Ekv2E.weight", WeightUse.Matrix, hidden, kv), bias = weights.Take("Ekv2E.bias", WeightUse.Vector, hidden);
        LayerTensors? lsa = null;
        DrafterLayerConfig? lsaSizes = null;
        if (!json.Bool("disable_LSA"))
        {
            // The quotient is rounded down: q_proj then has fewer rows than Ekv, and o_proj maps back up.
            int size = kv / heads;
            if (size == 0 || size % 2 != 0)
            {
                throw new ModelFileException(weights.Location.Weights, $"'{Lsa}' would have head size {size} ({kv} values per layer over {heads} heads), expected an even number of at least 2; this target cannot have a drafter with layer self-attention");
            }

            (lsa, lsaSizes) = Layer(weights, Lsa, kv, heads, size);
        }

        weights.RefuseLeftovers("a Mixture-of-Attentions drafter" + (lsa is null ? " whose config disables layer self-attention" : ""));
        CheckTarget(json, target);
        Agree(json, "kv_hidden_size", kv);
        foreach ((string name, DrafterLayerConfig? sizes) in ((string, DrafterLayerConfig?)[])[(Lsa, lsaSizes), (Sa, saSizes), (Ca, caSizes)])
        {
            // The keys of the published config: layer_self_attention_..., self_attention_..., cross_attention_...
            if (sizes is not null)
            {
                Agree(json, $"{name}_num_key_value_heads", sizes.KvHeads);
                Agree(json, $"{name}_intermediate_size", sizes.IntermediateSize);
            }
        }

        return new MoaTensors
        {
            LayerSelfAttention = lsa,
            LayerSelfAttentionConfig = lsaSizes,
            Ekv2E = project,
            Ekv2EBias = bias,
            SelfAttention = sa,
            SelfAttentionConfig = saSizes,
            CrossAttention = ca,
            CrossAttentionConfig = caSizes,
            RmsNormEpsilon = HuggingFaceConfig.Epsilon(json) ?? target.RmsNormEpsilon,
            RopeTheta = HuggingFaceConfig.Theta(json) ?? target.RopeTheta,
            TargetLayerInference = json.OptionalInt("target_layer_inference", 0, target.Layers),
        };
    }

    public static EagleTensors Eagle(WeightSet weights, JsonConfig json, LlamaConfig target)
    {
        CheckModelType(json, "llama", "qwen2");
        weights.Hint = OtherTarget;
        int hidden = target.HiddenSize;
        TensorView fc = weights.Take("spec_model_fc.weight", WeightUse.Matrix, hidden, 2L * hidden);
        (LayerTensors layer, DrafterLayerConfig sizes) = Layer(weights, EaglePrefix, hidden, target.Heads, target.HeadSize);
        TensorView? bias = weights.Has("spec_model_fc.bias") ? weights.Take("spec_model_fc.bias", WeightUse.Vector, hidden) : null;
        weights.RefuseLeftovers("an EAGLE drafter of one layer");
        CheckTarget(json, target);
        return new EagleTensors
        {
            Fc = fc,
            FcBias = bias,
            Layer = layer,
            LayerConfig = sizes,
            RmsNormEpsilon = HuggingFaceConfig.Epsilon(json) ?? target.RmsNormEpsilon,
            RopeTheta = HuggingFaceConfig.Theta(json) ?? target.RopeTheta,
        };
    }

    private static (LayerTensors Tensors, DrafterLayerConfig Sizes) Layer(WeightSet weights, string name, int hidden, int heads, int headSize)
    {
        LayerNames names = LayerNames.HuggingFace(name + ".");
        DrafterLayerConfig sizes = LayerLoader.Infer(weights, names, hidden, heads, headSize);
        return (LayerLoader.Load(weights, names, sizes, BiasRule.IfPresent, interleaved: false), sizes);
    }

    /// <summary>SA and CA have E / H elements per head, whatever head size the target's config sets.</summary>
    private static int HeadSize(WeightSet weights, LlamaConfig target)
    {
        int size = target.HiddenSize / target.Heads;
        return target.HiddenSize % target.Heads == 0 && size % 2 == 0
            ? size
            : throw new ModelFileException(weights.Location.Weights, $"the target has {target.Heads} heads for a hidden size of {target.HiddenSize}, expected a number of heads that leaves an even size each; this target cannot have a Mixture-of-Attentions drafter");
    }

    private static void CheckModelType(JsonConfig json, params string[] known)
    {
        string? found = json.OptionalString("model_type");
        if (!known.Contains(found))
        {
            throw json.Refuse("model_type", found is null ? "absent" : FileErrors.Quote(found), $"one of the known types '{string.Join("', '", known)}'");
        }
    }

    /// <summary>What the config says about the target, be it a drafter's own or a copy of the target's.</summary>
    private static void CheckTarget(JsonConfig json, LlamaConfig target)
    {
        Agree(json, "hidden_size", target.HiddenSize);
        Agree(json, "num_attention_heads", target.Heads);
        Agree(json, "vocab_size", target.VocabularySize);

        // In a drafter's own config these two, if it has them at all, count the drafter's layers and heads.
        if (json.OptionalString("model_type") != MoaModelType)
        {
            Agree(json, "num_hidden_layers", target.Layers);
            Agree(json, "num_key_value_heads", target.KvHeads);
        }
    }

    private static void Agree(JsonConfig json, string key, int expected)
    {
        if (json.OptionalInt(key, 1, int.MaxValue) is int found && found != expected)
        {
            throw new ModelFileException(json.Path, $"key '{key}' is {found}, expected {expected}; {OtherTarget}");
        }
    }
}
