namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>
/// How often what was drafted came true: a drafter's probabilities are calibrated by it, per depth and size of the probability, and prompt lookup's
/// continuations get their probabilities from it, per length of the match and depth. Starts from priors, forgets slowly, allocates only when created.
/// </summary>
internal sealed class AcceptanceTable
{
    /// <summary>Lengths of a lookup match that are told apart: 1, 2, 3, 4, 5 to 7, 8 and more.</summary>
    private const int Matches = 6;

    /// <summary>Depths that are told apart; deeper ones count as the last.</summary>
    private const int Depths = 8;

    /// <summary>Halvings of the probability that are told apart.</summary>
    private const int Sizes = 10;

    /// <summary>Weight of the prior, in observations.</summary>
    private const float Prior = 6;

    /// <summary>Observations after which a bucket is halved: it follows the last few hundred.</summary>
    private const float Memory = 400;

    /// <summary>Nothing is certain: bounds the probability of a path.</summary>
    private const float Certain = 0.98f;

    private static readonly float[] LookupPrior = [0.1f, 0.25f, 0.4f, 0.55f, 0.7f, 0.85f];

    private readonly Bucket[] _drafted = new Bucket[Depths * Sizes], _looked = new Bucket[Matches * Depths], _children = new Bucket[Depths];

    /// <summary>Probability that a path of the drafter comes true.</summary>
    /// <param name="depth">Its length, 1 = a child of the root.</param>
    /// <param name="logProbability">The drafter's own log-probability of the path.</param>
    public float Path(int depth, float logProbability)
    {
        float raw = MathF.Exp(logProbability);
        return MathF.Min(Certain, raw * _drafted[Drafted(depth, logProbability)].Ratio());
    }

    /// <summary>Probability that token <paramref name="depth"/> of a lookup's continuation follows, the ones before it given.</summary>
    public float Lookup(int matchLength, int depth)
    {
        int match = Match(matchLength);
        float prior = MathF.Min(0.9f, LookupPrior[match] + (depth > 1 ? 0.15f : 0));
        return MathF.Min(Certain, _looked[(match * Depths) + Depth(depth)].Share(prior));
    }

    /// <summary>Probability that one of an accepted node's scored children is accepted too; the root's are of depth 1.</summary>
    public float Children(int depth) => _children[Depth(depth)].Share(0.5f);

    /// <summary>A path of the drafter was verified.</summary>
    public void SawPath(int depth, float logProbability, bool accepted) =>
        _drafted[Drafted(depth, logProbability)].Add(MathF.Exp(logProbability), accepted);

    /// <summary>A lookup's continuation was tested at this depth.</summary>
    public void SawLookup(int matchLength, int depth, bool came) => _looked[(Match(matchLength) * Depths) + Depth(depth)].Add(1, came);

    /// <summary>Children of depth <paramref name="depth"/> had been scored below an accepted node.</summary>
    public void SawChildren(int depth, bool accepted) => _children[Depth(depth)].Add(1, accepted);

    /// <summary>Takes over another table's observations.</summary>
    public void CopyFrom(AcceptanceTable other)
    {
        other._drafted.CopyTo(_drafted, 0);
        other._looked.CopyTo(_looked, 0);
        other._children.CopyTo(_children, 0);
    }

    private static int Depth(int depth) => Math.Clamp(depth, 1, Depths) - 1;

    private static int Drafted(int depth, float logProbability) =>
        (Depth(depth) * Sizes) + (int)Math.Clamp(-logProbability / 0.6931472f, 0, Sizes - 1);

    private static int Match(int length) => length switch { <= 4 => Math.Max(0, length - 1), <= 7 => 4, _ => 5 };

    private struct Bucket
    {
        private float _count, _expected, _came;

        public void Add(float expected, bool came)
        {
            if (_count >= Memory)
            {
                (_count, _expected, _came) = (_count / 2, _expected / 2, _came / 2);
            }

            _count++;
            _expected += expected;
            _came += came ? 1 : 0;
        }

        /// <summary>What came over what was expected.</summary>
        public readonly float Ratio()
        {
            // The prior believes the drafter: as much expected as came, in the bucket's own size.
            float prior = _count > 0 ? Prior * _expected / _count : Prior;
            return (_came + prior) / (_expected + prior);
        }

        /// <summary>What came over what was seen.</summary>
        public readonly float Share(float prior) => (_came + (Prior * prior)) / (_count + Prior);
    }
}
