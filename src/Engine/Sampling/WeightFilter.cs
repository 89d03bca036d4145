namespace LowLevelSpec.Engine.Sampling;

/// <summary>
/// Top-k, top-p, min-p and the draw, on weights: probabilities relative to the most probable token, whose weight is exactly 1.
/// "Most probable first" is by weight, ties to the lower id. Works in linear time whatever the shape of the distribution: the weights'
/// leading bits sort tokens into buckets, and only the bucket that the boundary falls into is looked at token by token.
/// </summary>
internal sealed class WeightFilter
{
    // Exponent and four bits of mantissa of a double in [0, 1]: buckets some 6 % wide, the last one for 1 itself.
    private const int BucketShift = 48;
    private const int BucketCount = (int)((1023UL << 52) >> BucketShift) + 1;

    private const int BlockSize = 64;

    private readonly SamplingOptions _options;
    private readonly double[] _weights;

    // Token ids of the weights [0, n) once tokens were dropped; always ascending.
    private readonly int[] _ids = [];

    // Number or probability of the tokens in each bucket.
    private readonly double[] _buckets = [];
    private readonly int[] _heap = [];

    // Sums over runs of BlockSize weights.
    private readonly double[] _blocks;

    /// <summary>Creates a filter that works in place on <paramref name="weights"/> [V].</summary>
    public WeightFilter(SamplingOptions options, double[] weights)
    {
        _options = options;
        _weights = weights;
        _blocks = new double[(weights.Length / BlockSize) + 1];
        bool selects = DropsByCount || DropsByMass;
        if (selects)
        {
            _buckets = new double[BucketCount];
            _heap = new int[weights.Length];
        }

        if (selects || options.MinP > 0)
        {
            _ids = new int[weights.Length];
        }
    }

    private bool DropsByCount => _options.TopK > 0 && _options.TopK < _weights.Length;

    private bool DropsByMass => _options.TopP < 1;

    /// <summary>The id of the token that <paramref name="uniform"/> in [0, 1) falls on. Overwrites the weights.</summary>
    public int Draw(double uniform)
    {
        int count = _weights.Length;
        bool dropped = false;
        if (DropsByCount)
        {
            count = KeepMostProbable(count, _options.TopK, byMass: false, dropped);
            dropped = true;
        }

        double total = Sum(count);
        if (DropsByMass)
        {
            count = KeepMostProbable(count, _options.TopP * total, byMass: true, dropped);
            dropped = true;
            total = Sum(count);
        }

        if (_options.MinP > 0)
        {
            count = Keep(count, new Boundary(_options.MinP, int.MaxValue), dropped);
            dropped = true;
            total = Sum(count);
        }

        int index = Find(count, uniform * total);
        return dropped ? _ids[index] : index;
    }

    private static int BucketOf(double weight) => (int)(BitConverter.DoubleToUInt64Bits(weight) >> BucketShift);

    /// <summary>Keeps the shortest run of most probable tokens whose number or weight reaches <paramref name="needed"/>; returns how many they are.</summary>
    private int KeepMostProbable(int count, double needed, bool byMass, bool renumbered)
        => Keep(count, FindBoundary(count, needed, byMass), renumbered);

    private Boundary FindBoundary(int count, double needed, bool byMass)
    {
        ReadOnlySpan<double> weights = _weights.AsSpan(0, count);
        Span<double> buckets = _buckets;
        buckets.Clear();
        foreach (double weight in weights)
        {
            buckets[BucketOf(weight)] += byMass ? weight : 1;
        }

        // Bucket 0 (weight 0) ends the walk at the latest: tokens that cannot be drawn need no boundary among them.
        int bucket = BucketCount - 1;
        double reached = 0;
        while (bucket > 0 && reached + buckets[bucket] < needed)
        {
            reached += buckets[bucket];
            bucket--;
        }

        if (bucket == 0)
        {
            return new Boundary(double.Epsilon, int.MaxValue);
        }

        int size = 0;
        for (int i = 0; i < weights.Length; i++)
        {
            if (BucketOf(weights[i]) == bucket)
            {
                _heap[size++] = i;
            }
        }

        return FindBoundaryInHeap(size, needed - reached, byMass);
    }

