using System.Text.Json;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Distillation;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary><c>llspec distill</c> on the tiny pair: answers are plain decoding's, in order, and a run that was cut off goes on.</summary>
public sealed class DistillTests
{
    private const int MaxNew = 60;

    [Fact]
    public void Answers_are_those_of_plain_decoding_in_the_order_of_the_prompts()
    {
        using LanguageModel model = LanguageModel.Open(TinyFiles.Target);

        // Lengths from one token to more than a pass holds, so that prompts are split and places are refilled in mid-answer.
        int[][] prompts = [.. Enumerable.Range(0, 20).Select(static i => Enumerable.Range(0, i % 5 == 4 ? 150 + i : 1 + (i * 3)).Select(t => 4 + (((i * 37) + (t * 11)) % 600)).ToArray())];
        using Distiller distiller = new(model, MaxNew, rows: 7);
        List<DistilledAnswer> answers = [];
        distiller.Run(new GivenPrompts(prompts), 0, prompts.Length, answers.Add);
        Assert.Equal(Enumerable.Range(0, 20).Select(static i => (long)i), answers.Select(static a => a.Index));
        for (int i = 0; i < prompts.Length; i++)
        {
            GenerationResult plain = model.Generate(new GenerationRequest { PromptIds = prompts[i], Tree = null, MaxNewTokens = MaxNew });
            Assert.Equal(prompts[i], answers[i].Prompt);
            Assert.Equal(plain.OutputIds, answers[i].Answer);
        }
    }

    [Fact]
    public void Sampled_answers_are_those_of_plain_sampling_with_a_seed_per_prompt()
    {
        using LanguageModel model = LanguageModel.Open(TinyFiles.Target);
        int[][] prompts = [.. Enumerable.Range(0, 6).Select(static i => Enumerable.Range(0, 3 + i).Select(t => 4 + (((i / 2 * 37) + (t * 11)) % 600)).ToArray())];
        SamplingOptions sampling = new() { Temperature = 0.8f, TopP = 0.95f, Seed = 5 };
        using Distiller distiller = new(model, MaxNew, rows: 4, sampling);
        List<DistilledAnswer> answers = [];
        distiller.Run(new GivenPrompts(prompts), 0, prompts.Length, answers.Add);
        for (int i = 0; i < prompts.Length; i++)
        {
            SamplingOptions one = sampling with { Seed = SequenceSeed.OfAnswer(5, i) };
            Assert.Equal(model.Generate(new GenerationRequest { PromptIds = prompts[i], Tree = null, MaxNewTokens = MaxNew, Sampling = one }).OutputIds, answers[i].Answer);
        }
    }

    [Theory]
    [InlineData(16)]
    [InlineData(1)]
    public void A_run_cut_off_in_the_middle_of_a_line_goes_on_to_the_same_file(int rows)
    {
        string prompts = TinyFiles.File(string.Join('\n', Enumerable.Range(0, 12).Select(static i => i % 3 == 0 ? "{\"prompt\":\"The drafter\"}" : i % 3 == 1 ? "{\"turns\":[\"A good tree\"]}" : $"{{\"prompt_ids\":[{10 + i},20]}}")));
        string whole = Path.Combine(TinyFiles.Folder, $"whole{rows}.jsonl"), cut = Path.Combine(TinyFiles.Folder, $"cut{rows}.jsonl");
        CliRun run = Distill(whole, "--prompts", prompts, "--max-new", "30");
        Assert.True(run.Code == 0, run.Error);
        Assert.Contains("12 answers", run.Out);
        byte[] expected = File.ReadAllBytes(whole);
        foreach (int length in (int[])[0, 5, expected.Length / 2, expected.Length - 1, expected.Length])
        {
            File.WriteAllBytes(cut, expected[..length]);
            File.Copy(whole + ".meta.json", cut + ".meta.json", overwrite: true);
            run = Distill(cut, "--prompts", prompts, "--max-new", "30", "--rows", $"{rows}");
            Assert.True(run.Code == 0, run.Error);
            Assert.Equal(expected, File.ReadAllBytes(cut));
        }
    }

