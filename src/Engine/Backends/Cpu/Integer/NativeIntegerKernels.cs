using System.Runtime.CompilerServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>The numbers of weight layouts in llspec_cpu.h.</summary>
internal static class NativeLayouts
{
    /// <summary>The number of <paramref name="type"/>, one of those with integer kernels.</summary>
    public static int Of(TensorType type) => type switch
    {
        TensorType.Q8_0 => 0,
        TensorType.Q4_0 => 1,
        TensorType.Q4_1 => 2,
        TensorType.Q4_K => 3,
        TensorType.Q5_K => 4,
        TensorType.Q6_K => 5,
        _ => throw new ArgumentException($"{type} has no integer kernels"),
    };
}

/// <summary>Integer products by the native library's tile: the same integers and the same f32 steps as the C# tiles.</summary>
internal static unsafe class NativeIntegerKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    // Groups of one call, and the bytes of weights that stay in the first-level cache while several tiles of rows pass by.
    private const int GroupsTogether = 8, TogetherBytes = 24 * 1024;

    // Where one row reads two streams: streams of some length, and the collector waits for a call to return.
    private const int MostGroups = 24;

    private const long StreamsBytes = 256 * 1024;

    private const int Line = 64;

    // Up to this many rows take weights as one stream, a group at a time, or as two, asked for a fixed distance ahead. More rows take two groups, which share each broadcast input, and ask for
    // the next two meanwhile.
    private const int MostStreamingRows = 3;

    /// <summary>Kernel of <see cref="IntegerJob"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(void* pointer, int thread, int item)
    {
        IntegerJob* job = (IntegerJob*)pointer;
        (int groupItem, int rowItem) = Math.DivRem(item, job->RowItems);
        int group = groupItem * job->GroupsPerItem, endGroup = Math.Min(group + job->GroupsPerItem, job->Groups);
        int tiles = job->Tiles, firstTile = rowItem * job->TilesPerItem, endTile = Math.Min(firstTile + job->TilesPerItem, tiles), passes = endTile - firstTile;
        int blocks = job->Blocks;
        bool stream = passes == 1 && job->Rows <= MostStreamingRows;
        int together = passes > 1 ? (int)Math.Clamp(TogetherBytes / job->GroupBytes / 2 * 2, 2, GroupsTogether)
            : job->StreamsAhead > 0 ? (int)Math.Clamp(StreamsBytes / job->GroupBytes / 2 * 2, 2, MostGroups)
            : stream && job->Rows > 1 ? 1 : GroupsTogether;

        // While some weights are multiplied with all rows, the next ones travel, a share of them with every tile.
        int lines = (int)((job->GroupBytes + ((long)Line * blocks * passes) - 1) / ((long)Line * blocks * passes));
        var function = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, long, int, byte*, int, int, byte*, int, float*, void>)job->Function;
        float* sums = stackalloc float[16 * InputBlocks.TileRows * MostGroups];
        for (int count; group < endGroup; group += count)
        {
            // A last one that has no other is a stream of its own.
            count = Math.Min(together, endGroup - group);
            bool pairs = job->StreamsAhead > 0 && count > 1;
            count = pairs ? count & ~1 : count;
            byte* weights = job->Weights + (group * job->GroupBytes), ahead = weights + (pairs ? job->QuadsAt + job->StreamsAhead : stream ? PackedWeights.PrefetchDistance : passes > 1 ? count * job->GroupBytes : 2 * job->GroupBytes);
            for (int tile = firstTile; tile < endTile; tile++, ahead += (long)Line * blocks * lines * count)
            {
                int first = InputBlocks.FirstRow(tile, tiles, job->Rows), rows = InputBlocks.FirstRow(tile + 1, tiles, job->Rows) - first;
                byte* inputs = job->Inputs + ((long)first * blocks * job->InputBytes);
                function(job->Layout, weights, job->GroupBytes, count, inputs, blocks, rows, ahead, lines, sums);
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
