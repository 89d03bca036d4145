using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Inspection;

/// <summary>Opens files the way the engine does, which checks them whole, and describes them.</summary>
internal static class Inspector
{
    /// <summary>Describes a path. With a target it is taken for a drafter.</summary>
    /// <exception cref="InputException">Anything the engine can't run.</exception>
    public static InspectReport Inspect(string path, string? target)
    {
        if (target is not null)
        {
            using ModelFile model = ModelFile.Open(target);
            return Drafter(path, model.Tensors.Config) with { CheckedAgainst = target };
        }

        return DrafterTarget.LeansOnTarget(path) ? Drafter(path, DrafterTarget.Infer(path)) : Model(path);
    }

    private static InspectReport Model(string path)
    {
        using ModelFile file = ModelFile.Open(path);
        RefuseNonFinite(path, file.FindNonFinite());
        Tokenizer? tokenizer = Tokenizer.Open(path);
        CheckTemplate(path, tokenizer);
        int vocabulary = file.Tensors.Config.VocabularySize;
        return new InspectReport
        {
            Path = path,
            Kind = "model",
            Format = file.Format,
            Architecture = file.Tensors.Config.ModelType,
            Config = file.Tensors.Config,
            Parameters = file.ParameterCount,
            Tensors = file.TensorCount,
            FileBytes = file.FileBytes,
            Types = Types(file.AllTensors),
            Tokenizer = tokenizer is null ? null : new TokenizerSummary(tokenizer.VocabularySize, tokenizer.HasChatTemplate),
            Warnings = tokenizer is null || tokenizer.VocabularySize <= vocabulary
                ? []
                : [$"the tokenizer knows {tokenizer.VocabularySize} ids and the model's vocabulary has {vocabulary}: a prompt with one of the others is refused"],
        };
    }

    private static InspectReport Drafter(string path, LlamaConfig target)
    {
        using DrafterFile file = DrafterFile.Open(path, target);
        RefuseNonFinite(path, file.FindNonFinite());
        return new InspectReport
        {
            Path = path,
            Kind = "drafter",
            Format = file.Format,
            Architecture = file.Kind switch
            {
                DrafterKind.Moa => "moa",
                DrafterKind.Eagle => "eagle",
                _ => "independent",
            },
            Config = file.Independent?.Config,
            DrafterLayers = Layers(file),
            TargetLayerInference = file.Moa?.TargetLayerInference,
            TrainedLength = file.TrainedLength,
            Parameters = file.ParameterCount,
            Tensors = file.TensorCount,
            FileBytes = file.FileBytes,
            Types = Types(file.AllTensors),
        };
    }

    private static void RefuseNonFinite(string path, string? tensor)
    {
        if (tensor is not null)
        {
            throw new InputException($"{path}: tensor {tensor} holds values that are not finite; the file is damaged, download or convert it again");
        }
    }

    /// <summary>Renders the least conversation there is: a template that can't do that can't chat.</summary>
    private static void CheckTemplate(string path, Tokenizer? tokenizer)
    {
        if (tokenizer is not { HasChatTemplate: true })
        {
            return;
        }

        try
        {
            _ = tokenizer.RenderChat([new ChatMessage("user", "Hi")]);
        }
        catch (InputException e) when (e is not ModelFileException)
        {
            throw new InputException($"{path}: {e.Message}", e);
        }
    }

    private static Dictionary<string, DrafterLayerConfig>? Layers(DrafterFile file)
    {
        Dictionary<string, DrafterLayerConfig> layers = new(StringComparer.Ordinal);
        if (file.Moa is MoaTensors moa)
        {
            if (moa.LayerSelfAttentionConfig is DrafterLayerConfig lsa)
            {
                layers["layer_self_attention"] = lsa;
            }

            layers["self_attention"] = moa.SelfAttentionConfig;
            layers["cross_attention"] = moa.CrossAttentionConfig;
        }
        else if (file.Eagle is EagleTensors eagle)
        {
            layers["spec_model"] = eagle.LayerConfig;
        }

        return layers.Count > 0 ? layers : null;
    }

    private static List<TypeShare> Types(IReadOnlyList<TensorInfo> tensors) =>
    [
        .. tensors.GroupBy(static tensor => tensor.Type)
            .Select(static group => new TypeShare(group.Key, group.Count(), group.Sum(static t => t.Elements), group.Sum(static t => t.ByteLength)))
            .OrderByDescending(static share => share.Bytes),
    ];
}
