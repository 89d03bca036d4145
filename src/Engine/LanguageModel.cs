using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine;

/// <summary>
/// A target ready to run. Thread-safe: any number of generations may run at once on one instance, each on its own thread; they share
/// the backend's worker threads. Dispose it after the last generation has ended.
/// </summary>
public sealed class LanguageModel : IDisposable
{
    private LanguageModel() => throw new NotSupportedException("not built yet");

    /// <summary>Sizes of the target.</summary>
    public LlamaConfig Config { get; } = null!;

    /// <summary>The model's tokenizer, or null where it comes without one.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>Longest sequence, prompt and output, in tokens.</summary>
    public int ContextLength { get; }

    /// <summary>What runs it, e.g. "cpu 512-bit, 2 threads".</summary>
    public string BackendName { get; } = "";

    /// <summary>Opens a model: a Hugging Face folder, a .safetensors file or a .gguf file.</summary>
    /// <exception cref="InputException">The path holds no model the engine runs, or an option is out of range.</exception>
    public static LanguageModel Open(string path, EngineOptions? options = null) => throw new NotSupportedException("not built yet");

    /// <summary>Opens a drafter for this target: a checkpoint path (MoA, EAGLE-2, independent Llama), "lookup" (prompt lookup) or "none".</summary>
    /// <exception cref="InputException">The path holds no drafter, or one that does not fit this target.</exception>
    public Drafter OpenDrafter(string pathOrKind, DrafterOptions? options = null) => throw new NotSupportedException("not built yet");

    /// <summary>Generates to the end.</summary>
    /// <exception cref="InputException">The request is unusable; nothing has been generated.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public GenerationResult Generate(GenerationRequest request, CancellationToken cancellation = default) => throw new NotSupportedException("not built yet");

    /// <summary>
    /// Starts a generation that streams. The request is checked here, before anything runs. Enumerate <see cref="GenerationStream"/> once;
    /// after the last chunk its <see cref="GenerationStream.Result"/> is set. Breaking off the enumeration stops the work.
    /// </summary>
    /// <exception cref="InputException">The request is unusable.</exception>
    public GenerationStream GenerateAsync(GenerationRequest request, CancellationToken cancellation = default) => throw new NotSupportedException("not built yet");

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}

/// <summary>A running generation: chunks as cycles commit them.</summary>
public sealed class GenerationStream : IAsyncEnumerable<GenerationChunk>
{
    internal GenerationStream() => throw new NotSupportedException("not built yet");

    /// <summary>The finished generation; null until the enumeration has ended.</summary>
    public GenerationResult? Result { get; }

    /// <inheritdoc/>
    public IAsyncEnumerator<GenerationChunk> GetAsyncEnumerator(CancellationToken cancellationToken = default) => throw new NotSupportedException("not built yet");
}
