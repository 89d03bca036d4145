using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>One product with weights of 16 bits for the thread team: items are rectangles of output groups x row tiles.</summary>
internal unsafe struct HalfJob
{
    /// <summary>The kernel.</summary>
    public delegate*<void*, int, int, void> Kernel;

    /// <summary>The native library's tile, or null: the C# tile.</summary>
    public void* Function;

    /// <summary>Weight layout of the tiles: 0 = IEEE halves, 1 = bfloat16.</summary>
    public int Layout;

    /// <summary>Bytes ahead of its weights at which a single tile of the native library asks for more where it reads two streams, else 0.</summary>
    public int StreamsAhead;

    /// <summary>Packed groups (<see cref="PackedHalves"/>).</summary>
    public byte* Weights;

    /// <summary>Bytes of a group.</summary>
    public long GroupBytes;

    /// <summary>I.</summary>
    public int Inputs;

    /// <summary>Groups of 32 outputs.</summary>
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

    /// <summary>First thread's working memory for the C# tile, a group's weights in f32.</summary>
    public byte* Scratch;

    /// <summary>Bytes between the threads' parts.</summary>
    public long ScratchStride;

    /// <summary>Row tiles.</summary>
    public readonly int Tiles => (Rows + HalfTile.MostRows - 1) / HalfTile.MostRows;

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

/// <summary>Constants of <see cref="HalfKernels{TVec}"/>.</summary>
internal static class HalfTile
{
    /// <summary>Most rows of a tile.</summary>
    public const int MostRows = 6;

    /// <summary>Inputs per which a tile asks for cache lines ahead.</summary>
    public const int InputsPerAsking = 8;
}

/// <summary>
/// Products with weights of 16 bits and inputs in f32. Each (row, output) pair is one chain, sum = fma(weight, x, sum), over the inputs in ascending order:
/// outputs lie across the lanes, so no sum is ever taken across a register, and neither rows nor width change a bit. By the native library's tile, or in C#.
/// </summary>
internal static unsafe class HalfKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    // Groups of one call where a single tile of rows passes by, and about how many bytes: the collector waits for a call to return.
    private const int MostGroups = 8;

    private const long CallBytes = 256 * 1024;

    private const int Line = 64, Lanes = 16;

