using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Training.Data;

/// <summary>
/// Which sequences each step trains on, and under which random choices: a function of seed and step, so that a resumed run goes on exactly where it
/// would have. Each epoch shuffles the sequences and fills micro-batches up to a number of tokens.
/// </summary>
internal sealed class BatchPlan
{
    // Streams of one seed: what a random number is for.
    private const ulong OrderStream = 0x5EED_0001, ChoiceStream = 0x5EED_0002, KlStream = 0x5EED_0003;

    private readonly IReadOnlyList<TrainingSequence> _sequences;
    private readonly ulong _seed;
    private readonly int _tokens;
    private List<int[]> _epochBatches = [];
    private int _epoch = -1;
    private long _epochStart;

    /// <param name="sequences">The training data.</param>
    /// <param name="seed">Seed.</param>
    /// <param name="tokens">Most tokens of a micro-batch; a longer sequence makes one alone.</param>
    public BatchPlan(IReadOnlyList<TrainingSequence> sequences, ulong seed, int tokens)
    {
        ArgumentOutOfRangeException.ThrowIfZero(sequences.Count);
        (_sequences, _seed, _tokens) = (sequences, seed, tokens);
    }

    /// <summary>Micro-batch <paramref name="number"/> (counted over all steps from 0). Cheap for ascending numbers.</summary>
    public TrainingBatch Batch(long number)
    {
        if (_epoch < 0 || number < _epochStart)
        {
            (_epoch, _epochStart) = (0, 0);
            _epochBatches = Fill(0);
        }

        while (number >= _epochStart + _epochBatches.Count)
        {
            _epochStart += _epochBatches.Count;
            _epochBatches = Fill(++_epoch);
        }

        return new TrainingBatch([.. _epochBatches[(int)(number - _epochStart)].Select(i => _sequences[i])]);
    }

    /// <summary>Horizons in 6..14 (paper section 3.3), or <paramref name="horizon"/> for all unless 0, and staircase rows of micro-batch <paramref name="number"/>.</summary>
    public PracticeChoices Choices(long number, int sequences, double staircaseProbability, int horizon = 0)
    {
        int[] every = new int[sequences];
        bool[] staircase = new bool[sequences];
        for (int i = 0; i < sequences; i++)
        {
            // Far more sequences than a micro-batch has tokens fit between two numbers.
            long index = (number << 24) + (2L * i);
            every[i] = horizon > 0 ? horizon : 6 + (int)(9 * RandomStream.Uniform(_seed ^ ChoiceStream, index));
            staircase[i] = RandomStream.Uniform(_seed ^ ChoiceStream, index + 1) < staircaseProbability;
        }

        return new PracticeChoices(every, staircase);
    }

    /// <summary>Rows of micro-batch <paramref name="number"/> that the cross entropy is taken over, each with probability <paramref name="share"/>; null for all.</summary>
    public bool[]? KlRows(long number, int rows, double share) =>
        share >= 1 ? null : [.. Enumerable.Range(0, rows).Select(i => RandomStream.Uniform(_seed ^ KlStream, (number << 24) + i) < share)];

    private List<int[]> Fill(int epoch)
    {
        int[] order = [.. Enumerable.Range(0, _sequences.Count)];
        for (int i = order.Length - 1; i > 0; i--)
        {
            int j = (int)((i + 1) * RandomStream.Uniform(_seed ^ OrderStream, ((long)epoch << 32) + i));
            (order[i], order[j]) = (order[j], order[i]);
        }

        List<int[]> batches = [];
        List<int> current = [];
        int tokens = 0;
        foreach (int i in order)
        {
            int length = _sequences[i].Tokens.Count;
            if (current.Count > 0 && tokens + length > _tokens)
            {
                batches.Add([.. current]);
                current.Clear();
                tokens = 0;
            }

            current.Add(i);
            tokens += length;
        }

        batches.Add([.. current]);
        return batches;
    }
}
