using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Golden;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Golden;

/// <summary>Two nodes of nearly equal score may stand in either order; anything else may not.</summary>
public sealed class NearTieTests
{
    private static readonly TreeSettings Tree = new(4, 3, 21);

    [Theory]
    [InlineData("draft.1.logits")]
    [InlineData("draft.2.logits")]
    [InlineData("draft.3.logits")]
    public void Runs_that_differ_by_a_near_tie_agree_once_they_are_in_one_order(string stage)
    {
        SortedDictionary<string, GoldenTensor> found = Run(stage, 5e-6f), expected = Run(stage, -5e-6f);
        Assert.NotEqual(expected["tree.tokens"].Integers, found["tree.tokens"].Integers);
        Assert.Contains("another order", NearTieOrder.Align(found, expected, ""));
        foreach ((string name, GoldenTensor tensor) in expected.Where(static t => !t.Key.StartsWith("cycle", StringComparison.Ordinal)))
        {
            Outcome outcome = Comparer.Compare(found[name], tensor, Tolerances.Moa(name)!.Absolute);
            Assert.True(outcome.Status == CheckStatus.Passed, $"{name}: {outcome.Detail}");
        }
    }

    [Fact]
    public void An_order_that_no_near_tie_explains_stays_a_difference()
    {
        SortedDictionary<string, GoldenTensor> found = Run("draft.1.logits", 1e-3f), expected = Run("draft.1.logits", -1e-3f);
        Assert.Null(NearTieOrder.Align(found, expected, ""));
        Assert.Equal(CheckStatus.Failed, Comparer.Compare(found["tree.tokens"], expected["tree.tokens"], 0).Status);
    }

    [Fact]
    public void Runs_in_the_same_order_are_left_alone()
    {
        SortedDictionary<string, GoldenTensor> found = Run("draft.1.logits", 1e-3f);
        Assert.Null(NearTieOrder.Align(found, Run("draft.1.logits", 1e-3f), ""));
    }

    /// <summary>
    /// A recorded cycle in which, at one stage, the first row's two best tokens rise above all others, equal but for the lead of one of them.
    /// </summary>
    private static SortedDictionary<string, GoldenTensor> Run(string stage, float lead)
    {
        TinyModels tiny = TinyModels.Instance;
        using Drafter drafter = tiny.Open("moa", tiny.ExactModel);
        return LoopRecorder.Run(tiny.ExactModel, drafter, GoldenFolder.Prompt, Tree, 1, (name, value) =>
        {
            if (name != stage)
            {
                return;
            }

            Matrix row = value.Slice(0, 1);
            float[] logits = new float[row.Columns];
            tiny.ExactModel.Backend.Read(row, logits);
            int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i])];
            float level = logits[order[0]] + 2;
            (logits[order[0]], logits[order[1]]) = (level + Math.Max(0, lead), level + Math.Max(0, -lead));
            tiny.ExactModel.Backend.Write(logits, row);
        });
    }
}
