using System.Text.Json.Nodes;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>Trimmed draft vocabularies: the same text, drafted tokens of the table alone, and nonsense refused.</summary>
public sealed class DraftVocabularyTests
{
    private static readonly TinyModels Tiny = TinyModels.Instance;

    private static readonly int Vocabulary = Tiny.Model.Config.VocabularySize;

    public static TheoryData<string, int> Networks => new() { { "moa", 0 }, { "moa", 1 }, { "eagle", 0 }, { "independent", 0 } };

    [Theory]
    [MemberData(nameof(Networks))]
    public void The_text_stays_and_only_tokens_of_the_table_are_drafted(string name, int targetLayers)
    {
        int[] table = [.. Enumerable.Range(0, Vocabulary).Where(static t => t % 3 != 0).Reverse()];
        using Drafter drafter = Open(name, targetLayers, table);
        Assert.Equal(table.Length, drafter.DraftVocabularySize);
        GenerationRequest request = new() { Prompt = "The drafter proposes", MaxNewTokens = 80, Tree = new TreeSettings(5, 4, 20), IgnoreEndTokens = true };
        Assert.Equal(Tiny.Model.Generate(request).OutputIds, Tiny.Model.Generate(request with { Drafter = drafter }).OutputIds);
        using Generation generation = Tiny.Model.Begin(request with { Drafter = drafter });
        generation.Prefill(CancellationToken.None);
        for (int i = 0; i < 10; i++)
        {
            generation.Step();
            Assert.Equal(21, generation.Tree.Count);
            Assert.All(generation.Tree.Tokens[1..].ToArray(), static t => Assert.NotEqual(0, t % 3));
        }
    }

    [Theory]
    [MemberData(nameof(Networks))]
    public void A_table_of_all_tokens_drafts_what_none_drafts(string name, int targetLayers)
    {
        // In exact arithmetic: otherwise a table's rows are rounded to Q8_0, which the whole head, the target's own, is not.
        LanguageModel model = Tiny.ExactModel;
        using Drafter whole = Open(name, targetLayers, [], model), table = Open(name, targetLayers, [.. Enumerable.Range(0, Vocabulary)], model), reversed = Open(name, targetLayers, [.. Enumerable.Range(0, Vocabulary).Reverse()], model);
        Assert.Null(whole.DraftVocabularySize);
        DraftTree one = FirstTree(whole, 4, model), other = FirstTree(table, 4, model);
        Assert.Equal(one.Tokens.ToArray(), other.Tokens.ToArray());
        Assert.Equal(one.LogProbabilities.ToArray(), other.LogProbabilities.ToArray());

        // The order of the sum over the vocabulary differs, so the rest may differ in the last bit.
        Assert.Equal(FirstTree(whole, 1, model).Tokens[..2].ToArray(), FirstTree(reversed, 1, model).Tokens[..2].ToArray());
    }

    [Fact]
    public void The_rows_of_a_head_of_floats_are_rounded_to_8_bits_where_arithmetic_allows()
    {
        using DraftHead rounded = new(Tiny.Model.Backend, Tiny.Model.Tensors.LmHead, [3, 1]), exact = new(Tiny.ExactModel.Backend, Tiny.ExactModel.Tensors.LmHead, [3, 1]);
        Assert.Equal(TensorType.Q8_0, Assert.IsType<CpuWeight>(rounded.Weight).Type);
        Assert.Equal(Tiny.ExactModel.Tensors.LmHead.Type, Assert.IsType<CpuWeight>(exact.Weight).Type);

        // A row alone is a vector, which is decoded as it is stored.
        using DraftHead alone = new(Tiny.Model.Backend, Tiny.Model.Tensors.LmHead, [3]);
        Assert.Equal(Tiny.Model.Tensors.LmHead.Type, Assert.IsType<CpuWeight>(alone.Weight).Type);
    }

    [Fact]
    public void A_table_smaller_than_the_breadth_narrows_it()
    {
        using Drafter drafter = Open("moa", 0, [5, 9]);
        DraftTree tree = FirstTree(drafter, 4);
        Assert.All(tree.Tokens[1..].ToArray(), static t => Assert.Contains(t, new[] { 5, 9 }));
    }

    [Fact]
    public void A_checkpoint_brings_its_table_and_options_overrule_it()
    {
        string folder = Checkpoint([3, 1, 2], 3);
        using Drafter own = Tiny.Model.OpenDrafter(folder), given = Tiny.Model.OpenDrafter(folder, new DrafterOptions { DraftVocabulary = [4, 5] }), all = Tiny.Model.OpenDrafter(folder, new DrafterOptions { DraftVocabulary = [] });
        Assert.Equal(3, own.DraftVocabularySize);
        Assert.Equal(2, given.DraftVocabularySize);
        Assert.Null(all.DraftVocabularySize);
    }

