using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Drafting.Adaptive;
using LowLevelSpec.Engine.Measuring;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting.Adaptive;

/// <summary>The parts of an adapting tree, each against what it promises.</summary>
public sealed class PlanningTests
{
    [Fact]
    public void Continuations_with_a_common_prefix_share_its_nodes()
    {
        AcceptanceTable table = new();
        Candidates candidates = new(40);
        candidates.AddContinuation([1, 2, 3, 4], 4, table);
        candidates.AddContinuation([1, 2, 9], 8, table);
        Assert.Equal(5, candidates.Count);
        candidates.Rank(0);
        Assert.Equal(5, candidates.Ranked);
        for (int i = 1; i < candidates.Ranked; i++)
        {
            Assert.True(candidates.Probability(i) <= candidates.Probability(i - 1));
        }

        DraftTree tree = new();
        tree.Reset(new TokenId(7));
        candidates.Write(tree, 5);
        Assert.Equal([7, 1, 2, 9, 3, 4], tree.Tokens.ToArray());
        Assert.Equal([-1, 0, 1, 2, 2, 4], tree.Parents.ToArray());
    }

    [Fact]
    public void Any_number_of_the_ranked_nodes_is_a_tree()
    {
        Random random = new(1);
        AcceptanceTable table = new();
        for (int trial = 0; trial < 200; trial++)
        {
            Candidates candidates = new(200);
            for (int i = 0; i < 30; i++)
            {
                candidates.AddContinuation([.. Enumerable.Range(0, 6).Select(_ => random.Next(3))], random.Next(1, 12), table);
            }

            candidates.Rank(0.001f);
            int count = random.Next(candidates.Ranked + 1);
            DraftTree tree = new();
            tree.Reset(new TokenId(0));
            candidates.Write(tree, count);
            Assert.Equal(count + 1, tree.Count);
            Assert.Equal(count, Enumerable.Range(1, count).Select(i => (tree.Parents[i], tree.Tokens[i])).Distinct().Count());
        }
    }

    [Fact]
    public void Probabilities_follow_what_was_accepted()
    {
        AcceptanceTable table = new();
        Assert.Equal(0.5f, table.Path(1, MathF.Log(0.5f)), 0.001f);
        float lookup = table.Lookup(3, 1);
        for (int i = 0; i < 300; i++)
        {
            table.SawPath(1, MathF.Log(0.5f), i % 10 == 0);
            table.SawLookup(3, 1, i % 10 != 0);
        }

        Assert.InRange(table.Path(1, MathF.Log(0.5f)), 0.08f, 0.13f);
        Assert.Equal(0.5f, table.Path(3, MathF.Log(0.5f)), 0.001f);
        Assert.InRange(table.Lookup(3, 1), 0.85f, 0.95f);
        Assert.True(lookup < 0.5f);
    }

    [Fact]
    public void The_tree_is_as_large_as_its_price_allows()
    {
        AcceptanceTable table = new();
        double[] steps = [.. Enumerable.Range(0, StepCosts.MaxRows + 1).Select(static k => k <= 4 ? 1.0 : 3.5)];
        StepCosts costs = AdaptiveTests.Costs(1, 0) with { Pass = steps };
        Candidates candidates = new(40);
        TreePlanner planner = new(costs, table, candidates) { Worth = 1 };
        candidates.AddContinuation([1, 2, 3, 4, 5, 6, 7], 16, table);
        DraftTree tree = new();
        tree.Reset(new TokenId(0));
        double value = planner.Choose(tree, 63);

        // Three nodes fill the rows that cost nothing; two and a half seconds more would have to win as many tokens.
        Assert.Equal(4, tree.Count);
        Assert.InRange(value, 1, 3);
    }

