using System.Text.Json.Nodes;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Golden;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tests.Golden;

/// <summary>A temporary folder, deleted at the end of a test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("llspec-golden-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

/// <summary>
/// Golden folders of the tiny pair, written from the engine's own runs: they prove nothing about the engine, but that the checker reads
/// other shapes and settings and finds what is changed in them.
/// </summary>
internal static class GoldenFolder
{
    public const string Case = "tiny";

    /// <summary>A beginning that the tiny target goes on with for some sentences.</summary>
    public static int[] Prompt { get; } = TinyModels.Instance.Model.Tokenizer!.Encode("The drafter");

    /// <summary>A case with MoA and EAGLE values for the given tree.</summary>
    public static void WriteForward(string folder, TreeSettings tree, int cycles, int[]? prompt = null)
    {
        TinyModels tiny = TinyModels.Instance;
        string target = CopyModels(folder, "moa", "eagle");
        foreach ((string drafterName, string file) in ((string, string)[])[("moa", "forward.safetensors"), ("eagle", "eagle-forward.safetensors")])
        {
            using Drafter drafter = tiny.Open(drafterName, tiny.ExactModel);
            Func<string, Tolerance?> known = drafterName == "moa" ? Tolerances.Moa : Tolerances.Eagle;
            Write(Path.Combine(target, file), LoopRecorder.Run(tiny.ExactModel, drafter, prompt ?? Prompt, tree, cycles).Where(t => known(t.Key) is not null));
        }
    }

    /// <summary>A case with one MoA run of the given tree; <paramref name="change"/> edits the run before it is written.</summary>
    public static void WriteTranscript(string folder, TreeSettings tree, Action<JsonObject>? change = null, int maxNew = 12)
    {
        TinyModels tiny = TinyModels.Instance;
        string target = CopyModels(folder, "moa");
        using Drafter drafter = tiny.Open("moa", tiny.ExactModel);
        GenerationRequest request = new() { PromptIds = Prompt, MaxNewTokens = maxNew, Drafter = drafter, Tree = tree, IgnoreEndTokens = true };
        using Generation generation = tiny.ExactModel.Begin(request);
        generation.Prefill(CancellationToken.None);
        JsonArray cycles = [], accepted = [], emitted = [];
        bool inside = false;
        while (generation.Finished is null)
        {
            int written = generation.NewTokens, prefix = generation.Cache.Length;
            generation.Step();
            int committed = generation.NewTokens - written;
            inside = committed == generation.LastAccepted;
            accepted.Add(generation.LastAccepted);
            emitted.Add(committed);
            DraftTree t = generation.Tree;
            cycles.Add(new JsonObject
            {
                ["prefix"] = prefix,
                ["tokens"] = Numbers(t.Tokens.ToArray()),
                ["parents"] = Numbers(t.Parents.ToArray()),
                ["depths"] = Numbers(t.Depths.ToArray()),
                ["log_probs"] = new JsonArray([.. t.LogProbabilities.ToArray().Select(static f => JsonValue.Create((double)f))]),
                ["accepted_nodes"] = Numbers(generation.AcceptedNodes.ToArray()),
                ["bonus"] = inside ? null : generation.Tokens[^1],
            });
        }

        int[] output = generation.Tokens[Prompt.Length..].ToArray();
        JsonObject run = new()
        {
            ["output"] = Numbers(output),
            ["same_as_greedy"] = true,
            ["target_calls"] = cycles.Count + 1,
            ["accepted"] = accepted,
            ["emitted"] = emitted,
            ["tau"] = generation.Statistics().Tau,
            ["ends_inside_run"] = inside,
            ["min_selection_gap"] = 0.001,
            ["cycles"] = cycles,
        };
        change?.Invoke(run);
        JsonObject file = new()
        {
            ["eos"] = null,
            ["max_new_tokens"] = maxNew,
            ["settings"] = new JsonObject { ["odd"] = new JsonObject { ["depth"] = tree.Depth, ["breadth"] = tree.Breadth, ["total_tokens"] = tree.TotalTokens } },
            ["prompts"] = new JsonArray(new JsonObject
            {
                ["ids"] = Numbers(Prompt),
                ["greedy"] = Numbers(output),
                ["runs"] = new JsonObject { ["moa"] = new JsonObject { ["odd"] = run } },
            }),
        };
        File.WriteAllText(Path.Combine(target, "transcripts.json"), file.ToJsonString());
    }

    /// <summary>Rewrites one tensor of a golden file.</summary>
    public static void Patch(string path, string name, Func<GoldenTensor, GoldenTensor> change)
    {
        SortedDictionary<string, GoldenTensor> tensors = GoldenFile.Read(path);
        tensors[name] = change(tensors[name]);
        Write(path, tensors);
    }

    public static void Write(string path, IEnumerable<KeyValuePair<string, GoldenTensor>> tensors)
    {
        SafetensorsWriter writer = new();
        foreach ((string name, GoldenTensor tensor) in tensors)
        {
            long[] shape = Array.ConvertAll(tensor.Shape, static d => (long)d);
            if (tensor.Floats is not null)
            {
                writer.Add(name, shape, tensor.Floats);
            }
            else
            {
                writer.Add(name, shape, tensor.Integers!);
            }
        }

        writer.Write(path);
    }

    /// <summary>Copies files and folders of a case.</summary>
    public static void Copy(string source, string target, params string[] names)
    {
        Directory.CreateDirectory(target);
        foreach (string name in names)
        {
            string from = Path.Combine(source, name), to = Path.Combine(target, name);
            if (Directory.Exists(from))
            {
                Copy(from, to, [.. Directory.GetFileSystemEntries(from).Select(Path.GetFileName).OfType<string>()]);
            }
            else
            {
                // Written anew rather than copied: a copy would inherit that the source is read-only.
                File.WriteAllBytes(to, File.ReadAllBytes(from));
            }
        }
    }

    private static string CopyModels(string folder, params string[] drafters)
    {
        string target = Path.Combine(folder, Case);
        Copy(Path.Combine(TinyModels.Instance.Folder, "pair"), target, ["target", .. drafters]);
        return target;
    }

    private static JsonArray Numbers(int[] values) => [.. values.Select(static v => (JsonNode)JsonValue.Create(v))];
}