    [Fact]
    public void A_prompts_own_tokens_join_a_checkpoints_table()
    {
        GenerationRequest request = new() { Prompt = "The drafter proposes", MaxNewTokens = 60, Tree = new TreeSettings(5, 4, 20), IgnoreEndTokens = true };
        GenerationResult plain = Tiny.Model.Generate(request with { Tree = null });
        int[] prompt = [.. plain.PromptIds], table = [.. Enumerable.Range(0, Vocabulary).Where(t => t % 3 != 0 && !prompt.Contains(t))];
        int[] joined = [.. table, .. prompt.Reverse().Distinct()];
        using Drafter own = Tiny.Model.OpenDrafter(Checkpoint([.. table.Select(static t => (long)t)], table.Length)), given = Open("moa", 0, joined), kept = Open("moa", 0, table);
        using Generation one = Tiny.Model.Begin(request with { Drafter = own }), other = Tiny.Model.Begin(request with { Drafter = given }), alone = Tiny.Model.Begin(request with { Drafter = kept });
        foreach (Generation generation in (Generation[])[one, other, alone])
        {
            generation.Prefill(CancellationToken.None);
        }

        bool drafted = false;
        for (int i = 0; i < 12; i++)
        {
            one.Step();
            other.Step();
            alone.Step();
            Assert.Equal(other.Tree.Tokens.ToArray(), one.Tree.Tokens.ToArray());
            Assert.Equal(other.Tree.LogProbabilities.ToArray(), one.Tree.LogProbabilities.ToArray());
            drafted |= one.Tree.Tokens[1..].ToArray().Any(prompt.Contains);
            Assert.DoesNotContain(alone.Tree.Tokens[1..].ToArray(), prompt.Contains);
        }

        Assert.True(drafted, "no token of the prompt was drafted");
        Assert.Equal(plain.OutputIds, Tiny.Model.Generate(request with { Drafter = own }).OutputIds);
    }

    [Fact]
    public void The_last_tokens_of_a_long_text_join_first()
    {
        using DraftHead head = new(Tiny.Model.Backend, Tiny.Model.Tensors.LmHead, [3, 1], followsText: true), kept = new(Tiny.Model.Backend, Tiny.Model.Tensors.LmHead, [3, 1]);
        using DraftHead? more = head.OfText([7, 3, 9, 7, 1, 5]);
        Assert.Equal([5, 7, 9], more!.Tokens);
        Assert.Null(more.OfText([8]));
        Assert.Null(head.OfText([1, 3, 3]));
        Assert.Null(head.OfText([]));
        Assert.Null(kept.OfText([7]));
    }

    [Theory]
    [InlineData("names no tokens", new long[0], null)]
    [InlineData("twice", new[] { 1L, 2, 1 }, null)]
    [InlineData("names token -1", new[] { 1L, -1 }, null)]
    [InlineData("names token 640", new[] { 640L }, null)]
    [InlineData("at place 0", new[] { long.MaxValue }, null)]
    [InlineData("has 2 tokens, expected 3", new[] { 1L, 2 }, 3)]
    [InlineData("is missing", null, 3)]
    public void Malformed_tables_are_refused(string expected, long[]? table, int? size)
    {
        ModelFileException e = Assert.Throws<ModelFileException>(() => Tiny.Model.OpenDrafter(Checkpoint(table, size)));
        Assert.Contains(expected, e.Message);
        Assert.Contains(DraftVocabulary.TensorName, e.Message);
    }

    [Fact]
    public void Tables_given_as_options_are_checked_too()
    {
        Assert.Contains("twice", Assert.Throws<InputException>(() => Open("moa", 0, [1, 1])).Message);
        Assert.Contains("expected 0 to", Assert.Throws<InputException>(() => Open("eagle", 0, [Vocabulary])).Message);
        Assert.Contains("no LM head", Assert.Throws<InputException>(() => Tiny.Model.OpenDrafter("lookup", new DrafterOptions { DraftVocabulary = [1] })).Message);
    }

    private static Drafter Open(string name, int targetLayers, int[] table, LanguageModel? model = null) => (model ?? Tiny.Model).OpenDrafter(
        Tiny.Path_(name), new DrafterOptions { TargetLayerInference = name == "moa" ? targetLayers : null, DraftVocabulary = table });

    private static DraftTree FirstTree(Drafter drafter, int breadth, LanguageModel? model = null)
    {
        using Generation generation = (model ?? Tiny.Model).Begin(new() { Prompt = "The drafter proposes", MaxNewTokens = 20, Drafter = drafter, Tree = new TreeSettings(4, breadth, 12), IgnoreEndTokens = true });
        generation.Prefill(CancellationToken.None);
        generation.Step();
        return generation.Tree;
    }

    /// <summary>The tiny MoA drafter with a table in its file and a size in its config.</summary>
    internal static unsafe string Checkpoint(long[]? table, int? size)
    {
        string folder = Directory.CreateDirectory(Path.Combine(Tiny.Folder, "trimmed-" + Guid.NewGuid().ToString("N"))).FullName;
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(Tiny.Path_("moa"), "model.safetensors"));
        SafetensorsWriter writer = new();
        foreach (TensorInfo info in file.AllTensors)
        {
            TensorView view = file.Get(info.Name);
            writer.Add(info.Name, view.Type, view.Shape, new ReadOnlySpan<byte>((void*)view.Data, (int)view.ByteLength).ToArray());
        }

        if (table is not null)
        {
            writer.Add(DraftVocabulary.TensorName, [table.Length], table);
        }

        writer.Write(Path.Combine(folder, "model.safetensors"));
        JsonNode config = JsonNode.Parse(File.ReadAllText(Path.Combine(Tiny.Path_("moa"), "config.json")))!;
        if (size is not null)
        {
            config[DraftVocabulary.SizeKey] = size;
        }

        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        return folder;
    }
}
