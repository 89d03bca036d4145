using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>One product with weights of 16 bits for the thread team: items are rectangles of output groups x row tiles.</summary>
internal unsafe struct HalfJob
{
    /// <summary>The kernel.</summary>
    public delegate*<void*, int, int, void> Kernel;

    /// <summary>The native library's tile.</summary>
    public void* Function;

    /// <summary>Its weight layout.</summary>
    public int Layout;

    /// <summary>Packed groups (<see cref="PackedHalves"/>).</summary>
    public byte* Weights;

    /// <summary>Bytes of a group.</summary>
    public long GroupBytes;

    /// <summary>I / 32.</summary>
    public int Blocks;

    /// <summary>Groups of 4 outputs.</summary>
    public int Groups;

    /// <summary>[n, I].</summary>
    public float* Input;

    /// <summary>Elements between its rows.</summary>
    public nint InputStride;

    /// <summary>n.</summary>
    public int Rows;

    /// <summary>Where the results go.</summary>
    public MatMulTarget Target;

    /// <summary>Groups per item.</summary>
    public int GroupsPerItem;

    /// <summary>Row tiles per item.</summary>
    public int TilesPerItem;

    /// <summary>Row tiles.</summary>
    public readonly int Tiles => (Rows + NativeHalfKernels.TileRows - 1) / NativeHalfKernels.TileRows;

    /// <summary>Items along the rows.</summary>
    public readonly int RowItems => (Tiles + TilesPerItem - 1) / TilesPerItem;

    /// <summary>All items.</summary>
    public readonly int Items => (Groups + GroupsPerItem - 1) / GroupsPerItem * RowItems;

    /// <summary>Items of several consecutive jobs, numbered through: runs one.</summary>
    public static void RunItem(void* jobs, int thread, int item)
    {
        HalfJob* job = (HalfJob*)jobs;
        for (int items; item >= (items = job->Items); job++)
        {
            item -= items;
        }

        job->Kernel(job, thread, item);
    }
}

/// <summary>Constants of <see cref="NativeHalfKernels{TVec}"/>.</summary>
internal static class NativeHalfKernels
{
    /// <summary>Most rows of a tile.</summary>
    public const int TileRows = 6;
}

/// <summary>Products by the native library's tile over weights of 16 bits: the chains and the final tree of <see cref="DotKernels{TVec, TElement}"/>, so the same bits.</summary>
internal static unsafe class NativeHalfKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    // Groups that stay in the first-level cache while all rows pass by, so that the rows are read from the second level less often.
    private const int TogetherBytes = 20 * 1024, MostGroups = 8;

    private const int Line = 64;

    /// <summary>Kernel of <see cref="HalfJob"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(void* pointer, int thread, int item)
    {
        HalfJob* job = (HalfJob*)pointer;
        (int groupItem, int rowItem) = Math.DivRem(item, job->RowItems);
        int group = groupItem * job->GroupsPerItem, endGroup = Math.Min(group + job->GroupsPerItem, job->Groups);
        int tiles = job->Tiles, firstTile = rowItem * job->TilesPerItem, endTile = Math.Min(firstTile + job->TilesPerItem, tiles), count = endTile - firstTile;
        int together = count == 1 ? MostGroups : (int)Math.Clamp(TogetherBytes / job->GroupBytes, 1, MostGroups);

        // While some weights are multiplied with all rows, the next ones travel, a share of them with every tile.
        int blocks = job->Blocks, lines = (PackedHalves.GroupOutputs + count - 1) / count;
        var function = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, float*, long, int, int, byte*, int, float*, void>)job->Function;
        float* sums = stackalloc float[16 * PackedHalves.GroupOutputs * NativeHalfKernels.TileRows * MostGroups], results = stackalloc float[4];
        for (int end; group < endGroup; group = end)
        {
            end = Math.Min(group + together, endGroup);
            byte* ahead = job->Weights + (count == 1 ? (group * job->GroupBytes) + PackedWeights.PrefetchDistance : end * job->GroupBytes);
            for (int tile = firstTile; tile < endTile; tile++, ahead += (long)Line * blocks * lines * (end - group))
            {
                int first = (int)((long)tile * job->Rows / tiles), rows = (int)((tile + 1L) * job->Rows / tiles) - first;
                function(job->Layout, job->Weights + (group * job->GroupBytes), end - group, job->Input + (first * job->InputStride), job->InputStride, blocks, rows, ahead, lines, sums);
                float* s = sums;
                for (int g = group; g < end; g++)
                {
                    for (int row = 0; row < rows; row++, s += 64)
                    {
                        TVec.Sum4(TVec.Load(s), TVec.Load(s + 16), TVec.Load(s + 32), TVec.Load(s + 48)).Store(results);
                        job->Target.Put(results, first + row, g * PackedHalves.GroupOutputs);
                    }
                }
            }
        }
    }
}
