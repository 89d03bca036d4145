using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <content>Whole cycles as one graph.</content>
internal sealed partial class CudaBackend : ICycleBackend
{
    /// <inheritdoc/>
    public ICyclePlan CreateCycle(TreeSettings tree, int scoredTokens, int[]? columnTokens, SamplingOptions sampling)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return new Cycle(this, tree, scoredTokens, columnTokens, sampling);
        }
    }

    /// <summary>One generation's cycles: its state, tree and rows in device memory, and a pinned copy of the state that each cycle ends with.</summary>
    private sealed unsafe class Cycle : ICyclePlan
    {
        private readonly CudaBackend _backend;
        private readonly int _breadth, _total;
        private readonly SamplingOptions _sampling;
        private readonly DeviceMemory _state, _tree, _grower, _rootGrower, _rows, _ancestors, _counts;
        private readonly DeviceMemory? _names;
        private readonly PinnedMemory _host;
        private readonly DeviceScratch _scratch;
        private readonly CudaEvent _begun, _done;

        public Cycle(CudaBackend backend, TreeSettings tree, int scoredTokens, int[]? columnTokens, SamplingOptions sampling)
        {
            (_backend, _sampling) = (backend, sampling);
            (_breadth, _total) = (Math.Min(tree.Breadth, scoredTokens), tree.TotalTokens);
            CudaContext context = backend._context;
            const string Purpose = "the state of a cycle";
            _scratch = new DeviceScratch(context, keepsAll: true);
            _state = Zeroed<DeviceState>();
            _tree = Zeroed<DeviceTree>();
            _grower = Zeroed<DeviceGrower>();
            _rootGrower = Zeroed<DeviceGrower>();
            _rows = DeviceBlocks.Zeroed(context, backend._stream, KernelLimits.MaxTree, sizeof(DeviceRow), Purpose);
            _ancestors = DeviceBlocks.Zeroed(context, backend._stream, KernelLimits.MaxTree * KernelLimits.MaxTree, sizeof(int), Purpose);
            _counts = DeviceBlocks.Zeroed(context, backend._stream, 2, sizeof(int), Purpose);
            _host = new PinnedMemory(context, sizeof(DeviceState), Purpose);
            (_begun, _done) = (new CudaEvent(context, timed: true), new CudaEvent(context, timed: true));

            // A grower that has failed leaves the root alone: what plain decoding asks for.
            int failed = 1;
            backend._stream.CopyToDevice(_rootGrower.Address + (ulong)Offset<DeviceGrower>(nameof(DeviceGrower.Failed)), (nint)(&failed), sizeof(int));
            if (columnTokens is not null)
            {
                _names = DeviceBlocks.Allocate(context, columnTokens.Length, sizeof(int), "the tokens of a trimmed draft head");
                fixed (int* tokens = columnTokens)
                {
                    backend._stream.CopyToDevice(_names.Address, (nint)tokens, (long)columnTokens.Length * sizeof(int));
                    backend._stream.Synchronize();
                }
            }

            backend._stream.Synchronize();

            DeviceMemory Zeroed<T>()
                where T : unmanaged => DeviceBlocks.Zeroed(context, backend._stream, 1, sizeof(T), Purpose);
        }

        private DeviceState* Host => (DeviceState*)_host.Pointer;

        private ulong Count => _counts.Address;

        private ulong Last => _counts.Address + sizeof(int);

        // The accepted path's cache rows begin with the root's, which is where the path moves to.
        private ulong PathRows => _state.Address + (ulong)Offset<DeviceState>(nameof(DeviceState.Rows));

        private ulong Observed => _state.Address + (ulong)Offset<DeviceState>(nameof(DeviceState.Observed));

        public double LastSeconds => _done.MillisecondsSince(_begun) / 1e3;

        public void Start(int verified, TokenId root, int committed, int drafterRows)
        {
            lock (_backend._gate)
            {
                _backend._stream.Synchronize();
                *Host = new DeviceState { Verified = verified, Root = root.Value, Committed = committed, SelfLength = drafterRows };
                _backend._stream.CopyToDevice(_state.Address, (nint)Host, sizeof(DeviceState));
                _backend._stream.Synchronize();
            }
        }

        public IDisposable Record(Action cycle)
        {
            lock (_backend._gate)
            {
                ObjectDisposedException.ThrowIf(_backend._disposed, _backend);
                CudaStream stream = _backend._stream;
                _backend._kernels.Prepare();
                stream.BeginCapture();
                (_backend._scratch, _backend._ring.IsClosed) = (_scratch, true);
                CudaGraph? graph = null;
                try
                {
                    cycle();
                    stream.CopyToHost((nint)Host, _state.Address, sizeof(DeviceState));
                }
                finally
                {
                    (_backend._scratch, _backend._ring.IsClosed) = (_backend._ownScratch, false);
                    graph = stream.EndCapture();
                }

                using (graph)
                {
                    return graph.Instantiate();
                }
            }
        }

        public CycleOutcome Run(IDisposable recording)
        {
            lock (_backend._gate)
            {
                ObjectDisposedException.ThrowIf(_backend._disposed, _backend);
                _begun.Record(_backend._stream);
                _backend._stream.Launch((CudaGraphExec)recording);
                _done.Record(_backend._stream);
            }

            // Others may enqueue meanwhile.
            _done.Synchronize();
            DeviceState* state = Host;
            int committed = state->Failed == 0 ? state->Accepted + 1 : 0;
            return new CycleOutcome
            {
                Verified = state->Verified,
                Accepted = state->Accepted,
                TreeNodes = state->TreeCount,
                Failed = state->Failed != 0,
                DrafterFailed = state->DrafterFailed != 0,
                Tokens = new ReadOnlySpan<int>(state->Tokens, committed),
                Path = new ReadOnlySpan<int>(state->Path, committed),
            };
        }

        public void Fill(PassBatch batch, CycleRows kind, KvCache cache, int rows)
        {
            CudaKvCache kv = Cuda(cache);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, KernelLimits.MaxTree);
            _backend._kernels.Launch(Kernel.Rows, new Grid(1), new RowsArgument
            {
                State = _state.Address,
                Tree = _tree.Address,
                Grower = _grower.Address,
                Keys = kv.Keys,
                Values = kv.Values,
                RowsOf = _rows.Address,
                Ancestors = _ancestors.Address,
                Count = Count,
                Last = Last,
                Capacity = kv.Capacity,
                Kind = (RowsKind)kind,
                Breadth = _breadth,
            });
            batch.Plan(new DeviceRows(_rows.Address, _ancestors.Address, Count, kv.Capacity), kv, rows);
        }

        public void CopyLast(Matrix rows, Matrix output) => _backend.CopyRows(rows, Address(rows), Last, output, Address(output));

        public void Copy(Matrix input, Matrix output) => _backend.CopyRows(input, Address(input), 0, output, Address(output));

        public void CopyParents(Matrix rows, Matrix output) =>
            _backend.CopyRows(rows, Address(rows), _grower.Address + (ulong)Offset<DeviceGrower>(nameof(DeviceGrower.FrontierParents)), output, Address(output));

        public void CopyPath(Matrix rows, Matrix output) =>
            _backend.CopyRows(rows, Address(rows), _state.Address + (ulong)Offset<DeviceState>(nameof(DeviceState.Path)), output, Address(output), Observed);

        public void StartTree(Matrix logits) => Grow(Kernel.GrowFirst, logits);

        public void GrowTree(Matrix logits) => Grow(Kernel.Grow, logits);

        public void SelectTree() => Select(_grower);

        public void RootTree() => Select(_rootGrower);

        public void Accept(Matrix logits, int most)
        {
            ulong nodes = _tree.Address + (ulong)Offset<DeviceTree>(nameof(DeviceTree.Count));
            TopResult chosen = _sampling.Temperature > 0
                ? _backend.Sample(logits, Address(logits), _sampling, 0, _tree.Address, _state.Address, nodes)
                : _backend.Top(logits, Address(logits), 1, withLogProbabilities: false, nodes);
            _backend._kernels.Launch(Kernel.Accept, new Grid(1), new AcceptArgument
            {
                Tree = _tree.Address,
                Tokens = chosen.Tokens,
                Status = chosen.Status,
                State = _state.Address,

                // Ends and lengths are cut by the host, which throws the state away then.
                MaxAccepted = most,
            });
        }

        public void KeepPath(KvCache cache) => _backend.KeepRows(Cuda(cache), PathRows, Observed, PathRows, 0, KernelLimits.MaxTree);

        public void GatherObserved(KvCache cache, Matrix output)
        {
            CudaKvCache kv = Cuda(cache);
            _backend.GatherLayers(kv, PathRows, 0, Observed, output.Rows / kv.Layers, output, Address(output));
        }

        public void Dispose()
        {
            _begun.Dispose();
            _done.Dispose();
            _host.Dispose();
            _scratch.Dispose();
            _names?.Dispose();
            foreach (DeviceMemory memory in (DeviceMemory[])[_state, _tree, _grower, _rootGrower, _rows, _ancestors, _counts])
            {
                memory.Dispose();
            }
        }

        private void Grow(Kernel kernel, Matrix logits)
        {
            TopResult top = _backend.Top(logits, Address(logits), _breadth, withLogProbabilities: true, 0);
            _backend._kernels.Launch(kernel, new Grid(1), new GrowArgument
            {
                Grower = _grower.Address,
                Tokens = top.Tokens,
                LogProbabilities = top.LogProbabilities,
                Status = top.Status,
                Names = _names?.Address ?? 0,
                Breadth = _breadth,
            });
        }

        private static int Offset<T>(string field) => (int)System.Runtime.InteropServices.Marshal.OffsetOf<T>(field);

        private void Select(DeviceMemory grower) => _backend._kernels.Launch(Kernel.Select, new Grid(1), new SelectArgument
        {
            Grower = grower.Address,
            Tree = _tree.Address,
            State = _state.Address,
            Total = _total,
        });
    }
}