    /// <summary>What trees were found to cost behind long texts, the next generation's planner reckons with from its first step on.</summary>
    [Fact]
    public void A_planner_goes_on_from_another_s_corrections()
    {
        AcceptanceTable table = new();
        StepCosts costs = AdaptiveTests.Costs(1, 0) with { Pass = [.. Enumerable.Range(0, StepCosts.MaxRows + 1).Select(static k => 1 + (0.01 * k))] };
        Candidates candidates = new(40);
        TreePlanner slow = new(costs, table, candidates) { Worth = 1 };
        for (int i = 0; i < 60; i++)
        {
            slow.Verified(3, 4, 0, 2.5 * costs.Pass[4]);
            slow.Verified(0, 1, 0, costs.Pass[1]);
        }

        double[] scales = new double[TreePlanner.Sizes];
        slow.HandOver(scales);
        Assert.Equal(2.5, scales[2], 0.05);
        Assert.Equal(0, scales[5]);

        TreePlanner fresh = new(costs, table, candidates) { Worth = 1 }, later = new(costs, table, candidates) { Worth = 1 };
        later.TakeOver(scales);
        candidates.AddContinuation([1, 2, 3], 16, table);
        Assert.True(fresh.Value(3) > later.Value(3));

        // Handed on again, although this one has verified nothing.
        double[] again = new double[TreePlanner.Sizes];
        later.HandOver(again);
        Assert.Equal(scales, again);
    }

    [Theory]
    [InlineData(2.0, 1, 0.97, 1.0)]
    [InlineData(1.02, 1, 0.97, 1.0)]
    [InlineData(5.0, 1, 0.97, 1.0)]
    [InlineData(1.2, 2, 1.55, 1.7)]
    public void Trying_costs_little_and_winning_goes_on(double drafted, int tokens, double low, double high)
    {
        SpeculationBudget budget = new();
        budget.Start(1, 2000, 0, on: true);
        double seconds = 0;
        int written = 0;
        while (written < 2000)
        {
            bool network = budget.Next(0, 2000 - written);
            seconds += network ? drafted : 1;
            int step = network ? tokens : 1;
            written += step;
            if (network)
            {
                budget.Drafted(1, step, step, drafted);
            }
            else
            {
                budget.Plain(1, step);
            }
        }

        Assert.InRange(written / seconds, low, high);
    }

    /// <summary>Short texts, each of whose steps commits one token or several by chance: a drafter that pays stays on, whatever the first draws are and what entering the text takes.</summary>
    [Fact]
    public void Unlucky_draws_do_not_switch_a_drafter_off()
    {
        // 1.7 tokens come where 1.8 are expected; always on would be 1.26 less what entering takes.
        (double speed, double network) = Write(200, 64, 64, expected: 1.8, static random => random.NextDouble() < 0.5 ? 1 : random.NextDouble() < 0.6 ? 2 : 3, drafted: 1.35, entering: 2);
        Assert.InRange(speed, 1.15, 1.3);
        Assert.InRange(network, 0.95, 1);
    }

    /// <summary>Tokens that are expected and do not come are not believed for long, however short the texts are and however little is missing.</summary>
    [Theory]
    [InlineData(2, 1.0, 1.2)]
    [InlineData(2, 1.0, 2)]
    [InlineData(1.8, 1.57, 1.7)]
    public void An_expectation_that_does_not_come_true_costs_little(double expected, double came, double drafted)
    {
        (double speed, _) = Write(60, 64, 64, expected, random => random.NextDouble() < came - 1 ? 2 : 1, drafted, entering: 0);
        Assert.InRange(speed, 0.97, 1.01);
    }

    /// <summary>The first entering was weighed against the whole text; one after the other that wins nothing ends it.</summary>
    [Fact]
    public void Entering_again_and_again_switches_off()
    {
        SpeculationBudget budget = new();
        budget.Start(1, 64, 0, on: true);
        budget.Entered(1, 1, 4);
        Assert.True(budget.IsOn);
        budget.Entered(1, 1, 4);
        Assert.False(budget.IsOn);
    }

