using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>Key and value of one token in one layer, [K*D] each, the key after RoPE.</summary>
internal sealed record NaiveKey(double[] Key, double[] Value);

/// <summary>A Llama layer token by token in double precision, with the visible keys handed in as a list: what the engine's drafters are compared with.</summary>
internal sealed class NaiveLayer(LayerTensors tensors, int heads, int kvHeads, int headSize, double epsilon, RopeTable rope)
{
    private readonly float[] _inputNorm = Dequantizer.All(tensors.InputNorm), _postNorm = Dequantizer.All(tensors.PostAttentionNorm);
    private readonly float[] _query = Dequantizer.All(tensors.Query), _key = Dequantizer.All(tensors.Key), _value = Dequantizer.All(tensors.Value);
    private readonly float[] _output = Dequantizer.All(tensors.Output), _gate = Dequantizer.All(tensors.Gate), _up = Dequantizer.All(tensors.Up), _down = Dequantizer.All(tensors.Down);

    /// <summary>weight [rows, x.Length] times x.</summary>
    public static double[] Multiply(float[] weight, double[] x)
    {
        double[] y = new double[weight.Length / x.Length];
        for (int row = 0; row < y.Length; row++)
        {
            for (int i = 0; i < x.Length; i++)
            {
                y[row] += (double)weight[(row * x.Length) + i] * x[i];
            }
        }

        return y;
    }

    public static double[] Norm(float[] gain, double[] x, double epsilon)
    {
        double scale = 1 / Math.Sqrt(x.Average(static v => v * v) + epsilon);
        return [.. x.Select((v, i) => v * scale * gain[i])];
    }

    /// <summary>Key and value of a token from its input.</summary>
    public NaiveKey Keys(double[] x, int position)
    {
        double[] norm = Norm(_inputNorm, x, epsilon);
        return new(Rotate(Multiply(_key, norm), position), Multiply(_value, norm));
    }

    /// <summary>The layer's output for a token that sees exactly <paramref name="visible"/>.</summary>
    public double[] Forward(double[] x, int position, IReadOnlyList<NaiveKey> visible)
    {
        double[] q = Rotate(Multiply(_query, Norm(_inputNorm, x, epsilon)), position), attention = new double[heads * headSize];
        for (int head = 0; head < heads; head++)
        {
            int from = head / (heads / kvHeads) * headSize;
            double[] scores = [.. visible.Select(k => Enumerable.Range(0, headSize).Sum(i => q[(head * headSize) + i] * k.Key[from + i]) / Math.Sqrt(headSize))];
            double max = scores.DefaultIfEmpty().Max(), total = scores.Sum(s => Math.Exp(s - max));
            for (int j = 0; j < scores.Length; j++)
            {
                double p = Math.Exp(scores[j] - max) / total;
                for (int i = 0; i < headSize; i++)
                {
                    attention[(head * headSize) + i] += p * visible[j].Value[from + i];
                }
            }
        }

        x = Add(x, Multiply(_output, attention));
        double[] norm = Norm(_postNorm, x, epsilon), gate = Multiply(_gate, norm), up = Multiply(_up, norm);
        return Add(x, Multiply(_down, [.. gate.Select((g, i) => g / (1 + Math.Exp(-g)) * up[i])]));
    }

    /// <summary>Runs a whole sequence causally from position 0.</summary>
    public double[][] Causal(IEnumerable<double[]> inputs)
    {
        List<NaiveKey> keys = [];
        List<double[]> outputs = [];
        foreach (double[] x in inputs)
        {
            keys.Add(Keys(x, keys.Count));
            outputs.Add(Forward(x, keys.Count - 1, keys));
        }

        return [.. outputs];
    }

    private static double[] Add(double[] a, double[] b) => [.. a.Select((v, i) => v + b[i])];

    private double[] Rotate(double[] x, int position)
    {
        (float[] cos, float[] sin) = rope.Covering(position + 1);
        int half = headSize / 2;
        double[] y = new double[x.Length];
        for (int at = 0; at < x.Length; at += headSize)
        {
            for (int i = 0; i < half; i++)
            {
                double c = cos[(position * half) + i], s = sin[(position * half) + i], a = x[at + i], b = x[at + half + i];
                y[at + i] = (a * c) - (b * s);
                y[at + half + i] = (b * c) + (a * s);
            }
        }

        return y;
    }
}
