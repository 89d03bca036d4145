using System.Text.Json;
using LowLevelSpec.Cli.Evaluation;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary><c>llspec eval</c> on the tiny pair: its figures are compare's, it goes on after a kill, and it refuses what it can't do.</summary>
public sealed class EvalTests
{
    private static readonly Lazy<string> Sets = new(() =>
    {
        string folder = Directory.CreateDirectory(Path.Combine(TinyFiles.Folder, "sets")).FullName;
        File.WriteAllText(Path.Combine(folder, "b.jsonl"), "{\"prompt\":\"A good tree\"}\n{\"prompt\":\"One thread\"}\n{\"prompt\":\"never read\"}\n");
        File.WriteAllText(Path.Combine(folder, "a.jsonl"), "{\"turns\":[\"The drafter\"]}\n");
        File.WriteAllText(Path.Combine(folder, "notes.txt"), "no prompts");
        return folder;
    });

    [Fact]
    public void A_table_of_drafters_trees_and_sets_with_compares_figures()
    {
        string folder = Path.Combine(TinyFiles.Folder, "eval");
        CliRun run = Eval(folder, "--json", "-");
        Assert.True(run.Code == 0, run.Error);
        Assert.Equal(run.Out, File.ReadAllText(Path.Combine(folder, "eval.json")));
        using JsonDocument document = JsonDocument.Parse(run.Out);
        JsonElement[] rows = [.. document.RootElement.GetProperty("rows").EnumerateArray()];
        Assert.Equal(["none ", "m 4x2x8", "m 5x4x24", "lookup 4x2x8", "lookup 5x4x24"], rows.Select(static r => $"{r.GetProperty("drafter").GetString()} {r.GetProperty("tree").GetString()}"));
        Assert.Equal(["none", "moa", "moa", "lookup", "lookup"], rows.Select(static r => r.GetProperty("kind").GetString()));
        Assert.All(rows, static row =>
        {
            Assert.Equal(["a", "b"], row.GetProperty("sets").EnumerateArray().Select(static s => s.GetProperty("set").GetString()));
            JsonElement all = row.GetProperty("all");
            Assert.Equal((3, 3), (all.GetProperty("prompts").GetInt32(), all.GetProperty("identical").GetInt32()));
            Assert.True(all.GetProperty("verify_milliseconds").GetDouble() > 0);
            Assert.Equal(row.GetProperty("sets").EnumerateArray().Average(static s => s.GetProperty("tau").GetDouble()), row.GetProperty("mean_tau").GetDouble(), 12);
        });
        Assert.Equal((1.0, 1.0), (rows[0].GetProperty("mean_tau").GetDouble(), rows[0].GetProperty("mean_speedup").GetDouble()));

        CliRun compare = CliRun.Of("compare", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--prompts", Path.Combine(Sets.Value, "b.jsonl"), "--limit", "2", "--max-new", "12", "--tree", "5,4,24", "--json", "-");
        using JsonDocument compared = JsonDocument.Parse(compare.Out);
        Assert.Equal(compared.RootElement.GetProperty("tau").GetDouble(), rows[2].GetProperty("sets")[1].GetProperty("tau").GetDouble());

        string page = File.ReadAllText(Path.Combine(folder, "eval.md"));
        Assert.Contains("| drafter | tree | a | b | mean |\n|---|---|---|---|---|\n| none |  | 1.00, 1.00 |", page);
        Assert.Contains("| m | moa | 4x2x8 |", page);
        Assert.Contains("<svg", File.ReadAllText(Path.Combine(folder, "tau.svg")));
        Assert.True(File.Exists(Path.Combine(folder, "speedup.svg")));
    }

    [Fact]
    public void A_killed_run_goes_on_after_its_last_whole_line()
    {
        string folder = Path.Combine(TinyFiles.Folder, "eval-killed"), journal = Path.Combine(folder, "journal.jsonl");
        Assert.Equal(0, Eval(folder).Code);
        string[] lines = File.ReadAllLines(journal);
        Assert.Equal(1 + (3 * 5), lines.Length);
        string[] Way(IEnumerable<string> of) => [.. of.Skip(1).Select(static line =>
        {
            using JsonDocument json = JsonDocument.Parse(line);
            return $"{json.RootElement.GetProperty("prompt")} {json.RootElement.GetProperty("drafter")} {json.RootElement.GetProperty("tree")} {json.RootElement.GetProperty("new_tokens")} {json.RootElement.GetProperty("target_passes")}";
        })];
        foreach (int kept in (int[])[1, 2, 9, 15, 16])
        {
            File.WriteAllText(journal, string.Join('\n', lines.Take(kept)) + "\n{\"prompt\":2,\"dra");
            CliRun run = Eval(folder);
            Assert.True(run.Code == 0, run.Error);
            string[] now = File.ReadAllLines(journal);
            Assert.Equal(lines.Take(kept), now.Take(kept));
            Assert.Equal(Way(lines), Way(now));
        }

        CliRun other = Eval(folder, "--max-new", "13");
        Assert.Equal(1, other.Code);
        Assert.Contains("holds results of", other.Error);
        Assert.Contains("holds results of", Eval(folder, "--arithmetic", "exact").Error);
        Assert.Contains("holds results of", Eval(folder, "--draft-vocabulary", "off").Error);
        Assert.Contains("holds results of", Eval(folder, "--threads", "1").Error);
        File.WriteAllText(journal, "notes\n");
        Assert.Contains("line 1", Eval(folder).Error);
    }

    [Fact]
    public void Other_weights_under_the_same_name_are_another_question()
    {
        string root = Directory.CreateDirectory(Path.Combine(TinyFiles.Folder, "eval-weights")).FullName, drafter = Path.Combine(root, "drafter"), folder = Path.Combine(root, "eval");
        Directory.CreateDirectory(drafter);
        foreach (string file in Directory.GetFiles(TinyFiles.Moa))
        {
            File.Copy(file, Path.Combine(drafter, Path.GetFileName(file)));
        }

        string[] command = ["eval", "--model", TinyFiles.Target, "--drafters", drafter, "--prompts", Sets.Value, "--limit", "1", "--trees", "8", "--max-new", "4", "--out", folder];
        Assert.Equal(0, CliRun.Of(command).Code);
        Assert.Equal(0, CliRun.Of(command).Code);
        string weights = Path.Combine(drafter, "model.safetensors");
        byte[] bytes = File.ReadAllBytes(weights);
        bytes[^2] ^= 1;
        File.WriteAllBytes(weights, bytes);
        CliRun other = CliRun.Of(command);
        Assert.Equal(1, other.Code);
        Assert.Contains("holds results of", other.Error);
    }

    [Theory]
    [InlineData("8,24,62", "4 2 8|5 4 24|7 8 62")]
    [InlineData("1", "2 1 1")]
    [InlineData("6x3x20, 63", "6 3 20|7 9 63")]
    public void Trees_are_totals_or_shapes(string text, string expected) =>
        Assert.Equal(expected, string.Join('|', EvalTrees.Parse(text).Select(static t => $"{t.Depth} {t.Breadth} {t.TotalTokens}")));

    [Theory]
    [InlineData("0")]
    [InlineData("64")]
    [InlineData("5x4")]
    [InlineData("a")]
    [InlineData("24,24")]
    [InlineData("")]
    [InlineData("99999999999")]
    public void Other_trees_are_refused(string text) => Assert.Throws<InputException>(() => EvalTrees.Parse(text));

    [Fact]
    public void Drafters_have_labels_of_their_own()
    {
        Assert.Equal([new EvalDrafter("moa", "/x/moa/"), new EvalDrafter("b", "/y/moa"), new EvalDrafter("lookup", "lookup")], EvalDrafter.ParseList(["/x/moa/,b=/y/moa", "lookup"]));
        Assert.Throws<InputException>(() => EvalDrafter.ParseList(["/x/moa,/y/moa"]));
        Assert.Throws<InputException>(() => EvalDrafter.ParseList(["a,,b"]));
        Assert.Throws<InputException>(() => EvalDrafter.ParseList(["=x"]));
    }

    [Theory]
    [InlineData(2, "--prompts none")]
    [InlineData(1, "--drafters lookup --prompts none")]
    [InlineData(1, "--drafters lookup,lookup --prompts none")]
    [InlineData(1, "--drafters lookup --prompts none --trees 99")]
    [InlineData(1, "--drafters lookup --prompts none --max-new 1")]
    public void Bad_command_lines_are_refused_before_a_folder_is_made(int code, string options)
    {
        string folder = Path.Combine(TinyFiles.Folder, "never-eval");
        CliRun run = CliRun.Of(["eval", "--model", TinyFiles.Target, "--out", folder, .. options.Split(' ')]);
        Assert.True(code == run.Code, run.Error);
        Assert.False(Directory.Exists(folder));
    }

    [Fact]
    public void A_folder_without_prompts_is_refused()
    {
        string empty = Directory.CreateDirectory(Path.Combine(TinyFiles.Folder, "no-sets")).FullName;
        CliRun run = CliRun.Of("eval", "--model", TinyFiles.Target, "--drafters", "lookup", "--prompts", empty, "--out", Path.Combine(TinyFiles.Folder, "never-eval"));
        Assert.Equal(1, run.Code);
        Assert.Contains(".jsonl", run.Error);
    }

    private static CliRun Eval(string folder, params string[] more) => CliRun.Of(
        ["eval", "--model", TinyFiles.Target, "--drafters", $"none,m={TinyFiles.Moa},lookup", "--prompts", Sets.Value, "--limit", "2", "--trees", "8,24", "--out", folder, .. more.Contains("--max-new") ? more : [.. more, "--max-new", "12"]]);
}
