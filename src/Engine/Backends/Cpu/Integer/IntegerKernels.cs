using System.Runtime.CompilerServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>One integer matrix product for the thread team: items are rectangles of output groups x row tiles.</summary>
internal unsafe struct IntegerJob
{
    /// <summary>The kernel of the weights' type.</summary>
    public delegate*<void*, int, int, void> Kernel;

    /// <summary>Packed groups (<see cref="PackedWeights"/>).</summary>
    public byte* Weights;

    /// <summary>Bytes of a group.</summary>
    public long GroupBytes;

    /// <summary>I / 32.</summary>
    public int Blocks;

    /// <summary>Groups of 16 outputs.</summary>
    public int Groups;

    /// <summary>Quantised inputs (<see cref="InputBlocks"/>).</summary>
    public byte* Inputs;

    /// <summary>Bytes of a block of one row.</summary>
    public int InputBytes;

    /// <summary>n.</summary>
    public int Rows;

    /// <summary>The native library's tile, where that is used.</summary>
    public void* Function;

    /// <summary>Its weight layout (<see cref="NativeLayouts"/>).</summary>
    public int Layout;

    /// <summary>Bytes ahead of its quads at which it asks for more where it reads two streams, else 0.</summary>
    public int StreamsAhead;

    /// <summary>Bytes of a group before its quads.</summary>
    public int QuadsAt;

    /// <summary>Where the results go.</summary>
    public MatMulTarget Target;

    /// <summary>Groups per item.</summary>
    public int GroupsPerItem;

    /// <summary>Row tiles per item.</summary>
    public int TilesPerItem;

    /// <summary>Row tiles.</summary>
    public readonly int Tiles => InputBlocks.Tiles(Rows);

    /// <summary>Items along the rows.</summary>
    public readonly int RowItems => (Tiles + TilesPerItem - 1) / TilesPerItem;

    /// <summary>All items.</summary>
    public readonly int Items => (Groups + GroupsPerItem - 1) / GroupsPerItem * RowItems;

    /// <summary>Items of several consecutive jobs, numbered through: runs one.</summary>
    public static void RunItem(void* jobs, int thread, int item)
    {
        IntegerJob* job = (IntegerJob*)jobs;
        for (int items; item >= (items = job->Items); job++)
        {
            item -= items;
        }

        job->Kernel(job, thread, item);
    }
}

/// <summary>Matrix products of packed weights and quantised inputs.</summary>
internal static unsafe class IntegerKernels<TVec, TInt>
    where TVec : unmanaged, ISimd16<TVec>
    where TInt : unmanaged, IByteLanes<TInt, TVec>
{
    /// <summary>The kernel of <paramref name="type"/>, over C# vectors or the native library's tiles.</summary>
    public static delegate*<void*, int, int, void> For(TensorType type, bool native) => type switch
    {
        _ when native => &NativeIntegerKernels<TVec>.Run,
        TensorType.Q8_0 => &Run<BytesTile<TVec, TInt>>,
        TensorType.Q4_0 => &Run<NibblesTile<TVec, TInt, OffsetNibbles>>,
        TensorType.Q4_1 => &Run<NibblesTile<TVec, TInt, MinimumNibbles>>,
        TensorType.Q4_K => &Run<SuperTile<TVec, TInt, FourBits>>,
        TensorType.Q5_K => &Run<SuperTile<TVec, TInt, FiveBits>>,
        TensorType.Q6_K => &Run<SuperTile<TVec, TInt, SixBits>>,
        _ => throw new ArgumentException($"{type} has no integer kernels"),
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<TTile>(void* pointer, int thread, int item)
        where TTile : struct, IIntegerTile
    {
        IntegerJob* job = (IntegerJob*)pointer;
        (int groupItem, int rowItem) = Math.DivRem(item, job->RowItems);
        int endGroup = Math.Min((groupItem + 1) * job->GroupsPerItem, job->Groups);
        int tiles = job->Tiles, firstTile = rowItem * job->TilesPerItem, endTile = Math.Min(firstTile + job->TilesPerItem, tiles);
        float* sums = stackalloc float[16 * InputBlocks.TileRows];
        for (int group = groupItem * job->GroupsPerItem; group < endGroup; group++)
        {
            byte* weights = job->Weights + (group * job->GroupBytes);
            for (int tile = firstTile; tile < endTile; tile++)
            {
                int first = InputBlocks.FirstRow(tile, tiles, job->Rows), rows = InputBlocks.FirstRow(tile + 1, tiles, job->Rows) - first;
                byte* inputs = job->Inputs + ((long)first * job->Blocks * job->InputBytes);
                switch (rows)
                {
                    case 1: TTile.Run<OneRow>(weights, inputs, job->Blocks, sums); break;
                    case 2: TTile.Run<TwoRows>(weights, inputs, job->Blocks, sums); break;
                    case 3: TTile.Run<ThreeRows>(weights, inputs, job->Blocks, sums); break;
                    default: TTile.Run<FourRows>(weights, inputs, job->Blocks, sums); break;
                }

                for (int row = 0; row < rows; row++)
                {
                    job->Target.PutGroup<TVec>(sums + (16 * row), first + row, group * PackedWeights.GroupOutputs);
                }
            }
        }
    }
}
