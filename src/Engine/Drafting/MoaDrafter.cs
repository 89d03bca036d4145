using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>A Mixture-of-Attentions drafter (paper section 3): weights shared by all generations.</summary>
internal sealed class MoaDrafter : Drafter
{
    private readonly DrafterFile? _file;
    private readonly MoaTensors _tensors;

    public MoaDrafter(IBackend backend, DrafterFile file, LlamaModel target, int targetLayerInference)
        : this(backend, file.Moa ?? throw new ArgumentException("not a Mixture-of-Attentions checkpoint", nameof(file)), target, targetLayerInference) => _file = file;

    /// <summary>A drafter over weights that lie anywhere and outlive it.</summary>
    public MoaDrafter(IBackend backend, MoaTensors tensors, LlamaModel target, int targetLayerInference)
    {
        _tensors = tensors;
        LlamaConfig config = target.Config;
        if (targetLayerInference < 0 || targetLayerInference > config.Layers)
        {
            throw new InputException($"target layer inference: found {targetLayerInference}, expected 0 to {config.Layers} (the target's layers)");
        }

        TargetLayers = targetLayerInference;
        float epsilon = tensors.RmsNormEpsilon, theta = tensors.RopeTheta;

        // The reference builds SA with the target's RoPE scaling and CA and LSA without (golden README, point 5); checkpoints are trained so.
        SelfAttentionConfig = tensors.SelfAttentionConfig;
        SelfAttention = new DecoderLayer(backend, tensors.SelfAttention, SelfAttentionConfig, epsilon, Table(SelfAttentionConfig, config.RopeScaling));
        CrossAttentionConfig = tensors.CrossAttentionConfig;
        CrossAttention = new DecoderLayer(backend, tensors.CrossAttention, CrossAttentionConfig, epsilon, Table(CrossAttentionConfig, null));
        if (tensors.LayerSelfAttention is not null && tensors.LayerSelfAttentionConfig is not null)
        {
            LayerSelfAttention = new DecoderLayer(backend, tensors.LayerSelfAttention, tensors.LayerSelfAttentionConfig, epsilon, Table(tensors.LayerSelfAttentionConfig, null));
        }

        Ekv2E = backend.LoadDraftMatrix(tensors.Ekv2E);
        Ekv2EBias = backend.LoadWeight(tensors.Ekv2EBias);

        RopeTable Table(DrafterLayerConfig layer, RopeScaling? scaling)
        {
            RopeTable table = new(layer.HeadSize, theta, scaling);
            Tables.Add(table);
            return table;
        }
    }

    public override string Kind => TargetLayers == 0 ? "moa" : $"moa-tli{TargetLayers}";

    /// <summary>N of target layer inference.</summary>
    public int TargetLayers { get; }

    public DecoderLayer SelfAttention { get; }

    public DrafterLayerConfig SelfAttentionConfig { get; }

    public DecoderLayer CrossAttention { get; }

    public DrafterLayerConfig CrossAttentionConfig { get; }

    public DecoderLayer? LayerSelfAttention { get; }

    public Weight Ekv2E { get; }

    public Weight Ekv2EBias { get; }

    /// <summary>RoPE tables to extend before a generation starts, so that a step allocates nothing.</summary>
    public List<RopeTable> Tables { get; } = [];

    internal override DraftSession CreateSession(DraftContext context) => new MoaSession(this, context);

    /// <summary>The same weights on another backend; valid as long as this drafter, whose file it reads.</summary>
    public MoaDrafter OnBackend(IBackend backend, LlamaModel target) => new(backend, _tensors, target, TargetLayers);

    private protected override void Release() => _file?.Dispose();
}
