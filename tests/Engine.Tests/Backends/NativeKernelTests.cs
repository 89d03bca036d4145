using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Interop.Cpu;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>
/// The native library's kernel source, compiled over plain C with the instructions' semantics (llspec_cpu_emulated), against the C# kernels. What
/// only hardware shows, the self-check at load compares.
/// </summary>
public sealed unsafe class NativeKernelTests
{
    [Fact]
    public void Integer_tiles_give_the_bits_of_the_managed_ones() => Assert.True(NativeKernels.Agrees(NativeTiles.Of512(Emulated())));

    /// <summary>The compiled instructions themselves: at load a library whose bits differ is only left unused, which no other test would notice.</summary>
    [Theory]
    [InlineData(512)]
    [InlineData(256)]
    public void The_library_for_this_processor_gives_the_bits_of_the_managed_ones(int width)
    {
        NativeCpu? library = NativeCpu.TryFind(out string note);
        NativeTiles? tiles = library is null ? null : width == 512 ? NativeTiles.Of512(library) : NativeTiles.Of256(library);
        Assert.SkipWhen(tiles is not { Any: true }, $"no library with kernels of {width} bits for this processor: {note}");
        Assert.True(tiles.Int8 == null || NativeKernels.Agrees(tiles));
        Assert.True(tiles.Half == null || NativeKernels.HalvesAgree(tiles));
        Assert.True(tiles.Scores == null || NativeKernels.AttentionAgrees(tiles));
    }

    /// <summary>Whole operations through the backend, trees and contexts of several blocks of keys on several threads among them, with the library and without.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Operations_have_the_bits_of_the_managed_ones(bool large)
    {
        NativeCpu? library = NativeCpu.TryFind(out string note);
        NativeTiles? tiles = library is null ? null : NativeTiles.Of256(library);
        Assert.SkipWhen(tiles is null || tiles.Scores == null, $"no library with attention for this processor: {note}");
        using Bench native = new(new CpuBackend(3, SimdWidth.Bits256, Arithmetic.Auto, tiles)), managed = new(new CpuBackend(2, SimdWidth.Bits128, Arithmetic.Auto, null));
        List<Scenario> ours = Scenario.All(native, large), theirs = Scenario.All(managed, large);
        Assert.Equal(theirs.Count, ours.Count);
        foreach ((Scenario one, Scenario other) in ours.Zip(theirs))
        {
            foreach ((int first, int count) in ((int, int)[])[(0, 1), (0, 6), (3, 17), (0, Scenario.MostRows)])
            {
                Compare.SameBits(other.Run(first, count), one.Run(first, count), $"{one.Name}, {count} rows from {first}");
            }
        }
    }

    /// <summary>Few rows read two streams of several calls' groups, and what is left over: 53 groups of integers, 27 of halves, 1 to 7 rows.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Products_over_many_groups_have_the_bits_of_the_managed_ones(int threads)
    {
        NativeCpu? library = NativeCpu.TryFind(out string note);
        NativeTiles? tiles = library is null ? null : NativeTiles.Of256(library);
        Assert.SkipWhen(tiles is null || tiles.Scores == null, $"no library with tiles over AVX2 for this processor: {note}");
        using Bench native = new(new CpuBackend(threads, SimdWidth.Bits256, Arithmetic.Auto, tiles)), managed = new(new CpuBackend(1, SimdWidth.Bits128, Arithmetic.Auto, null));
        const int outputs = (53 * 16) - 5;
        int seed = 1;
        foreach (TensorType type in (TensorType[])[.. IntegerReference.Types, TensorType.F16, TensorType.BF16])
        {
            // 7,680 inputs of 16 bits are a group of half a megabyte, of which a call takes two nevertheless.
            foreach (int k in (int[])[512, type is TensorType.F16 ? 7680 : 1024])
            {
                byte[] stored = StoredRows.Random(type, outputs * k, seed);
                for (int n = 1; n <= 7; n++)
                {
                    float[] x = Bench.Values(n * k, seed++);
                    Compare.SameBits(Product(managed), Product(native), $"{type}, {k} inputs, {n} rows");

                    float[] Product(Bench bench)
                    {
                        Matrix output = bench.Matrix(n, outputs);
                        bench.Backend.MatMul(bench.Load(type, stored, [outputs, k]), bench.Matrix(n, k, x), output);
                        return bench.Read(output);
                    }
                }
            }
        }
    }

