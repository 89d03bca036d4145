using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <content>Top entries and the largest one.</content>
internal sealed partial class CudaBackend
{
    /// <inheritdoc/>
    public void TopLogProbabilities(Matrix logits, int count, Span<int> tokens, Span<float> logProbabilities)
    {
        OperationChecks.Holds(count >= 1 && count <= logits.Columns, $"TopLogProbabilities is asked for {count} of {logits.Columns} entries");
        OperationChecks.Holds(
            tokens.Length == (long)logits.Rows * count && logProbabilities.Length == tokens.Length, "TopLogProbabilities' results have room for another number of entries");
        OperationChecks.Holds(count <= KernelLimits.MaxTop, $"the GPU's kernels find the {KernelLimits.MaxTop} largest entries, not {count}");
        Span<int> status = stackalloc int[logits.Rows];
        lock (_gate)
        {
            ulong at = Begin(logits);
            if (logits.Rows == 0)
            {
                return;
            }

            TopResult top = Top(logits, at, count, withLogProbabilities: true, 0);
            Fetch(top.Tokens, tokens);
            Fetch(top.LogProbabilities, logProbabilities);
            Fetch(top.Status, status);
        }

        for (int r = 0; r < status.Length; r++)
        {
            if (status[r] != 0)
            {
                throw new ArithmeticException($"row {r} of the logits holds {Describe((LogitStatus)status[r])}");
            }
        }
    }

    /// <inheritdoc/>
    public void ArgMax(Matrix logits, Span<int> tokens)
    {
        OperationChecks.Holds(tokens.Length == logits.Rows && logits.Columns > 0, "ArgMax's result has room for another number of rows");
        Span<int> status = stackalloc int[logits.Rows];
        lock (_gate)
        {
            ulong at = Begin(logits);
            if (logits.Rows == 0)
            {
                return;
            }

            TopResult top = Top(logits, at, 1, withLogProbabilities: false, 0);
            Fetch(top.Tokens, tokens);
            Fetch(top.Status, status);
        }

        for (int r = 0; r < status.Length; r++)
        {
            if ((status[r] & (int)~LogitStatus.NegativeInfinity) != 0)
            {
                throw new ArithmeticException($"row {r} of the logits holds {Describe((LogitStatus)status[r])}");
            }
        }
    }

    /// <inheritdoc/>
    public bool TrySample(Matrix logits, SamplingOptions options, long draw, out int token)
    {
        ArgumentNullException.ThrowIfNull(options);
        OperationChecks.Holds(logits.Rows == 1 && options.Temperature > 0 && !options.HasPenalties, "TrySample draws one token, at a temperature and without penalties");
        Span<int> tokens = stackalloc int[1], status = stackalloc int[1];
        lock (_gate)
        {
            TopResult drawn = Sample(logits, Begin(logits), options, draw, 0, 0, 0);
            Fetch(drawn.Tokens, tokens);
            Fetch(drawn.Status, status);
        }

        token = tokens[0];
        if ((status[0] & (int)~LogitStatus.NegativeInfinity) != 0)
        {
            throw new ArithmeticException($"the logits hold {Describe((LogitStatus)status[0])}");
        }

        return true;
    }

    /// <summary>Where the kernels leave their results: [rows, top], [rows, top], [rows].</summary>
    private readonly record struct TopResult(ulong Tokens, ulong LogProbabilities, ulong Status);

    private TopResult Top(Matrix logits, ulong at, int count, bool withLogProbabilities, ulong rowCount)
    {
        int n = logits.Rows, chunks = TopArgument.Chunks(logits.Columns);
        TopArgument argument = new()
        {
            Logits = at,
            Keys = _scratch.Get(ScratchKind.TopKeys, (long)n * chunks * count * sizeof(ulong)),
            Sums = _scratch.Get(ScratchKind.TopSums, (long)n * chunks * 2 * sizeof(float)),
            ChunkStatus = _scratch.Get(ScratchKind.TopStatus, (long)n * chunks * sizeof(int)),
            Tokens = _scratch.Get(ScratchKind.TopTokens, (long)n * count * sizeof(int)),
            LogProbabilities = withLogProbabilities ? _scratch.Get(ScratchKind.TopValues, (long)n * count * sizeof(float)) : 0,
            Status = _scratch.Get(ScratchKind.RowStatus, (long)n * sizeof(int)),
            Count = rowCount,
            Rows = n,
            Columns = logits.Columns,
            Stride = logits.Stride,
            Top = count,
        };
        _kernels.Launch(Kernel.TopPartial, new Grid(chunks, n), argument);
        _kernels.Launch(Kernel.TopMerge, new Grid(n), argument);
        return new TopResult(argument.Tokens, argument.LogProbabilities, argument.Status);
    }

    private TopResult Sample(Matrix logits, ulong at, SamplingOptions options, long firstDraw, ulong tree, ulong state, ulong rowCount)
    {
        int n = logits.Rows;
        SampleArgument argument = new()
        {
            Logits = at,
            Tree = tree,
            State = state,
            Weights = _scratch.Get(ScratchKind.SampleWeights, (long)n * logits.Columns * sizeof(ulong)),
            Tokens = _scratch.Get(ScratchKind.TopTokens, (long)n * sizeof(int)),
            Status = _scratch.Get(ScratchKind.RowStatus, (long)n * sizeof(int)),
            Count = rowCount,
            Seed = options.Seed,
            FirstDraw = firstDraw,
            Temperature = options.Temperature,
            TopP = options.TopP,
            MinP = options.MinP,
            TopK = options.TopK,
            Rows = n,
            Columns = logits.Columns,
            Stride = logits.Stride,
        };
        _kernels.Launch(Kernel.Sample, new Grid(n), argument);
        return new TopResult(argument.Tokens, 0, argument.Status);
    }

    private unsafe void Fetch<T>(ulong from, Span<T> to)
        where T : unmanaged
    {
        fixed (T* pointer = to)
        {
            _stream.CopyToHost((nint)pointer, from, (long)to.Length * sizeof(T));
            _stream.Synchronize();
        }
    }

    private static string Describe(LogitStatus status) =>
        status.HasFlag(LogitStatus.NaN) ? "NaN" : status.HasFlag(LogitStatus.PositiveInfinity) ? "+infinity" : status.HasFlag(LogitStatus.Nothing) ? "nothing but -infinity" : "-infinity";
}
