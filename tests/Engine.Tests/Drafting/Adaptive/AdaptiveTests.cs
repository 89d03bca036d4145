using CsCheck;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Drafting.Adaptive;
using LowLevelSpec.Engine.Sampling;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting.Adaptive;

/// <summary>Trees that adapt: the same text whatever they choose, nothing drafted where nothing pays, and a drafter that catches up.</summary>
public sealed class AdaptiveTests
{
    private static readonly TinyModels Tiny = TinyModels.Instance;

    public static TheoryData<string> DrafterNames => [.. TinyModels.Drafters];

    public static TheoryData<string> Networks => [.. TinyModels.Drafters.Where(static name => name is not ("lookup" or "none"))];

    [Theory]
    [MemberData(nameof(DrafterNames))]
    public void The_text_is_plain_decodings_whatever_steps_cost(string name)
    {
        foreach (StepCosts? costs in new[] { null, Costs(network: 1e-6, row: 0), Costs(network: 1e-6, row: 0.02), Costs(network: 0.1, row: 0.1) })
        {
            using Drafter drafter = Tiny.Open(name);
            drafter.Costs = costs;
            Gen.Select(Gen.Int[0, 40].Array[1, 120], Gen.Int[0, 2], Gen.Bool).Sample(
                (prompt, lookup, sampled) =>
                {
                    GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = 50, Lookup = (LookupMode)lookup, Sampling = new SamplingOptions { Temperature = sampled ? 0.8f : 0, Seed = 3 } };
                    IReadOnlyList<int> plain = Tiny.Model.Generate(request with { Tree = null, Lookup = LookupMode.Auto }).OutputIds;
                    Assert.Equal(plain, Tiny.Model.Generate(request with { Drafter = drafter }).OutputIds);
                },
                iter: 6,
                threads: 1);
        }
    }

    [Theory]
    [MemberData(nameof(Networks))]
    public void A_network_that_costs_nothing_drafts_and_one_that_costs_too_much_does_not(string name)
    {
        GenerationRequest request = new() { Prompt = "The drafter proposes", MaxNewTokens = 60, IgnoreEndTokens = true, Lookup = LookupMode.Off };
        using Drafter cheap = Tiny.Open(name), dear = Tiny.Open(name);
        cheap.Costs = Costs(network: 1e-6, row: 0);
        dear.Costs = Costs(network: 10, row: 0);
        Assert.True(Tiny.Model.Generate(request with { Drafter = cheap }).Statistics.DraftedNodes > 0);
        Assert.Equal(0, Tiny.Model.Generate(request with { Drafter = dear }).Statistics.DraftedNodes);
    }

    /// <summary>Levels are measured up to the default breadth; a broader limit grows none that nobody measured.</summary>
    [Theory]
    [MemberData(nameof(Networks))]
    public void A_limit_broader_than_what_is_measured_drafts_the_same_text(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        drafter.Costs = Costs(network: 1e-6, row: 0);
        GenerationRequest request = new() { Prompt = "The drafter proposes", MaxNewTokens = 40, IgnoreEndTokens = true, Lookup = LookupMode.Off };
        GenerationResult broad = Tiny.Model.Generate(request with { Drafter = drafter, Tree = TreeSettings.Auto with { Breadth = 16 } });
        Assert.Equal(Tiny.Model.Generate(request).OutputIds, broad.OutputIds);
        Assert.True(broad.Statistics.DraftedNodes > 0, "nothing was drafted");
    }

    [Fact]
    public void Rows_that_cost_too_much_are_not_verified()
    {
        GenerationRequest request = new() { Prompt = "The drafter proposes", MaxNewTokens = 60, IgnoreEndTokens = true };
        using Drafter drafter = Tiny.Open("moa");
        drafter.Costs = Costs(network: 1e-6, row: 5);
        Assert.Equal(0, Tiny.Model.Generate(request with { Drafter = drafter }).Statistics.DraftedNodes);
    }

    /// <summary>A network switched on late sees what it would have seen from the beginning.</summary>
    [Theory]
    [MemberData(nameof(Networks))]
    public void A_network_that_was_off_catches_up(string name)
    {
        using Drafter late = Tiny.Open(name), early = Tiny.Open(name);
        late.Costs = early.Costs = Costs(network: 1e-6, row: 0);

        // A hair below one: it begins without the network and tries it as soon as the pause is over.
        AcceptanceTable table = new();
        SpeculationBudget lost = new();
        lost.Start(1, 64, 0, on: true);
        lost.Drafted(1, 0.9999, 1, 1);
        late.Record.End(table, new TreePlanner(late.Costs, table, new Candidates(1)), lost, 1);
        GenerationRequest request = new() { Prompt = "The drafter proposes", MaxNewTokens = 200, IgnoreEndTokens = true, Lookup = LookupMode.Off };
        using Generation one = Tiny.Model.Begin(request with { Drafter = late });
        one.Prefill(CancellationToken.None);
        int steps = 0;
        int[] before;
        do
        {
            before = one.Tokens.ToArray();
            one.Step();
        }
        while (one.Tree.Count == 1 && ++steps < 150);

        Assert.InRange(steps, 5, 100);

        // The first of the last three tokens is committed by prefill there, the other two by the plain steps that a generation begins with.
        using Generation other = Tiny.Model.Begin(request with { Prompt = null, PromptIds = before[..^3], Drafter = early });
        other.Prefill(CancellationToken.None);
        for (int i = 0; i < 3; i++)
        {
            other.Step();
        }

        Assert.Equal(before, other.Tokens[..before.Length].ToArray());
        Assert.Equal(other.Tree.Tokens.ToArray(), one.Tree.Tokens.ToArray());
        Assert.Equal(other.Tree.Parents.ToArray(), one.Tree.Parents.ToArray());
        Assert.Equal(other.Tree.LogProbabilities.ToArray(), one.Tree.LogProbabilities.ToArray());
    }

    /// <summary>The window leaves out most of a long prompt: another draft, the same text.</summary>
    [Fact]
    public void A_long_prompt_is_entered_late_and_in_part()
    {
        int[] prompt = [.. Enumerable.Range(0, 150).Select(static i => (i * i) % 41)];
        using Drafter drafter = Tiny.Open("moa");
        drafter.Costs = Costs(network: 1e-6, row: 0);
        GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = 60, IgnoreEndTokens = true, Lookup = LookupMode.Off };
        GenerationResult drafted = Tiny.Model.Generate(request with { Drafter = drafter });
        Assert.True(drafted.Statistics.DraftedNodes > 0);
        Assert.Equal(Tiny.Model.Generate(request).OutputIds, drafted.OutputIds);

        // One token costs four tenths of a step to take in: sixteen of them are more than sixty steps are hoped to win back.
        using Drafter dear = Tiny.Open("moa");
        dear.Costs = drafter.Costs with { CatchUp = 0.4 };
        Assert.Equal(0, Tiny.Model.Generate(request with { Drafter = dear }).Statistics.DraftedNodes);
    }

    /// <summary>A session that left the start of the text out holds, for the rest, exactly what one that saw all of it does, and sees no more than that.</summary>
    [Theory]
    [InlineData("moa", 60, 16)]
    [InlineData("moa:1", 60, 16)]
    [InlineData("moa", 200, 49)]
    [InlineData("moa", 300, 64)]
    public void A_window_holds_the_rows_of_the_whole_text_at_their_own_positions(string name, int mostTokens, int window)
    {
        int[] prompt = [.. Enumerable.Range(0, 150).Select(static i => (i * i) % 41)];
        using Drafter drafter = Tiny.Open(name), other = Tiny.Open(name);
        drafter.Costs = Costs(network: 1e-6, row: 0);
        GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = mostTokens, IgnoreEndTokens = true, Lookup = LookupMode.Off };
        using Generation part = Tiny.Model.Begin(request with { Drafter = drafter });
        MoaSession windowed = Assert.IsType<MoaSession>(Assert.IsType<AdaptiveSession>(part.Session).Owned);
        List<(string Layer, int[] Positions, int[] Sees)> rows = [];
        windowed.TraceRows = (layer, batch) => rows.Add((layer, batch.Positions.ToArray(), batch.Prefix.ToArray()));
        part.Prefill(CancellationToken.None);
        part.Step();
        part.Step();
        Assert.Empty(rows);
        int root = part.Tokens.Length - 1, skipped = root - window;
        part.Step();

        // The first pass of SA feeds the window and the root, the first of CA asks from the root over the window; deeper ones ask over the same rows.
        Assert.Equal(("sa", root - window, root), (rows[0].Layer, rows[0].Positions[0], rows[0].Positions[^1]));
        Assert.Equal(window + 1, rows[0].Positions.Length);
        Assert.All(rows.Where(static r => r.Layer == "ca"), r => Assert.All(r.Sees, sees => Assert.Equal(window, sees)));
        Assert.Equal([root], rows.First(static r => r.Layer == "ca").Positions);

        using Generation whole = Tiny.Model.Begin(request with { PromptIds = part.Tokens[..^1].ToArray(), Drafter = other, Tree = new TreeSettings(3, 2, 5) });
        whole.Prefill(CancellationToken.None);
        MoaSession full = Assert.IsType<MoaSession>(whole.Session);
        Assert.Equal(full.CrossCache.Length - skipped, windowed.CrossCache.Length);
        Assert.Equal(Rows(full.CrossCache, skipped, windowed.CrossCache.Length), Rows(windowed.CrossCache, 0, windowed.CrossCache.Length));
        Assert.Equal(Rows(full.SelfCache, skipped, window), Rows(windowed.SelfCache, 0, window));

        static float[] Rows(KvCache cache, int first, int count)
        {
            int size = 2 * cache.KvHeads * cache.HeadSize;
            using TensorBuffer buffer = Tiny.Model.Backend.Allocate((long)count * size, "rows");
            Matrix rows = new(buffer, 0, count, size, size);
            Tiny.Model.Backend.GatherLayers(cache, new CacheRow(first), count, rows);
            float[] values = new float[count * size];
            Tiny.Model.Backend.Read(rows, values);
            return values;
        }
    }

    /// <summary>A network that holds rows and was off for a while takes in just what it missed; only after a long while it leaves out all but a window, as where it holds nothing.</summary>
    [Theory]
    [InlineData(0.68, true)]
    [InlineData(0.58, false)]
    public void A_network_a_little_behind_keeps_what_it_holds_and_one_far_behind_begins_anew(double speed, bool keeps)
    {
        int[] prompt = [.. Enumerable.Range(0, 150).Select(static i => (i * i) % 41)];
        using Drafter drafter = Tiny.Open("moa");
        StepCosts costs = Costs(network: 1e-6, row: 0);

        // So long that no step of a machine that stands still passes for one.
        drafter.Costs = costs with { Pass = [.. costs.Pass.Select(static seconds => 1000 * seconds)] };

        // The network is off until its share of the time has grown to what another try may lose: the slower it was, the more tokens that takes.
        AcceptanceTable table = new();
        SpeculationBudget lost = new();
        lost.Start(1000, 64, 0, on: true);
        lost.Drafted(1000, speed, 1, 1000);
        drafter.Record.End(table, new TreePlanner(drafter.Costs, table, new Candidates(1)), lost, 1);
        GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = 100, IgnoreEndTokens = true, Lookup = LookupMode.Off, Drafter = drafter };
        using Generation text = Tiny.Model.Begin(request);
        MoaSession network = Assert.IsType<MoaSession>(Assert.IsType<AdaptiveSession>(text.Session).Owned);
        text.Prefill(CancellationToken.None);

        // All of the prompt, and SA the root besides.
        network.Draft(new DraftTree());
        int held = text.Tokens.Length - 1, root;
        List<(string Layer, int[] Positions, int[] Sees)> rows = [];
        network.TraceRows = (layer, batch) => rows.Add((layer, batch.Positions.ToArray(), batch.Prefix.ToArray()));
        do
        {
            root = text.Tokens.Length - 1;
            text.Step();
        }
        while (rows.Count == 0 && root < held + 99);

        int window = Math.Max(16, (prompt.Length + 100 - (root + 1)) / 4), first = keeps ? held + 1 : root - window, sees = keeps ? root : window;
        Assert.InRange(root - held, keeps ? window + 1 : 65, keeps ? 64 : 98);
        Assert.Equal("sa", rows[0].Layer);
        Assert.Equal(Enumerable.Range(first, root + 1 - first), rows[0].Positions);
        Assert.All(rows.Where(static r => r.Layer == "ca"), r => Assert.All(r.Sees, seen => Assert.Equal(sees, seen)));
    }

    [Fact]
    public void Lookup_joins_a_network_that_is_off()
    {
        int[] prompt = [.. Enumerable.Range(0, 60).Select(static i => 10 + (i % 12))];
        using Drafter drafter = Tiny.Open("moa-random");
        drafter.Costs = Costs(network: 10, row: 0.001);
        GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = 40, IgnoreEndTokens = true, Drafter = drafter };
        Assert.True(Tiny.Model.Generate(request).Statistics.DraftedNodes > 0);
        Assert.Equal(0, Tiny.Model.Generate(request with { Lookup = LookupMode.Off }).Statistics.DraftedNodes);
    }

    /// <summary>Passes of one second and more, far from what the tiny models take, so that no measurement of this machine corrects them.</summary>
    internal static StepCosts Costs(double network, double row) => new()
    {
        Pass = [.. Enumerable.Range(0, StepCosts.MaxRows + 1).Select(k => 1 + (row * Math.Max(0, k - 1)))],
        Logits = [0, .. Enumerable.Repeat(1e-9, DraftTree.MostLogitRows)],
        Observe = 1e-9,
        CatchUp = 1e-9,
        First = network,
        Level = [0, .. Enumerable.Repeat(network, 8)],
    };
}
