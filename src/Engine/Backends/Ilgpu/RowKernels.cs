using ILGPU;
using ILGPU.Algorithms;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>Operations row by row and element by element.</summary>
internal static class RowKernels
{
    private const int Block = 16;

    /// <summary>output[i] = row tokens[i] of the table; one thread per element.</summary>
    public static void Embed(Index1D index, WeightData table, ArrayView<int> tokens, DeviceMatrix output)
    {
        int row = index / output.Columns, column = index % output.Columns;
        output.Data[output.At(row, column)] = table.Value(tokens[row], column);
    }

    /// <summary>output = (input * 1/sqrt(mean(input^2) + epsilon)) * gain; one group per row.</summary>
    public static void RmsNorm(DeviceMatrix input, ArrayView<float> gain, float epsilon, DeviceMatrix output)
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Reduction.MostThreads);
        int row = Grid.IdxX;
        float sum = 0;
        for (int block = Group.IdxX; block < input.Columns; block += Group.DimX * Block)
        {
            float part = 0;
            for (int step = 0; step < Block; step++)
            {
                int i = block + (step * Group.DimX);
                if (i < input.Columns)
                {
                    float x = input.Data[input.At(row, i)];
                    part += x * x;
                }
            }

            sum += part;
        }

        float scale = 1f / XMath.Sqrt((Reduction.Sum(sum, shared) / input.Columns) + epsilon);
        for (int i = Group.IdxX; i < input.Columns; i += Group.DimX)
        {
            output.Data[output.At(row, i)] = input.Data[input.At(row, i)] * scale * gain[i];
        }
    }

    /// <summary>output = silu(gate) * up; one thread per element.</summary>
    public static void SwiGlu(Index1D index, DeviceMatrix gate, DeviceMatrix up, DeviceMatrix output)
    {
        int row = index / gate.Columns, column = index % gate.Columns;
        float g = gate.Data[gate.At(row, column)];
        output.Data[output.At(row, column)] = g / (1f + XMath.Exp(-g)) * up.Data[up.At(row, column)];
    }

    /// <summary>Rotates pairs (i, i + D/2) of each head in place; one thread per pair. cos, sin [positions, D/2].</summary>
    public static void Rope(Index1D index, DeviceMatrix values, ArrayView<float> cos, ArrayView<float> sin, ArrayView<int> positions, int headSize)
    {
        int half = headSize / 2, pairs = values.Columns / 2, row = index / pairs, pair = index % pairs;
        int head = pair / half, i = pair % half;
        long low = values.At(row, (head * headSize) + i), high = low + half, angle = ((long)positions[row] * half) + i;
        float c = cos[angle], s = sin[angle], a = values.Data[low], b = values.Data[high];
        values.Data[low] = (a * c) - (b * s);
        values.Data[high] = (b * c) + (a * s);
    }

    /// <summary>output[g] = mean of rows g*groupRows .. (g+1)*groupRows-1, summed in order; one thread per element of the output.</summary>
    public static void GroupMean(Index1D index, DeviceMatrix input, int groupRows, DeviceMatrix output)
    {
        int row = index / output.Columns, column = index % output.Columns;
        float sum = 0;
        for (int i = 0; i < groupRows; i++)
        {
            sum += input.Data[input.At((row * groupRows) + i, column)];
        }

        output.Data[output.At(row, column)] = sum / groupRows;
    }

    /// <summary>output[i] = input[rows[i]] in ascending order; one thread per column, so that a compaction in place reads each row before it is overwritten.</summary>
    public static void CopyRows(Index1D column, DeviceMatrix input, ArrayView<int> rows, DeviceMatrix output)
    {
        for (int i = 0; i < output.Rows; i++)
        {
            output.Data[output.At(i, column)] = input.Data[input.At(rows[i], column)];
        }
    }
}