    /// <summary>Texts that end long before they may: what entering them took is never won back, and is learned.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(12)]
    public void Texts_that_end_early_are_not_entered_again_and_again(int length)
    {
        (double speed, _) = Write(200, 256, length, expected: 1.7, static random => random.NextDouble() < 0.7 ? 2 : 1, drafted: 1.4, entering: 3.5);
        Assert.InRange(speed, 0.9, 1.01);
    }

    /// <summary>Writes texts one after the other as a generation does, entering each with its first drafted step.</summary>
    /// <returns>Speed over plain decoding, and the share of steps that drafted.</returns>
    private static (double Speed, double Network) Write(int texts, int mostTokens, int length, double expected, Func<Random, int> draw, double drafted, double entering)
    {
        Random random = new(5);
        SpeculationRecord record = new();
        AcceptanceTable table = new();
        TreePlanner planner = new(AdaptiveTests.Costs(1e-6, 0), table, new Candidates(1));
        double seconds = 0;
        int written = 0, steps = 0, network = 0;
        for (int text = 0; text < texts; text++)
        {
            (double ratio, _, bool on, (double Came, double Expected) evidence) = record.Begin(table, planner);
            SpeculationBudget budget = new();
            budget.Start(1, mostTokens, ratio, on, evidence);
            bool inside = false;
            for (int at = 0; at < length; steps++)
            {
                bool drafts = budget.Next(inside ? 0 : entering, mostTokens - at), enters = drafts && !inside && entering > 0;
                inside |= drafts;
                double took = !drafts ? 1 : enters ? drafted + entering : drafted;
                int tokens = drafts ? Math.Min(draw(random), length - at) : 1;
                (at, written, seconds, network) = (at + tokens, written + tokens, seconds + took, network + (drafts ? 1 : 0));
                if (enters)
                {
                    budget.Entered(1, tokens, took);
                }
                else if (drafts)
                {
                    budget.Drafted(1, expected, tokens, took);
                }
                else
                {
                    budget.Plain(1, tokens);
                }
            }

            record.End(table, planner, budget, 1);
        }

        return (written / seconds, network / (double)steps);
    }

    /// <summary>A text that is too short to win back what entering it costs is not entered; one that is long enough is.</summary>
    [Theory]
    [InlineData(20, 2, false)]
    [InlineData(20, 1, true)]
    [InlineData(200, 2, true)]
    public void Entering_must_be_worth_it(int left, double behind, bool enters)
    {
        // Unknown, a drafter is hoped to save 15 % of half the plain steps that are left.
        SpeculationBudget budget = new();
        budget.Start(1, left, 0, on: true);
        Assert.Equal(enters, budget.Next(behind, left));
    }

    [Fact]
    public void Plain_steps_are_timed_by_plain_steps_alone()
    {
        PlainClock clock = new(1);
        Assert.True(clock.IsDue);
        clock.Plain(1.2);
        Assert.True(clock.IsDue);
        clock.Plain(1.3);
        Assert.False(clock.IsDue);
        Assert.Equal(1.2, clock.Seconds);
        clock.Plain(50);
        Assert.Equal(1.2, clock.Seconds);
        for (int i = 0; i < 48; i++)
        {
            Assert.False(clock.IsDue);
            clock.Drafted();
        }

        Assert.True(clock.IsDue);
        clock.Plain(2);
        clock.Plain(2);
        clock.Plain(2);
        Assert.Equal(2, clock.Seconds);
    }

    [Fact]
    public void Measurements_that_disagree_are_not_kept()
    {
        Assert.True(CostProbe.Agree([[1, 1.1, 1.05], [4, 4.1, 4]]));
        Assert.False(CostProbe.Agree([[1, 1.5, 1.6], [4, 5, 6]]));

        // Too few to say anything.
        Assert.False(CostProbe.Agree([[1, 1]]));
    }

