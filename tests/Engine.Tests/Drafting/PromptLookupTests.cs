using CsCheck;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>Prompt lookup against a search through the whole text.</summary>
public sealed class PromptLookupTests
{
    private static readonly TinyModels Tiny = TinyModels.Instance;

    /// <summary>Few different tokens give long matches, many give hash tables full of collisions.</summary>
    private static readonly Gen<int[]> Texts = Gen.Int[2, 600].SelectMany(static tokens => Gen.Int[0, tokens - 1].Array[1, 150]);

    [Fact]
    public void The_first_branch_follows_the_latest_of_the_longest_matches()
    {
        using Drafter drafter = Tiny.Open("lookup");
        Texts.Sample(
            prompt =>
            {
                using Generation generation = Tiny.Model.Begin(new() { PromptIds = prompt, MaxNewTokens = 30, Drafter = drafter, Tree = new TreeSettings(5, 3, 12), IgnoreEndTokens = true });
                generation.Prefill(CancellationToken.None);
                while (generation.Finished is null)
                {
                    int[] tokens = generation.Tokens.ToArray();
                    generation.Step();
                    Check(tokens, generation.Tree);
                }
            },
            iter: 40,
            threads: 1);
    }

    private static void Check(int[] tokens, DraftTree tree)
    {
        List<int> starts = [];
        for (int n = Math.Min(4, tokens.Length - 1); n >= 1; n--)
        {
            for (int end = tokens.Length - 2; end >= n - 1; end--)
            {
                if (tokens.AsSpan(end + 1 - n, n).SequenceEqual(tokens.AsSpan(tokens.Length - n)))
                {
                    starts.Add(end + 1);
                }
            }
        }

        Assert.Equal(tokens[^1], tree.Tokens[0]);
        Assert.InRange(tree.Count, starts.Count == 0 ? 1 : 2, starts.Count == 0 ? 1 : 13);
        if (starts.Count > 0)
        {
            int[] expected = [.. tokens.Skip(starts[0]).Take(4)];
            NodeIndex at = NodeIndex.Root;
            foreach (int token in expected)
            {
                Assert.True(tree.TryGetChild(at, new TokenId(token), out NodeIndex child));
                Assert.Equal(at.Value + 1, child.Value);
                at = child;
            }
        }

        // Whatever the other branches are, they follow some match too.
        for (int node = 1; node < tree.Count; node++)
        {
            List<int> path = [];
            for (int up = node; up > 0; up = tree.Parents[up])
            {
                path.Insert(0, tree.Tokens[up]);
            }

            Assert.Contains(starts, start => tokens.Skip(start).Take(path.Count).SequenceEqual(path));
        }
    }
}
