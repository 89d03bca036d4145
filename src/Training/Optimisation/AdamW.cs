using System.Numerics;
using System.Runtime.Intrinsics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Optimisation;

/// <summary>Constants of <see cref="AdamW{T}"/>; the defaults are the paper's.</summary>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Epsilon">Added to the root of the second moment.</param>
/// <param name="WeightDecay">Share of a weight taken off per step and unit of learning rate.</param>
public sealed record AdamWOptions(double Beta1 = 0.9, double Beta2 = 0.95, double Epsilon = 1e-8, double WeightDecay = 0);

/// <summary>
/// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019), in the order of PyTorch's implementation: decay, moments,
/// w -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon).
/// </summary>
internal unsafe class AdamW<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private const int Block = 1 << 16;

    private readonly AdamWOptions _options;

    /// <param name="parameters">Trainable weights.</param>
    /// <param name="options">Constants.</param>
    public AdamW(IReadOnlyList<Parameter<T>> parameters, AdamWOptions options)
    {
        (Parameters, _options) = (parameters, options);
        First = [.. parameters.Select(static p => Tensor<T>.Zeros(p.Value.Rows, p.Value.Columns))];
        Second = [.. parameters.Select(static p => Tensor<T>.Zeros(p.Value.Rows, p.Value.Columns))];
    }

    /// <summary>The weights.</summary>
    public IReadOnlyList<Parameter<T>> Parameters { get; }

    /// <summary>First moments, one per weight.</summary>
    public IReadOnlyList<Tensor<T>> First { get; }

    /// <summary>Second moments, one per weight.</summary>
    public IReadOnlyList<Tensor<T>> Second { get; }

    /// <summary>Steps made.</summary>
    public int Steps { get; set; }

    /// <summary>One step from the gradients as they are.</summary>
    public void Step(double learningRate)
    {
        Steps++;
        double first = 1 - Math.Pow(_options.Beta1, Steps), second = Math.Sqrt(1 - Math.Pow(_options.Beta2, Steps));
        Factors factors = new(
            T.CreateTruncating(1 - (learningRate * _options.WeightDecay)), T.CreateTruncating(1 - _options.Beta1), T.CreateTruncating(_options.Beta2),
            T.CreateTruncating(1 - _options.Beta2), T.CreateTruncating(learningRate / first), T.CreateTruncating(second), T.CreateTruncating(_options.Epsilon));
        for (int i = 0; i < Parameters.Count; i++)
        {
            if (!Advance(i, learningRate))
            {
                Update(Parameters[i], First[i], Second[i], factors);
            }
        }
    }

    /// <summary>A step of weight <paramref name="index"/> by another rule; false leaves it to AdamW.</summary>
    protected virtual bool Advance(int index, double learningRate) => false;

    private static void Update(Parameter<T> parameter, Tensor<T> m, Tensor<T> v, Factors factors) =>
        Work.Blocks(checked((int)parameter.Value.Length), Block, parameter.Value.Length * 8, (start, count) =>
            Update(parameter.Value.Data + start, parameter.Gradient!.Data + start, m.Data + start, v.Data + start, count, factors));

    private static void Update(T* w, T* g, T* m, T* v, int count, Factors f)
    {
        int lanes = Vector256<T>.Count, i = 0;
        for (; i <= count - lanes; i += lanes)
        {
            Vector256<T> gradient = Vector256.Load(g + i), mean = Vector256.Load(m + i);
            mean = Simd.Fma(gradient - mean, Vector256.Create(f.Share1), mean);
            Vector256<T> square = Simd.Fma(gradient * gradient, Vector256.Create(f.Share2), Vector256.Load(v + i) * f.Beta2);
            mean.Store(m + i);
            square.Store(v + i);
            Vector256<T> root = (Vector256.Sqrt(square) / Vector256.Create(f.RootCorrection)) + Vector256.Create(f.Epsilon);
            ((Vector256.Load(w + i) * f.Keep) - (mean / root * f.Rate)).Store(w + i);
        }

        for (; i < count; i++)
        {
            m[i] += (g[i] - m[i]) * f.Share1;
            v[i] = (v[i] * f.Beta2) + (g[i] * g[i] * f.Share2);
            w[i] = (w[i] * f.Keep) - (m[i] / ((T.Sqrt(v[i]) / f.RootCorrection) + f.Epsilon) * f.Rate);
        }
    }

    private readonly record struct Factors(T Keep, T Share1, T Beta2, T Share2, T Rate, T RootCorrection, T Epsilon);
}
