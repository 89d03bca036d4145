using LowLevelSpec.Training.Compute;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>The arena hands out disjoint memory and settles.</summary>
public sealed class ArenaTests
{
    [Fact]
    public void Batches_of_changing_size_settle_on_one_chunk()
    {
        Arena<float> arena = new();
        long capacity = 0;
        for (int step = 0; step < 40; step++)
        {
            // Sizes cycle, so that everything needed has been seen after the first round.
            int rows = 1000 + (step * 397 % 10 * 150);
            Tensor<float>[] tensors = [arena.Allocate(rows, 2500), arena.Allocate(7, 3), arena.Allocate(rows, 1700), arena.Allocate(rows, 30)];
            for (int i = 0; i < tensors.Length; i++)
            {
                tensors[i].Span.Fill(i);
            }

            for (int i = 0; i < tensors.Length; i++)
            {
                Assert.False(tensors[i].Span.ContainsAnyExcept((float)i));
            }

            arena.Reset();
            if (step == 20)
            {
                capacity = arena.Capacity;
            }
        }

        Assert.Equal(capacity, arena.Capacity);
        Assert.InRange(capacity, 0, 2350L * 4230 * 12 / 10);
    }

    [Fact]
    public void Releasing_to_a_mark_keeps_what_lies_below()
    {
        Arena<double> arena = new();
        Tensor<double> kept = arena.Zeros(10, 10);
        ArenaMark mark = arena.Mark();
        arena.Allocate(3000, 3000).Span.Fill(1);
        arena.Release(mark);
        arena.Allocate(50, 50).Span.Fill(2);
        Assert.False(kept.Span.ContainsAnyExcept(0.0));
    }
}
