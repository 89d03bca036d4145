using LowLevelSpec.Interop.Cpu;
using LowLevelSpec.Training.Compute;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Products of operands rounded to bf16: the native library, its twin in plain C and the rounding in C# against loops in double precision.</summary>
public sealed unsafe class BFloat16GemmTests
{
    /// <summary>2^-8 per operand (half a unit of 8 significant bits), and their product.</summary>
    private const double Rounding = (2 + (1.0 / 256)) / 256;

    // Shapes cross every border: rows of a kernel, panel width, strip, row tile, pairs, depth block.
    public static TheoryData<int, int, int> Shapes => new()
    {
        { 1, 1, 1 }, { 7, 5, 3 }, { 8, 32, 16 }, { 9, 33, 255 }, { 65, 193, 257 }, { 241, 65, 514 }, { 300, 400, 1025 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Products_equal_double_loops_within_rounding(int m, int n, int k)
    {
        Tensor<float> a = TestTensors.Random<float>(m, k, 1), b = TestTensors.Random<float>(k, n, 2);
        Tensor<float> nn = Tensor<float>.Zeros(m, n), nt = Tensor<float>.Zeros(m, n), tn = Tensor<float>.Zeros(m, n), twice = Tensor<float>.Zeros(m, n);
        using (Gemm.In(Products.BFloat16))
        {
            Gemm.NN(a, b, nn);
            Gemm.NT(a, TestTensors.Transposed(b), nt);
            Gemm.TN(TestTensors.Transposed(a), b, tn);
            Gemm.NN(a, b, twice);
            Gemm.NN(a, b, twice, accumulate: true);
        }

        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                (double sum, double magnitude) = Exact(a, b, i, j);

                // Both operands rounded, then k sums of single precision.
                double tolerance = magnitude * (Rounding + (k * Math.Pow(2, -24)));
                Within(sum, nn.Row(i)[j], tolerance);
                Within(sum, nt.Row(i)[j], tolerance);
                Within(sum, tn.Row(i)[j], tolerance);
                Within(2 * sum, twice.Row(i)[j], 2 * tolerance);
            }
        }

        static void Within(double expected, float actual, double tolerance) => Assert.True(Math.Abs(expected - actual) <= tolerance, $"expected {expected}, found {actual}, tolerance {tolerance}");
    }

    [Fact]
    public void Rounding_is_visible_and_ends_with_its_scope()
    {
        Tensor<float> a = TestTensors.Random<float>(4, 64, 1), b = TestTensors.Random<float>(64, 4, 2), rounded = Tensor<float>.Zeros(4, 4), before = Tensor<float>.Zeros(4, 4), after = Tensor<float>.Zeros(4, 4);
        Gemm.NN(a, b, before);
        using (Gemm.In(Products.BFloat16))
        {
            Gemm.NN(a, b, rounded);
        }

        Gemm.NN(a, b, after);
        Assert.False(rounded.Span.SequenceEqual(before.Span));
        Assert.True(after.Span.SequenceEqual(before.Span));
    }

    [Fact]
    public void Infinity_and_NaN_stay_what_they_are()
    {
        Tensor<float> a = Tensor<float>.Zeros(3, 2), b = Tensor<float>.Zeros(2, 1), c = Tensor<float>.Zeros(3, 1);
        new[] { float.NaN, 1, float.PositiveInfinity, 1, 3e38f, 3e38f }.CopyTo(a.Span);
        b.Span.Fill(1);
        using (Gemm.In(Products.BFloat16))
        {
            Gemm.NN(a, b, c);
        }

        Assert.True(float.IsNaN(c.Span[0]));
        Assert.True(float.IsPositiveInfinity(c.Span[1]));
        Assert.True(float.IsPositiveInfinity(c.Span[2]));
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void The_library_gives_the_bits_of_its_twin(int m, int n, int k)
    {
        NativeCpu? found = NativeCpu.TryFind(out string note);
        Assert.SkipWhen(found is null, note);
        Assert.SkipUnless(found!.HasBf16, $"{note}: this processor lacks AVX-512 BF16");
        string path = Path.Combine(Path.GetDirectoryName(found.Path)!, NativeCpu.LibraryName("llspec_cpu_emulated"));
        NativeCpu? twin = NativeCpu.TryLoad(path, out string twinNote);
        Assert.SkipWhen(twin is null, twinNote);
        Tensor<float> a = TestTensors.Random<float>(m, k, 3), b = TestTensors.Random<float>(k, n, 4);
        foreach (bool add in (bool[])[false, true])
        {
            Tensor<float> fast = TestTensors.Random<float>(m, n, 5), slow = TestTensors.Random<float>(m, n, 5);
            BFloat16Gemm.Multiply(found, Job(a, b, fast, add));
            BFloat16Gemm.Multiply(twin!, Job(a, b, slow, add));
            Assert.True(fast.Span.SequenceEqual(slow.Span));
        }
    }

    [Fact]
    public void Rounding_without_the_library_is_to_nearest_even()
    {
        Tensor<float> from = Tensor<float>.Zeros(1, 9), to = Tensor<float>.Zeros(1, 9);
        new[] { 1f, 1 + Two(-8), 1 + Two(-9), 1 + (3 * Two(-9)), -1 - Two(-7), 0, float.NaN, float.PositiveInfinity, 1 + (5 * Two(-9)) }.CopyTo(from.Span);
        BFloat16Gemm.Round(from, to);
        Assert.Equal([1f, 1f, 1f, 1 + Two(-7), -1 - Two(-7), 0, float.NaN, float.PositiveInfinity, 1 + Two(-7)], to.Span.ToArray());

        static float Two(int exponent) => MathF.ScaleB(1, exponent);
    }

    private static Bf16GemmJob Job(Tensor<float> a, Tensor<float> b, Tensor<float> c, bool add) => new()
    {
        A = a.Data,
        B = b.Data,
        C = c.Data,
        ARow = a.Columns,
        ADepth = 1,
        BDepth = b.Columns,
        BColumn = 1,
        CRow = c.Columns,
        Rows = c.Rows,
        Columns = c.Columns,
        Depth = a.Columns,
        Add = add ? 1 : 0,
    };

    private static (double Sum, double Magnitude) Exact(Tensor<float> a, Tensor<float> b, int i, int j)
    {
        double sum = 0, magnitude = 0;
        for (int p = 0; p < a.Columns; p++)
        {
            double product = (double)a.Row(i)[p] * b.Row(p)[j];
            sum += product;
            magnitude += Math.Abs(product);
        }

        return (sum, magnitude);
    }
}
