using System.Globalization;
using System.Text.RegularExpressions;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>tli.safetensors: logits along given chains for each number of target layers run by the drafter.</summary>
internal static partial class TliChecks
{
    public const string FileName = "tli.safetensors";

    /// <summary>Compares every tli{N}.chain.{i}.logits of the file.</summary>
    public static void Run(GoldenReport report, CaseFolder folder)
    {
        SortedDictionary<string, GoldenTensor> tensors = [];
        bool read = report.Prepare(folder.Name, FileName, () =>
        {
            tensors = GoldenFile.Read(folder.File(FileName));
            if (!tensors.Keys.Any(static name => Logits().IsMatch(name)))
            {
                throw new InputException("the file holds no tli{N}.chain.{i}.logits");
            }
        });
        if (!read)
        {
            return;
        }

        foreach ((string name, GoldenTensor expected) in tensors)
        {
            Match match = Logits().Match(name);
            if (!match.Success)
            {
                continue;
            }

            int layers = int.Parse(match.Groups["layers"].ValueSpan, CultureInfo.InvariantCulture);
            string chain = match.Groups["chain"].Value;
            Tolerance tolerance = Tolerances.TliLogits(layers);
            report.Run(folder.Name, tolerance.Name, $"{FileName} {name}", () =>
            {
                int[] prefix = Ids(chain + ".prefix_ids"), draft = Ids(chain + ".draft_ids");
                string drafter = layers == 0 ? "moa" : string.Create(CultureInfo.InvariantCulture, $"moa-tli{layers}");
                return Comparer.Compare(ForcedChain.Logits(folder.Model, folder.Drafter(drafter, FileName), prefix, draft), expected, tolerance.Absolute);
            });
        }

        int[] Ids(string name) => tensors.TryGetValue(name, out GoldenTensor? ids) ? ids.Ids() : throw new InputException($"the file has no tensor '{name}'");
    }

    [GeneratedRegex(@"^tli(?<layers>\d+)\.(?<chain>chain\.\d+)\.logits$", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Logits();
}
