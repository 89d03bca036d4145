using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Optimisation;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Muon: orthogonalised steps of the right size, AdamW for what is no matrix.</summary>
public sealed class MuonTests
{
    [Theory]
    [InlineData(24, 24)]
    [InlineData(12, 40)]
    [InlineData(40, 12)]
    public void A_matrix_becomes_nearly_semi_orthogonal_along_its_own_singular_vectors(int rows, int columns)
    {
        Tensor<double> x = TestTensors.Random<double>(rows, columns, seed: 3), was = Tensor<double>.Zeros(rows, columns);
        x.Span.CopyTo(was.Span);
        Muon<double>.Orthogonalise(new Arena<double>(), x);

        // X X^T (or X^T X) then has eigenvalues around one: the iteration leaves singular values between 0.68 and 1.14, so traces of its powers are near n.
        int n = Math.Min(rows, columns);
        double[,] gram = Gram(x, rows < columns);
        double trace = Enumerable.Range(0, n).Sum(i => gram[i, i]), squares = gram.Cast<double>().Sum(static v => v * v);
        Assert.InRange(trace / n, 0.68 * 0.68, 1.14 * 1.14);
        Assert.InRange(squares / n, Math.Pow(0.68, 4), Math.Pow(1.14, 4));

        // The nearest semi-orthogonal matrix has the largest inner product with the matrix: its nuclear norm, at least its Frobenius norm.
        double inner = 0, frobenius = 0;
        for (int i = 0; i < rows * columns; i++)
        {
            inner += x.Span[i] * was.Span[i];
            frobenius += was.Span[i] * was.Span[i];
        }

        Assert.True(inner > 0.68 * Math.Sqrt(frobenius));
    }

    [Fact]
    public void Steps_follow_momentum_and_have_a_fixed_size()
    {
        Parameter<double> matrix = new("layer.weight", [8, 16], trainable: true), gain = new("norm.weight", [16], trainable: true), bias = new("q_proj.bias", [16], trainable: true);
        AdamW<double> reference = new([gain, bias], new AdamWOptions());
        Assert.All((string[])["embed_tokens.weight", "lm_head.weight"], static name => Assert.False(Muon<double>.Orthogonalised(new Parameter<double>("model." + name, [8, 8], trainable: true))));
        Muon<double> muon = new([matrix, gain, bias], new AdamWOptions());
        TestTensors.Random<double>(8, 16, seed: 5).Span.CopyTo(matrix.Gradient!.Span);
        gain.Gradient!.Span.Fill(0.5);
        bias.Gradient!.Span.Fill(-0.25);
        muon.Step(0.01);

        // Singular values near one: the step's norm is 0.01 * 0.2 * sqrt(16) times about sqrt(8), whatever the gradient's size.
        double norm = GradientClipping.Norm(matrix.Value), one = 0.01 * 0.2 * 4 * Math.Sqrt(8);
        Assert.InRange(norm / one, 0.68, 1.14);
        double[] first = matrix.Value.Span.ToArray(), gains = gain.Value.Span.ToArray(), biases = bias.Value.Span.ToArray();

        // Ten times the gradient is the same step but for the 1e-7 that keeps norms from zero; norms and biases are AdamW's.
        matrix.Value.Clear();
        gain.Value.Clear();
        bias.Value.Clear();
        foreach (ref double g in matrix.Gradient!.Span)
        {
            g *= 10;
        }

        Muon<double> again = new([matrix], new AdamWOptions());
        again.Step(0.01);
        reference.Step(0.01);
        Assert.All(first.Zip(matrix.Value.Span.ToArray()), static pair => Assert.Equal(pair.First, pair.Second, 1e-8));
        Assert.Equal(gains, gain.Value.Span.ToArray());
        Assert.Equal(biases, bias.Value.Span.ToArray());
    }

    [Fact]
    public void A_matrix_without_gradient_stays()
    {
        Parameter<double> matrix = new("layer.weight", [4, 4], trainable: true);
        matrix.Value.Span.Fill(3);
        new Muon<double>([matrix], new AdamWOptions()).Step(0.01);
        Assert.All(matrix.Value.Span.ToArray(), static v => Assert.Equal(3, v));
    }

    private static double[,] Gram(Tensor<double> x, bool byRows)
    {
        int n = byRows ? x.Rows : x.Columns, depth = byRows ? x.Columns : x.Rows;
        double[,] gram = new double[n, n];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
            {
                for (int k = 0; k < depth; k++)
                {
                    gram[i, j] += byRows ? x.Row(i)[k] * x.Row(j)[k] : x.Row(k)[i] * x.Row(k)[j];
                }
            }
        }

        return gram;
    }
}
