using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>How 32 quantised input elements lie in memory, and what follows them.</summary>
internal enum InputFormat
{
    /// <summary>32 signed bytes, scale (f32), -8 * sum of the bytes (int).</summary>
    BytesOffset8,

    /// <summary>32 signed bytes, scale (f32), -128 * sum of the bytes (int).</summary>
    BytesOffset128,

    /// <summary>32 signed bytes, scale (f32), scale * sum of the bytes (f32).</summary>
    BytesWithSum,

    /// <summary>32 signed bytes, scale (f32), -32 * sum of the first 16 bytes (int), -32 * sum of the others (int).</summary>
    BytesHalvesOffset32,

    /// <summary>32 shorts, each four in the order 0 2 1 3, scale (f32), -128 * sum (int).</summary>
    ShortsOffset128,
}

/// <summary>Quantises inputs for the thread team: items are runs of <see cref="TilesPerItem"/> tiles.</summary>
internal unsafe struct InputJob
{
    /// <summary>[n, I].</summary>
    public float* Input;

    /// <summary>Elements between its rows.</summary>
    public nint Stride;

    /// <summary>n.</summary>
    public int Rows;

    /// <summary>I.</summary>
    public int Columns;

    /// <summary>Layout of a block.</summary>
    public InputFormat Format;

    /// <summary>Tiles per item.</summary>
    public int TilesPerItem;

    /// <summary>Tiles of up to <see cref="InputBlocks.TileRows"/> rows: [blocks][rows of the tile][block].</summary>
    public byte* Output;

    /// <summary>Blocks of a row: I / 32, rounded up.</summary>
    public readonly int Blocks => (Columns + 31) / 32;

    /// <summary>Tiles of all rows.</summary>
    public readonly int Tiles => InputBlocks.Tiles(Rows);
}

/// <summary>
/// Inputs of integer matrix products. Each row is cut into blocks of 32; a block becomes integers -127..127 and one scale, largest magnitude / 127:
/// q = x * (127 / largest), rounded to nearest even. A block whose largest magnitude is below 1e-30 becomes zeros; one that
/// holds a NaN or infinity gets a NaN as its scale, so that what is not finite stays so. Every step is one f32 operation per
/// element, so all processors give the same integers. A last block of fewer elements is filled up with zeros.
/// </summary>
internal static unsafe class InputBlocks
{
    /// <summary>Most rows of a tile: those that share the unpacking of a weight.</summary>
    public const int TileRows = 4;

    private const float Smallest = 1e-30f;

    // 1.5 * 2^23: added to a float it leaves the nearest integer in the lowest mantissa bits.
    private const float Rounder = 12582912f;
    private const int RounderBits = 0x4b400000;

    /// <summary>Tiles that <paramref name="rows"/> rows are dealt to.</summary>
    public static int Tiles(int rows) => (rows + TileRows - 1) / TileRows;

    /// <summary>First row of a tile; rows are dealt evenly, so that no tile is much narrower than the others.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int FirstRow(int tile, int tiles, int rows) => (int)((long)tile * rows / tiles);

    /// <summary>Bytes of a block of one row.</summary>
    public static int Bytes(InputFormat format) => format switch
    {
        InputFormat.ShortsOffset128 => 72,
        InputFormat.BytesHalvesOffset32 => 44,
        _ => 40,
    };

    /// <summary>Kernel of <see cref="InputJob"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(void* pointer, int thread, int item)
    {
        InputJob* job = (InputJob*)pointer;
        int tiles = job->Tiles, end = Math.Min((item + 1) * job->TilesPerItem, tiles), bytes = Bytes(job->Format), blocks = job->Blocks, whole = job->Columns / 32;
        int rest = job->Columns % 32;
        float* last = stackalloc float[32];
        new Span<float>(last, 32).Clear();
        for (int tile = item * job->TilesPerItem; tile < end; tile++)
        {
            int first = FirstRow(tile, tiles, job->Rows), count = FirstRow(tile + 1, tiles, job->Rows) - first;
            byte* to = job->Output + ((long)first * blocks * bytes);
            for (int row = 0; row < count; row++)
            {
                float* x = job->Input + ((first + row) * job->Stride);
                byte* at = to + ((nint)row * bytes);
                for (int block = 0; block < whole; block++, x += 32, at += (nint)count * bytes)
                {
                    Block(x, at, job->Format);
                }

                if (rest > 0)
                {
                    new ReadOnlySpan<float>(x, rest).CopyTo(new Span<float>(last, rest));
                    Block(last, at, job->Format);
                }
            }
        }
    }

