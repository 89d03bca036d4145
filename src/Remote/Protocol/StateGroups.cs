using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Protocol;

/// <summary>How many state values share a scale: both sides must agree.</summary>
internal static class StateGroups
{
    /// <summary>A CA head's key or value for Mixture of Attentions; as many values as a query head has, D = E / H, for hidden states.</summary>
    public static int Size(Drafting drafting, LlamaConfig target, DrafterLayerConfig? crossAttention)
    {
        int size = drafting == Drafting.Moa ? crossAttention!.HeadSize : target.HiddenSize / target.Heads;
        return drafting == Drafting.Eagle && target.HiddenSize % size != 0 ? target.HiddenSize : Math.Max(1, size);
    }
}
