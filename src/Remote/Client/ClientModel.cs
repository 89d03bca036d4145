using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Engine.Backends.Ilgpu;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Client;

/// <summary>
/// What a client holds of the target (embeddings, LM head, tokenizer) and its drafter. The target's layers are never read: from a model's folder they are
/// mapped and stay on the disk. Any number of generations may share it. Thread-safe.
/// </summary>
public sealed class ClientModel : IDisposable
{
    private readonly Action _release;

    /// <param name="backend">Where drafts are computed.</param>
    /// <param name="head">Embeddings and LM head; may lack layers.</param>
    /// <param name="tokenizer">The target's tokenizer, or null.</param>
    /// <param name="contextLength">Longest sequence in tokens.</param>
    /// <param name="drafter">Drafter, or null: then only vanilla methods run.</param>
    /// <param name="identity">Hashes of what the parts were made from.</param>
    /// <param name="release">Frees the parts.</param>
    internal ClientModel(IBackend backend, LlamaModel head, Tokenizer? tokenizer, int contextLength, Drafter? drafter, ModelIdentity identity, Action release)
    {
        (Backend, Head, Tokenizer, ContextLength, Drafter, Identity, _release) = (backend, head, tokenizer, contextLength, drafter, identity, release);
        Drafting = drafter switch
        {
            MoaDrafter => Protocol.Drafting.Moa,
            EagleDrafter => Protocol.Drafting.Eagle,
            null or IndependentDrafter => Protocol.Drafting.None,
            _ => throw new InputException($"drafter {drafter.Kind}: does not draft away from its target, expected a checkpoint (MoA, EAGLE-2 or a small Llama)"),
        };
    }

    /// <summary>Sizes of the target.</summary>
    public LlamaConfig Config => Head.Config;

    /// <summary>The target's tokenizer, or null.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>Longest sequence in tokens.</summary>
    public int ContextLength { get; }

    /// <summary>Hashes that the server must agree with.</summary>
    public ModelIdentity Identity { get; }

    /// <summary>"moa", "eagle", "independent" or "none".</summary>
    public string DrafterKind => Drafter?.Kind ?? "none";

    /// <summary>What runs the drafter.</summary>
    public string BackendName => Backend.Name;

    internal IBackend Backend { get; }

    internal LlamaModel Head { get; }

    internal Drafter? Drafter { get; }

    internal Protocol.Drafting Drafting { get; }

    /// <summary>Opens the parts from a target's folder or file and a drafter's checkpoint.</summary>
    /// <param name="modelPath">Target; only embeddings, LM head, config and tokenizer are used.</param>
    /// <param name="drafter">Drafter checkpoint, or null or "none".</param>
    /// <param name="options">How drafts are computed.</param>
    /// <param name="drafterOptions">How the drafter is opened.</param>
    /// <exception cref="InputException">A path holds no such model.</exception>
    public static ClientModel Open(string modelPath, string? drafter, EngineOptions? options = null, DrafterOptions? drafterOptions = null)
    {
        LanguageModel model = LanguageModel.Open(modelPath, options);
        Drafter? opened = null;
        try
        {
            if (drafter is not (null or "none" or "lookup") && IlgpuDevices.Open(drafterOptions?.Device ?? "cpu") is { } device)
            {
                return OnDevice(model, modelPath, device, drafter, drafterOptions!);
            }

            opened = drafter is null or "none" ? null : model.OpenDrafter(drafter, drafterOptions);
            ModelIdentity identity = ModelIdentity.Of(modelPath, opened is MoaDrafter ? drafter : null);
            return new ClientModel(model.Backend, model.Target, model.Tokenizer, model.ContextLength, opened, identity, () =>
            {
                opened?.Dispose();
                model.Dispose();
            });
        }
        catch
        {
            opened?.Dispose();
            model.Dispose();
            throw;
        }
    }

