using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>One matrix product for the thread team: items are rectangles of outputs x rows.</summary>
internal unsafe struct MatMulJob
{
    /// <summary>Stored weight rows [Outputs, Columns].</summary>
    public byte* Weights;

    /// <summary>Bytes from one stored row to the next.</summary>
    public long RowBytes;

    /// <summary>Decodes one stored row.</summary>
    public delegate*<byte*, float*, int, void> Decode;

    /// <summary>I.</summary>
    public int Columns;

    /// <summary>Rows per head where RoPE pairs are interleaved, else 0.</summary>
    public int HeadSize;

    /// <summary>Whether the stored rows are f32 of whole vectors, to be used where they lie.</summary>
    public bool InPlace;

    /// <summary>Input [Rows, I padded with zeros to whole vectors].</summary>
    public float* Input;

    /// <summary>Elements between input rows.</summary>
    public nint InputStride;

    /// <summary>n.</summary>
    public int Rows;

    /// <summary>Where the results go.</summary>
    public MatMulTarget Target;

    /// <summary>Weight rows decoded at a time: 4 to <see cref="MatMulKernels{TVec}.MostDecodedRows"/>, a multiple of 4.</summary>
    public int DecodedRows;

    /// <summary>Outputs per item, a multiple of <see cref="DecodedRows"/>.</summary>
    public int OutputsPerItem;

    /// <summary>Input rows per item.</summary>
    public int RowsPerItem;

    /// <summary>First thread's working memory.</summary>
    public byte* Scratch;

    /// <summary>Bytes between the threads' parts.</summary>
    public long ScratchStride;

    /// <summary>Items along the rows.</summary>
    public readonly int RowItems => (Rows + RowsPerItem - 1) / RowsPerItem;

    /// <summary>All items.</summary>
    public readonly int Items => (Target.Outputs + OutputsPerItem - 1) / OutputsPerItem * RowItems;

    /// <summary>Where the weight row of output <paramref name="output"/> lies; past the last one, the last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly byte* WeightRow(int output) =>
        Weights + (CpuWeight.StoredRow(Math.Min(output, Target.Outputs - 1), HeadSize) * RowBytes);
}

