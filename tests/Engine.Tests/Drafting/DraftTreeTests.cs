using CsCheck;
using LowLevelSpec.Engine.Drafting;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>The tree itself, up to its 64 nodes.</summary>
public sealed class DraftTreeTests
{
    [Fact]
    public void Masks_depths_and_children_follow_from_the_parents() =>
        Gen.Int[0, int.MaxValue - 1].Array[1, DraftTree.MaxNodes - 1].Sample(static draws =>
        {
            DraftTree tree = new();
            tree.Reset(new TokenId(7));
            foreach (int draw in draws)
            {
                tree.Add(new NodeIndex(draw % tree.Count), new TokenId(tree.Count), -1);
            }

            Assert.Equal(draws.Length + 1, tree.Count);
            for (int node = 0; node < tree.Count; node++)
            {
                ulong mask = 0;
                int depth = -1;
                for (int up = node; up >= 0; up = tree.Parents[up])
                {
                    mask |= 1UL << up;
                    depth++;
                }

                Assert.Equal(mask, tree.AncestorMask(new NodeIndex(node)));
                Assert.Equal(depth, tree.Depths[node]);
                for (int token = 0; token <= tree.Count; token++)
                {
                    bool expected = token > 0 && token < tree.Count && tree.Parents[token] == node;
                    Assert.Equal(expected, tree.TryGetChild(new NodeIndex(node), new TokenId(token), out NodeIndex child));
                    Assert.Equal(expected ? token : 0, child.Value);
                }
            }
        });

    [Fact]
    public void Nodes_without_a_place_are_refused()
    {
        DraftTree tree = new();
        Assert.Throws<InvalidOperationException>(() => tree.Add(NodeIndex.Root, new TokenId(1), 0));
        tree.Reset(new TokenId(0));
        Assert.Throws<InvalidOperationException>(() => tree.Add(new NodeIndex(1), new TokenId(1), 0));
        for (int i = 1; i < DraftTree.MaxNodes; i++)
        {
            tree.Add(NodeIndex.Root, new TokenId(i), 0);
        }

        Assert.Throws<InvalidOperationException>(() => tree.Add(NodeIndex.Root, new TokenId(99), 0));
    }
}
