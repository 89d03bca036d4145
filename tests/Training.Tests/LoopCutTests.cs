using LowLevelSpec.Training.Distillation;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Where a distilled answer that loops is cut.</summary>
public sealed class LoopCutTests
{
    [Theory]
    [InlineData(224, 9, 100)]
    [InlineData(224, 10, 224)]
    [InlineData(101, 1, 100)]
    [InlineData(100, 1, 100)]
    [InlineData(0, 1, 0)]
    public void Only_long_answers_that_end_in_a_loop_are_cut(int length, int period, int kept)
    {
        int[] answer = [.. Enumerable.Range(0, length).Select(i => i < length - 48 ? 1000 + i : i % period)];
        Assert.Equal(answer[..kept], Distiller.WithoutLoop(answer).ToArray());
    }
}