/// <summary>Matrix products over stored weights.</summary>
internal static unsafe partial class MatMulKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    // Four rows are read at once, each a short run: the processor's own prefetcher does not follow that, but together the runs are one
    // stream, which is asked for this far ahead. Asking beyond the end of the mapping does no harm.
    private const int PrefetchDistance = 8192;

    /// <summary>Most weight rows that <see cref="Tiled"/> decodes at a time.</summary>
    public const int MostDecodedRows = 16;

    /// <summary>The kernel for one input row that decodes in registers; null where the type has none.</summary>
    public static delegate*<void*, int, int, void> SingleRow(TensorType type) => type switch
    {
        TensorType.F32 => &Single<F32Decoder<TVec>>,
        TensorType.F16 => &Single<F16Decoder<TVec>>,
        TensorType.BF16 => &Single<BF16Decoder<TVec>>,
        TensorType.Q8_0 => &Single<Q80Decoder<TVec>>,
        TensorType.Q4_0 => &Single<Q40Decoder<TVec>>,
        TensorType.Q4_1 => &Single<Q41Decoder<TVec>>,
        TensorType.Q4_K => &SingleSuper<Q4KDecoder<TVec>>,
        TensorType.Q5_K => &SingleSuper<Q5KDecoder<TVec>>,
        TensorType.Q6_K => &SingleSuper<Q6KDecoder<TVec>>,
        _ => null,
    };

    /// <summary>
    /// The kernel for <paramref name="rows"/> input rows that decodes in registers; null where <see cref="Tiled"/> is faster: for more rows than
    /// hide the decoding, for f32 and super-blocks, and for vectors that leave too few registers.
    /// </summary>
    public static delegate*<void*, int, int, void> FewRows(TensorType type, int rows) => TVec.OutputTile != 4 ? null : type switch
    {
        TensorType.F16 => Few<F16Decoder<TVec>>(rows),
        TensorType.BF16 => Few<BF16Decoder<TVec>>(rows),
        TensorType.Q8_0 => Few<Q80Decoder<TVec>>(rows),
        TensorType.Q4_0 => Few<Q40Decoder<TVec>>(rows),
        TensorType.Q4_1 => Few<Q41Decoder<TVec>>(rows),
        _ => null,
    };

    /// <summary>Bytes of working memory that <see cref="Tiled"/> needs per thread.</summary>
    public static long TiledScratch(int columns) => ((long)MostDecodedRows * SimdMath.PadLanes(columns) * sizeof(float)) + 1024;

    /// <summary>
    /// Any number of rows: decodes <see cref="MatMulJob.DecodedRows"/> weight rows to f32 once, then multiplies them with all rows of the
    /// item, a register tile at a time.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tiled(void* pointer, int thread, int item)
    {
        MatMulJob* job = (MatMulJob*)pointer;
        (int outputItem, int rowItem) = Math.DivRem(item, job->RowItems);
        int firstRow = rowItem * job->RowsPerItem, endRow = Math.Min(firstRow + job->RowsPerItem, job->Rows);
        int output = outputItem * job->OutputsPerItem, endOutput = Math.Min(output + job->OutputsPerItem, job->Target.Outputs);
        int length = SimdMath.PadLanes(job->Columns), padding = length - job->Columns;
        float* sums = (float*)(job->Scratch + (thread * job->ScratchStride));
        float* decoded = sums + 256;
        float** rows = stackalloc float*[MostDecodedRows];
        int decodedRows = job->DecodedRows;
        for (; output < endOutput; output += decodedRows)
        {
            int count = (Math.Min(decodedRows, endOutput - output) + 3) & ~3;
            for (int i = 0; i < count; i++)
            {
                byte* stored = job->WeightRow(output + i);
                if (job->InPlace)
                {
                    rows[i] = (float*)stored;
                    continue;
                }

                rows[i] = decoded + ((long)i * length);
                job->Decode(stored, rows[i], job->Columns);
                for (int zero = 0; zero < padding; zero++)
                {
                    rows[i][job->Columns + zero] = 0f;
                }
            }

            // The next rows travel while these are multiplied: a share of their cache lines is asked for at every register tile.
            int tiles = (endRow - firstRow + TVec.RowTile - 1) / TVec.RowTile;
            byte* next = output + decodedRows < endOutput ? job->WeightRow(output + decodedRows) : null;
            long nextBytes = next is null ? 0 : Math.Min(decodedRows, endOutput - output - decodedRows) * job->RowBytes;
            long share = ((nextBytes / (tiles * (count / 4))) + 127) & ~63L;
            for (int tile = 0, row = firstRow; tile < tiles; tile++)
            {
                int tileRows = (endRow - row) / (tiles - tile);
                for (int i = 0; i < count; i += 4)
                {
                    for (byte* stop = next + Math.Min(share, nextBytes); next < stop; next += 64, nextBytes -= 64)
                    {
                        Prefetch(next);
                    }

                    DotKernels<TVec, StoredSingle<TVec>>.Run(
                        (StoredSingle<TVec>*)rows[i], (StoredSingle<TVec>*)rows[i + 1], (StoredSingle<TVec>*)rows[i + 2], (StoredSingle<TVec>*)rows[i + 3], job->Input + (row * job->InputStride), job->InputStride, tileRows, length, sums);
                    for (int r = 0; r < tileRows; r++)
                    {
                        job->Target.Put(sums + (4 * r), row + r, output + i);
                    }
                }

                row += tileRows;
            }
        }
    }

    private static delegate*<void*, int, int, void> Few<TDecoder>(int rows)
        where TDecoder : IBlockDecoder<TVec> => rows switch
        {
            2 => &Few2<TDecoder>,
            3 => &Few3<TDecoder>,
            4 => &Few4<TDecoder>,
            5 => &Few5<TDecoder>,
            _ => null,
        };

    /// <summary>One row: four outputs at a time, each weight decoded in registers on its way into the accumulator.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Single<TDecoder>(void* pointer, int thread, int item)
        where TDecoder : IBlockDecoder<TVec>
    {
        MatMulJob* job = (MatMulJob*)pointer;
        int output = item * job->OutputsPerItem, end = Math.Min(output + job->OutputsPerItem, job->Target.Outputs);
        float* sums = stackalloc float[4];
        for (; output < end; output += 4)
        {
            byte* w0 = job->WeightRow(output), w1 = job->WeightRow(output + 1);
            byte* w2 = job->WeightRow(output + 2), w3 = job->WeightRow(output + 3);
            float* x = job->Input, stop = x + job->Columns;
            TVec a = TVec.Zero, b = TVec.Zero, c = TVec.Zero, d = TVec.Zero;
            nint at = 0;
            for (; x < stop; x += 32, at += TDecoder.BlockBytes)
            {
                PrefetchBlocks(w0 + (4 * at) + PrefetchDistance, 4 * TDecoder.BlockBytes);
                TVec x0 = TVec.Load(x), x1 = TVec.Load(x + 16);
                TDecoder.Decode(w0 + at, out TVec low, out TVec high);
                a = TVec.Fma(high, x1, TVec.Fma(low, x0, a));
                TDecoder.Decode(w1 + at, out low, out high);
                b = TVec.Fma(high, x1, TVec.Fma(low, x0, b));
                TDecoder.Decode(w2 + at, out low, out high);
                c = TVec.Fma(high, x1, TVec.Fma(low, x0, c));
                TDecoder.Decode(w3 + at, out low, out high);
                d = TVec.Fma(high, x1, TVec.Fma(low, x0, d));
            }

            TVec.Sum4(a, b, c, d).Store(sums);
            job->Target.Put(sums, 0, output);
        }
    }

    /// <summary>One row against super-blocks, likewise.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SingleSuper<TDecoder>(void* pointer, int thread, int item)
        where TDecoder : ISuperBlockDecoder<TVec>
    {
        MatMulJob* job = (MatMulJob*)pointer;
        int output = item * job->OutputsPerItem, end = Math.Min(output + job->OutputsPerItem, job->Target.Outputs);
        float* sums = stackalloc float[4];
        float* factors = stackalloc float[4 * 32];
        for (; output < end; output += 4)
        {
            byte* w0 = job->WeightRow(output), w1 = job->WeightRow(output + 1);
            byte* w2 = job->WeightRow(output + 2), w3 = job->WeightRow(output + 3);
            float* x = job->Input, stop = x + job->Columns;
            TVec a = TVec.Zero, b = TVec.Zero, c = TVec.Zero, d = TVec.Zero;
            nint at = 0;
            for (; x < stop; at += TDecoder.BlockBytes)
            {
                TDecoder.Prepare(w0 + at, factors);
                TDecoder.Prepare(w1 + at, factors + 32);
                TDecoder.Prepare(w2 + at, factors + 64);
                TDecoder.Prepare(w3 + at, factors + 96);
                for (int quarter = 0; quarter < 4; quarter++, x += 64)
                {
                    PrefetchBlocks(w0 + (4 * at) + (quarter * TDecoder.BlockBytes) + PrefetchDistance, TDecoder.BlockBytes);
                    a = Add64<TDecoder>(w0 + at, factors, quarter, x, a);
                    b = Add64<TDecoder>(w1 + at, factors + 32, quarter, x, b);
                    c = Add64<TDecoder>(w2 + at, factors + 64, quarter, x, c);
                    d = Add64<TDecoder>(w3 + at, factors + 96, quarter, x, d);
                }
            }

            TVec.Sum4(a, b, c, d).Store(sums);
            job->Target.Put(sums, 0, output);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Add64<TDecoder>(byte* block, float* factors, int quarter, float* x, TVec sum)
        where TDecoder : ISuperBlockDecoder<TVec>
    {
        TDecoder.Decode(block, factors, quarter, out TVec a, out TVec b, out TVec c, out TVec d);
        sum = TVec.Fma(a, TVec.Load(x), sum);
        sum = TVec.Fma(b, TVec.Load(x + 16), sum);
        sum = TVec.Fma(c, TVec.Load(x + 32), sum);
        return TVec.Fma(d, TVec.Load(x + 48), sum);
    }

    /// <summary>Asks for the cache lines of <paramref name="bytes"/> bytes, a constant up to 512.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchBlocks(byte* at, int bytes)
    {
        Prefetch(at);
        if (bytes > 64)
        {
            Prefetch(at + 64);
        }

        if (bytes > 128)
        {
            Prefetch(at + 128);
            Prefetch(at + 192);
        }

        if (bytes > 256)
        {
            Prefetch(at + 256);
            Prefetch(at + 320);
            Prefetch(at + 384);
            Prefetch(at + 448);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* at) => SimdMath.Prefetch(at);
}
