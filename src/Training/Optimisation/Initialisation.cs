using System.Numerics;
using System.Text;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Layers;

namespace LowLevelSpec.Training.Optimisation;

/// <summary>
/// Starting weights: matrices N(0, deviation^2), biases zero, norm gains one (the reference starts gains at N(0, 0.02), from where LSA and CA hardly
/// act for hundreds of steps). A weight depends on seed and name alone, not on the other tensors.
/// </summary>
internal static class Initialisation
{
    /// <summary>The reference's deviation (initializer_range).</summary>
    public const double Deviation = 0.02;

    /// <summary>Sets all values.</summary>
    public static void Normal<T>(IEnumerable<Parameter<T>> parameters, ulong seed, double deviation = Deviation) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        foreach (Parameter<T> parameter in parameters)
        {
            if (parameter.Shape.Count > 1)
            {
                Fill(parameter.Value.Span, seed ^ Hash(parameter.Name), deviation);
            }
            else
            {
                parameter.Value.Span.Fill(parameter.Name.EndsWith(".bias", StringComparison.Ordinal) ? T.Zero : T.One);
            }
        }
    }

    /// <summary>Sets a layer's weights to the first rows and columns of another's; what has no counterpart of at least its size stays.</summary>
    public static void Copy<T>(LayerParameters<T> from, LayerParameters<T> to) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        foreach ((Parameter<T>? source, Parameter<T>? parameter) in from.Roles.Zip(to.Roles))
        {
            if (parameter is null || source is null || source.Value.Rows < parameter.Value.Rows || source.Value.Columns < parameter.Value.Columns)
            {
                continue;
            }

            for (int r = 0; r < parameter.Value.Rows; r++)
            {
                source.Value.Row(r)[..parameter.Value.Columns].CopyTo(parameter.Value.Row(r));
            }
        }
    }

    /// <summary>values[i] ~ N(0, deviation^2) by Box and Muller.</summary>
    public static void Fill<T>(Span<T> values, ulong key, double deviation) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        for (int i = 0; i < values.Length; i++)
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - RandomStream.Uniform(key, 2L * i))), angle = 2 * Math.PI * RandomStream.Uniform(key, (2L * i) + 1);
            values[i] = T.CreateTruncating(deviation * radius * Math.Cos(angle));
        }
    }

    /// <summary>FNV-1a, so that a name means the same on every platform and runtime.</summary>
    private static ulong Hash(string name)
    {
        ulong hash = 0xCBF29CE484222325;
        foreach (byte b in Encoding.UTF8.GetBytes(name))
        {
            hash = unchecked((hash ^ b) * 0x100000001B3);
        }

        return hash;
    }
}
