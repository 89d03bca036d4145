using LowLevelSpec.Training.Checking;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>The trainer against golden vectors of the authors' code, where a checkout has the folder beside it.</summary>
public sealed class GoldenTests(ITestOutputHelper output)
{
    [Fact]
    public void All_cases_lie_within_the_recommended_tolerances()
    {
        IReadOnlyList<GoldenResult> results = TrainingGolden.Check(SharedFolder.Require("golden"));
        Assert.NotEmpty(results);
        foreach (IGrouping<string, GoldenResult> group in results.GroupBy(static r => r.Group))
        {
            foreach (IGrouping<string, GoldenResult> one in group.GroupBy(static r => r.Case))
            {
                GoldenResult worst = one.MaxBy(static r => r.LargestError)!;
                output.WriteLine($"{group.Key,-30} {one.Key,-14} {one.Sum(static r => r.Values),8} values  {worst.LargestError,9:e1} of {worst.Tolerance:e0}  {worst.Variant} {worst.Worst}");
            }
        }

        Assert.Empty(results.Where(static r => !r.Passed).Select(static r => $"{r.Case} {r.Variant} {r.Group}: {r.LargestError:e2} above {r.Tolerance:e0} at {r.Worst}"));
    }
}
