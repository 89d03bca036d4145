using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <content>Weights, matrix products and row-wise operations.</content>
internal sealed partial class CudaBackend
{
    private readonly WeightGroup _weights = new();

    [ThreadStatic]
    private static WeightGroup? _collecting;

    /// <inheritdoc/>
    public Weight LoadWeight(TensorView view)
    {
        OperationChecks.IsWeight(view);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            CudaWeight weight = new(_context, _setup, view);
            (_collecting ?? _weights).Add(weight);
            return weight;
        }
    }

    /// <inheritdoc/>
    public IDisposable CollectWeights(Action load) => WeightCollection.Run(ref _collecting, new WeightGroup(), load);

    /// <inheritdoc/>
    public void Embed(Weight table, ReadOnlySpan<int> tokens, Matrix output)
    {
        foreach (int token in tokens)
        {
            OperationChecks.Holds((uint)token < (uint)table.Rows, $"token {token} lies outside the embedding table of {table.Rows}");
        }

        OperationChecks.Shape(output, tokens.Length, table.Columns, "Embed's output");
        lock (_gate)
        {
            ulong to = Begin(output);
            if (tokens.Length > 0)
            {
                Embed(table, 0, _ring.Upload(tokens), 0, output, to);
            }
        }
    }

    /// <inheritdoc/>
    public void Embed(Weight table, PassBatch batch, Matrix output)
    {
        if (batch.Planned is null)
        {
            Embed(table, batch.Tokens, output);
            return;
        }

        OperationChecks.Shape(output, batch.Count, table.Columns, "Embed's output");
        lock (_gate)
        {
            ulong to = Begin(output);
            DeviceRows rows = _rows.Of(batch);
            Embed(table, rows.Rows, 0, rows.Count, output, to);
        }
    }

    /// <inheritdoc/>
    public void RmsNorm(Matrix input, Weight gain, float epsilon, Matrix output)
    {
        OperationChecks.Shape(output, input.Rows, input.Columns, "RmsNorm's output");
        lock (_gate)
        {
            ulong from = Begin(input), to = Address(output), vector = Vector(gain, input.Columns, "gain");
            if (input.Rows > 0)
            {
                _kernels.Launch(Kernel.RmsNorm, new Grid(input.Rows), new RmsNormArgument
                {
                    Input = from,
                    Gain = vector,
                    Output = to,
                    Rows = input.Rows,
                    Columns = input.Columns,
                    InputStride = input.Stride,
                    OutputStride = output.Stride,
                    Epsilon = epsilon,
                });
            }
        }
    }

    /// <inheritdoc/>
    public void MatMul(Weight weight, Matrix input, Matrix output, Weight? bias = null, bool accumulate = false)
    {
        CudaWeight w = Cuda(weight);
        if (input.Columns != w.Columns)
        {
            throw new ArgumentException($"weight {w.Name} is [{w.Rows}, {w.Columns}], its input [{input.Rows}, {input.Columns}]");
        }

        OperationChecks.Shape(output, input.Rows, w.Rows, "MatMul's output");
        lock (_gate)
        {
            if (IsForCublas(w, bias))
            {
                MultiplyByCublas(w, input, Begin(input), output, Address(output), accumulate);
                return;
            }

            Multiply(w, input, Begin(input), output, Address(output), new MatMulArgument { Bias = bias is null ? 0 : Vector(bias, w.Rows, "bias"), Accumulate = accumulate ? 1 : 0 });
        }
    }

    /// <inheritdoc/>
    public void NormedQuery(PassBatch batch, Matrix input, Weight gain, float epsilon, Matrix norm, Weight weight, Weight? bias, RopeTable table, Matrix output)
    {
        CudaWeight w = Cuda(weight);
        if (KernelLimits.MatMulOutputs % table.HeadSize != 0)
        {
            // A head would lie in two blocks' outputs.
            RmsNorm(input, gain, epsilon, norm);
            MatMul(weight, norm, output, bias);
            Rope(output, output.Columns / table.HeadSize, table, batch);
            return;
        }

        OperationChecks.Holds(input.Columns == w.Columns && batch.Count == input.Rows, "NormedQuery's input does not fit its weight or the batch");
        OperationChecks.Shape(output, input.Rows, w.Rows, "NormedQuery's output");
        OperationChecks.Holds(output.Columns % table.HeadSize == 0, "NormedQuery's heads do not fit its columns");
        lock (_gate)
        {
            ulong from = Begin(input), to = Address(output);
            if (input.Rows == 0)
            {
                return;
            }

            DeviceTable device = Table(table, PositionsOf(batch));
            DeviceRows rows = _rows.Of(batch);
            Multiply(w, input, from, output, to, new MatMulArgument
            {
                Bias = bias is null ? 0 : Vector(bias, w.Rows, "bias"),
                Gain = Vector(gain, input.Columns, "gain"),
                Epsilon = epsilon,
                Cos = device.Cos,
                Sin = device.Sin,
                RowsOf = rows.Rows,
                TableRows = device.Positions,
                HeadSize = table.HeadSize,
            });
        }
    }

    /// <inheritdoc/>
    public void Rope(Matrix values, int heads, RopeTable table, ReadOnlySpan<int> positions)
    {
        OperationChecks.Holds(positions.Length == values.Rows, "Rope's positions do not match its rows");
        int last = -1;
        foreach (int position in positions)
        {
            OperationChecks.Holds(position >= 0, $"position {position} is negative");
            last = Math.Max(last, position);
        }

        lock (_gate)
        {
            ulong at = Begin(values);
            if (values.Rows > 0)
            {
                Rope(values, at, heads, table, Table(table, last + 1), 0, _ring.Upload(positions), 0);
            }
        }
    }

    /// <inheritdoc/>
    public void Rope(Matrix values, int heads, RopeTable table, FixedPositions positions)
    {
        OperationChecks.Holds(positions.Values.Length >= values.Rows, "Rope's positions do not match its rows");
        lock (_gate)
        {
            ulong at = Begin(values);
            if (values.Rows > 0)
            {
                Rope(values, at, heads, table, Table(table, positions.Largest + 1), 0, Positions(positions), 0);
            }
        }
    }

    /// <inheritdoc/>
    public void Rope(Matrix values, int heads, RopeTable table, PassBatch batch)
    {
        if (batch.Planned is null)
        {
            Rope(values, heads, table, batch.Positions);
            return;
        }

        OperationChecks.Holds(batch.Count == values.Rows, "Rope's positions do not match its rows");
        lock (_gate)
        {
            ulong at = Begin(values);
            DeviceRows rows = _rows.Of(batch);
            Rope(values, at, heads, table, Table(table, PositionsOf(batch)), rows.Rows, 0, rows.Count);
        }
    }

    /// <inheritdoc/>
    public void GroupMean(Matrix input, int groupRows, Matrix output)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(groupRows);
        OperationChecks.Holds(input.Rows % groupRows == 0, "GroupMean's rows are no whole groups");
        OperationChecks.Shape(output, input.Rows / groupRows, input.Columns, "GroupMean's output");
        lock (_gate)
        {
            ulong from = Begin(input), to = Address(output);
            if (output.Rows > 0)
            {
                _kernels.Launch(Kernel.GroupMean, new Grid(output.Rows, Ceiling(input.Columns, 256)), new GroupMeanArgument
                {
                    Input = from,
                    Output = to,
                    Groups = output.Rows,
                    GroupRows = groupRows,
                    Columns = input.Columns,
                    InputStride = input.Stride,
                    OutputStride = output.Stride,
                });
            }
        }
    }

    /// <inheritdoc/>
    public void SwiGlu(Matrix gate, Matrix up, Matrix output)
    {
        OperationChecks.Shape(up, gate.Rows, gate.Columns, "SwiGlu's up");
        OperationChecks.Shape(output, gate.Rows, gate.Columns, "SwiGlu's output");
        lock (_gate)
        {
            ulong g = Begin(gate), u = Address(up), to = Address(output);
            if (gate.Rows > 0)
            {
                _kernels.Launch(Kernel.SwiGlu, new Grid(gate.Rows, Ceiling(gate.Columns, 256)), new SwiGluArgument
                {
                    Gate = g,
                    Up = u,
                    Output = to,
                    Rows = gate.Rows,
                    Columns = gate.Columns,
                    GateStride = gate.Stride,
                    UpStride = up.Stride,
                    OutputStride = output.Stride,
                });
            }
        }
    }

    /// <inheritdoc/>
    public void CopyRows(Matrix input, ReadOnlySpan<int> rows, Matrix output)
    {
        OperationChecks.Shape(output, rows.Length, input.Columns, "CopyRows' output");
        foreach (int row in rows)
        {
            OperationChecks.Holds((uint)row < (uint)input.Rows, $"CopyRows is asked for row {row} of {input.Rows}");
        }

        lock (_gate)
        {
            ulong from = Begin(input), to = Address(output);
            if (rows.Length > 0)
            {
                CopyRows(input, from, _ring.Upload(rows), output, to);
            }
        }
    }

    /// <summary>Launches a product; <paramref name="extras"/> says what else happens on the way.</summary>
    private unsafe void Multiply(CudaWeight w, Matrix input, ulong from, Matrix output, ulong to, MatMulArgument extras)
    {
        for (int first = 0; first < input.Rows; first += RowsPerLaunch)
        {
            int rows = Math.Min(RowsPerLaunch, input.Rows - first), parts = w.Parts;
            _kernels.Launch(w.MatMul, new Grid(MatMulArgument.Tiles(w.Rows), parts, MatMulArgument.Blocks(rows)), extras with
            {
                Weight = w.Data,
                Scales = w.Scales,
                Offsets = w.Offsets,
                Input = from + ((ulong)first * (ulong)input.Stride * sizeof(float)),
                Output = to + ((ulong)first * (ulong)output.Stride * sizeof(float)),
                Scratch = parts == 1 ? 0 : _scratch.Get(ScratchKind.MatMul, sizeof(float) * MatMulArgument.ScratchLength(rows, w.Rows, parts)),
                Arrivals = _arrivals.Address,
                RowsOf = extras.RowsOf == 0 ? 0 : extras.RowsOf + ((ulong)first * (ulong)sizeof(DeviceRow)),
                Rows = rows,
                Outputs = w.Rows,
                Columns = w.Columns,
                WeightStride = w.Stride,
                InputStride = input.Stride,
                OutputStride = output.Stride,
                Parts = parts,
            });
        }
    }

    /// <summary>Positions that a batch's rows may have.</summary>
    private static int PositionsOf(PassBatch batch) => batch.Planned is null ? batch.LastPosition + 1 : batch.Cache(0).Capacity + 1;

    private void CopyRows(Matrix input, ulong from, ulong sources, Matrix output, ulong to, ulong count = 0) =>
        _kernels.Launch(Kernel.CopyRows, new Grid(Ceiling(input.Columns, 256)), new CopyRowsArgument
        {
            Input = from,
            Sources = sources,
            Output = to,
            Count = count,
            Rows = output.Rows,
            Columns = input.Columns,
            InputStride = input.Stride,
            OutputStride = output.Stride,
        });

    private void Embed(Weight table, ulong rowsOf, ulong tokens, ulong count, Matrix output, ulong to)
    {
        (ulong data, DeviceType type) = Cuda(table).Table(_context, _setup);
        _kernels.Launch(Kernel.Embed, new Grid(output.Rows), new EmbedArgument
        {
            Table = data,
            RowsOf = rowsOf,
            Tokens = tokens,
            Output = to,
            Count = count,
            Rows = output.Rows,
            Columns = output.Columns,
            Stride = output.Stride,
            Vocabulary = table.Rows,
            TableType = type,
        });
    }

    private void Rope(Matrix values, ulong at, int heads, RopeTable table, DeviceTable device, ulong rowsOf, ulong positions, ulong count)
    {
        OperationChecks.Holds(values.Columns == heads * table.HeadSize, "Rope's heads do not fit its columns");
        _kernels.Launch(Kernel.RopeAppend, new Grid(values.Rows), new RopeAppendArgument
        {
            RowsOf = rowsOf,
            Positions = positions,
            Q = at,
            Cos = device.Cos,
            Sin = device.Sin,
            Count = count,
            Rows = values.Rows,
            Heads = heads,
            HeadSize = table.HeadSize,
            QStride = values.Stride,
            TableRows = device.Positions,
        });
    }

    private static ulong Vector(Weight weight, int length, string what)
    {
        CudaWeight vector = Cuda(weight);
        return vector.Rows == 1 && vector.Columns == length
            ? vector.Vector
            : throw new ArgumentException($"{what} {weight.Name} is [{weight.Rows}, {weight.Columns}], expected [1, {length}]");
    }
}
