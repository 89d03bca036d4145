using ILGPU;
using ILGPU.Runtime;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <content>Matrix products, row-wise operations and what returns to the host.</content>
public sealed partial class IlgpuBackend
{
    /// <inheritdoc/>
    public void Embed(Weight table, ReadOnlySpan<int> tokens, Matrix output)
    {
        IlgpuWeight weight = Device(table);
        OperationChecks.Shape(output, tokens.Length, weight.Columns, "Embed's output");
        foreach (int token in tokens)
        {
            OperationChecks.Holds((uint)token < (uint)weight.Rows, "a token lies outside the embedding table");
        }

        DeviceMatrix to = Device(output);
        lock (_gate)
        {
            if (Begins(output))
            {
                _kernels.Embed(Elements(output), weight.Data, _tokens.Upload(tokens), to);
            }
        }
    }

    /// <inheritdoc/>
    public void RmsNorm(Matrix input, Weight gain, float epsilon, Matrix output)
    {
        OperationChecks.Shape(output, input.Rows, input.Columns, "RmsNorm's output");
        DeviceMatrix from = Device(input), to = Device(output);
        ArrayView<float> gains = Vector(gain, input.Columns, "gain");
        lock (_gate)
        {
            if (Begins(output))
            {
                _kernels.RmsNorm(Groups(input.Rows), from, gains, epsilon, to);
            }
        }
    }

    /// <inheritdoc/>
    public void MatMul(Weight weight, Matrix input, Matrix output, Weight? bias = null, bool accumulate = false)
    {
        IlgpuWeight w = Device(weight);
        if (input.Columns != w.Columns)
        {
            throw new ArgumentException($"weight {w.Name} is [{w.Rows}, {w.Columns}], its input [{input.Rows}, {input.Columns}]");
        }

        OperationChecks.Shape(output, input.Rows, w.Rows, "MatMul's output");
        DeviceMatrix from = Device(input), to = Device(output);
        ArrayView<float> biases = bias is null ? _noFloats.View : Vector(bias, w.Rows, "bias");
        int rowBlocks = (input.Rows + MatMulKernel.RowsPerGroup - 1) / MatMulKernel.RowsPerGroup;
        lock (_gate)
        {
            if (Begins(output))
            {
                _kernels.MatMul(Groups(checked(rowBlocks * w.Rows)), w.Data, from, to, biases, bias is null ? 0 : 1, accumulate ? 1 : 0);
            }
        }
    }

    /// <inheritdoc/>
    public void Rope(Matrix values, int heads, RopeTable table, ReadOnlySpan<int> positions)
    {
        ArgumentNullException.ThrowIfNull(table);
        OperationChecks.Shape(values, positions.Length, heads * table.HeadSize, "Rope's input");
        int last = -1;
        foreach (int position in positions)
        {
            OperationChecks.Holds(position >= 0, "a position is negative");
            last = Math.Max(last, position);
        }

        DeviceMatrix device = Device(values);
        lock (_gate)
        {
            if (Begins(values))
            {
                (ArrayView<float> cos, ArrayView<float> sin) = _ropes.GetValue(table, _ => new DeviceRope(_accelerator)).Covering(table, last + 1);
                _kernels.Rope(Elements(values) / 2, device, cos, sin, _positions.Upload(positions), table.HeadSize);
            }
        }
    }

    /// <inheritdoc/>
    public void SwiGlu(Matrix gate, Matrix up, Matrix output)
    {
        OperationChecks.Shape(up, gate.Rows, gate.Columns, "SwiGlu's second input");
        OperationChecks.Shape(output, gate.Rows, gate.Columns, "SwiGlu's output");
        DeviceMatrix gates = Device(gate), ups = Device(up), to = Device(output);
        lock (_gate)
        {
            if (Begins(output))
            {
                _kernels.SwiGlu(Elements(output), gates, ups, to);
            }
        }
    }

