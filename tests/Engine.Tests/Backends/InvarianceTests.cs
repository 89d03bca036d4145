using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>A row's bits do not depend on its company, on threads, or on other callers.</summary>
public abstract class InvarianceTests<TFactory> : BackendTest<TFactory>
    where TFactory : IBackendFactory, new()
{
    private static readonly int[] RowCounts = IsEmulated ? [1, 3, 4, 5, 9] : [1, 2, 3, 4, 5, 6, 7, 16, 33, 64];

    private static int MostRows => RowCounts[^1];

    [Fact]
    public void Rows_do_not_depend_on_their_number()
    {
        using Bench bench = Start(threads: 2);
        foreach (Scenario scenario in Scenario.All(bench, large: false))
        {
            float[][] alone = [.. Enumerable.Range(0, MostRows).Select(r => scenario.Run(r, 1))];
            foreach (int n in RowCounts)
            {
                foreach (int first in new HashSet<int> { 0, (MostRows - n) / 2, MostRows - n })
                {
                    Compare.SameBits(Together(alone, first, n, scenario), scenario.Run(first, n), $"{scenario.Name}, {n} rows from {first}");
                }
            }
        }
    }

    [Fact]
    public void Bits_do_not_depend_on_the_number_of_threads()
    {
        int[] rows = IsEmulated ? [5] : [1, 2, 7, 64];
        List<float[]> expected = [];
        foreach (int threads in (int[])[1, 2, 3])
        {
            using Bench bench = Start(threads);
            int at = 0;
            foreach (Scenario scenario in Scenario.All(bench, large: !IsEmulated))
            {
                foreach (int n in rows)
                {
                    float[] result = scenario.Run(0, n);
                    if (threads == 1)
                    {
                        expected.Add(result);
                    }
                    else
                    {
                        Compare.SameBits(expected[at++], result, $"{scenario.Name}, {n} rows, {threads} threads");
                    }
                }
            }
        }
    }

    [Fact]
    public async Task Callers_at_the_same_time_do_not_disturb_each_other()
    {
        using Bench bench = Start(threads: 2);
        int callers = IsEmulated ? 2 : 4, rounds = IsEmulated ? 1 : 3;
        List<Scenario>[] scenarios = [.. Enumerable.Range(0, callers).Select(_ => Scenario.All(bench, large: !IsEmulated))];
        float[][] expected = [.. scenarios[0].Select(static s => s.Run(0, 9))];
        await Task.WhenAll(scenarios.Select((own, caller) => Task.Run(() =>
        {
            for (int round = 0; round < rounds; round++)
            {
                for (int i = 0; i < own.Count; i++)
                {
                    int at = (i + (caller * 5)) % own.Count;
                    Compare.SameBits(expected[at], own[at].Run(0, 9), $"{own[at].Name}, caller {caller}");
                }
            }
        })));
    }

    /// <summary>The parts of one-row runs in the order of a run over several rows: results may consist of several arrays.</summary>
    private static float[] Together(float[][] alone, int first, int n, Scenario scenario)
    {
        int[] parts = scenario.Name switch
        {
            "TopLogProbabilities and ArgMax" => [4, 4, 1],
            "GroupAttention and GroupMean" => [alone[0].Length - 60, 60],
            _ => [alone[0].Length],
        };
        List<float> result = [];
        int start = 0;
        foreach (int part in parts)
        {
            for (int r = first; r < first + n; r++)
            {
                result.AddRange(alone[r].AsSpan(start, part));
            }

            start += part;
        }

        return [.. result];
    }
}
