using CsCheck;
using LowLevelSpec.Engine.Sampling;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Sampling;

/// <summary>
/// Verification asks the sampler for the target's token at each node and walks on while that token is a child. These tests compare it
/// with the textbook form, sequential rejection sampling over the children, by exact enumeration: both the distribution of what is
/// written and the probability with which each draft token is accepted are equal.
/// </summary>
public sealed class VerificationTests
{
    private const int VocabularySize = 6;

    private static readonly Gen<Node> Trees = Tree(3);

    private static readonly Gen<SamplingOptions> Options = Gen.Select(
        Generators.Pick(0.7f, 1, 1.5f),
        Generators.Pick(0, 3),
        Generators.Pick(1, 0.8f),
        Generators.Pick(0, 0.2f),
        Generators.Pick(1, 1.5f),
        Generators.Pick(0, 0.6f))
        .Select((temperature, topK, topP, minP, repetition, frequency) => new SamplingOptions
        {
            Temperature = temperature,
            TopK = topK,
            TopP = topP,
            MinP = minP,
            RepetitionPenalty = repetition,
            FrequencyPenalty = frequency,
        });

    [Fact]
    public void AskingTheSampler_EqualsSequentialRejection_InDistributionAndInEachAcceptance()
        => Gen.Select(Trees, Options, Gen.Int[0, VocabularySize - 1].Array[0, 3]).Sample((tree, options, prompt) =>
        {
            Outcomes coupled = new();
            Coupled(coupled, tree, options, prompt, [], 1);
            Outcomes literal = new();
            Literal(literal, tree, options, prompt, [], 1);
            AssertEqual(literal.Written, coupled.Written);
            AssertEqual(literal.Accepted, coupled.Accepted);
            Assert.Equal(1, coupled.Written.Values.Sum(), 1e-9);

            // And what is written has the target's own distribution: the probability of each token given those before it.
            foreach ((string path, double probability) in coupled.Written)
            {
                Assert.Equal(PathProbability(path, options, prompt), probability, 1e-9);
            }
        });

    [Fact]
    public void SeededTextWithTrees_IsTheTextWithout()
        => Gen.Select(Trees.Array[1, 5], Options, Gen.ULong).Sample((trees, options, seed) =>
        {
            const int length = 25;
            options = options with { Seed = seed };
            Assert.Equal(Plain(options, length), Speculative(options, trees, length));
        });

    private static Gen<Node> Tree(int depth)
        => depth == 0
            ? Gen.Const(new Node([]))
            : Gen.Select(Gen.Shuffle(Enumerable.Range(0, VocabularySize).ToArray()), Gen.Int[0, 4], Tree(depth - 1).Array[4], (tokens, width, nodes)
                => new Node([.. tokens.Take(width).Zip(nodes, (token, node) => (token, node))]));

    /// <summary>All outcomes of the sampler's walk: one branch per interval of the uniform number that gives the same token.</summary>
    private static void Coupled(Outcomes outcomes, Node node, SamplingOptions options, int[] prompt, int[] output, double probability)
    {
        float[] logits = ToyModel.Logits(VocabularySize, [.. prompt, .. output]);
        TokenSampler sampler = new(options, VocabularySize, prompt);
        foreach (int id in output)
        {
            sampler.Commit(new TokenId(id));
        }

        foreach ((int expected, double from, double to) in NaiveSampler.Intervals(NaiveSampler.Distribution(options, logits, prompt, output)))
        {
            // The choice does not decrease with the uniform number, so equal tokens at both ends are equal throughout.
            int token = sampler.ChooseAt(logits, from + 1e-11).Value;
            Assert.Equal(expected, token);
            Assert.Equal(token, sampler.ChooseAt(logits, to - 1e-11).Value);
            int[] next = [.. output, token];
            double branch = probability * (to - from);
            Node? child = node.Children.FirstOrDefault(c => c.Token == token).Node;
            if (child is null)
            {
                outcomes.Write(next, branch);
            }
            else
            {
                outcomes.Accept(next, branch);
                Coupled(outcomes, child, options, prompt, next, branch);
            }
        }
    }

