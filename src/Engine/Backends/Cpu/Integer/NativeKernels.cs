using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using LowLevelSpec.Interop.Cpu;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>The native library's tiles of one width; a null one is not to be used.</summary>
internal sealed unsafe class NativeTiles
{
    private bool _twoStreams;

    private NativeTiles(bool hasInt8, void* int8, bool hasHalf, void* half, void* scores = null, void* values = null)
    {
        Int8 = hasInt8 ? int8 : null;
        Half = hasHalf ? half : null;
        Scores = scores;
        Values = values;
    }

    /// <summary>llspec_int8_tile or its like.</summary>
    public void* Int8 { get; }

    /// <summary>llspec_half_tile or its like.</summary>
    public void* Half { get; }

    /// <summary>llspec_scores_256 and llspec_values_256: both or neither.</summary>
    public void* Scores { get; }

    /// <inheritdoc cref="Scores"/>
    public void* Values { get; }

    /// <summary>
    /// Bytes beyond its quads at which one row of integers asks for weights where it reads them as two streams, one from the first half of a call's groups and one from the second; 0 where it does
    /// not. The processor's own prefetching has most of two long streams; measured on Zen 3.
    /// </summary>
    public int IntegerStreamsAhead(int rows) => _twoStreams && rows == 1 ? 256 : 0;

    /// <summary>The same for a single tile of rows over halves, one to five of which read two streams.</summary>
    public int HalfStreamsAhead(int rows) => !_twoStreams || rows > 5 ? 0 : rows > 3 ? PackedWeights.PrefetchDistance : rows == 1 ? 512 : 2048;

    /// <summary>Whether there is any.</summary>
    public bool Any => Int8 != null || Half != null;

    /// <summary>Those over 512 bits.</summary>
    public static NativeTiles Of512(NativeCpu library) => new(library.HasInt8, library.Int8Tile, library.HasHalf, library.HalfTile);

    /// <summary>Those over 256 bits. Where the processor has AVX-VNNI, C# multiplies integers faster.</summary>
    public static NativeTiles Of256(NativeCpu library) => new(library.HasAvx2 && !AvxVnni.IsSupported, library.Int8TileOf256, library.HasAvx2, library.HalfTileOf256, library.ScoresOf256, library.ValuesOf256) { _twoStreams = true };
}

/// <summary>The native library's tiles where it is there, this processor runs them, and they give the bits of the C# kernels on a sample; else null, and why.</summary>
internal static unsafe class NativeKernels
{
    private static readonly Lazy<(NativeTiles? Tiles, string Note)> Wide = new(() => Find(NativeTiles.Of512, "AVX-512")), Narrow = new(() => Find(NativeTiles.Of256, "AVX2"));

    /// <summary>What was found for the widest vectors of this processor, for `llspec doctor`.</summary>
    public static string Note => (KernelSet.IsSupported(SimdWidth.Bits512) ? Wide : Narrow).Value.Note;

    /// <summary>The tiles to use with vectors of <paramref name="width"/>, or null.</summary>
    public static NativeTiles? For(SimdWidth width) => width switch
    {
        SimdWidth.Bits512 => Wide.Value.Tiles,
        SimdWidth.Bits256 => Narrow.Value.Tiles,
        _ => null,
    };