    /// <inheritdoc/>
    public void GroupMean(Matrix input, int groupRows, Matrix output)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(groupRows);
        OperationChecks.Holds(input.Rows % groupRows == 0, "GroupMean's input rows are no whole groups");
        OperationChecks.Shape(output, input.Rows / groupRows, input.Columns, "GroupMean's output");
        DeviceMatrix from = Device(input), to = Device(output);
        lock (_gate)
        {
            if (Begins(output))
            {
                _kernels.GroupMean(Elements(output), from, groupRows, to);
            }
        }
    }

    /// <inheritdoc/>
    public void CopyRows(Matrix input, ReadOnlySpan<int> rows, Matrix output)
    {
        OperationChecks.Shape(output, rows.Length, input.Columns, "CopyRows's output");
        foreach (int row in rows)
        {
            OperationChecks.Holds((uint)row < (uint)input.Rows, "CopyRows is asked for a row outside its input");
        }

        DeviceMatrix from = Device(input), to = Device(output);
        lock (_gate)
        {
            if (Begins(output))
            {
                _kernels.CopyRows(input.Columns, from, _rows.Upload(rows), to);
            }
        }
    }

    /// <inheritdoc/>
    public void TopLogProbabilities(Matrix logits, int count, Span<int> tokens, Span<float> logProbabilities)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        OperationChecks.Holds(count <= logits.Columns, "more entries are wanted than there are columns");
        OperationChecks.Holds(tokens.Length == logits.Rows * count && logProbabilities.Length == tokens.Length, "TopLogProbabilities' results do not have rows * count entries");
        DeviceMatrix from = Device(logits);
        lock (_gate)
        {
            if (Begins(logits))
            {
                Select(from, count, normalise: true, tokens, refused: SelectionKernel.Bad | SelectionKernel.NegativeInfinity);
                ArrayView<float> values = _resultValues.Take(logProbabilities.Length);
                values.SubView(0, logProbabilities.Length).CopyToCPU(_accelerator.DefaultStream, logProbabilities);
            }
        }
    }

    /// <inheritdoc/>
    public void ArgMax(Matrix logits, Span<int> tokens)
    {
        OperationChecks.Holds(tokens.Length == logits.Rows, "ArgMax's result does not have one entry per row");
        OperationChecks.Holds(logits.Columns > 0 || logits.Rows == 0, "ArgMax of no columns");
        DeviceMatrix from = Device(logits);
        lock (_gate)
        {
            if (Begins(logits))
            {
                Select(from, 1, normalise: false, tokens, refused: SelectionKernel.Bad);
            }
        }
    }

    /// <inheritdoc/>
    public void Read(Matrix source, Span<float> destination)
    {
        OperationChecks.Holds(destination.Length == (long)source.Rows * source.Columns, "Read's destination does not have rows * columns elements");
        DeviceMatrix from = Device(source);
        lock (_gate)
        {
            for (int row = 0; Begins(source) && row < source.Rows; row++)
            {
                from.Data.SubView(from.At(row, 0), source.Columns).CopyToCPU(_accelerator.DefaultStream, destination.Slice(row * source.Columns, source.Columns));
            }
        }
    }

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> source, Matrix destination)
    {
        OperationChecks.Holds(source.Length == (long)destination.Rows * destination.Columns, "Write's source does not have rows * columns elements");
        DeviceMatrix to = Device(destination);
        lock (_gate)
        {
            for (int row = 0; Begins(destination) && row < destination.Rows; row++)
            {
                to.Data.SubView(to.At(row, 0), destination.Columns).CopyFromCPU(_accelerator.DefaultStream, source.Slice(row * destination.Columns, destination.Columns));
            }
        }
    }

    /// <summary>Largest entries of every row to the host; their values stay on the device. Waits.</summary>
    private void Select(DeviceMatrix logits, int count, bool normalise, Span<int> tokens, int refused)
    {
        ArrayView<int> found = _resultTokens.Take(tokens.Length), status = _status.Take(logits.Rows);
        _kernels.Select(Groups(logits.Rows), logits, count, normalise ? 1 : 0, found, _resultValues.Take(tokens.Length), status);
        Span<int> states = Grown(ref _hostStatus, logits.Rows).AsSpan(0, logits.Rows);
        status.SubView(0, logits.Rows).CopyToCPU(_accelerator.DefaultStream, states);
        found.SubView(0, tokens.Length).CopyToCPU(_accelerator.DefaultStream, tokens);
        for (int row = 0; row < states.Length; row++)
        {
            if ((states[row] & refused) != 0)
            {
                throw new ArithmeticException($"row {row} of the logits is not finite");
            }
        }
    }

    private static int Elements(Matrix matrix) => checked(matrix.Rows * matrix.Columns);

    /// <summary>Whether there is something to do.</summary>
    private bool Begins(Matrix matrix)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return matrix.Rows > 0 && matrix.Columns > 0;
    }
}
