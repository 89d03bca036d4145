using LowLevelSpec.Remote.Client;
using Xunit;

namespace LowLevelSpec.Remote.Tests;

/// <summary>How much is drafted follows confidence, round trip and pass time.</summary>
public sealed class CallPlannerTests
{
    [Fact]
    public void Slower_links_are_worth_deeper_trees()
    {
        int[] depths = [.. ((double[])[1, 20, 100, 600]).Select(static trip => Depth(trip, level: 5, share: 0.6))];
        Assert.Equal(depths.Order(), depths);
        Assert.True(depths[0] < depths[^1]);
    }

    [Fact]
    public void Surer_drafters_draft_deeper()
    {
        int[] depths = [.. ((double[])[0.2, 0.5, 0.8, 0.95]).Select(static share => Depth(100, level: 5, share))];
        Assert.Equal(depths.Order(), depths);
        Assert.True(depths[0] < depths[^1]);
    }

    [Fact]
    public void A_sure_chain_is_sent_at_once_and_an_unsure_one_is_not()
    {
        // Here drafting a tree takes 40 ms and a call 60; branches bring a token more.
        CallPlanner planner = Measured(trip: 50, level: 10);
        Assert.True(planner.PrefersChain([-0.05f, -0.05f, -0.05f, -0.05f, -0.05f]));
        Assert.False(planner.PrefersChain([-3f]));
    }

    [Fact]
    public void A_chain_at_hand_gives_way_to_a_tree_that_costs_next_to_nothing() =>
        Assert.False(Measured(trip: 600, level: 1).PrefersChain([-0.05f, -0.05f, -0.05f, -0.05f, -0.05f]));

    [Fact]
    public void Slower_links_are_worth_wider_trees_and_a_level_has_a_node_at_least()
    {
        float[] scores = [.. ((double[])[0.4, 0.2, 0.1, 0.05, 0.01, 0.004, 0.002, 0.0001]).Select(static p => (float)Math.Log(p))];
        int[] widths = [.. ((double[])[1, 20, 100, 600]).Select(trip => Measured(trip, level: 5).Width(scores))];
        Assert.Equal(widths.Order(), widths);
        Assert.True(widths[0] < widths[^1]);
        Assert.Equal(1, Measured(trip: 1, level: 5).Width([-20f, -20f]));
    }

    [Fact]
    public void Nothing_is_drafted_ahead_that_would_hold_the_answer_up()
    {
        CallPlanner planner = Measured(trip: 50, level: 10);
        Assert.True(planner.HasTimeAhead(0));
        Assert.False(planner.HasTimeAhead(planner.Answer - 1));
        Assert.True(planner.HasTimeAhead((2 * planner.Answer) + 1));
    }

    /// <summary>A planner that has seen calls of this round trip (ms), passes of 10 ms and levels of <paramref name="level"/> ms.</summary>
    private static CallPlanner Measured(double trip, double level)
    {
        CallPlanner planner = new();
        for (int i = 0; i < 50; i++)
        {
            planner.BeginDraft();
            planner.Drafted(4, 4 * level);
            planner.Answered(trip + 10, queue: 0, pass: 10, rows: 25, committed: 2, ofChain: 1);
        }

        return planner;
    }

    /// <summary>Levels that are drafted where each keeps <paramref name="share"/> of the probability of the one before.</summary>
    private static int Depth(double trip, double level, double share)
    {
        CallPlanner planner = Measured(trip, level);
        planner.BeginDraft();
        int depth = 1;
        while (depth < 30 && planner.WantsLevel([(float)(depth * Math.Log(share))], depth, depth * level))
        {
            depth++;
        }

        return depth;
    }
}
