using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Evaluation;

/// <summary>A drafter of an evaluation.</summary>
/// <param name="Label">What tables call it.</param>
/// <param name="Path">Checkpoint, lookup or none.</param>
internal sealed record EvalDrafter(string Label, string Path)
{
    /// <summary>Plain decoding: every prompt is decoded so anyway, as the others' baseline.</summary>
    public const string None = "none";

    /// <summary>Whether it is a checkpoint.</summary>
    public bool IsFile => Path is not (None or "lookup");

    /// <summary>A drafter that is called as its folder is.</summary>
    public static EvalDrafter Of(string path) => new(System.IO.Path.GetFileName(path.TrimEnd('/', '\\')), path);

    /// <summary>Reads "a,label=b,lookup".</summary>
    /// <exception cref="InputException">An empty name, or one twice.</exception>
    public static IReadOnlyList<EvalDrafter> ParseList(IEnumerable<string> values)
    {
        List<EvalDrafter> drafters = [];
        foreach (string item in values.SelectMany(static value => value.Split(',')))
        {
            int equals = item.IndexOf('=', StringComparison.Ordinal);
            string path = item[(equals + 1)..].Trim();
            EvalDrafter drafter = equals < 0 ? Of(path) : new EvalDrafter(item[..equals].Trim(), path);
            if (drafter.Label.Length == 0 || path.Length == 0)
            {
                throw new InputException($"--drafters: found '{item}', expected checkpoints, lookup or none, separated by commas, each optionally as label=path");
            }

            if (drafters.Any(d => d.Label == drafter.Label))
            {
                throw new InputException($"--drafters: two are called '{drafter.Label}'; tell them apart as label=path");
            }

            drafters.Add(drafter);
        }

        return drafters;
    }
}
