using LowLevelSpec.Training.Compute;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>
/// Gradients against (loss(w + h) - loss(w - h)) / 2h in double precision. With h = 1e-5 the truncation is h^2 times a third derivative and the
/// rounding 1e-16 / h, both some 1e-10; the bound leaves three decades to SmoothL1's kinks and small tensors.
/// </summary>
internal static class CentralDifferences
{
    private const double Step = 1e-5;
    private const double Tolerance = 1e-6;

    /// <summary>Compares every element of every tensor's gradient; says how far the worst was off.</summary>
    /// <param name="parameters">With their gradients of <paramref name="loss"/>.</param>
    /// <param name="loss">The loss under the weights as they are.</param>
    public static string Check(IReadOnlyList<Parameter<double>> parameters, Func<double> loss)
    {
        double worst = 0;
        foreach (Parameter<double> parameter in parameters)
        {
            double error = 0, largest = 0;
            for (int i = 0; i < parameter.Value.Length; i++)
            {
                ref double weight = ref parameter.Value.Span[i];
                double kept = weight, gradient = parameter.Gradient!.Span[i];
                weight = kept + Step;
                double above = loss();
                weight = kept - Step;
                double below = loss();
                weight = kept;
                double difference = Math.Abs(((above - below) / (2 * Step)) - gradient);
                error = double.IsNaN(difference) ? double.NaN : Math.Max(error, difference);
                largest = Math.Max(largest, Math.Abs(gradient));
            }

            double relative = error / largest;
            worst = Math.Max(worst, relative);
            Assert.True(largest > 1e-6, $"{parameter.Name}: gradient {largest} tests nothing");
            Assert.True(relative <= Tolerance, $"{parameter.Name}: error {error:e2}, largest gradient {largest:e2}");
        }

        return $"{parameters.Count} tensors, largest relative error {worst:e1}";
    }
}