    [Fact]
    public void Answers_of_other_options_are_not_mixed()
    {
        string prompts = TinyFiles.File("{\"prompt_ids\":[10,20]}"), others = TinyFiles.File("{\"prompt_ids\":[10,21]}"), path = Path.Combine(TinyFiles.Folder, "mixed.jsonl");
        Assert.Equal(0, Distill(path, "--prompts", prompts, "--max-new", "9").Code);
        byte[] before = File.ReadAllBytes(path);
        foreach (string[] options in (string[][])[["--prompts", prompts, "--max-new", "8"], ["--prompts", others, "--max-new", "9"], ["--self", "3", "--max-new", "9"]])
        {
            CliRun run = Distill(path, options);
            Assert.Equal(1, run.Code);
            Assert.Contains("was made with", run.Error);
        }

        string foreign = TinyFiles.File("someone's notes\n");
        Assert.Equal(1, Distill(foreign, "--prompts", prompts).Code);
        Assert.Equal(before, File.ReadAllBytes(path));
        Assert.Equal("someone's notes\n", File.ReadAllText(foreign));
    }

    [Fact]
    public void Own_turns_follow_the_seed_and_go_through_the_template()
    {
        string first = Path.Combine(TinyFiles.Folder, "self1.jsonl"), second = Path.Combine(TinyFiles.Folder, "self2.jsonl"), third = Path.Combine(TinyFiles.Folder, "self3.jsonl");

        // Spelled out in what a user types, a control token is text; the tiny target ends a turn soon after these words.
        string starts = TinyFiles.File("The drafter <|assistant|> is\nA good tree\n", ".txt");
        CliRun run = Distill(first, "--self", "12", "--starts", starts, "--max-new", "20", "--rows", "5");
        Assert.True(run.Code == 0, run.Error);
        Assert.Equal(0, Distill(second, "--self", "4", "--starts", starts, "--max-new", "20", "--rows", "16").Code);
        Assert.Equal(0, Distill(second, "--self", "12", "--starts", starts, "--max-new", "20", "--rows", "3").Code);
        Assert.Equal(File.ReadAllBytes(first), File.ReadAllBytes(second));
        Assert.Equal(0, Distill(third, "--self", "12", "--starts", starts, "--max-new", "20", "--seed", "2").Code);
        Assert.NotEqual(File.ReadAllBytes(first), File.ReadAllBytes(third));

        using LanguageModel model = LanguageModel.Open(TinyFiles.Target);
        Tokenizer tokenizer = model.Tokenizer!;
        string[] lines = File.ReadAllLines(first);
        Assert.Equal(12, lines.Length);
        Assert.Contains(lines, line => tokenizer.Decode(Ids(line, "p")).StartsWith("<|user|>The drafter <|assistant|> is", StringComparison.Ordinal));
        foreach (string line in lines)
        {
            int[] prompt = Ids(line, "p");

            // The template's own; it spells the user header with the role, which is text from outside and gives no control token.
            Assert.Equal(["<|end|>", "<|assistant|>"], prompt.Where(tokenizer.IsSpecial).Select(id => tokenizer.Decode([id])));
            Assert.Equal(model.Generate(new GenerationRequest { PromptIds = prompt, Tree = null, MaxNewTokens = 20 }).OutputIds, Ids(line, "a"));
            string text = tokenizer.Decode(prompt);
            string turn = text["<|user|>".Length..^"<|end|><|assistant|>".Length];
            Assert.Equal(tokenizer.EncodeChat([new ChatMessage("user", turn)]), prompt);
        }
    }

    [Theory]
    [InlineData(2, "--max-new 5")]
    [InlineData(2, "--self 3 --prompts none.jsonl")]
    [InlineData(2, "--prompts none.jsonl --seed 2")]
    [InlineData(2, "--prompts none.jsonl --top-p 0.9")]
    [InlineData(1, "--prompts none.jsonl --temperature 0.8 --top-p 2")]
    [InlineData(1, "--prompts none.jsonl")]
    [InlineData(1, "--self 0")]
    [InlineData(1, "--self 3 --rows 65")]
    [InlineData(1, "--self 3 --starts none.txt")]
    public void Bad_command_lines_are_refused_before_a_file_is_made(int code, string options)
    {
        string path = Path.Combine(TinyFiles.Folder, "never.jsonl");
        CliRun run = Distill(path, options.Split(' '));
        Assert.True(code == run.Code, run.Error);
        Assert.StartsWith("llspec: ", run.Error);
        Assert.False(File.Exists(path));
    }

    private static CliRun Distill(string path, params string[] options) => CliRun.Of(["distill", "--model", TinyFiles.Target, "--out", path, .. options]);

    private static int[] Ids(string line, string key)
    {
        using JsonDocument json = JsonDocument.Parse(line);
        return [.. json.RootElement.GetProperty(key).EnumerateArray().Select(static id => id.GetInt32())];
    }
}
