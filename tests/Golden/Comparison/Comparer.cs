namespace LowLevelSpec.Golden;

/// <summary>Compares what the engine computed with what the reference wrote.</summary>
internal static class Comparer
{
    /// <summary>
    /// Integers must agree exactly; floats within <paramref name="tolerance"/>, absolutely. Another shape, another kind of value, NaN and
    /// infinity on either side fail whatever the tolerance.
    /// </summary>
    public static Outcome Compare(GoldenTensor found, GoldenTensor expected, double tolerance)
    {
        if (!found.Shape.AsSpan().SequenceEqual(expected.Shape))
        {
            return Outcome.Fail($"shape {Text(found.Shape)}, expected {Text(expected.Shape)}", expected.Count);
        }

        if (found.Floats is not null && expected.Floats is not null)
        {
            return Floats(found.Floats, expected.Floats, expected.Shape, tolerance);
        }

        return found.Integers is not null && expected.Integers is not null
            ? Integers(found.Integers, expected.Integers, expected.Shape)
            : Outcome.Fail("floats on one side, integers on the other", expected.Count);
    }

    private static Outcome Floats(float[] found, float[] expected, int[] shape, double tolerance)
    {
        double largest = 0;
        int worst = -1, beyond = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            if (!float.IsFinite(found[i]) || !float.IsFinite(expected[i]))
            {
                return new Outcome(CheckStatus.Failed, expected.Length, double.PositiveInfinity, tolerance, $"at {At(i, shape)}: found {found[i]:G9}, expected {expected[i]:G9}; only finite values compare");
            }

            double error = Math.Abs((double)found[i] - expected[i]);
            beyond += error > tolerance ? 1 : 0;
            if (error > largest || worst < 0)
            {
                (largest, worst) = (error, i);
            }
        }

        return beyond == 0
            ? new Outcome(CheckStatus.Passed, expected.Length, largest, tolerance)
            : new Outcome(CheckStatus.Failed, expected.Length, largest, tolerance, $"{beyond} of {expected.Length} beyond the tolerance; worst at {At(worst, shape)}: found {found[worst]:G9}, expected {expected[worst]:G9}, off by {largest:G3}, allowed {tolerance:G3}");
    }

    private static Outcome Integers(long[] found, long[] expected, int[] shape)
    {
        int different = 0, first = -1;
        for (int i = 0; i < expected.Length; i++)
        {
            if (found[i] != expected[i])
            {
                first = first < 0 ? i : first;
                different++;
            }
        }

        return different == 0
            ? Outcome.Exact(expected.Length)
            : Outcome.Fail($"{different} of {expected.Length} differ; first at {At(first, shape)}: found {found[first]}, expected {expected[first]}", expected.Length);
    }

    /// <summary>Coordinates of element <paramref name="index"/>.</summary>
    private static string At(int index, int[] shape)
    {
        int[] coordinates = new int[shape.Length];
        for (int d = shape.Length - 1; d >= 0; d--)
        {
            (index, coordinates[d]) = Math.DivRem(index, shape[d]);
        }

        return Text(coordinates);
    }

    private static string Text(int[] numbers) => $"[{string.Join(", ", numbers)}]";
}
