using LowLevelSpec.Golden;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Golden;

/// <summary>The comparison that every golden check rests on.</summary>
public sealed class ComparerTests
{
    private const double Allowed = 1e-4;

    [Fact]
    public void Values_within_the_tolerance_pass_and_the_largest_error_is_reported()
    {
        Outcome outcome = Comparer.Compare(Matrix(1, 2, 3, 4.00005f), Matrix(1, 2, 3, 4), Allowed);
        Assert.Equal(CheckStatus.Passed, outcome.Status);
        Assert.InRange(outcome.LargestError, 4e-5, 6e-5);
        Assert.Equal(4, outcome.Values);
    }

    [Fact]
    public void An_error_just_above_the_tolerance_fails_with_its_place()
    {
        const float step = 1f / 8192;
        Assert.Equal(CheckStatus.Passed, Comparer.Compare(Matrix(1, 2, 3 + step, 4), Matrix(1, 2, 3, 4), step).Status);
        Outcome outcome = Comparer.Compare(Matrix(1, 2, 3 + step, 4), Matrix(1, 2, 3, 4), step * 0.999);
        Assert.Equal(CheckStatus.Failed, outcome.Status);
        Assert.Contains("[1, 0]", outcome.Detail);
    }

    [Theory]
    [InlineData(float.NaN, 3f)]
    [InlineData(float.PositiveInfinity, 3f)]
    [InlineData(3f, float.NaN)]
    [InlineData(float.NaN, float.NaN)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    public void Values_that_are_not_finite_fail_on_either_side(float found, float expected) =>
        Assert.Equal(CheckStatus.Failed, Comparer.Compare(Matrix(1, 2, found, 4), Matrix(1, 2, expected, 4), double.MaxValue).Status);

    [Fact]
    public void Another_shape_fails_even_with_the_same_values()
    {
        Assert.Equal(CheckStatus.Failed, Comparer.Compare(GoldenTensor.Of([1f, 2], 2), GoldenTensor.Of([1f, 2], 1, 2), Allowed).Status);
        Assert.Equal(CheckStatus.Failed, Comparer.Compare(GoldenTensor.Of([1f, 2], 2), GoldenTensor.Of([1f, 2, 3], 3), Allowed).Status);
    }

    [Fact]
    public void Integers_compare_exactly_and_empty_tensors_by_shape()
    {
        Assert.Equal(CheckStatus.Passed, Comparer.Compare(GoldenTensor.Of([3L, 4], 2), GoldenTensor.Of([3L, 4], 2), Allowed).Status);
        Assert.Equal(CheckStatus.Failed, Comparer.Compare(GoldenTensor.Of([3L, 5], 2), GoldenTensor.Of([3L, 4], 2), 100).Status);
        Assert.Equal(CheckStatus.Failed, Comparer.Compare(GoldenTensor.Of([3L, 4], 2), GoldenTensor.Of([3f, 4], 2), 100).Status);
        Assert.Equal(CheckStatus.Passed, Comparer.Compare(GoldenTensor.Of(Array.Empty<long>(), 0), GoldenTensor.Of(Array.Empty<long>(), 0), 0).Status);
    }

    [Fact]
    public void Every_stage_has_a_tolerance_and_unknown_names_have_none()
    {
        Assert.Same(Tolerances.CrossOutput, Tolerances.Moa("cycle1.draft.2.ca_output"));
        Assert.Same(Tolerances.TargetHidden, Tolerances.Moa("target.hidden.11"));
        Assert.Same(Tolerances.TargetKv, Tolerances.Moa("target.v.3"));
        Assert.Same(Tolerances.VerifyLogits, Tolerances.Eagle("cycle12.verify.logits"));
        Assert.Null(Tolerances.Moa("draft.1.fc_input"));
        Assert.Null(Tolerances.Eagle("frontier.1.tokens"));
        Assert.Null(Tolerances.Moa("cyclex.verify.logits"));
    }

    [Fact]
    public void A_report_in_which_nothing_was_compared_is_no_success()
    {
        GoldenReport report = new();
        report.Add("case", "group", "name", Outcome.Skip("no model"));
        Assert.False(report.Succeeded);
        report.Run("case", "group", "throws", static () => throw new InvalidOperationException("broken"));
        Assert.Equal("0 passed, 1 failed, 1 skipped", report.Summary);
        Assert.Contains("broken", report.Checks[^1].Outcome.Detail);
    }

    private static GoldenTensor Matrix(params float[] values) => GoldenTensor.Of(values, 2, 2);
}
