namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Softmax attention by its definition, in double precision.</summary>
internal static class AttentionReference
{
    /// <summary>Fails unless <paramref name="actual"/> is the attention of queries [n, heads*D] over the keys and values [m, kv heads*D] that each row sees.</summary>
    public static void Check(
        float[] q, float[] k, float[] v, int[][] visible, int heads, int kvHeads, int headSize, float scale, float[] actual, int sumRoundings, string what)
    {
        double[] expected = new double[q.Length], tolerance = new double[q.Length];
        for (int r = 0; r < visible.Length; r++)
        {
            for (int h = 0; h < heads; h++)
            {
                int head = h / (heads / kvHeads), at = ((r * heads) + h) * headSize;
                double[] scores = new double[visible[r].Length];
                double magnitude = 0;
                for (int j = 0; j < scores.Length; j++)
                {
                    double sum = 0;
                    int key = ((visible[r][j] * kvHeads) + head) * headSize;
                    for (int i = 0; i < headSize; i++)
                    {
                        sum += (double)q[at + i] * k[key + i];
                    }

                    double products = Enumerable.Range(0, headSize).Sum(i => Math.Abs((double)q[at + i] * k[key + i]));
                    scores[j] = sum * scale;
                    magnitude = Math.Max(magnitude, products * scale);
                }

                double max = scores.Max(), total = scores.Sum(s => Math.Exp(s - max));

                // A score errs by the roundings of its sum, doubled by the difference to the maximum and
                // once more by normalising; an exponential by 4 units; sums over the keys by one rounding per key. Where blocks of keys
                // join, both sums take a factor (4 units) and two roundings.
                double relative = Compare.Unit * ((4 * magnitude * (sumRoundings + 1)) + 12 + (2 * scores.Length) + (12 * (scores.Length / 512)));
                for (int i = 0; i < headSize; i++)
                {
                    for (int j = 0; j < scores.Length; j++)
                    {
                        double term = Math.Exp(scores[j] - max) / total * v[(((visible[r][j] * kvHeads) + head) * headSize) + i];
                        expected[at + i] += term;
                        tolerance[at + i] += relative * Math.Abs(term);
                    }
                }
            }
        }

        Compare.Within(expected, tolerance, actual, what);
    }
}
