using LowLevelSpec.Training.Compute;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Matrix products against triple loops in double precision.</summary>
public sealed class GemmTests
{
    // Shapes cross every border: rows of a kernel, panel width, strip, row tile, depth block.
    public static TheoryData<int, int, int> Shapes => new()
    {
        { 1, 1, 1 }, { 7, 5, 3 }, { 8, 32, 16 }, { 9, 33, 256 }, { 65, 193, 257 }, { 257, 65, 300 }, { 300, 400, 513 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Float_products_equal_double_loops(int m, int n, int k) => Check<float>(m, n, k, x => x);

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Double_products_equal_double_loops(int m, int n, int k) => Check<double>(m, n, k, x => (double)x);

    [Fact]
    public void Results_do_not_depend_on_threads()
    {
        Tensor<float> a = TestTensors.Random<float>(300, 400, 1), b = TestTensors.Random<float>(400, 500, 2), all = Tensor<float>.Zeros(300, 500), one = Tensor<float>.Zeros(300, 500);
        Gemm.NN(a, b, all);
        int threads = Work.Threads;
        try
        {
            Work.Threads = 1;
            Gemm.NN(a, b, one);
        }
        finally
        {
            Work.Threads = threads;
        }

        Assert.True(all.Span.SequenceEqual(one.Span));
    }

    private static void Check<T>(int m, int n, int k, Func<T, double> toDouble) where T : unmanaged, System.Numerics.IBinaryFloatingPointIeee754<T>
    {
        Tensor<T> a = TestTensors.Random<T>(m, k, 1), at = TestTensors.Transposed(a), b = TestTensors.Random<T>(k, n, 2), bt = TestTensors.Transposed(b);
        Tensor<T> nn = Tensor<T>.Zeros(m, n), nt = Tensor<T>.Zeros(m, n), tn = Tensor<T>.Zeros(m, n), twice = Tensor<T>.Zeros(m, n);
        Gemm.NN(a, b, nn);
        Gemm.NT(a, bt, nt);
        Gemm.TN(at, b, tn);
        Gemm.NN(a, b, twice);
        Gemm.TN(at, b, twice, accumulate: true);

        // A sum of k products, each rounded at most once when added: k unit roundoffs of the sum of magnitudes.
        double roundoff = typeof(T) == typeof(float) ? Math.Pow(2, -24) : Math.Pow(2, -53);
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                double sum = 0, magnitude = 0;
                for (int p = 0; p < k; p++)
                {
                    double product = toDouble(a.Row(i)[p]) * toDouble(b.Row(p)[j]);
                    sum += product;
                    magnitude += Math.Abs(product);
                }

                double tolerance = ((2 * k) + 2) * roundoff * magnitude;
                Assert.InRange(toDouble(nn.Row(i)[j]) - sum, -tolerance, tolerance);
                Assert.InRange(toDouble(nt.Row(i)[j]) - sum, -tolerance, tolerance);
                Assert.InRange(toDouble(tn.Row(i)[j]) - sum, -tolerance, tolerance);
                Assert.InRange(toDouble(twice.Row(i)[j]) - (2 * sum), -2 * tolerance, 2 * tolerance);
            }
        }
    }
}
