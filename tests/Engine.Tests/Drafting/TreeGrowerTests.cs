using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Tests.Backends;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>Which nodes make the tree, above all where scores tie.</summary>
public sealed class TreeGrowerTests
{
    [Fact]
    public void Where_a_child_scores_as_high_as_its_parent_the_parent_is_chosen_first()
    {
        using Bench bench = new(new CpuBackend(1, SimdWidth.Auto));
        TreeGrower grower = new(bench.Backend, new TreeSettings(3, 2, 2), 4);
        DraftTree tree = new();
        grower.Start(new TokenId(9), bench.Matrix(1, 4, [5, 5, 0, 0]));

        // The second node is certain of its child, so the child's score is its own, and both tie with the first node's.
        grower.Grow(bench.Matrix(2, 4, [0, 0, 0, 0, -200, -200, 200, -200]));
        grower.Select(tree);
        Assert.Equal([9, 0, 1], tree.Tokens.ToArray());
        Assert.Equal([-1, 0, 0], tree.Parents.ToArray());
    }

    [Fact]
    public void Equal_scores_keep_the_order_in_which_they_were_scored()
    {
        using Bench bench = new(new CpuBackend(1, SimdWidth.Auto));
        TreeGrower grower = new(bench.Backend, new TreeSettings(4, 3, 7), 8);
        DraftTree tree = new();
        grower.Start(new TokenId(0), bench.Matrix(1, 8, new float[8]));
        Assert.Equal([0, 1, 2], grower.FrontierTokens.ToArray());
        grower.Grow(bench.Matrix(3, 8, new float[24]));

        // Nine children with one score: the first node's three are the next frontier.
        Assert.Equal([0, 1, 2], grower.FrontierTokens.ToArray());
        Assert.Equal([0, 0, 0], grower.FrontierParents.ToArray());
        grower.Grow(bench.Matrix(3, 8, new float[24]));
        grower.Select(tree);
        Assert.Equal([-1, 0, 0, 0, 1, 1, 1, 2], tree.Parents.ToArray());
        Assert.Equal([0, 0, 1, 2, 0, 1, 2, 0], tree.Tokens.ToArray());
    }

    [Fact]
    public void The_frontier_is_the_best_of_all_children_with_their_own_parents()
    {
        using Bench bench = new(new CpuBackend(1, SimdWidth.Auto));
        TreeGrower grower = new(bench.Backend, new TreeSettings(3, 2, 63), 4);
        DraftTree tree = new();
        grower.Start(new TokenId(0), bench.Matrix(1, 4, [1, 0.9f, -5, -5]));
        grower.Grow(bench.Matrix(2, 4, [1, 1, 1, 1, 0, 0, 9, 9]));
        Assert.Equal([2, 3], grower.FrontierTokens.ToArray());
        Assert.Equal([1, 1], grower.FrontierParents.ToArray());
        grower.Select(tree);
        Assert.Equal([-1, 0, 0, 1, 1, 2, 2], tree.Parents.ToArray());
        for (int node = 1; node < tree.Count; node++)
        {
            Assert.True(tree.LogProbabilities[node] <= tree.LogProbabilities[tree.Parents[node]]);
        }
    }
}