    /// <summary>Opens a client pack: the one file that <c>llspec pack-client</c> writes.</summary>
    /// <param name="path">The pack.</param>
    /// <param name="options">Of them threads, width and context length: a pack drafts on the CPU, its weights met in f32.</param>
    /// <exception cref="InputException">It is no pack, or damaged, or an option is out of range.</exception>
    public static ClientModel OpenPack(string path, EngineOptions? options = null)
    {
        options ??= new EngineOptions();
        ClientPack pack = ClientPack.Open(path);
        IBackend? backend = null;
        try
        {
            LlamaConfig config = pack.Target.Config;
            if (options.ContextLength < 0 || options.ContextLength > config.ContextLength)
            {
                throw new InputException($"context length: found {options.ContextLength}, expected 0 (the model's own) to {config.ContextLength}, which is what the model was made for");
            }

            backend = new CpuBackend(options.Threads, options.Width);
            LlamaModel head = new(backend, pack.Target, endsOnly: true, pack.DraftTokens?.ToArray());
            Drafter drafter = pack.Drafter.Moa is not null
                ? new MoaDrafter(backend, pack.Drafter, head, targetLayerInference: 0)
                : new EagleDrafter(backend, pack.Drafter, config, alignedMask: false);
            drafter.MaxPosition = pack.Drafter.TrainedLength ?? int.MaxValue;
            ModelIdentity identity = new(pack.Identity.Target, pack.Identity.Tokenizer, drafter is MoaDrafter ? pack.Identity.Drafter : "");
            IBackend owned = backend;
            return new ClientModel(backend, head, pack.Tokenizer, options.ContextLength == 0 ? config.ContextLength : options.ContextLength, drafter, identity, () =>
            {
                drafter.Dispose();
                owned.Dispose();
                pack.Dispose();
            });
        }
        catch
        {
            backend?.Dispose();
            pack.Dispose();
            throw;
        }
    }

    /// <summary>Embeddings, LM head and drafter copied to a device of their own, which the client then owns.</summary>
    private static ClientModel OnDevice(LanguageModel model, string modelPath, IBackend device, string drafter, DrafterOptions options)
    {
        Drafter? opened = null;
        try
        {
            LlamaModel ends = new(device, model.Tensors, endsOnly: true);
            opened = Drafters.OpenCheckpoint(device, ends, model.Tensors, drafter, options);
            opened.MaxPosition = options.MaxPosition > 0 ? options.MaxPosition : opened.MaxPosition;
            ModelIdentity identity = ModelIdentity.Of(modelPath, opened is MoaDrafter ? drafter : null);
            return new ClientModel(device, ends, model.Tokenizer, model.ContextLength, opened, identity, () =>
            {
                opened.Dispose();
                device.Dispose();
                model.Dispose();
            });
        }
        catch
        {
            opened?.Dispose();
            device.Dispose();
            throw;
        }
    }

    /// <summary>The prompt's ids, and everything that can be wrong with a remote request.</summary>
    /// <exception cref="InputException">The request can't be carried out remotely; the message says why.</exception>
    internal int[] Check(GenerationRequest request, RemoteMethod method)
    {
        int[] prompt = RequestChecks.Prompt(request, Config, Tokenizer);
        RequestChecks.Check(request, Config, ContextLength, prompt.Length);
        string? problem = request.Sampling.Temperature != 0 || request.Sampling.HasPenalties ? "remote decoding is greedy: leave temperature and penalties at their defaults, or run the target locally"
            : request.StopStrings.Count > 0 ? "remote decoding ends at tokens: use stop tokens instead of stop strings, or run the target locally"
            : method is RemoteMethod.Speculative or RemoteMethod.DrafterOnly && Drafter is null ? "drafting needs a drafter: give one, or ask for a vanilla method"
            : null;
        return problem is null ? prompt : throw new InputException(problem);
    }

    /// <inheritdoc/>
    public void Dispose() => _release();
}
