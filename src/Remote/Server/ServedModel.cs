using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Server;

/// <summary>What a server runs: the target and, where given, the target's half of a Mixture-of-Attentions drafter. Several servers may share one.</summary>
public sealed class ServedModel : IDisposable
{
    private readonly Drafter? _drafter;

    private ServedModel(LanguageModel model, Drafter? drafter, ModelIdentity identity, string name) =>
        (Model, _drafter, Identity, Name) = (model, drafter, identity, name);

    /// <summary>The target.</summary>
    public LanguageModel Model { get; }

    /// <summary>Hashes that clients must agree with.</summary>
    public ModelIdentity Identity { get; }

    /// <summary>For people: the last part of the path.</summary>
    public string Name { get; }

    /// <summary>Weights of LSA, Ekv2E and CA's key and value projections; null = no Mixture-of-Attentions clients.</summary>
    internal MoaDrafter? Moa => _drafter as MoaDrafter;

    /// <summary>Opens target and drafter and hashes their files.</summary>
    /// <param name="modelPath">Target: folder, .safetensors or .gguf.</param>
    /// <param name="moaPath">Mixture-of-Attentions checkpoint, or null: then clients may draft with EAGLE-2, with a model of their own or not at all.</param>
    /// <param name="options">How the target is run.</param>
    /// <exception cref="InputException">A path holds no such model.</exception>
    public static ServedModel Open(string modelPath, string? moaPath, EngineOptions? options = null)
    {
        LanguageModel model = LanguageModel.Open(modelPath, options);
        Drafter? drafter = null;
        try
        {
            drafter = moaPath is null ? null : model.OpenDrafter(moaPath, new DrafterOptions { TargetLayerInference = null });
            if (drafter is not null and not MoaDrafter)
            {
                throw new InputException($"{moaPath}: is a drafter of kind {drafter.Kind}, expected Mixture of Attentions; other drafters run at the client alone, so start the server without it");
            }

            return new ServedModel(model, drafter, ModelIdentity.Of(modelPath, moaPath), Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(modelPath))));
        }
        catch
        {
            drafter?.Dispose();
            model.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _drafter?.Dispose();
        Model.Dispose();
    }
}
