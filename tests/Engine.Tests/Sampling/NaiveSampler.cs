using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Engine.Tests.Sampling;

/// <summary>The sampler's definition, written for reading: whole sorts, normalisation after every step, Math.Exp.</summary>
internal static class NaiveSampler
{
    /// <summary>The probability of each token of the vocabulary; 0 = dropped. Greedy decoding puts everything on one token.</summary>
    public static double[] Distribution(SamplingOptions options, ReadOnlySpan<float> logits, IReadOnlyList<int> prompt, IReadOnlyList<int> output)
    {
        double[] adjusted = new double[logits.Length];
        for (int id = 0; id < logits.Length; id++)
        {
            adjusted[id] = logits[id];
            int count = output.Count(token => token == id);
            if (count > 0 || prompt.Contains(id))
            {
                adjusted[id] = adjusted[id] > 0 ? adjusted[id] / options.RepetitionPenalty : adjusted[id] * options.RepetitionPenalty;
            }

            adjusted[id] -= (count * (double)options.FrequencyPenalty) + (count > 0 ? options.PresencePenalty : 0.0);
        }

        if (options.Temperature == 0)
        {
            double[] greedy = new double[logits.Length];
            greedy[Array.IndexOf(adjusted, adjusted.Max())] = 1;
            return greedy;
        }

        double top = adjusted.Max();
        double[] p = Normalize([.. adjusted.Select(logit => Math.Exp((logit - top) / options.Temperature))]);
        int[] order = [.. Enumerable.Range(0, p.Length).OrderByDescending(id => adjusted[id]).ThenBy(id => id)];
        if (options.TopK > 0)
        {
            foreach (int id in order.Skip(options.TopK))
            {
                p[id] = 0;
            }

            p = Normalize(p);
        }

        if (options.TopP < 1)
        {
            double reached = 0;
            foreach (int id in order)
            {
                // Probabilities that are equal on paper must reach exactly the sum on paper, hence the slack of a few roundings.
                bool isKept = reached < options.TopP - 1e-12;
                reached += p[id];
                p[id] = isKept ? p[id] : 0;
            }

            p = Normalize(p);
        }

        double least = options.MinP * p.Max();
        return Normalize([.. p.Select(value => value < least ? 0 : value)]);
    }

    /// <summary>The token that <paramref name="uniform"/> falls on, by the inverse of the cumulative distribution in id order.</summary>
    public static int Invert(double[] distribution, double uniform)
    {
        double reached = 0;
        for (int id = 0; id < distribution.Length; id++)
        {
            reached += distribution[id];
            if (reached > uniform)
            {
                return id;
            }
        }

        return Array.FindLastIndex(distribution, p => p > 0);
    }

    /// <summary>The intervals of the uniform number: token and both ends, of the tokens that have a probability.</summary>
    public static IEnumerable<(int Token, double From, double To)> Intervals(double[] distribution)
    {
        double from = 0;
        for (int id = 0; id < distribution.Length; id++)
        {
            if (distribution[id] > 0)
            {
                yield return (id, from, from + distribution[id]);
                from += distribution[id];
            }
        }
    }

    private static double[] Normalize(double[] values)
    {
        double sum = values.Sum();
        return [.. values.Select(value => value / sum)];
    }
}
