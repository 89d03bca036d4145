using LowLevelSpec.Training.Checking;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>The golden comparison itself: it must not let anything pass that is not a number or not there.</summary>
public sealed class GoldenReportTests
{
    [Fact]
    public void Values_that_are_no_numbers_fail()
    {
        GoldenReport report = new("case");
        report.Compare("v", "array", "x", [1, float.NaN], [1, 1], 1e9);
        report.Compare("v", "expected", "x", [1, 1], [1, float.NaN], 1e9);
        report.Compare("v", "infinite", "x", [float.PositiveInfinity], [float.PositiveInfinity], 1e9);
        report.Compare("v", "scalar", "x", double.NaN, 1, 1e9);
        report.Compare("v", "unit", "x", 1, 2, 1e9, double.NaN);
        Assert.All(report.Results, static r => Assert.False(r.Passed, r.Group));
    }

    [Fact]
    public void Missing_values_fail()
    {
        GoldenReport report = new("case");
        report.Compare("v", "short", "x", [1, 2], [1, 2, 3], 1e9);
        report.Equal("v", "equal", [1, 2], [1, 2, 3]);
        report.Equal("v", "different", [1, 2, 4], [1, 2, 3]);
        report.Fail("v", "missing", "x", 1e9);
        Assert.All(report.Results, static r => Assert.False(r.Passed, r.Group));
    }

    [Fact]
    public void The_worst_of_a_group_is_kept()
    {
        GoldenReport report = new("case");
        report.Compare("v", "group", "a", [1, 2], [1, 2], 0.5);
        report.Compare("v", "group", "b", [1, 2.25f], [1, 2], 0.5);
        report.Compare("v", "group", "c", [1, 2], [1, 2.1f], 0.5);
        GoldenResult result = Assert.Single(report.Results);
        Assert.True(result.Passed);
        Assert.Equal(("b[1]", 6, 0.25), (result.Worst, result.Values, result.LargestError));
    }
}
