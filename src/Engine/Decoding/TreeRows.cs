using System.Numerics;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Engine.Decoding;

/// <summary>The rows that verify a draft tree.</summary>
internal static class TreeRows
{
    /// <summary>Adds node i at cache row P+i and position P+depth, seeing the whole prefix of P verified tokens and its ancestors. Allocates nothing.</summary>
    /// <returns>The batch row of the root; node i follows i rows later.</returns>
    public static int Add(PassBatch batch, KvCache cache, DraftTree tree, int verified)
    {
        int first = batch.Count;
        ReadOnlySpan<int> tokens = tree.Tokens, depths = tree.Depths;
        Span<int> ancestors = stackalloc int[DraftTree.MaxNodes];
        for (int i = 0; i < tree.Count; i++)
        {
            int count = 0;
            for (ulong mask = tree.AncestorMask(new NodeIndex(i)); mask != 0; mask &= mask - 1)
            {
                ancestors[count++] = verified + BitOperations.TrailingZeroCount(mask);
            }

            batch.AddTree(cache, new TokenId(tokens[i]), new Position(verified + depths[i]), new CacheRow(verified + i), verified, ancestors[..count]);
        }

        return first;
    }
}