    /// <summary>Takes tokens out of the bucket, most probable first, until they reach what is needed.</summary>
    private Boundary FindBoundaryInHeap(int size, double needed, bool byMass)
    {
        for (int i = (size / 2) - 1; i >= 0; i--)
        {
            SiftDown(i, size);
        }

        double reached = 0;
        while (true)
        {
            int index = _heap[0];
            reached += byMass ? _weights[index] : 1;

            // The bucket's sum was taken in another order and may have been larger by a rounding: then its last token is the boundary.
            if (reached >= needed || size == 1)
            {
                return new Boundary(_weights[index], index);
            }

            _heap[0] = _heap[--size];
            SiftDown(0, size);
        }
    }

    private void SiftDown(int place, int size)
    {
        int index = _heap[place];
        while ((2 * place) + 1 < size)
        {
            int child = (2 * place) + 1;
            if (child + 1 < size && IsBefore(_heap[child + 1], _heap[child]))
            {
                child++;
            }

            if (!IsBefore(_heap[child], index))
            {
                break;
            }

            _heap[place] = _heap[child];
            place = child;
        }

        _heap[place] = index;
    }

    // Ids ascend with the index, so the lower index is the lower id.
    private bool IsBefore(int a, int b) => _weights[a] > _weights[b] || (_weights[a] == _weights[b] && a < b);

    /// <summary>Closes the gaps that dropped tokens leave, in place.</summary>
    private int Keep(int count, Boundary last, bool renumbered)
    {
        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            double weight = _weights[i];
            if (weight > last.Weight || (weight == last.Weight && i <= last.Index))
            {
                _weights[kept] = weight;
                _ids[kept] = renumbered ? _ids[i] : i;
                kept++;
            }
        }

        return kept;
    }

    private double Sum(int count)
    {
        double total = 0;
        for (int block = 0; block * BlockSize < count; block++)
        {
            ReadOnlySpan<double> weights = BlockOf(block, count);

            // Four chains instead of one, in this order on every processor.
            double a = 0, b = 0, c = 0, d = 0;
            int i = 0;
            for (; i + 4 <= weights.Length; i += 4)
            {
                a += weights[i];
                b += weights[i + 1];
                c += weights[i + 2];
                d += weights[i + 3];
            }

            for (; i < weights.Length; i++)
            {
                a += weights[i];
            }

            _blocks[block] = (a + b) + (c + d);
            total += _blocks[block];
        }

        return total;
    }

    /// <summary>The first token at which the running sum exceeds <paramref name="target"/>, which is below the total. Never one of weight 0.</summary>
    private int Find(int count, double target)
    {
        // Ends before the blocks do: the running sum repeats the additions of Sum and so reaches the total.
        int block = 0;
        double before = 0;
        while (before + _blocks[block] <= target)
        {
            before += _blocks[block];
            block++;
        }

        ReadOnlySpan<double> weights = BlockOf(block, count);
        double sum = 0;
        int found = 0;
        for (int i = 0; i < weights.Length; i++)
        {
            sum += weights[i];
            if (weights[i] > 0)
            {
                found = i;

                // Where roundings leave the sum short of the target to the end, the block's last token that can be drawn is taken.
                if (before + sum > target)
                {
                    break;
                }
            }
        }

        return (block * BlockSize) + found;
    }

    private ReadOnlySpan<double> BlockOf(int block, int count)
        => _weights.AsSpan(block * BlockSize, Math.Min(BlockSize, count - (block * BlockSize)));

    /// <summary>The last token that is kept, in the order of descending weight, then ascending index.</summary>
    private readonly record struct Boundary(double Weight, int Index);
}
