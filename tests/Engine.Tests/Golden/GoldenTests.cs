using LowLevelSpec.Golden;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Golden;

/// <summary>The engine against the reference's golden vectors, where they are present.</summary>
public sealed class GoldenTests
{
    private static readonly string? Shared = new SharedFiles(AppContext.BaseDirectory).Find("golden");

    public static IEnumerable<TheoryDataRow<string>> Parts()
    {
        string[] parts = Shared is null ? ["absent"] : [.. Directory.GetDirectories(Shared).Select(Path.GetFileName).OfType<string>().Order(StringComparer.Ordinal)];
        return parts.Select(static part => new TheoryDataRow<string>(part));
    }

    [Theory]
    [MemberData(nameof(Parts))]
    public void Engine_matches_the_reference(string part)
    {
        Assert.SkipWhen(Shared is null, "there is no shared/golden beside or above the repository");
        GoldenReport report = GoldenRunner.Run(new GoldenOptions(Shared!) { Only = part });
        Assert.Empty(Failures(report));
        Assert.True(report.Passed > 0);
    }

    [Fact]
    public void One_wrong_value_of_a_reference_file_is_found()
    {
        string? source = Shared is null ? null : Directory.GetDirectories(Shared).FirstOrDefault(static f => File.Exists(Path.Combine(f, "forward.safetensors")));
        Assert.SkipWhen(source is null, "there is no shared/golden with a forward.safetensors beside or above the repository");
        using TemporaryFolder folder = new();
        GoldenFolder.Copy(source!, Path.Combine(folder.Path, "case"), "target", "moa", "forward.safetensors");
        GoldenFolder.Patch(Path.Combine(folder.Path, "case", "forward.safetensors"), "draft.2.ca_output", static tensor =>
        {
            tensor.Floats![tensor.Count / 2] += (float)(10 * Tolerances.CrossOutput.Absolute);
            return tensor;
        });
        GoldenReport report = GoldenRunner.Run(new GoldenOptions(folder.Path));
        Check failure = Assert.Single(report.Checks, static c => c.Outcome.Status == CheckStatus.Failed);
        Assert.Equal("forward.safetensors draft.2.ca_output", failure.Name);
        Assert.Equal(Tolerances.CrossOutput.Name, failure.Group);
        Assert.InRange(failure.Outcome.LargestError, 9 * failure.Outcome.Tolerance, 11 * failure.Outcome.Tolerance);
    }

    [Fact]
    public void A_path_without_golden_vectors_is_refused_in_one_sentence()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("no such folder", Assert.Throws<InputException>(() => GoldenRunner.Run(new GoldenOptions(Path.Combine(folder.Path, "absent")))).Message);
        Assert.Contains("no golden vectors", Assert.Throws<InputException>(() => GoldenRunner.Run(new GoldenOptions(folder.Path))).Message);
    }

    internal static IEnumerable<string> Failures(GoldenReport report) =>
        report.Checks.Where(static c => c.Outcome.Status == CheckStatus.Failed).Select(static c => $"{c.Case} {c.Name}: {c.Outcome.Detail}");
}
