using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cuda.Kernels;

// One struct per kernel, field by field as in native/cuda/include/llspec_kernels.h, which says what each means. Addresses are of the device, 0 = null.
#pragma warning disable CA1815 // nothing compares them

[StructLayout(LayoutKind.Sequential)]
internal struct AbiArgument
{
    public ulong Sizes;
    public int Capacity;
}

[StructLayout(LayoutKind.Sequential)]
internal struct EmbedArgument
{
    public ulong Table, RowsOf, Tokens, Output, Count;
    public int Rows, Columns, Stride, Vocabulary;
    public DeviceType TableType;
    public int Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct RmsNormArgument
{
    public ulong Input, Residual, Gain, Output, Count;
    public int Rows, Columns, InputStride, ResidualStride, OutputStride;
    public float Epsilon;
}

[StructLayout(LayoutKind.Sequential)]
internal struct RopeAppendArgument
{
    public ulong RowsOf, Positions, Q, K, V, Cos, Sin, Count;
    public int Rows, Heads, KvHeads, HeadSize, QStride, KStride, VStride, Layer, Store, TableRows;
}

[StructLayout(LayoutKind.Sequential)]
internal struct AttentionArgument
{
    public ulong RowsOf, Ancestors, Queries, Scratch, Count;
    public int Rows, Heads, KvHeads, HeadSize, QueryStride, Layer, Splits, SharedLanes, PrivateLanes;
    public float Scale;
    public int Reserved;

    /// <summary>Floats of the scratch.</summary>
    public static long ScratchLength(long rows, int heads, int headSize, int splits) => splits * rows * heads * (headSize + 2L);
}

[StructLayout(LayoutKind.Sequential)]
internal struct AttentionMergeArgument
{
    public ulong RowsOf, Scratch, Output, Count;
    public int Rows, Heads, HeadSize, OutputStride, Splits, Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct GroupAttentionArgument
{
    public ulong Queries, K, V, Output, Count;
    public int Groups, GroupRows, Heads, KvHeads, HeadSize, QueryStride, KStride, VStride, OutputStride;
    public float Scale;
}

[StructLayout(LayoutKind.Sequential)]
internal struct GroupMeanArgument
{
    public ulong Input, Output, Count;
    public int Groups, GroupRows, Columns, InputStride, OutputStride, Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct GatherLayersArgument
{
    public ulong Keys, Values, Output, Count, First;
    public int Tokens, Layers, KvHeads, HeadSize, Capacity, FirstRow, OutputStride, Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct CopyRowsArgument
{
    public ulong Input, Sources, Output, Count;
    public int Rows, Columns, InputStride, OutputStride;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SplitRowsArgument
{
    public ulong Input, High, Low;
    public int Rows, Columns, InputStride, OutputStride;
}

[StructLayout(LayoutKind.Sequential)]
internal struct KeepRowsArgument
{
    public ulong Keys, Values, Sources, Count, Base;
    public int Rows, Layers, KvHeads, HeadSize, Capacity, BaseRow;
}

[StructLayout(LayoutKind.Sequential)]
internal struct MatMulArgument
{
    public ulong Weight, Scales, Offsets, Input, Bias, Output, Scratch, Arrivals, Gain, Cos, Sin, RowsOf, Count;
    public int Rows, Outputs, Columns, WeightStride, InputStride, OutputStride, Parts, Accumulate, HeadSize, TableRows;
    public float Epsilon;
    public int Reserved;

    /// <summary>Tiles of outputs.</summary>
    public static int Tiles(int outputs) => (outputs + KernelLimits.MatMulOutputs - 1) / KernelLimits.MatMulOutputs;

    /// <summary>Blocks of rows.</summary>
    public static int Blocks(int rows) => (rows + KernelLimits.MatMulRows - 1) / KernelLimits.MatMulRows;

    /// <summary>Parts that the columns of a weight are summed in: a function of its shape alone, so that a row's bits do not depend on its company.</summary>
    public static int PartsOf(int outputs, int columns) => Math.Min((256 + Tiles(outputs) - 1) / Tiles(outputs), Math.Clamp(columns / 256, 1, 16));

    /// <summary>Floats of the scratch.</summary>
    public static long ScratchLength(int rows, int outputs, int parts) => (long)parts * Blocks(rows) * Tiles(outputs) * KernelLimits.MatMulOutputs * KernelLimits.MatMulRows;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SwiGluArgument
{
    public ulong Gate, Up, Output, Count;
    public int Rows, Columns, GateStride, UpStride, OutputStride, Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct TopArgument
{
    public ulong Logits, Keys, Sums, ChunkStatus, Tokens, LogProbabilities, Status, Count;
    public int Rows, Columns, Stride, Top;

    /// <summary>Pieces that a row's columns are looked at in.</summary>
    public static int Chunks(int columns) => (columns + KernelLimits.TopChunk - 1) / KernelLimits.TopChunk;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SampleArgument
{
    public ulong Logits, Tree, State, Weights, Tokens, Status, Count, Seed;
    public long FirstDraw;
    public double Temperature, TopP, MinP;
    public int TopK, Rows, Columns, Stride;
}

[StructLayout(LayoutKind.Sequential)]
internal struct GrowArgument
{
    public ulong Grower, Tokens, LogProbabilities, Status, Names;
    public int Breadth, Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SelectArgument
{
    public ulong Grower, Tree, State;
    public int Total, MaxTotal;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AcceptArgument
{
    public ulong Tree, Tokens, Status, State;
    public int MaxAccepted, EndCount;
    public fixed int EndTokens[16];
}

[StructLayout(LayoutKind.Sequential)]
internal struct RowsArgument
{
    public ulong State, Tree, Grower, Keys, Values, RowsOf, Ancestors, Count, Last;
    public int Capacity;
    public RowsKind Kind;
    public int Breadth, Reserved;
}