    /// <summary>Kernel of <see cref="HalfJob"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(void* pointer, int thread, int item)
    {
        HalfJob* job = (HalfJob*)pointer;
        (int groupItem, int rowItem) = Math.DivRem(item, job->RowItems);
        int group = groupItem * job->GroupsPerItem, endGroup = Math.Min(group + job->GroupsPerItem, job->Groups);
        int tiles = job->Tiles, firstTile = rowItem * job->TilesPerItem, endTile = Math.Min(firstTile + job->TilesPerItem, tiles), count = endTile - firstTile;

        // While one group is multiplied with all rows, the next one travels, a share of it with every tile.
        int together = count > 1 ? 1 : (int)Math.Clamp(CallBytes / job->GroupBytes / 2 * 2, job->StreamsAhead > 0 ? 2 : 1, MostGroups), lines = (HalfTile.InputsPerAsking + count - 1) / count;
        long asked = (long)Line * lines * (job->Inputs / HalfTile.InputsPerAsking);
        var function = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, float*, long, int, int, byte*, int, float*, void>)job->Function;
        float* sums = stackalloc float[PackedHalves.GroupOutputs * HalfTile.MostRows * MostGroups];
        for (int end; group < endGroup; group = end)
        {
            // A last one that has no other is a stream of its own.
            end = Math.Min(group + together, endGroup);
            bool pairs = count == 1 && job->StreamsAhead > 0 && end - group > 1;
            end -= pairs ? (end - group) & 1 : 0;
            byte* weights = job->Weights + (group * job->GroupBytes), ahead = weights + (pairs ? job->StreamsAhead : count == 1 ? PackedWeights.PrefetchDistance : job->GroupBytes);
            float* decoded = null;
            if (function == null && count > 1)
            {
                decoded = (float*)(job->Scratch + (thread * job->ScratchStride));
                Decode(job->Layout, (ushort*)weights, job->Inputs, decoded);
            }

            for (int tile = firstTile; tile < endTile; tile++, ahead += asked)
            {
                int first = (int)((long)tile * job->Rows / tiles), rows = (int)((tile + 1L) * job->Rows / tiles) - first;
                float* x = job->Input + (first * job->InputStride);
                if (function != null)
                {
                    function(job->Layout, weights, end - group, x, job->InputStride, job->Inputs, rows, ahead, lines, sums);
                }
                else if (decoded != null)
                {
                    Group((StoredSingle<TVec>*)decoded, x, job->InputStride, job->Inputs, rows, sums);
                }
                else
                {
                    Tile(job->Layout, weights, end - group, x, job->InputStride, job->Inputs, rows, sums);
                }

                float* s = sums;
                for (int g = group; g < end; g++)
                {
                    for (int row = 0; row < rows; row++, s += PackedHalves.GroupOutputs)
                    {
                        int output = g * PackedHalves.GroupOutputs;
                        job->Target.PutGroup<TVec>(s, first + row, output);
                        if (output + Lanes < job->Target.Outputs)
                        {
                            job->Target.PutGroup<TVec>(s + Lanes, first + row, output + Lanes);
                        }
                    }
                }
            }
        }
    }

    /// <summary>llspec_half_tile in C#: sums[(group * rows + row) * 32 + output].</summary>
    public static void Tile(int layout, byte* weights, int groups, float* x, long stride, int inputs, int rows, float* sums)
    {
        for (int group = 0; group < groups; group++, weights += (long)Line * inputs, sums += PackedHalves.GroupOutputs * rows)
        {
            if (layout == 0)
            {
                Group<StoredHalf<TVec>>((StoredHalf<TVec>*)weights, x, (nint)stride, inputs, rows, sums);
            }
            else
            {
                Group<StoredBFloat16<TVec>>((StoredBFloat16<TVec>*)weights, x, (nint)stride, inputs, rows, sums);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Decode(int layout, ushort* weights, nint inputs, float* to)
    {
        for (nint i = 0; i < inputs * PackedHalves.GroupOutputs; i += Lanes)
        {
            TVec.Store(layout == 0 ? TVec.LoadHalf(weights + i) : TVec.LoadBFloat16(weights + i), to + i);
        }
    }

    private static void Group<TElement>(TElement* weights, float* x, nint stride, int inputs, int rows, float* sums)
        where TElement : unmanaged, IStoredElement<TElement, TVec>
    {
        for (int row = 0, count; row < rows; row += count)
        {
            count = rows - row >= 4 ? 4 : rows - row >= 2 ? 2 : 1;
            if (count == 1)
            {
                OneRow(weights, x + (row * stride), inputs, sums + (row * PackedHalves.GroupOutputs));
                continue;
            }

            for (int lane = 0; lane < PackedHalves.GroupOutputs; lane += Lanes)
            {
                TElement* w = weights + lane;
                float* at = x + (row * stride), to = sums + (row * PackedHalves.GroupOutputs) + lane;
                if (count == 2)
                {
                    TwoRows(w, at, at + stride, inputs, to);
                }
                else
                {
                    FourRows(w, at, stride, inputs, to);
                }
            }
        }
    }

    /// <summary>A whole group at once: weights as one stream, and chains enough that none waits for itself.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneRow<TElement>(TElement* weights, float* x, int inputs, float* to)
        where TElement : unmanaged, IStoredElement<TElement, TVec>
    {
        TVec a = TVec.Zero, b = TVec.Zero;
        for (nint i = 0; i < inputs; i++, weights += PackedHalves.GroupOutputs)
        {
            SimdMath.Prefetch((byte*)weights + PackedWeights.PrefetchDistance);
            TVec y = TVec.Broadcast(x[i]);
            a = TVec.Fma(TElement.Load(weights), y, a);
            b = TVec.Fma(TElement.Load(weights + Lanes), y, b);
        }

        TVec.Store(a, to);
        TVec.Store(b, to + Lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TwoRows<TElement>(TElement* weights, float* x0, float* x1, int inputs, float* to)
        where TElement : unmanaged, IStoredElement<TElement, TVec>
    {
        TVec a = TVec.Zero, b = TVec.Zero;
        for (nint i = 0; i < inputs; i++, weights += PackedHalves.GroupOutputs)
        {
            TVec w = TElement.Load(weights);
            a = TVec.Fma(w, TVec.Broadcast(x0[i]), a);
            b = TVec.Fma(w, TVec.Broadcast(x1[i]), b);
        }

        TVec.Store(a, to);
        TVec.Store(b, to + PackedHalves.GroupOutputs);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourRows<TElement>(TElement* weights, float* x, nint stride, int inputs, float* to)
        where TElement : unmanaged, IStoredElement<TElement, TVec>
    {
        TVec a = TVec.Zero, b = TVec.Zero, c = TVec.Zero, d = TVec.Zero;
        float* x0 = x, x1 = x + stride, x2 = x1 + stride, x3 = x2 + stride;
        for (nint i = 0; i < inputs; i++, weights += PackedHalves.GroupOutputs)
        {
            TVec w = TElement.Load(weights);
            a = TVec.Fma(w, TVec.Broadcast(x0[i]), a);
            b = TVec.Fma(w, TVec.Broadcast(x1[i]), b);
            c = TVec.Fma(w, TVec.Broadcast(x2[i]), c);
            d = TVec.Fma(w, TVec.Broadcast(x3[i]), d);
        }

        TVec.Store(a, to);
        TVec.Store(b, to + PackedHalves.GroupOutputs);
        TVec.Store(c, to + (2 * PackedHalves.GroupOutputs));
        TVec.Store(d, to + (3 * PackedHalves.GroupOutputs));
    }
}
