using System.Text.Json.Nodes;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>
/// What drafters propose. No mistake in a drafter can change the text, so the tests of lossless decoding do not see any: these compare every score of a
/// tree with the drafter's definition, and drafts with each other.
/// </summary>
public sealed class DraftTests
{
    private static readonly TinyModels Tiny = TinyModels.Instance;

    public static TheoryData<string> Networks => ["moa", "moa:1", "moa:3", "moa-random", "eagle", "independent"];

    /// <summary>Prompts of more tokens than LSA mixes at once.</summary>
    [Theory]
    [InlineData("moa", false, 37)]
    [InlineData("moa", true, 9)]
    [InlineData("moa-random", false, 6)]
    [InlineData("moa-random:2", true, 3)]
    [InlineData("moa:1", false, 5)]
    [InlineData("moa:3", true, 12)]
    [InlineData("eagle", false, 37)]
    [InlineData("eagle", true, 1)]
    [InlineData("independent", false, 37)]
    public void Scores_are_those_of_the_definition(string name, bool scaledRope, int promptLength)
    {
        string targetPath = scaledRope ? ScaledTarget() : Tiny.Path_("target"), folder = name.Split(':')[0];
        using LanguageModel model = LanguageModel.Open(targetPath, new EngineOptions { Threads = 1, Arithmetic = Arithmetic.Exact });
        using ModelFile target = ModelFile.Open(targetPath);
        using DrafterFile file = DrafterFile.Open(Tiny.Path_(folder), model.Config);
        int layers = name.Contains(':', StringComparison.Ordinal) ? name[^1] - '0' : 0;
        using Drafter drafter = model.OpenDrafter(Tiny.Path_(folder), new DrafterOptions { TargetLayerInference = layers, AlignedEagleMask = true });
        using Generation generation = model.Begin(Request(promptLength, drafter, new TreeSettings(4, 3, 14)));
        generation.Prefill(CancellationToken.None);
        int[] tokens = generation.Tokens.ToArray();
        Func<int[], double[]> definition = folder switch
        {
            "eagle" => new NaiveEagle(model, target, file, generation).LogProbabilities,
            "independent" => path => Alone(Tiny.Path_("independent"), [.. tokens, .. path]),
            _ => new NaiveMoa(model, target, file, layers, generation).LogProbabilities,
        };
        generation.Step();
        DraftTree tree = generation.Tree;
        Assert.Equal(15, tree.Count);
        Assert.Equal(tokens[^1], tree.Tokens[0]);

        double[][] expected = new double[tree.Count][];
        for (int node = 0; node < tree.Count; node++)
        {
            expected[node] = definition(PathTo(tree, node));
            if (node > 0)
            {
                int parent = tree.Parents[node];
                Assert.Equal(tree.LogProbabilities[parent] + expected[parent][tree.Tokens[node]], tree.LogProbabilities[node], 2e-3);
            }
        }

        // The root's three best children are in the tree unless they score no higher than its worst node.
        double worst = tree.LogProbabilities.ToArray().Min();
        Assert.Equal(3, tree.Depths.ToArray().Max());
        foreach (int token in expected[0].Index().OrderByDescending(static e => e.Item).Take(3).Select(static e => e.Index))
        {
            Assert.True(tree.TryGetChild(NodeIndex.Root, new TokenId(token), out _) || expected[0][token] <= worst + 2e-3);
        }
    }

    /// <summary>Caches after many cycles, with branches thrown away and rows compacted, hold what a prefill would have put there.</summary>
    [Theory]
    [MemberData(nameof(Networks))]
    [InlineData("lookup")]
    public void A_session_with_a_history_drafts_what_a_fresh_one_drafts(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        using Generation old = Tiny.Model.Begin(Request(20, drafter, new TreeSettings(6, 5, 40)));
        old.Prefill(CancellationToken.None);
        foreach (int until in new[] { 33, 65, 150, 170 })
        {
            while (old.Tokens.Length < until)
            {
                old.Step();
            }

            int[] tokens = old.Tokens.ToArray();
            using Generation fresh = Tiny.Model.Begin(Request(20, drafter, new TreeSettings(6, 5, 40)) with { PromptIds = tokens[..^1] });
            fresh.Prefill(CancellationToken.None);
            Assert.Equal(tokens, fresh.Tokens.ToArray());
            old.Step();
            fresh.Step();
            AssertSameTree(fresh.Tree, old.Tree);
            Assert.Equal(fresh.LastAccepted, old.LastAccepted);
        }
    }

    /// <summary>A node's score depends on its ancestors alone, never on siblings or on the shape of the tree.</summary>
    [Theory]
    [MemberData(nameof(Networks))]
    public void A_tree_scores_a_path_as_a_chain_does(string name)
    {
        using Drafter drafter = Tiny.Model.OpenDrafter(
            Tiny.Path_(name.Split(':')[0]), new DrafterOptions { TargetLayerInference = name.Contains(':', StringComparison.Ordinal) ? name[^1] - '0' : null, AlignedEagleMask = true });
        using Generation chain = Tiny.Model.Begin(Request(30, drafter, new TreeSettings(5, 1, 4))), wide = Tiny.Model.Begin(Request(30, drafter, new TreeSettings(5, 6, 63)));
        foreach (Generation generation in new[] { chain, wide })
        {
            generation.Prefill(CancellationToken.None);
            generation.Step();
        }

        int shared = 0;
        NodeIndex at = NodeIndex.Root;
        while (shared + 1 < chain.Tree.Count && wide.Tree.TryGetChild(at, new TokenId(chain.Tree.Tokens[shared + 1]), out at))
        {
            shared++;
            Assert.Equal(BitConverter.SingleToInt32Bits(chain.Tree.LogProbabilities[shared]), BitConverter.SingleToInt32Bits(wide.Tree.LogProbabilities[at.Value]));
        }

        Assert.InRange(shared, 2, 4);
    }

