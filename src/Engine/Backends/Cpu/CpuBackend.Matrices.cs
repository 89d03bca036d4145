using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Matrix products and row-wise operations.</content>
public sealed unsafe partial class CpuBackend
{
    // Input rows that stay in the second-level cache while the weights stream past them.
    private const long RowBlockBytes = 512 * 1024;

    private const int FewRows = 32;
    private const long DecodedBytes = 128 * 1024;

    // Fewer rows than this are not split: each part decodes the weights anew.
    private const int MinRowsPerItem = 12;

    /// <inheritdoc/>
    public void Embed(Weight table, ReadOnlySpan<int> tokens, Matrix output)
    {
        CpuWeight weight = Cpu(table);
        Expect(output, tokens.Length, weight.Columns, "Embed's output");
        float* to = Data(output);
        delegate*<byte*, float*, int, void> decode = _kernels.RowDecoder(weight.Type);
        for (int i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)weight.Rows)
            {
                throw new ArgumentException($"token {tokens[i]} lies outside the embedding table of {weight.Rows}");
            }

            decode(weight.Data + (tokens[i] * weight.RowBytes), to + ((long)i * output.Stride), weight.Columns);
        }

        GC.KeepAlive(output.Buffer);
    }

    /// <inheritdoc/>
    public void RmsNorm(Matrix input, Weight gain, float epsilon, Matrix output)
    {
        Expect(output, input.Rows, input.Columns, "RmsNorm's output");
        RowsJob job = new()
        {
            Rows = input.Rows,
            Columns = input.Columns,
            Input = Data(input),
            InputStride = input.Stride,
            Other = Vector(gain, input.Columns, "gain"),
            Output = Data(output),
            OutputStride = output.Stride,
            Epsilon = epsilon,
        };
        RunRows(_kernels.RmsNorm, ref job, OperationCosts.RmsNorm(input.Rows, input.Columns));
        GC.KeepAlive(input.Buffer);
        GC.KeepAlive(output.Buffer);
        GC.KeepAlive(gain);
    }

    /// <inheritdoc/>
    public void MatMul(Weight weight, Matrix input, Matrix output, Weight? bias = null, bool accumulate = false)
    {
        CpuWeight w = Cpu(weight);
        MatMulJob job = Describe(w, input, output, bias, accumulate);
        if (job.Rows == 0 || w.Rows == 0)
        {
            return;
        }

        lock (_team.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (UsesIntegers(w))
            {
                RunIntegers(job, [w], [job.Target]);
            }
            else if (UsesHalves(w))
            {
                RunHalves(job, [w], [job.Target]);
            }
            else
            {
                RunMatMul(ref job, w.Type);
            }
        }

        GC.KeepAlive(input.Buffer);
        GC.KeepAlive(output.Buffer);
        GC.KeepAlive(bias);
    }

    /// <inheritdoc/>
    public void Rope(Matrix values, int heads, RopeTable table, ReadOnlySpan<int> positions)
    {
        Expect(values, positions.Length, heads * table.HeadSize, "Rope's input");
        int last = -1;
        foreach (int position in positions)
        {
            Check(position >= 0, "a position is negative");
            last = Math.Max(last, position);
        }

        if (last < 0 || heads == 0)
        {
            return;
        }

        (float[] cos, float[] sin) = table.Covering(last + 1);
        fixed (float* cosines = cos, sines = sin)
        {
            fixed (int* at = positions)
            {
                RowsJob job = new()
                {
                    Rows = values.Rows,
                    Columns = values.Columns,
                    Output = Data(values),
                    OutputStride = values.Stride,
                    Count = heads,
                    Cos = cosines,
                    Sin = sines,
                    Positions = at,
                };
                RunRows(_kernels.Rope, ref job, OperationCosts.Rope(values.Rows, values.Columns));
            }
        }

        GC.KeepAlive(values.Buffer);
    }

    /// <inheritdoc/>
    public void SwiGlu(Matrix gate, Matrix up, Matrix output)
    {
        Expect(up, gate.Rows, gate.Columns, "SwiGlu's second input");
        Expect(output, gate.Rows, gate.Columns, "SwiGlu's output");
        RowsJob job = new()
        {
            Rows = gate.Rows,
            Columns = gate.Columns,
            Input = Data(gate),
            InputStride = gate.Stride,
            Other = Data(up),
            OtherStride = up.Stride,
            Output = Data(output),
            OutputStride = output.Stride,
        };
        RunRows(_kernels.SwiGlu, ref job, OperationCosts.SwiGlu(gate.Rows, gate.Columns));
        GC.KeepAlive(gate.Buffer);
        GC.KeepAlive(up.Buffer);
        GC.KeepAlive(output.Buffer);
    }

    /// <inheritdoc/>
    public void GroupMean(Matrix input, int groupRows, Matrix output)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(groupRows);
        Check(input.Rows % groupRows == 0, "GroupMean's input rows are no whole groups");
        Expect(output, input.Rows / groupRows, input.Columns, "GroupMean's output");
        RowsJob job = new()
        {
            Rows = output.Rows,
            Columns = input.Columns,
            Input = Data(input),
            InputStride = input.Stride,
            Output = Data(output),
            OutputStride = output.Stride,
            Count = groupRows,
        };
        RunRows(_kernels.GroupMean, ref job, OperationCosts.GroupMean(output.Rows, groupRows, input.Columns));
        GC.KeepAlive(input.Buffer);
        GC.KeepAlive(output.Buffer);
    }

    /// <inheritdoc/>
    public void CopyRows(Matrix input, ReadOnlySpan<int> rows, Matrix output)
    {
        Expect(output, rows.Length, input.Columns, "CopyRows's output");
        float* from = Data(input), to = Data(output);
        long bytes = (long)input.Columns * sizeof(float);
        for (int i = 0; i < rows.Length; i++)
        {
            Check((uint)rows[i] < (uint)input.Rows, "CopyRows is asked for a row outside its input");
            Buffer.MemoryCopy(from + ((long)rows[i] * input.Stride), to + ((long)i * output.Stride), bytes, bytes);
        }

        GC.KeepAlive(input.Buffer);
        GC.KeepAlive(output.Buffer);
    }

    /// <inheritdoc/>
    public void TopLogProbabilities(Matrix logits, int count, Span<int> tokens, Span<float> logProbabilities)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        Check(count <= logits.Columns, "more entries are wanted than there are columns");
        Check(tokens.Length == logits.Rows * count && logProbabilities.Length == tokens.Length, "TopLogProbabilities' results do not have rows * count entries");
        fixed (int* tokenPointer = tokens)
        {
            fixed (float* values = logProbabilities)
            {
                SelectionJob job = new()
                {
                    Logits = Data(logits),
                    Stride = logits.Stride,
                    Columns = logits.Columns,
                    Count = count,
                    Tokens = tokenPointer,
                    LogProbabilities = values,
                };
                RunSelection(_kernels.TopLogProbabilities, ref job, logits);
            }
        }
    }

    /// <inheritdoc/>
    public void ArgMax(Matrix logits, Span<int> tokens)
    {
        Check(tokens.Length == logits.Rows, "ArgMax's result does not have one entry per row");
        Check(logits.Columns > 0 || logits.Rows == 0, "ArgMax of no columns");
        fixed (int* tokenPointer = tokens)
        {
            SelectionJob job = new()
            {
                Logits = Data(logits),
                Stride = logits.Stride,
                Columns = logits.Columns,
                Count = 1,
                Tokens = tokenPointer,
            };
            RunSelection(_kernels.ArgMax, ref job, logits);
        }
    }

    /// <inheritdoc/>
    public void Read(Matrix source, Span<float> destination)
    {
        Check(destination.Length == (long)source.Rows * source.Columns, "Read's destination does not have rows * columns elements");
        float* from = Data(source);
        for (int row = 0; row < source.Rows; row++)
        {
            new ReadOnlySpan<float>(from + ((long)row * source.Stride), source.Columns).CopyTo(destination[(row * source.Columns)..]);
        }

        GC.KeepAlive(source.Buffer);
    }

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> source, Matrix destination)
    {
        Check(source.Length == (long)destination.Rows * destination.Columns, "Write's source does not have rows * columns elements");
        float* to = Data(destination);
        for (int row = 0; row < destination.Rows; row++)
        {
            source.Slice(row * destination.Columns, destination.Columns).CopyTo(new Span<float>(to + ((long)row * destination.Stride), destination.Columns));
        }

        GC.KeepAlive(destination.Buffer);
    }

    /// <summary>Checks the shapes of a product.</summary>
    private static MatMulJob Describe(CpuWeight w, Matrix input, Matrix output, Weight? bias, bool accumulate)
    {
        if (input.Columns != w.Columns)
        {
            throw new ArgumentException($"weight {w.Name} is [{w.Rows}, {w.Columns}], its input [{input.Rows}, {input.Columns}]");
        }

        Expect(output, input.Rows, w.Rows, "MatMul's output");
        return new MatMulJob
        {
            Weights = w.Data,
            RowBytes = w.RowBytes,
            Columns = w.Columns,
            HeadSize = w.HeadSize,
            Input = Data(input),
            InputStride = input.Stride,
            Rows = input.Rows,
            Target = new MatMulTarget
            {
                Outputs = w.Rows,
                Output = Data(output),
                OutputStride = output.Stride,
                Bias = bias is null ? null : Vector(bias, w.Rows, "bias"),
                Accumulate = accumulate,
            },
        };
    }

    private void RunMatMul(ref MatMulJob job, TensorType type)
    {
        delegate*<void*, int, int, void> kernel = job.Columns % 32 == 0 ? _kernels.MatMulInRegisters(type, job.Rows) : null;
        OperationCost cost = OperationCosts.MatMul(type, job.Rows, job.Columns, job.Target.Outputs);
        int unit = 4;
        job.RowsPerItem = job.Rows;
        if (kernel is null)
        {
            kernel = _kernels.MatMulTiled;
            PrepareTiled(ref job, type);
            unit = job.DecodedRows;
        }

        int units = (job.Target.Outputs + unit - 1) / unit, rowUnits = Math.Max(job.RowItems, job.Rows / MinRowsPerItem);
        int items = Items((int)Math.Min((long)units * rowUnits, int.MaxValue), cost.Bytes, cost.Flops);
        if ((long)units * job.RowItems < items)
        {
            // Few outputs: the rows are split further.
            int rowItems = (items + units - 1) / units;
            job.RowsPerItem = Math.Min(job.RowsPerItem, (job.Rows + rowItems - 1) / rowItems);
        }

        int outputItems = Math.Clamp((items + job.RowItems - 1) / job.RowItems, 1, units);
        job.OutputsPerItem = (units + outputItems - 1) / outputItems * unit;
        fixed (MatMulJob* pointer = &job)
        {
            _team.Run(kernel, pointer, job.Items);
        }
    }

    private void PrepareTiled(ref MatMulJob job, TensorType type)
    {
        int padded = SimdMath.PadLanes(job.Columns);
        job.InPlace = type == TensorType.F32 && padded == job.Columns;
        job.Decode = _kernels.RowDecoder(type);
        if (padded != job.Columns)
        {
            float* packed = (float*)_scratch.Shared((long)job.Rows * padded * sizeof(float));
            for (int row = 0; row < job.Rows; row++)
            {
                SimdMath.CopyPadded(job.Input + (row * job.InputStride), packed + ((long)row * padded), job.Columns);
            }

            job.Input = packed;
            job.InputStride = padded;
        }

        // Few rows use decoded weights only once or twice, out of the first-level cache; many rows pass by a larger block in turn.
        long fitting = DecodedBytes / ((long)padded * sizeof(float)) / 4 * 4;
        job.DecodedRows = job.Rows <= FewRows ? 4 : (int)Math.Clamp(fitting, 4, MatMulKernels<Simd16Of128>.MostDecodedRows);
        job.Scratch = _scratch.PerThread(_kernels.MatMulScratch(job.Columns));
        job.ScratchStride = _scratch.ThreadStride;
        long rowsInCache = Math.Max(24, RowBlockBytes / ((long)padded * sizeof(float)) / 6 * 6);
        job.RowsPerItem = (int)Math.Min(job.Rows, rowsInCache);
    }

    private void RunSelection(delegate*<void*, int, int, void> kernel, ref SelectionJob job, Matrix logits)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        fixed (SelectionJob* pointer = &job)
        {
            if (_team.Threads == 1 || logits.Rows == 1 || (long)logits.Rows * logits.Columns < BytesPerItem)
            {
                for (int row = 0; row < logits.Rows; row++)
                {
                    kernel(pointer, 0, row);
                }
            }
            else
            {
                Run(kernel, pointer, logits.Rows);
            }

            if (pointer->BadRow != 0)
            {
                throw new ArithmeticException($"row {pointer->BadRow - 1} of the logits is not finite");
            }
        }

        GC.KeepAlive(logits.Buffer);
    }
}