    /// <summary>The head is read once for the nodes that the walk will likely visit, and again only for the unlikely ones.</summary>
    [Theory]
    [InlineData(1.1, 4)]
    [InlineData(9, 1)]
    public void Logits_are_computed_at_once_where_that_is_cheaper(double four, int rows)
    {
        StepCosts costs = AdaptiveTests.Costs(1e-6, 0) with { Logits = [0, 1, (four + 2) / 3, ((2 * four) + 1) / 3, four, 5 * four, 6 * four, 7 * four, 8 * four] };
        AcceptanceTable table = new();
        for (int i = 0; i < 400; i++)
        {
            for (int depth = 1; depth < 8; depth++)
            {
                table.SawLookup(8, depth, came: true);
            }
        }

        Candidates candidates = new(32);
        candidates.AddContinuation([5, 6, 7], 8, table);
        TreePlanner planner = new(costs, table, candidates) { Worth = 1e-3 };
        DraftTree tree = new();
        tree.Reset(new TokenId(4));
        planner.Choose(tree, 63);
        Assert.Equal((4, rows), (tree.Count, tree.LogitRows));
    }

    [Fact]
    public void Costs_survive_the_cache_and_damage_is_ignored()
    {
        string folder = Directory.CreateTempSubdirectory("llspec-costs-").FullName;
        try
        {
            StepCosts costs = AdaptiveTests.Costs(0.5, 0.25);
            string key = CostCache.Key(["machine"], ["drafter"]);
            Assert.NotEqual(key, CostCache.Key(["machine", "drafter"], []));
            Assert.Null(CostCache.Read(folder, key));
            CostCache.Write(folder, key, costs);
            StepCosts? read = CostCache.Read(folder, key);
            Assert.Equal(costs.Pass, read!.Pass);
            Assert.Equal(costs.Level, read.Level);
            Assert.Equal(costs.Logits, read.Logits);
            Assert.Equal((costs.First, costs.Observe, costs.CatchUp), (read.First, read.Observe, read.CatchUp));
            string path = Directory.GetFiles(Path.Combine(folder, "costs")).Single();
            string text = File.ReadAllText(path);
            foreach (string damaged in new[] { "", "null", "{", "[]", text[..^20], text.Replace("0.5", "-0.5"), text.Replace("1.25", "0.25"), text.Replace("[0,0.5", "[0,1e999") })
            {
                File.WriteAllText(path, damaged);
                Assert.Null(CostCache.Read(folder, key));
            }

            CostCache.Write(Path.Combine(path, "no-folder"), key, costs);
            CostCache.Write(null, key, costs);
            Assert.Null(CostCache.Read(null, key));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Gaps_of_a_table_are_filled_without_falling()
    {
        double[] pass = [0, 4, double.PositiveInfinity, 8, 7, double.PositiveInfinity, double.PositiveInfinity];
        CostProbe.Complete(pass);
        Assert.Equal([0, 4, 6, 8, 8, 9, 10], pass);
    }

    /// <summary>A slow machine's time is over after passes of two rows, whose logits are fewer than the verifying walk's.</summary>
    [Fact]
    public void Logits_are_timed_whatever_pass_came_last()
    {
        LanguageModel model = TinyModels.Instance.Model;
        using PassTimer timer = new(model, 8, 8);
        for (int last = 1; last <= 2; last++)
        {
            Assert.True(timer.Measure(last) > 0);
            Assert.True(timer.MeasureLogits(8) > 0);
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => timer.MeasureLogits(9));
    }

    [Fact]
    public void Measuring_the_tiny_pair_gives_sound_costs()
    {
        using Drafter drafter = TinyModels.Instance.Open("moa"), lookup = TinyModels.Instance.Open("lookup");
        LanguageModel model = TinyModels.Instance.Model;
        StepCosts costs = CostProbe.Measure(model.Backend, model.Target, drafter);
        Assert.True(costs.IsSound());
        Assert.True(costs.HasNetwork);
        Assert.False(CostProbe.Measure(model.Backend, model.Target, lookup).HasNetwork);
    }
}