    [Theory]
    [MemberData(nameof(Networks))]
    [InlineData("lookup")]
    public void No_node_lies_at_or_beyond_the_trained_length(string name)
    {
        const int trained = 60;
        using Drafter drafter = Tiny.Model.OpenDrafter(name == "lookup" ? name : Tiny.Path_(name.Split(':')[0]), new DrafterOptions { MaxPosition = trained });
        using Generation generation = Tiny.Model.Begin(Request(20, drafter, new TreeSettings(9, 2, 20)));
        generation.Prefill(CancellationToken.None);
        int furthest = 0;
        while (generation.Tokens.Length < 100)
        {
            int root = generation.Cache.Length;
            generation.Step();
            int deepest = generation.Tree.Depths.ToArray().Max();
            Assert.True(deepest == 0 || root + deepest < trained, $"a tree of depth {deepest} over {root} tokens");
            furthest = deepest == 0 ? furthest : root + deepest;
        }

        Assert.True(furthest > 0, "nothing was drafted");
    }

    [Fact]
    public void The_trained_length_comes_from_the_checkpoint_unless_it_is_given()
    {
        string folder = Path.Combine(Tiny.Folder, "short-" + Guid.NewGuid().ToString("N"));
        Copy(Tiny.Path_("moa"), folder, static json => json["max_position_embeddings"] = 77);
        using Drafter own = Tiny.Model.OpenDrafter(folder), given = Tiny.Model.OpenDrafter(folder, new DrafterOptions { MaxPosition = 50 });
        Assert.Equal(77, own.MaxPosition);
        Assert.Equal(50, given.MaxPosition);
        using Drafter silent = Tiny.Open("moa"), independent = Tiny.Open("independent");
        Assert.Equal(int.MaxValue, silent.MaxPosition);
        Assert.Equal(1024, independent.MaxPosition);
    }

    private static GenerationRequest Request(int promptLength, Drafter drafter, TreeSettings tree) => new()
    {
        PromptIds = [.. Enumerable.Range(0, promptLength).Select(static i => (i * 37) % 600)],
        MaxNewTokens = 400,
        Drafter = drafter,
        Tree = tree,
        IgnoreEndTokens = true,
    };

    private static int[] PathTo(DraftTree tree, int node)
    {
        List<int> path = [];
        for (; node > 0; node = tree.Parents[node])
        {
            path.Insert(0, tree.Tokens[node]);
        }

        return [.. path];
    }

    /// <summary>log_softmax after the last of <paramref name="tokens"/> from a model of its own, plainly prefilled.</summary>
    private static double[] Alone(string path, int[] tokens)
    {
        using LanguageModel model = LanguageModel.Open(path, new EngineOptions { Threads = 1 });
        using Generation generation = model.Begin(new() { PromptIds = tokens, MaxNewTokens = 1 });
        generation.Prefill(CancellationToken.None);
        float[] logits = new float[model.Config.VocabularySize];
        model.Backend.Read(generation.Pass.Logits(tokens.Length - 1, 1), logits);
        double max = logits.Max(), logSum = Math.Log(logits.Sum(l => Math.Exp(l - max)));
        return [.. logits.Select(l => l - max - logSum)];
    }

    private static void AssertSameTree(DraftTree expected, DraftTree actual)
    {
        Assert.Equal(expected.Tokens.ToArray(), actual.Tokens.ToArray());
        Assert.Equal(expected.Parents.ToArray(), actual.Parents.ToArray());
        Assert.Equal(expected.LogProbabilities.ToArray().Select(BitConverter.SingleToInt32Bits), actual.LogProbabilities.ToArray().Select(BitConverter.SingleToInt32Bits));
    }

    /// <summary>The tiny target with llama3 RoPE scaling that reaches into its frequencies.</summary>
    private static string ScaledTarget()
    {
        string folder = Path.Combine(Tiny.Folder, "scaled-" + Guid.NewGuid().ToString("N"));
        Copy(Tiny.Path_("target"), folder, static json => json["rope_scaling"] = new JsonObject
        {
            ["rope_type"] = "llama3",
            ["factor"] = 8.0,
            ["low_freq_factor"] = 1.0,
            ["high_freq_factor"] = 4.0,
            ["original_max_position_embeddings"] = 64,
        });
        return folder;
    }

    private static void Copy(string from, string to, Action<JsonNode> edit)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.GetFiles(from))
        {
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        }

        string config = Path.Combine(to, "config.json");
        JsonNode json = JsonNode.Parse(File.ReadAllText(config))!;
        edit(json);
        File.WriteAllText(config, json.ToJsonString());
    }
}