    /// <summary>Whether the library's tiles over 16-bit floats give the bits of the C# ones: random numbers, both layouts, 1 to 6 rows, five groups.</summary>
    public static bool HalvesAgree(NativeTiles tiles)
    {
        var tile = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, float*, long, int, int, byte*, int, float*, void>)tiles.Half;
        // More inputs than a tile goes through at a time, and some beyond the last whole step.
        const int groups = 5, inputs = 157, sumsOfRow = groups * PackedHalves.GroupOutputs;
        Random random = new(2);
        ushort[] stored = new ushort[sumsOfRow * inputs];
        float[] x = new float[HalfTile.MostRows * inputs], sums = new float[sumsOfRow * HalfTile.MostRows], expected = new float[sums.Length];
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = (float)random.NextDouble() - 0.5f;
        }

        for (int layout = 0; layout < 2; layout++)
        {
            for (int i = 0; i < stored.Length; i++)
            {
                float value = (float)random.NextDouble() - 0.5f;
                stored[i] = layout == 0 ? BitConverter.HalfToUInt16Bits((Half)value) : (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
            }

            for (int rows = 1; rows <= HalfTile.MostRows; rows++)
            {
                Array.Clear(sums);
                fixed (ushort* weights = stored)
                {
                    fixed (float* input = x, to = sums, managed = expected)
                    {
                        HalfKernels<Simd16Of128>.Tile(layout, (byte*)weights, groups, input, inputs, inputs, rows, managed);
                        tile(layout, (byte*)weights, groups, input, inputs, inputs, rows, (byte*)weights, 1, to);
                    }
                }

                if (!SameBits(sums.AsSpan(0, rows * sumsOfRow), expected.AsSpan(0, rows * sumsOfRow)))
                {
                    return false;
                }
            }
        }

        return true;
    }

    /// <summary>
    /// Whether the library's attention gives the bits of the C# kernels: all types, rows of 16 to 80 elements, consecutive and listed keys in numbers that fill no tile, one to seven queries.
    /// </summary>
    public static bool AttentionAgrees(NativeTiles tiles) =>
        AttentionAgrees<StoredSingle<Simd16Of128>>(tiles, 0) && AttentionAgrees<StoredHalf<Simd16Of128>>(tiles, 1) && AttentionAgrees<StoredBFloat16<Simd16Of128>>(tiles, 2);

    private static bool AttentionAgrees<TElement>(NativeTiles tiles, int type)
        where TElement : unmanaged, IStoredElement<TElement, Simd16Of128>
    {
        const int mostKeys = 67, mostQueries = 7, mostSize = 80, stride = mostKeys + 16;
        Random random = new(3);
        byte[] stored = new byte[mostKeys * mostSize * sizeof(TElement)];
        for (int i = 0; i < mostKeys * mostSize; i++)
        {
            float value = (float)random.NextDouble() - 0.5f;
            Span<byte> to = stored.AsSpan(i * sizeof(TElement));
            _ = type switch
            {
                0 => BitConverter.TryWriteBytes(to, value),
                1 => BitConverter.TryWriteBytes(to, (Half)value),
                _ => BitConverter.TryWriteBytes(to, (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)),
            };
        }

        float[] q = [.. Enumerable.Range(0, mostQueries * mostSize).Select(_ => (float)random.NextDouble() - 0.5f)];
        int[] list = [.. Enumerable.Range(0, mostKeys).Select(i => i * 7 % mostKeys)];
        float[] expected = new float[mostQueries * stride], scores = new float[expected.Length], sums = new float[mostQueries * mostSize], others = new float[sums.Length], tile = new float[4 * mostQueries];
        fixed (byte* rows = stored)
        {
            fixed (float* x = q, e = expected, s = scores, u = sums, o = others, t = tile)
            {
                fixed (int* listed = list)
                {
                    foreach ((int size, int count, int queries) in (ReadOnlySpan<(int, int, int)>)[(64, mostKeys, 6), (48, 66, 1), (mostSize, 5, mostQueries), (16, 1, 2), (32, 64, 3)])
                    {
                        foreach (nint at in (ReadOnlySpan<nint>)[0, (nint)listed])
                        {
                            AttentionJob managed = new() { Scale = 0.3f }, native = new() { Scale = 0.3f, Scores = tiles.Scores, Values = tiles.Values, ElementType = type };
                            AttentionKernels<Simd16Of128, TElement>.Scores(&managed, (TElement*)rows, size, (int*)at, count, x, queries, e, stride, t, null);
                            AttentionKernels<Simd16Of128, TElement>.Scores(&native, (TElement*)rows, size, (int*)at, count, x, queries, s, stride, t, (TElement*)rows);
                            Array.Fill(sums, 0.25f);
                            Array.Fill(others, 0.25f);
                            AttentionKernels<Simd16Of128, TElement>.AddValues(&managed, e, stride, (TElement*)rows, size, (int*)at, count, u, queries);
                            AttentionKernels<Simd16Of128, TElement>.AddValues(&native, e, stride, (TElement*)rows, size, (int*)at, count, o, queries);
                            for (int query = 0; query < queries; query++)
                            {
                                if (!SameBits(expected.AsSpan(query * stride, count), scores.AsSpan(query * stride, count)))
                                {
                                    return false;
                                }
                            }

                            if (!SameBits(sums, others))
                            {
                                return false;
                            }
                        }
                    }
                }
            }
        }

        return true;
    }

    /// <summary>Whether the library's integer tiles give the same bits as the C# ones: random blocks, all types, 1 to 7 rows, five groups.</summary>
    public static bool Agrees(NativeTiles tiles)
    {
        const int mostBlocks = 8, rows = 7;
        Random random = new(1);
        float[] x = new float[rows * mostBlocks * 32];
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = (float)(random.NextDouble() - 0.5) * (i + 1);
        }

        foreach (TensorType type in (TensorType[])[TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_1, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K])
        {
            // A header that fills no whole lines, or one super-block.
            int blocks = PackedWeights.SuperBits(type) == 0 ? 5 : mostBlocks;
            for (int n = 1; n <= rows; n++)
            {
                if (!Compare(tiles, type, x, n, blocks, random))
                {
                    return false;
                }
            }
        }

        return true;
    }

    /// <summary>Bits, not values: 0 is not -0, and a NaN is itself.</summary>
    private static bool SameBits(ReadOnlySpan<float> one, ReadOnlySpan<float> other) => MemoryMarshal.AsBytes(one).SequenceEqual(MemoryMarshal.AsBytes(other));

    private static bool Compare(NativeTiles tiles, TensorType type, float[] x, int rows, int blocks, Random random)
    {
        const int groups = 5, outputs = groups * PackedWeights.GroupOutputs;
        int bits = PackedWeights.SuperBits(type), groupBytes = (int)PackedWeights.BytesOfGroup(type, bits == 0 ? blocks : blocks / 8);
        int halves = (bits == 0 ? blocks * PackedWeights.HalvesBytes(type) : PackedSuperBlocks.HeaderBytes(bits)) / 2;
        byte[] weights = new byte[groups * groupBytes];
        random.NextBytes(weights);
        for (int i = 0; i < groups * halves; i++)
        {
            // Scales of ordinary size: bit patterns of halves between 2^-7 and 2^1.
            (int group, int half) = Math.DivRem(i, halves);
            BitConverter.TryWriteBytes(weights.AsSpan((group * groupBytes) + (2 * half)), (ushort)random.Next(0x2000, 0x4000));
        }

        float[] expected = new float[rows * outputs], actual = new float[rows * outputs];
        Multiply(IntegerKernels<Simd16Of128, ByteLanesOf128>.For(type, native: false), PackedWeights.InputFormatOf(type, ints: false), null, expected);
        Multiply(IntegerKernels<Simd16Of128, ByteLanesOf128>.For(type, native: true), PackedWeights.InputFormatOf(type, ints: true), tiles.Int8, actual);
        return SameBits(expected, actual);

        void Multiply(delegate*<void*, int, int, void> kernel, InputFormat format, void* function, float[] results)
        {
            byte[] quantised = new byte[rows * blocks * InputBlocks.Bytes(format)];
            fixed (float* input = x, output = results)
            {
                fixed (byte* packed = weights, inputs = quantised)
                {
                    InputJob quantise = new() { Input = input, Stride = blocks * 32, Rows = rows, Columns = blocks * 32, Format = format, TilesPerItem = InputBlocks.Tiles(rows), Output = inputs };
                    InputBlocks.Run(&quantise, 0, 0);
                    IntegerJob job = new()
                    {
                        Weights = packed,
                        GroupBytes = groupBytes,
                        Blocks = blocks,
                        Groups = groups,
                        Inputs = inputs,
                        InputBytes = InputBlocks.Bytes(format),
                        Rows = rows,
                        Function = function,
                        Layout = NativeLayouts.Of(type),
                        Target = new MatMulTarget { Outputs = outputs, Output = output, OutputStride = outputs },
                        GroupsPerItem = groups,
                        TilesPerItem = InputBlocks.Tiles(rows),
                    };
                    kernel(&job, 0, 0);
                }
            }
        }
    }

    private static (NativeTiles? Tiles, string Note) Find(Func<NativeCpu, NativeTiles> tilesOf, string instructions)
    {
        NativeCpu? library = NativeCpu.TryFind(out string note);
        NativeTiles? tiles = library is null ? null : tilesOf(library);
        return tiles switch
        {
            null => (null, note),
            { Any: false } => (null, $"{note}: nothing in it that this processor runs, the C# kernels run"),
            _ when (tiles.Int8 != null && !Agrees(tiles)) || (tiles.Half != null && !HalvesAgree(tiles)) || (tiles.Scores != null && !AttentionAgrees(tiles)) =>
                (null, $"{note}: its results differ from the C# kernels', which run instead; build it again with ./build.sh native"),
            _ => (tiles, $"{note}: {instructions} in use{(tiles.Int8 == null ? " for all but integers" : tiles.Half == null ? " for integers" : "")}"),
        };
    }
}