    [Fact]
    public void Tiles_over_halves_give_the_bits_of_the_managed_ones() => Assert.True(NativeKernels.HalvesAgree(NativeTiles.Of512(Emulated())));

    [Fact]
    public void Products_are_the_definition_bit_for_bit()
    {
        using Bench bench = new(new CpuBackend(2, SimdWidth.Auto, Arithmetic.Auto, NativeTiles.Of512(Emulated())));
        int seed = 1;
        foreach (TensorType type in IntegerReference.Types)
        {
            foreach (int n in (int[])[1, 2, 3, 4, 7, 18])
            {
                const int outputs = 37;
                int k = type.BlockElements() == 256 ? 512 : 352;
                byte[] stored = StoredRows.Random(type, outputs * k, seed);
                float[] x = Bench.Values(n * k, seed++);
                Matrix output = bench.Matrix(n, outputs);
                bench.Backend.MatMul(bench.Load(type, stored, [outputs, k]), bench.Matrix(n, k, x), output);
                Compare.SameBits(IntegerReference.Product(type, stored, x, outputs, k, null, null), bench.Read(output), $"{type} x {n}");
            }
        }
    }

    [Fact]
    public void The_bf16_tile_is_close_to_f64()
    {
        NativeCpu library = Emulated();
        const int pairs = 50, rows = 4;
        float[] a = [.. Bench.Values(rows * pairs * 2, 1).Select(Rounded)], b = [.. Bench.Values(16 * pairs * 2, 2).Select(Rounded)], sums = Bench.Values(rows * 16, 3);
        double[] expected = new double[sums.Length], tolerance = new double[sums.Length];
        uint[] left = new uint[rows * pairs], right = new uint[pairs * 16];
        for (int i = 0; i < expected.Length; i++)
        {
            (int row, int o) = Math.DivRem(i, 16);
            double magnitude = Math.Abs(expected[i] = sums[i]);
            for (int k = 0; k < 2 * pairs; k++)
            {
                double product = (double)a[(row * pairs * 2) + k] * b[(o * pairs * 2) + k];
                expected[i] += product;
                magnitude += Math.Abs(product);
            }

            // One rounding per element's product and sum at most, in any order.
            tolerance[i] = Compare.Unit * 4 * pairs * magnitude;
        }

        for (int i = 0; i < left.Length; i++)
        {
            left[i] = Pair(a[2 * i], a[(2 * i) + 1]);
        }

        for (int i = 0; i < right.Length; i++)
        {
            (int pair, int o) = Math.DivRem(i, 16);
            right[i] = Pair(b[(o * pairs * 2) + (2 * pair)], b[(o * pairs * 2) + (2 * pair) + 1]);
        }

        fixed (uint* first = left, second = right)
        {
            fixed (float* to = sums)
            {
                library.Bf16Tile(first, pairs, second, pairs, rows, to);
            }
        }

        Compare.Within(expected, tolerance, sums, "bf16 tile");
    }

    [Fact]
    public void What_is_no_library_is_refused_with_a_reason()
    {
        string file = Path.Combine(TinyModels.Instance.Folder, "no-library.so");
        File.WriteAllText(file, "text");
        Assert.Null(NativeCpu.TryLoad(file, out string note));
        Assert.Contains(file, note, StringComparison.Ordinal);
    }

    internal static NativeCpu Emulated()
    {
        string name = NativeCpu.LibraryName("llspec_cpu_emulated");
        string? folder = Environment.GetEnvironmentVariable("LLSPEC_NATIVE") is { Length: > 0 } set ? set : Beside(name);
        string path = Path.Combine(folder ?? "", name);
        Assert.SkipWhen(!File.Exists(path), "the native library is not built: ./build.sh native");
        NativeCpu? library = NativeCpu.TryLoad(path, out string note);
        Assert.True(library is { HasInt8: true, HasBf16: true, HasHalf: true }, note);
        return library!;
    }

    /// <summary>out/native of the repository that these tests were built in.</summary>
    private static string? Beside(string name)
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            string folder = Path.Combine(at.FullName, "out", "native");
            if (File.Exists(Path.Combine(folder, name)))
            {
                return folder;
            }
        }

        return null;
    }

    private static float Rounded(float value) => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xffff0000);

    private static uint Pair(float low, float high) => (BitConverter.SingleToUInt32Bits(low) >> 16) | BitConverter.SingleToUInt32Bits(high);
}
