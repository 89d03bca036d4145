using System.Numerics;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>
/// Rotary position embedding over heads of D elements, pairs (i, i + D/2). The tables are the engine's f32 ones, in double as in float,
/// so that both compute the same function.
/// </summary>
internal sealed unsafe class Rope<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly RopeTable _table;

    /// <param name="headSize">D, even.</param>
    /// <param name="theta">Base.</param>
    /// <param name="scaling">llama3 scaling, or null.</param>
    public Rope(int headSize, float theta, RopeScaling? scaling)
    {
        HeadSize = headSize;
        _table = new RopeTable(headSize, theta, scaling);
    }

    /// <summary>D.</summary>
    public int HeadSize { get; }

    /// <summary>Rotates x [n, heads*D] in place by each row's position; with <paramref name="inverse"/> by its negative, which is the backward pass.</summary>
    public void Rotate(Tensor<T> x, ReadOnlyMemory<int> positions, bool inverse = false)
    {
        int half = HeadSize / 2, heads = x.Columns / HeadSize, largest = 0;
        if (positions.Length != x.Rows || x.Columns % HeadSize != 0)
        {
            throw new ArgumentException($"[{x.Rows}, {x.Columns}] does not fit {positions.Length} positions and heads of {HeadSize}", nameof(x));
        }

        foreach (int position in positions.Span)
        {
            largest = Math.Max(largest, position);
        }

        (float[] cos, float[] sin) = _table.Covering(largest + 1);
        Work.Blocks(x.Rows, 32, x.Length * 2, (first, count) =>
        {
            for (int i = first; i < first + count; i++)
            {
                int at = positions.Span[i] * half;
                for (int h = 0; h < heads; h++)
                {
                    T* a = x.Data + ((long)i * x.Columns) + (h * HeadSize), b = a + half;
                    for (int d = 0; d < half; d++)
                    {
                        T c = T.CreateTruncating(cos[at + d]), s = T.CreateTruncating(inverse ? -sin[at + d] : sin[at + d]), left = a[d];
                        a[d] = (left * c) - (b[d] * s);
                        b[d] = (b[d] * c) + (left * s);
                    }
                }
            }
        });
    }
}
