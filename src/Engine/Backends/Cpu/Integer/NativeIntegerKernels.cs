using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>A weight layout of the native library, as a type.</summary>
internal interface INativeLayout
{
    /// <summary>Its number in llspec_cpu.h.</summary>
    static abstract int Number { get; }
}

/// <summary>Q8_0.</summary>
internal readonly struct NativeBytes : INativeLayout
{
    public static int Number => 0;
}

/// <summary>Q4_0.</summary>
internal readonly struct NativeOffsetNibbles : INativeLayout
{
    public static int Number => 1;
}

/// <summary>Q4_1.</summary>
internal readonly struct NativeMinimumNibbles : INativeLayout
{
    public static int Number => 2;
}

/// <summary>Q4_K.</summary>
internal readonly struct NativeFourBits : INativeLayout
{
    public static int Number => 3;
}

/// <summary>Q5_K.</summary>
internal readonly struct NativeFiveBits : INativeLayout
{
    public static int Number => 4;
}

/// <summary>Q6_K.</summary>
internal readonly struct NativeSixBits : INativeLayout
{
    public static int Number => 5;
}

/// <summary>Integer products by the native library's tile (AVX-512 VNNI): the same integers and the same f32 steps as the C# tiles.</summary>
internal static unsafe class NativeIntegerKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    // Groups of one call, and the bytes of weights that stay in the first-level cache while several tiles of rows pass by.
    private const int MostGroups = 8, TogetherBytes = 24 * 1024;

    private const int Line = 64;

    // Up to this many rows take one group at a time: weights as one stream, asked for a fixed distance ahead, come fastest. More rows take two groups, which share
    // each broadcast input, and ask for the next two meanwhile.
    private const int MostStreamingRows = 3;

    /// <summary>Kernel of <see cref="IntegerJob"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<TLayout>(void* pointer, int thread, int item)
        where TLayout : struct, INativeLayout
    {
        IntegerJob* job = (IntegerJob*)pointer;
        (int groupItem, int rowItem) = Math.DivRem(item, job->RowItems);
        int group = groupItem * job->GroupsPerItem, endGroup = Math.Min(group + job->GroupsPerItem, job->Groups);
        int tiles = job->Tiles, firstTile = rowItem * job->TilesPerItem, endTile = Math.Min(firstTile + job->TilesPerItem, tiles), passes = endTile - firstTile;
        int blocks = job->Blocks;
        bool stream = passes == 1 && job->Rows <= MostStreamingRows;
        int together = stream && job->Rows > 1 ? 1 : passes == 1 ? MostGroups : (int)Math.Clamp(TogetherBytes / job->GroupBytes / 2 * 2, 2, MostGroups);

        // While some weights are multiplied with all rows, the next ones travel, a share of them with every tile.
        int lines = (int)((job->GroupBytes + ((long)Line * blocks * passes) - 1) / ((long)Line * blocks * passes));
        var function = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, long, int, byte*, int, int, byte*, int, float*, void>)job->Function;
        float* sums = stackalloc float[16 * InputBlocks.TileRows * MostGroups];
        for (int count; group < endGroup; group += count)
        {
            count = Math.Min(together, endGroup - group);
            byte* weights = job->Weights + (group * job->GroupBytes), ahead = weights + (stream ? PackedWeights.PrefetchDistance : passes > 1 ? count * job->GroupBytes : 2 * job->GroupBytes);
            for (int tile = firstTile; tile < endTile; tile++, ahead += (long)Line * blocks * lines * count)
            {
                int first = InputBlocks.FirstRow(tile, tiles, job->Rows), rows = InputBlocks.FirstRow(tile + 1, tiles, job->Rows) - first;
                byte* inputs = job->Inputs + ((long)first * blocks * job->InputBytes);
                function(TLayout.Number, weights, job->GroupBytes, count, inputs, blocks, rows, ahead, lines, sums);
                for (int row = 0; row < rows; row++)
                {
                    for (int i = 0; i < count; i++)
                    {
                        job->Target.PutGroup<TVec>(sums + (16 * ((i * InputBlocks.TileRows) + row)), first + row, (group + i) * PackedWeights.GroupOutputs);
                    }
                }
            }
        }
    }
}