    /// <summary>Quantises 32 elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Block(float* x, byte* to, InputFormat format)
    {
        if (Vector512.IsHardwareAccelerated && Avx512F.IsSupported && format != InputFormat.ShortsOffset128)
        {
            WideBlock(x, to, format);
            return;
        }

        // As integers, magnitudes are ordered like floats, with infinity and then NaN on top.
        Vector128<int> sign = Vector128.Create(int.MaxValue);
        Vector128<int> a = Vector128.Max(Vector128.Load((int*)x) & sign, Vector128.Load((int*)x + 4) & sign);
        Vector128<int> b = Vector128.Max(Vector128.Load((int*)x + 8) & sign, Vector128.Load((int*)x + 12) & sign);
        Vector128<int> c = Vector128.Max(Vector128.Load((int*)x + 16) & sign, Vector128.Load((int*)x + 20) & sign);
        Vector128<int> d = Vector128.Max(Vector128.Load((int*)x + 24) & sign, Vector128.Load((int*)x + 28) & sign);
        a = Vector128.Max(Vector128.Max(a, b), Vector128.Max(c, d));
        a = Vector128.Max(a, Vector128.Shuffle(a, Vector128.Create(2, 3, 0, 1)));
        a = Vector128.Max(a, Vector128.Shuffle(a, Vector128.Create(1, 0, 3, 2)));
        float largest = BitConverter.Int32BitsToSingle(a.ToScalar()), scale = largest / 127f, inverse = 127f / largest;
        if (!(largest >= Smallest && largest <= float.MaxValue))
        {
            scale = largest < Smallest ? 0f : float.NaN;
            Unsafe.InitBlockUnaligned(to, 0, format == InputFormat.ShortsOffset128 ? 64u : 32u);
            PutTail(to, format, scale, 0, 0);
            return;
        }

        Vector128<float> factor = Vector128.Create(inverse);
        Vector128<int> q0 = Round(x, factor), q1 = Round(x + 4, factor), q2 = Round(x + 8, factor), q3 = Round(x + 12, factor);
        Vector128<int> q4 = Round(x + 16, factor), q5 = Round(x + 20, factor), q6 = Round(x + 24, factor), q7 = Round(x + 28, factor);
        int lower = Vector128.Sum((q0 + q1) + (q2 + q3)), upper = Vector128.Sum((q4 + q5) + (q6 + q7));
        if (format == InputFormat.ShortsOffset128)
        {
            Pack(Reorder(q0), Reorder(q1)).Store((short*)to);
            Pack(Reorder(q2), Reorder(q3)).Store((short*)to + 8);
            Pack(Reorder(q4), Reorder(q5)).Store((short*)to + 16);
            Pack(Reorder(q6), Reorder(q7)).Store((short*)to + 24);
        }
        else
        {
            Pack(Pack(q0, q1), Pack(q2, q3)).Store((sbyte*)to);
            Pack(Pack(q4, q5), Pack(q6, q7)).Store((sbyte*)to + 16);
        }

        PutTail(to, format, scale, lower, upper);
    }

    /// <summary>The same steps in 512-bit registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void WideBlock(float* x, byte* to, InputFormat format)
    {
        Vector512<int> sign = Vector512.Create(int.MaxValue);
        Vector512<float> x0 = Vector512.Load(x), x1 = Vector512.Load(x + 16);
        Vector512<int> most = Vector512.Max(x0.AsInt32() & sign, x1.AsInt32() & sign);
        Vector256<int> eight = Vector256.Max(most.GetLower(), most.GetUpper());
        Vector128<int> four = Vector128.Max(eight.GetLower(), eight.GetUpper());
        four = Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        four = Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(1, 0, 3, 2)));
        float largest = BitConverter.Int32BitsToSingle(four.ToScalar()), scale = largest / 127f, inverse = 127f / largest;
        if (!(largest >= Smallest && largest <= float.MaxValue))
        {
            scale = largest < Smallest ? 0f : float.NaN;
            Unsafe.InitBlockUnaligned(to, 0, 32u);
            PutTail(to, format, scale, 0, 0);
            return;
        }

        Vector512<float> factor = Vector512.Create(inverse), rounder = Vector512.Create(Rounder);
        Vector512<int> bits = Vector512.Create(RounderBits), q0 = ((x0 * factor) + rounder).AsInt32() - bits, q1 = ((x1 * factor) + rounder).AsInt32() - bits;
        Avx512F.ConvertToVector128SByte(q0).Store((sbyte*)to);
        Avx512F.ConvertToVector128SByte(q1).Store((sbyte*)to + 16);
        if (format == InputFormat.BytesHalvesOffset32)
        {
            PutTail(to, format, scale, Vector512.Sum(q0), Vector512.Sum(q1));
        }
        else
        {
            PutTail(to, format, scale, Vector512.Sum(q0 + q1), 0);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutTail(byte* to, InputFormat format, float scale, int lower, int upper)
    {
        int sum = lower + upper;
        switch (format)
        {
            case InputFormat.ShortsOffset128:
                *(float*)(to + 64) = scale;
                *(int*)(to + 68) = -128 * sum;
                break;
            case InputFormat.BytesOffset128:
                *(float*)(to + 32) = scale;
                *(int*)(to + 36) = -128 * sum;
                break;
            case InputFormat.BytesOffset8:
                *(float*)(to + 32) = scale;
                *(int*)(to + 36) = -8 * sum;
                break;
            case InputFormat.BytesHalvesOffset32:
                *(float*)(to + 32) = scale;
                *(int*)(to + 36) = -32 * lower;
                *(int*)(to + 40) = -32 * upper;
                break;
            default:
                *(float*)(to + 32) = scale;
                *(float*)(to + 36) = scale * sum;
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Round(float* x, Vector128<float> factor) =>
        ((Vector128.Load(x) * factor) + Vector128.Create(Rounder)).AsInt32() - Vector128.Create(RounderBits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Reorder(Vector128<int> v) => Vector128.Shuffle(v, Vector128.Create(0, 2, 1, 3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<short> Pack(Vector128<int> a, Vector128<int> b) =>
        Sse2.IsSupported ? Sse2.PackSignedSaturate(a, b) : Vector128.Narrow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<sbyte> Pack(Vector128<short> a, Vector128<short> b) =>
        Sse2.IsSupported ? Sse2.PackSignedSaturate(a, b) : Vector128.Narrow(a, b);
}
