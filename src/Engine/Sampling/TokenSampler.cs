using System.Numerics;
using System.Runtime.InteropServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Sampling;

/// <summary>
/// Chooses the target's next token. The one place where a token is ever chosen: plain decoding and verification both call it, with the
/// same logits in the same order, so they write the same text (docs/lossless.md). Not thread-safe; allocates nothing after construction.
/// <para>
/// A choice is a function of the options, the bits of the logits, the tokens committed so far and (seed, output index): probabilities are
/// doubles computed with operations that round the same way on every processor. Sampling draws one uniform number and inverts the
/// cumulative distribution of the kept tokens in the order of their ids.
/// </para>
/// </summary>
public sealed class TokenSampler
{
    private readonly SamplingOptions _options;
    private readonly int _vocabularySize;

    // [V], logits after penalties, then weights: probabilities relative to the most probable token, whose weight is 1.
    private readonly double[] _weights;
    private readonly WeightFilter? _filter;

    // For penalties: occurrences in the output [V]; the different tokens of prompt and output, the first _touchedCount of [V].
    private readonly int[] _occurrences = [];
    private readonly bool[] _isTouched = [];
    private readonly int[] _touched = [];
    private int _touchedCount;

    /// <summary>Creates a sampler for one generation.</summary>
    /// <param name="options">Validated here.</param>
    /// <param name="vocabularySize">V.</param>
    /// <param name="prompt">Prompt ids, for the repetition penalty.</param>
    /// <exception cref="InputException">An option is out of range; the message names it.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="vocabularySize"/> is not positive, or a prompt id is not in the vocabulary.</exception>
    public TokenSampler(SamplingOptions options, int vocabularySize, ReadOnlySpan<int> prompt)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabularySize);
        options.Validate();
        foreach (int id in prompt)
        {
            ThrowIfOutside(id, vocabularySize, nameof(prompt));
        }

        _options = options;
        _vocabularySize = vocabularySize;
        _weights = new double[vocabularySize];
        if (options.Temperature > 0)
        {
            _filter = new WeightFilter(options, _weights);
        }

        if (options.HasPenalties)
        {
            _occurrences = new int[vocabularySize];
            _isTouched = new bool[vocabularySize];
            _touched = new int[vocabularySize];
            foreach (int id in prompt)
            {
                Touch(id);
            }
        }
    }

    /// <summary>Whether the choice is the plain argmax of the logits: then a backend's ArgMax may stand in for <see cref="Choose"/>.</summary>
    public bool IsPlainArgMax => _options.Temperature == 0 && !_options.HasPenalties;

    /// <summary>Tokens committed so far.</summary>
    public int Committed { get; private set; }

    /// <summary>The token for output index <see cref="Committed"/>, given the target's logits [V] after everything committed so far. Changes no state.</summary>
    /// <exception cref="ArgumentException">There are not V logits.</exception>
    /// <exception cref="ArithmeticException">A logit is NaN or +infinity, or all are -infinity (-infinity alone means: never).</exception>
    public TokenId Choose(ReadOnlySpan<float> logits)
        => ChooseAt(logits, _options.Temperature == 0 ? 0 : RandomStream.Uniform(_options.Seed, Committed));

    /// <summary>Records an output token: advances the random stream and the penalties' counts.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The token is not in the vocabulary.</exception>
    public void Commit(TokenId token)
    {
        ThrowIfOutside(token.Value, _vocabularySize, nameof(token));
        if (_options.HasPenalties)
        {
            Touch(token.Value);
            _occurrences[token.Value]++;
        }

        Committed++;
    }

    /// <summary><see cref="Choose"/> with the uniform number in [0, 1) given, so that tests can integrate over it.</summary>
    internal TokenId ChooseAt(ReadOnlySpan<float> logits, double uniform)
    {
        if (logits.Length != _vocabularySize)
        {
            throw new ArgumentException($"There are {logits.Length} logits for a vocabulary of {_vocabularySize}.", nameof(logits));
        }

        Load(logits);
        if (_options.HasPenalties)
        {
            Penalize();
        }

        double max = Max(_weights);
        if (double.IsNegativeInfinity(max))
        {
            throw new ArithmeticException($"All logits for output token {Committed} are -infinity: no token can be chosen.");
        }

        if (_filter is null)
        {
            return new TokenId(IndexOf(_weights, max));
        }

        Exponential.Apply(_weights, max, 1.0 / _options.Temperature);
        return new TokenId(_filter.Draw(uniform));
    }

    private static void ThrowIfOutside(int id, int vocabularySize, string parameter)
    {
        if ((uint)id >= (uint)vocabularySize)
        {
            throw new ArgumentOutOfRangeException(parameter, id, $"Token id {id} is not in the vocabulary of {vocabularySize}.");
        }
    }

    private static double Max(ReadOnlySpan<double> values)
    {
        ReadOnlySpan<Vector<double>> vectors = MemoryMarshal.Cast<double, Vector<double>>(values);
        Vector<double> lanes = new(double.NegativeInfinity);
        foreach (Vector<double> vector in vectors)
        {
            lanes = Vector.Max(lanes, vector);
        }

        double max = double.NegativeInfinity;
        for (int lane = 0; lane < Vector<double>.Count; lane++)
        {
            max = Math.Max(max, lanes[lane]);
        }

        foreach (double value in values[(vectors.Length * Vector<double>.Count)..])
        {
            max = Math.Max(max, value);
        }

        return max;
    }

    // Compares numerically, so that -0 and 0 tie; which of the two Max returns is then of no account.
    private static int IndexOf(ReadOnlySpan<double> values, double value)
    {
        int i = 0;
        while (values[i] != value)
        {
            i++;
        }

        return i;
    }

    private void Load(ReadOnlySpan<float> logits)
    {
        ReadOnlySpan<Vector<float>> source = MemoryMarshal.Cast<float, Vector<float>>(logits);
        Span<Vector<double>> destination = MemoryMarshal.Cast<double, Vector<double>>(_weights.AsSpan());
        Vector<int> usable = Vector<int>.AllBitsSet;
        for (int i = 0; i < source.Length; i++)
        {
            // NaN compares false, so one comparison finds both NaN and +infinity.
            usable &= Vector.LessThan(source[i], new Vector<float>(float.PositiveInfinity));
            Vector.Widen(source[i], out destination[2 * i], out destination[(2 * i) + 1]);
        }

        bool allUsable = Vector.EqualsAll(usable, Vector<int>.AllBitsSet);
        for (int i = source.Length * Vector<float>.Count; i < logits.Length; i++)
        {
            allUsable &= logits[i] < float.PositiveInfinity;
            _weights[i] = logits[i];
        }

        if (!allUsable)
        {
            ThrowUnusable(logits);
        }
    }

    private void ThrowUnusable(ReadOnlySpan<float> logits)
    {
        int id = 0;
        while (logits[id] < float.PositiveInfinity)
        {
            id++;
        }

        string found = float.IsNaN(logits[id]) ? "NaN" : "+infinity";
        throw new ArithmeticException($"The logit of token {id} for output token {Committed} is {found}: the target's pass overflowed or its weights are damaged.");
    }

    private void Penalize()
    {
        double repetition = _options.RepetitionPenalty;
        double frequency = _options.FrequencyPenalty;
        double presence = _options.PresencePenalty;
        foreach (int id in _touched.AsSpan(0, _touchedCount))
        {
            double logit = _weights[id];
            logit = logit > 0 ? logit / repetition : logit * repetition;
            int count = _occurrences[id];
            _weights[id] = count == 0 ? logit : logit - (count * frequency) - presence;
        }
    }

    private void Touch(int id)
    {
        if (!_isTouched[id])
        {
            _isTouched[id] = true;
            _touched[_touchedCount++] = id;
        }
    }
}
