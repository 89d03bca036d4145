using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cuda.Kernels;

/// <summary>Sizes that kernels and their callers share (native/cuda/include/llspec_kernels.h, whose names these are the twins of).</summary>
internal static class KernelLimits
{
    public const int MaxTree = 64, MaxBreadth = 32, MaxDepth = 32, MaxTop = 32, MaxScored = 32 + (30 * 32 * 32);
    public const int SplitKeys = 256, BlockRows = 64, MatMulOutputs = 128, MatMulRows = 64, QuantBlock = 32, TopChunk = 2048;
}

/// <summary>A row of a pass, as kernels read it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DeviceRow
{
    /// <summary>Layer 0 of its sequence's cache: bf16 [L, K, capacity, row size].</summary>
    public ulong Keys, Values;
    public int Capacity, Token, Position, CacheRow, Prefix, AncestorFirst, AncestorCount, Reserved;
}

/// <summary>A draft tree in device memory.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DeviceTree
{
    public fixed ulong Masks[KernelLimits.MaxTree];
    public fixed int Tokens[KernelLimits.MaxTree];
    public fixed int Parents[KernelLimits.MaxTree];
    public fixed int Depths[KernelLimits.MaxTree];
    public fixed float LogProbabilities[KernelLimits.MaxTree];
    public int Count, Reserved;
}

/// <summary>A tree while it grows, in device memory.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DeviceGrower
{
    public int ScoredCount, LevelStart, Level, Failed;
    public fixed int FrontierScored[KernelLimits.MaxBreadth];
    public fixed int FrontierTokens[KernelLimits.MaxBreadth];
    public fixed int FrontierParents[KernelLimits.MaxBreadth];
    public fixed float FrontierScores[KernelLimits.MaxBreadth];
    public fixed int Paths[KernelLimits.MaxBreadth * KernelLimits.MaxDepth];
    public fixed int ScoredTokens[KernelLimits.MaxScored];
    public fixed int ScoredParents[KernelLimits.MaxScored];
    public fixed float Scores[KernelLimits.MaxScored];
}

/// <summary>What one generation carries from cycle to cycle in device memory; the host reads it once a cycle.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DeviceState
{
    public int Verified, Root, Committed, Accepted, Observed, SelfLength, Failed, DrafterFailed, TreeCount;
    public fixed int Reserved[7];
    public fixed int Tokens[KernelLimits.MaxTree];
    public fixed int Path[KernelLimits.MaxTree];
    public fixed int Rows[KernelLimits.MaxTree];
}

/// <summary>How a weight lies on the device.</summary>
internal enum DeviceType
{
    BF16 = 0,
    F32 = 1,
    Q8 = 2,
    Q4 = 3,
}

/// <summary>Which rows <see cref="RowsArgument"/> writes.</summary>
internal enum RowsKind
{
    Verify = 0,
    CatchUp = 1,
    LastQuery = 2,
    Frontier = 3,
    Query = 4,
    Observed = 5,
    TargetRoot = 6,
    TargetFrontier = 7,
    Features = 8,
    FeatureFrontier = 9,
    FeatureReference = 10,
}

/// <summary>What a row of logits holds that is not finite; bits of a status.</summary>
[Flags]
internal enum LogitStatus
{
    Finite = 0,
    NaN = 1,
    PositiveInfinity = 2,
    NegativeInfinity = 4,
    Nothing = 8,
}
