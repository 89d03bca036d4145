using System.Numerics;
using System.Runtime.InteropServices;

namespace LowLevelSpec.Engine.Sampling;

/// <summary>
/// e^x from additions and multiplications alone, so that it has the same bits everywhere. Math.Exp goes to the C library, whose last
/// bit differs between libraries and even between processors; a last bit decides now and then which token a draw falls on.
/// </summary>
internal static class Exponential
{
    /// <summary>Below this the result is 0: e^-708 is about 1e-308 of the most probable token, lost in any sum with it.</summary>
    public const double Smallest = -708;

    // Adding 1.5 * 2^52 to a small number rounds it to an integer, which then stands in the low bits of the sum.
    private const double Rounder = 6755399441055744.0;

    private const double Log2E = 1.4426950408889634;

    // ln 2 in two parts: the first has 21 zero bits at its end, so that its product with an exponent (at most 11 bits) is exact.
    private const double Ln2High = 0x162E42FEEL / (double)(1L << 33);
    private const double Ln2Low = 1.9082149292705877e-10;

    /// <summary>Replaces each x in <paramref name="values"/> by e^((x - <paramref name="shift"/>) * <paramref name="scale"/>); the exponents must not be above 0.</summary>
    public static void Apply(Span<double> values, double shift, double scale)
    {
        Span<Vector<double>> vectors = MemoryMarshal.Cast<double, Vector<double>>(values);
        for (int i = 0; i < vectors.Length; i++)
        {
            vectors[i] = Exp((vectors[i] - new Vector<double>(shift)) * new Vector<double>(scale));
        }

        // The rest goes through the same lanes: every element sees the same operations whatever the vector width is.
        Span<double> rest = values[(vectors.Length * Vector<double>.Count)..];
        for (int i = 0; i < rest.Length; i++)
        {
            rest[i] = Exp(new Vector<double>((rest[i] - shift) * scale))[0];
        }
    }

    // Multiplications and additions are written apart and the runtime never fuses them on its own, so the bits are the same with and
    // without FMA.
    private static Vector<double> Exp(Vector<double> x)
    {
        Vector<long> inRange = Vector.GreaterThanOrEqual(x, new Vector<double>(Smallest));
        x = Vector.ConditionalSelect(inRange, x, Vector<double>.Zero);

        Vector<double> rounded = (x * new Vector<double>(Log2E)) + new Vector<double>(Rounder);
        Vector<double> exponent = rounded - new Vector<double>(Rounder);
        Vector<double> r = x - (exponent * new Vector<double>(Ln2High)) - (exponent * new Vector<double>(Ln2Low));

        // Taylor's polynomial of degree 13: on |r| <= ln 2 / 2 the first term left out is below 2^-57. Summed in pairs and pairs of pairs,
        // because a chain of 13 dependent steps would leave the processor waiting.
        Vector<double> r2 = r * r;
        Vector<double> r4 = r2 * r2;
        Vector<double> low = Pair(1, 1, r) + (Pair(1.0 / 2, 1.0 / 6, r) * r2);
        Vector<double> middle = Pair(1.0 / 24, 1.0 / 120, r) + (Pair(1.0 / 720, 1.0 / 5040, r) * r2);
        Vector<double> high = Pair(1.0 / 40320, 1.0 / 362880, r) + (Pair(1.0 / 3628800, 1.0 / 39916800, r) * r2);
        Vector<double> top = Pair(1.0 / 479001600, 1.0 / 6227020800, r);
        Vector<double> sum = low + (r4 * (middle + (r4 * (high + (r4 * top)))));

        // The shift pushes out everything but the integer, which is added to the exponent field; the range check keeps it normal.
        Vector<long> bits = Vector.AsVectorInt64(sum) + (Vector.AsVectorInt64(rounded) << 52);
        return Vector.ConditionalSelect(inRange, Vector.AsVectorDouble(bits), Vector<double>.Zero);
    }

    private static Vector<double> Pair(double constant, double linear, Vector<double> r) => new Vector<double>(constant) + (new Vector<double>(linear) * r);
}