    /// <summary>All outcomes of the textbook form: child after child is accepted with its share of what is left, or removed from it.</summary>
    private static void Literal(Outcomes outcomes, Node node, SamplingOptions options, int[] prompt, int[] output, double probability)
    {
        double[] residual = NaiveSampler.Distribution(options, ToyModel.Logits(VocabularySize, [.. prompt, .. output]), prompt, output);
        double reached = probability;
        foreach ((int token, Node child) in node.Children)
        {
            // The draft is a point mass on the child: accepted with probability min(1, p(token) / 1) of the current residual.
            double acceptance = Math.Min(1, residual[token]);
            int[] next = [.. output, token];
            if (acceptance > 0)
            {
                outcomes.Accept(next, reached * acceptance);
                Literal(outcomes, child, options, prompt, next, reached * acceptance);
            }

            reached *= 1 - acceptance;
            residual[token] = 0;
            double left = residual.Sum();
            if (left <= 0 || reached <= 1e-14)
            {
                return;
            }

            residual = [.. residual.Select(p => p / left)];
        }

        for (int token = 0; token < VocabularySize; token++)
        {
            if (residual[token] > 0)
            {
                outcomes.Write([.. output, token], reached * residual[token]);
            }
        }
    }

    private static double PathProbability(string path, SamplingOptions options, int[] prompt)
    {
        int[] tokens = [.. path.Select(c => c - '0')];
        double product = 1;
        for (int i = 0; i < tokens.Length; i++)
        {
            int[] output = tokens[..i];
            product *= NaiveSampler.Distribution(options, ToyModel.Logits(VocabularySize, [.. prompt, .. output]), prompt, output)[tokens[i]];
        }

        return product;
    }

    private static List<int> Plain(SamplingOptions options, int length)
    {
        TokenSampler sampler = new(options, VocabularySize, []);
        List<int> text = [];
        while (text.Count < length)
        {
            Step(sampler, text);
        }

        return text;
    }

    private static List<int> Speculative(SamplingOptions options, Node[] trees, int length)
    {
        TokenSampler sampler = new(options, VocabularySize, []);
        List<int> text = [];
        for (int cycle = 0; text.Count < length; cycle++)
        {
            Node? node = trees[cycle % trees.Length];
            while (node is not null && text.Count < length)
            {
                int token = Step(sampler, text);
                node = node.Children.FirstOrDefault(child => child.Token == token).Node;
            }
        }

        return text;
    }

    private static int Step(TokenSampler sampler, List<int> text)
    {
        TokenId token = sampler.Choose(ToyModel.Logits(VocabularySize, text));
        sampler.Commit(token);
        text.Add(token.Value);
        return token.Value;
    }

    private static void AssertEqual(Dictionary<string, double> expected, Dictionary<string, double> actual)
    {
        foreach (string key in expected.Keys.Union(actual.Keys))
        {
            Assert.Equal(expected.GetValueOrDefault(key), actual.GetValueOrDefault(key), 1e-9);
        }
    }

    private sealed record Node((int Token, Node Node)[] Children);

    /// <summary>Probabilities by path, a digit per token.</summary>
    private sealed class Outcomes
    {
        /// <summary>Of what one cycle writes: accepted tokens and the target's own after them.</summary>
        public Dictionary<string, double> Written { get; } = [];

        /// <summary>Of the acceptance of the draft node at the end of the path.</summary>
        public Dictionary<string, double> Accepted { get; } = [];

        public void Write(int[] path, double probability) => Add(Written, path, probability);

        public void Accept(int[] path, double probability) => Add(Accepted, path, probability);

        private static void Add(Dictionary<string, double> sums, int[] path, double probability)
        {
            string key = string.Concat(path);
            sums[key] = sums.GetValueOrDefault(key) + probability;
        }
    }
}
