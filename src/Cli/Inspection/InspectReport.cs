using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Inspection;

/// <summary>Tensors of one storage type.</summary>
internal sealed record TypeShare(string Type, int Tensors, long Parameters, long Bytes);

/// <summary>A model's tokenizer.</summary>
internal sealed record TokenizerSummary(int VocabularySize, bool ChatTemplate);

/// <summary>What is in a model's or drafter's files.</summary>
internal sealed record InspectReport
{
    /// <summary>As given.</summary>
    public required string Path { get; init; }

    /// <summary>"model" or "drafter".</summary>
    public required string Kind { get; init; }

    /// <summary>"safetensors" or "gguf".</summary>
    public required string Format { get; init; }

    /// <summary>llama, qwen2, or the kind of drafter: moa, eagle, independent.</summary>
    public required string Architecture { get; init; }

    /// <summary>Sizes of a model or of an independent drafter; null for drafters that lean on a target.</summary>
    public LlamaConfig? Config { get; init; }

    /// <summary>Sizes of a drafter's layers by name; null for models.</summary>
    public IReadOnlyDictionary<string, DrafterLayerConfig>? DrafterLayers { get; init; }

    /// <summary>N of target layer inference, where a drafter's config says.</summary>
    public int? TargetLayerInference { get; init; }

    /// <summary>Longest sequence a drafter was trained on, where its config says.</summary>
    public int? TrainedLength { get; init; }

    /// <summary>The target a drafter was checked against; null where it was checked against the sizes its own config gives.</summary>
    public string? CheckedAgainst { get; init; }

    /// <summary>Elements of all weights in use, a tied table counted once.</summary>
    public required long Parameters { get; init; }

    /// <summary>Tensors in the files.</summary>
    public required int Tensors { get; init; }

    /// <summary>Bytes of the weight files.</summary>
    public required long FileBytes { get; init; }

    /// <summary>Tensors by storage type, most bytes first.</summary>
    public required IReadOnlyList<TypeShare> Types { get; init; }

    /// <summary>The tokenizer, or null where the files come without one.</summary>
    public TokenizerSummary? Tokenizer { get; init; }

    /// <summary>What works but deserves a look.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}
