using System.Globalization;
using System.Text.RegularExpressions;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>forward.safetensors and eagle-forward.safetensors: every stage of some cycles of the loop.</summary>
internal static partial class ForwardChecks
{
    /// <summary>Runs the loop with the settings that the file's shapes tell and compares every tensor of the file.</summary>
    public static void Run(GoldenReport report, CaseFolder folder, string fileName, string drafterName, Func<string, Tolerance?> tolerances)
    {
        SortedDictionary<string, GoldenTensor> expected = [], found = [];
        bool ran = report.Prepare(folder.Name, fileName, () =>
        {
            expected = GoldenFile.Read(folder.File(fileName));
            int cycles = 1 + expected.Keys.Max(static name => Cycle().Match(name) is { Success: true } match ? int.Parse(match.Groups["cycle"].ValueSpan, CultureInfo.InvariantCulture) : 0);
            Drafter drafter = folder.Drafter(drafterName, fileName);
            found = LoopRecorder.Run(folder.Model, drafter, Get(expected, "prompt.ids").Ids(), Settings(expected), cycles);
            for (int cycle = 0; cycle < cycles; cycle++)
            {
                if (NearTieOrder.Align(found, expected, LoopRecorder.Prefix(cycle)) is string note)
                {
                    report.Notes.Add((folder.Name, $"{fileName} {note}"));
                }
            }
        });
        if (!ran)
        {
            return;
        }

        foreach ((string name, GoldenTensor tensor) in expected)
        {
            Tolerance? tolerance = tolerances(name);
            report.Run(folder.Name, tolerance?.Name ?? "files", $"{fileName} {name}", () =>
                tolerance is null ? Outcome.Fail("no such stage is known to the checker; see the golden README's list")
                : found.TryGetValue(name, out GoldenTensor? value) ? Comparer.Compare(value, name.EndsWith(".mask", StringComparison.Ordinal) ? CutToKeys(tensor, value) : tensor, tolerance.Absolute)
                : Outcome.Fail("the engine's run has no such value: it ended before, or ran other stages"));
        }
    }

    /// <summary>
    /// From level 2 on the reference gives EAGLE's layer a mask with a column for the root, whose key the cache does not have; the layer
    /// cuts the mask to the number of keys. What falls off there never acts, and is cut here.
    /// </summary>
    private static GoldenTensor CutToKeys(GoldenTensor mask, GoldenTensor found)
    {
        int rows = mask.Shape[0], columns = mask.Shape[^1], keys = found.Shape[^1];
        return columns != keys + 1 || mask.Integers is null
            ? mask
            : GoldenTensor.Of([.. Enumerable.Range(0, rows).SelectMany(row => mask.Integers.Skip(row * columns).Take(keys))], rows, keys);
    }

    /// <summary>Depth, breadth and total that the recorded shapes imply: they are not stored.</summary>
    private static TreeSettings Settings(SortedDictionary<string, GoldenTensor> tensors)
    {
        int depth = 1, chosen = Get(tensors, "tree.flat_index").Count;
        while (tensors.ContainsKey(string.Create(CultureInfo.InvariantCulture, $"draft.{depth}.logits")))
        {
            depth++;
        }

        // EAGLE's file has no frontiers; its second step has one row per frontier node, and a tree of one level at most all its children.
        int breadth = tensors.TryGetValue("frontier.1.tokens", out GoldenTensor? frontier) ? frontier.Count
            : tensors.TryGetValue("draft.2.logits", out GoldenTensor? second) ? second.Shape[0]
            : chosen;
        TreeSettings settings = new(depth, breadth, chosen);
        settings.Validate();
        return settings;
    }

    private static GoldenTensor Get(SortedDictionary<string, GoldenTensor> tensors, string name) =>
        tensors.TryGetValue(name, out GoldenTensor? tensor) ? tensor : throw new InputException($"the file has no tensor '{name}', without which it can't be checked");

    [GeneratedRegex(@"^cycle(?<cycle>\d+)\.", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Cycle();
}
