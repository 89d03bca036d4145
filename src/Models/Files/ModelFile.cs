namespace LowLevelSpec.Models;

/// <summary>A target's weights on disk: a Hugging Face folder, a single <c>.safetensors</c> (with its config.json beside it) or a <c>.gguf</c>.</summary>
public sealed class ModelFile : IDisposable
{
    private ModelFile() => throw new NotSupportedException("not built yet");

    /// <summary>The path it was opened from.</summary>
    public string Path { get; } = "";

    /// <summary>Weights, mapped; valid until Dispose.</summary>
    public LlamaTensors Tensors { get; } = null!;

    /// <summary>Opens and checks a model: every tensor that its config needs, with its shape and a type the engine runs.</summary>
    /// <exception cref="ModelFileException">Missing, malformed, unknown or ill-shaped content.</exception>
    public static ModelFile Open(string path) => throw new NotSupportedException("not built yet");

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}

/// <summary>What kind of drafter a checkpoint holds.</summary>
public enum DrafterKind
{
    /// <summary>Mixture of Attentions.</summary>
    Moa,

    /// <summary>EAGLE-2.</summary>
    Eagle,

    /// <summary>A small Llama of its own.</summary>
    Independent,
}

/// <summary>A drafter's weights on disk, checked against the target it is to draft for.</summary>
public sealed class DrafterFile : IDisposable
{
    private DrafterFile() => throw new NotSupportedException("not built yet");

    /// <summary>The path it was opened from.</summary>
    public string Path { get; } = "";

    /// <summary>Which of the three following properties is set.</summary>
    public DrafterKind Kind { get; }

    /// <summary>Mixture-of-Attentions weights.</summary>
    public MoaTensors? Moa { get; }

    /// <summary>EAGLE-2 weights.</summary>
    public EagleTensors? Eagle { get; }

    /// <summary>An independent Llama's weights.</summary>
    public LlamaTensors? Independent { get; }

    /// <summary>Opens a drafter checkpoint. Sizes come from its config or, where absent there, from tensor shapes.</summary>
    /// <param name="path">Folder, .safetensors, or (independent drafters) .gguf.</param>
    /// <param name="target">The target's sizes; the drafter must fit them.</param>
    /// <exception cref="ModelFileException">Missing, malformed, unknown or ill-shaped content, or a drafter made for another target.</exception>
    public static DrafterFile Open(string path, LlamaConfig target) => throw new NotSupportedException("not built yet");

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
