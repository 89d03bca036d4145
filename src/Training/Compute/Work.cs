namespace LowLevelSpec.Training.Compute;

/// <summary>Shares numbered items of work over the machine's threads. Items never share an accumulator, so results do not depend on the number of threads.</summary>
internal static class Work
{
    /// <summary>Below this many elementary operations a call stays on its thread: waking others costs some ten microseconds.</summary>
    private const long WorthSharing = 200_000;

    private static ParallelOptions s_options = new() { MaxDegreeOfParallelism = Environment.ProcessorCount };

    /// <summary>Most threads at work at once; the machine's processors until set.</summary>
    public static int Threads
    {
        get => s_options.MaxDegreeOfParallelism;
        set => s_options = new ParallelOptions { MaxDegreeOfParallelism = value };
    }

    /// <summary>Runs body(0..items-1), each once, in any order.</summary>
    /// <param name="items">Number of items.</param>
    /// <param name="operations">Estimated elementary operations of all items together.</param>
    /// <param name="body">The work of one item.</param>
    public static void For(int items, long operations, Action<int> body)
    {
        if (items <= 1 || operations < WorthSharing || Threads == 1)
        {
            for (int i = 0; i < items; i++)
            {
                body(i);
            }

            return;
        }

        Parallel.For(0, items, s_options, body);
    }

    /// <summary>Runs body(first, count) over blocks of <paramref name="block"/> rows.</summary>
    public static void Blocks(int rows, int block, long operations, Action<int, int> body) =>
        For((rows + block - 1) / block, operations, i => body(i * block, Math.Min(block, rows - (i * block))));
}
