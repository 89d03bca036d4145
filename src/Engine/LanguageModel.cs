using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Drafting.Adaptive;
using LowLevelSpec.Engine.Measuring;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine;

/// <summary>
/// A target ready to run. Thread-safe: any number of generations may run at once on one instance, each on its own thread; they share
/// the backend's worker threads. Disposing it while generations run is safe: memory and files go when the last of them has ended.
/// </summary>
public sealed class LanguageModel : IDisposable
{
    private readonly ModelFile _file;
    private readonly SharedLifetime _lifetime;
    private readonly EngineOptions _options;

    private LanguageModel(ModelFile file, IBackend backend, EngineOptions options)
    {
        (_file, _options) = (file, options);
        Backend = backend;
        Target = new LlamaModel(backend, file.Tensors, kvType: options.KvType);
        ContextLength = options.ContextLength == 0 ? Config.ContextLength : options.ContextLength;
        Tokenizer = Tokenizer.Open(file.Path);
        PassBytes = BytesOfPass(file.Tensors);
        CacheFolder = options.CacheFolder switch { null => UserCache.Folder, "" => null, string folder => folder };
        _lifetime = new SharedLifetime(() =>
        {
            Backend.Dispose();
            _file.Dispose();
        });
    }

    /// <summary>Sizes of the target.</summary>
    public LlamaConfig Config => Target.Config;

    /// <summary>The model's tokenizer, or null where it comes without one.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>Longest sequence, prompt and output, in tokens.</summary>
    public int ContextLength { get; }

    /// <summary>Bytes of the weights that a pass over one token reads, as stored: every matrix and norm once, the LM head included, the embedding table's one row left out.</summary>
    public long PassBytes { get; }

    /// <summary>What runs it, e.g. "cpu 512-bit, 2 threads", and how the CPU stores keys and values where that is not f32.</summary>
    public string BackendName => _options.KvType == KvType.F32 || Backend is not CpuBackend ? Backend.Name : $"{Backend.Name}, {_options.KvType} keys and values";

    /// <summary>Where measured costs are kept; null = nowhere.</summary>
    internal string? CacheFolder { get; }

    /// <summary>What the costs of a pass depend on: machine, build of the engine, backend, model file.</summary>
    internal string[] Facts =>
    [
        Environment.MachineName, $"{Environment.ProcessorCount}", Environment.OSVersion.VersionString,
        typeof(LanguageModel).Module.ModuleVersionId.ToString(), BackendName, $"{_options.Arithmetic}", CostCache.FileFact(_file.Path),
    ];

    /// <summary>The file's tensors, for a device that holds its own copy of some.</summary>
    internal LlamaTensors Tensors => _file.Tensors;

    internal IBackend Backend { get; }

    internal LlamaModel Target { get; }

    /// <summary>Opens a model: a Hugging Face folder, a .safetensors file or a .gguf file.</summary>
    /// <exception cref="InputException">The path holds no model the engine runs, or an option is out of range.</exception>
    public static LanguageModel Open(string path, EngineOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new EngineOptions();
        ModelFile file = ModelFile.Open(path);
        IBackend? backend = null;
        try
        {
            int most = file.Tensors.Config.ContextLength;
            if (options.ContextLength < 0 || options.ContextLength > most)
            {
                throw new InputException($"context length: found {options.ContextLength}, expected 0 (the model's own) to {most}, which is what the model was made for");
            }

            if (options.KvType is not (KvType.F32 or KvType.F16 or KvType.BF16))
            {
                throw new InputException($"key/value type: found {options.KvType}, expected {KvType.F32}, {KvType.F16} or {KvType.BF16}");
            }

            if (options.KvType == KvType.F16 && options.Device != "cpu")
            {
                throw new InputException($"--kv-type: found f16, expected bf16 with --device {options.Device}: a GPU stores keys and values as bf16");
            }

            backend = CudaDevices.Open(options.Device, options.Prefill) ?? new CpuBackend(options.Threads, options.Width, options.Arithmetic, options.PinThreads);
            return new LanguageModel(file, backend, options);
        }
        catch
        {
            backend?.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <summary>Opens a drafter for this target: a checkpoint path (MoA, EAGLE-2, independent Llama), "lookup" (prompt lookup) or "none".</summary>
    /// <exception cref="InputException">The path holds no drafter, or one that does not fit this target.</exception>
    public Drafter OpenDrafter(string pathOrKind, DrafterOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(pathOrKind);
        return Drafters.Open(this, Backend, Target, Tensors, pathOrKind, options ?? new DrafterOptions());
    }

    /// <summary>Generates to the end on the calling thread.</summary>
    /// <exception cref="InputException">The request is unusable, there is too little memory for it, or the model's logits are not finite; the message says which.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public GenerationResult Generate(GenerationRequest request, CancellationToken cancellation = default)
    {
        GenerationPlan plan = Plan(request);
        GenerationResult result = GenerationRun.Execute(this, plan, static (_, _) => { }, 0, cancellation);
        return result.FinishReason == FinishReason.Cancelled ? throw new OperationCanceledException(cancellation) : result;
    }

    /// <summary>
    /// Starts a generation that streams. The request is checked here, before anything runs. Enumerate the stream once; after the last
    /// chunk its <see cref="GenerationStream.Result"/> is set. Breaking off the enumeration stops the work; cancelling ends it with an
    /// <see cref="OperationCanceledException"/> and sets the result so far.
    /// </summary>
    /// <exception cref="InputException">The request is unusable.</exception>
    public GenerationStream GenerateAsync(GenerationRequest request, CancellationToken cancellation = default) =>
        new(this, Plan(request), cancellation);

    /// <summary>Frees the model once no generation uses it; called twice it does nothing.</summary>
    public void Dispose() => _lifetime.Dispose();

    /// <summary>Checks a request and sets the generation up; the caller disposes it. For the golden checks and tests, which look inside.</summary>
    internal Generation Begin(GenerationRequest request, bool? logitsOnDemand = null) => new(Backend, Target, Plan(request), logitsOnDemand);

    internal void Take() => _lifetime.Take(this);

    internal void Return() => _lifetime.Return();

    private static long BytesOfPass(LlamaTensors tensors)
    {
        long bytes = tensors.FinalNorm.ByteLength + tensors.LmHead.ByteLength;
        foreach (LayerTensors layer in tensors.Layers)
        {
            foreach (TensorView? view in (TensorView?[])[layer.InputNorm, layer.Query, layer.Key, layer.Value, layer.Output, layer.QueryBias, layer.KeyBias, layer.ValueBias, layer.OutputBias, layer.PostAttentionNorm, layer.Gate, layer.Up, layer.Down])
            {
                bytes += view?.ByteLength ?? 0;
            }
        }

        return bytes;
    }

    private GenerationPlan Plan(GenerationRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        int[] prompt = RequestChecks.Prompt(request, Config, Tokenizer);
        RequestChecks.Check(request, this, prompt.Length);
        return new GenerationPlan
        {
            Prompt = prompt,
            Request = request,
            MaxTokens = (int)Math.Min(ContextLength, (long)prompt.Length + request.MaxNewTokens),
            EndTokens = [.. request.IgnoreEndTokens ? [] : Config.EndTokens, .. request.StopTokens],
            Drafter = request.Drafter ?? new NoDrafter(),
            Tokenizer = Tokenizer,
        };
    }
}
