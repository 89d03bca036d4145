using LowLevelSpec.Interop.Cpu;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>The native library where it is there, this processor runs it, and it gives the bits of the C# kernels on a sample; else null, and why.</summary>
internal static unsafe class NativeKernels
{
    private static readonly Lazy<(NativeCpu? Library, string Note)> Found = new(Find);

    /// <summary>The library to use, or null.</summary>
    public static NativeCpu? Library => Found.Value.Library;

    /// <summary>What was found, for `llspec doctor`.</summary>
    public static string Note => Found.Value.Note;

    /// <summary>Whether the library's tiles over 16-bit floats give the bits of their definition: random numbers, both layouts, 1 to 6 rows.</summary>
    public static bool HalvesAgree(NativeCpu library)
    {
        const int blocks = 3, outputs = PackedHalves.GroupOutputs, columns = 32 * blocks;
        Random random = new(2);
        ushort[] stored = new ushort[outputs * columns];
        float[] x = new float[NativeHalfKernels.TileRows * columns], sums = new float[16 * outputs * NativeHalfKernels.TileRows], expected = new float[sums.Length];
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

            for (int rows = 1; rows <= NativeHalfKernels.TileRows; rows++)
            {
                Array.Clear(expected);
                for (int row = 0; row < rows; row++)
                {
                    for (int i = 0; i < outputs * columns; i++)
                    {
                        // Stored: block, output, element.
                        int column = (i / (32 * outputs) * 32) + (i % 32), output = i / 32 % outputs;
                        float weight = layout == 0 ? (float)BitConverter.UInt16BitsToHalf(stored[i]) : BitConverter.UInt32BitsToSingle((uint)stored[i] << 16);
                        ref float sum = ref expected[(16 * ((outputs * row) + output)) + (column % 16)];
                        sum = MathF.FusedMultiplyAdd(weight, x[(row * columns) + column], sum);
                    }
                }

                Array.Clear(sums);
                fixed (ushort* weights = stored)
                {
                    fixed (float* input = x, to = sums)
                    {
                        library.HalfTile(layout, (byte*)weights, 1, input, columns, blocks, rows, (byte*)weights, 1, to);
                    }
                }

                if (!sums.AsSpan().SequenceEqual(expected))
                {
                    return false;
                }
            }
        }

        return true;
    }

    /// <summary>Whether the library's integer tiles give the same bits as the C# ones: random blocks, all types, 1 to 7 rows, three groups.</summary>
    public static bool Agrees(NativeCpu library)
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
                if (!Compare(library, type, x, n, blocks, random))
                {
                    return false;
                }
            }
        }

        return true;
    }

    private static bool Compare(NativeCpu library, TensorType type, float[] x, int rows, int blocks, Random random)
    {
        const int groups = 3, outputs = groups * PackedWeights.GroupOutputs;
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
        Multiply(IntegerKernels<Simd16Of128, ByteLanesOf128>.For(type, native: true), PackedWeights.InputFormatOf(type, ints: true), library.Int8Tile, actual);
        return expected.AsSpan().SequenceEqual(actual);

        void Multiply(delegate*<void*, int, int, void> kernel, InputFormat format, void* function, float[] results)
        {
            byte[] quantised = new byte[rows * blocks * InputBlocks.Bytes(format)];
            fixed (float* input = x, output = results)
            {
                fixed (byte* packed = weights, inputs = quantised)
                {
                    InputJob quantise = new() { Input = input, Stride = blocks * 32, Rows = rows, Blocks = blocks, Format = format, TilesPerItem = InputBlocks.Tiles(rows), Output = inputs };
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

    private static (NativeCpu? Library, string Note) Find()
    {
        NativeCpu? library = NativeCpu.TryFind(out string note);
        return library switch
        {
            null => (null, note),
            { HasInt8: false } => (null, $"{note}: this processor lacks AVX-512 VNNI, the C# kernels run"),
            _ when !Agrees(library) || !HalvesAgree(library) => (null, $"{note}: its results differ from the C# kernels', which run instead; build it again with ./build.sh native"),
            _ => (library, $"{note}: AVX-512 VNNI in use"),
        };
    }
}
