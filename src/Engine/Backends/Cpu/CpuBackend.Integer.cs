using System.Runtime.InteropServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Matrix products in integer arithmetic.</content>
public sealed unsafe partial class CpuBackend
{
    // Below this many elements quantising the input is done before another thread could help.
    private const long ElementsPerInputItem = 32 * 1024;

    // Products that may share their input.
    private const int MostShared = 4;

    /// <inheritdoc/>
    public Weight LoadMatrix(TensorView view)
    {
        CpuWeight w = Cpu(LoadWeight(view));
        lock (_team.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (UsesIntegers(w))
            {
                Packed(w);
            }
            else if (UsesHalves(w))
            {
                Halves(w);
            }
        }

        return w;
    }

    /// <inheritdoc/>
    public Weight LoadDraftMatrix(TensorView view)
    {
        // A drafter of a hundredth of the target's size takes a third of a step's time where its products run in f32 and the target's in integers.
        bool floats = view.Type is TensorType.F32 or TensorType.F16 or TensorType.BF16;
        return _arithmetic == Arithmetic.Auto && floats && view.Rows > 1 && view.Shape.Count == 2 && view.InterleavedHeads == 0 && Quantised(view) is { } quantised ? quantised : LoadMatrix(view);
    }

    /// <inheritdoc/>
    public void MatMulAll(Matrix input, ReadOnlySpan<Product> products)
    {
        if (products.IsEmpty)
        {
            return;
        }

        if (!ShareInput(products))
        {
            foreach (Product product in products)
            {
                MatMul(product.Weight, input, product.Output, product.Bias);
            }

            return;
        }

        Span<MatMulTarget> targets = stackalloc MatMulTarget[MostShared];
        SharedWeights weights = default;
        MatMulJob job = default;
        for (int i = 0; i < products.Length; i++)
        {
            weights[i] = Cpu(products[i].Weight);
            job = Describe(weights[i], input, products[i].Output, products[i].Bias, accumulate: false);
            targets[i] = job.Target;
        }

        if (job.Rows == 0)
        {
            return;
        }

        lock (_team.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            ReadOnlySpan<CpuWeight> shared = ((ReadOnlySpan<CpuWeight>)weights)[..products.Length];
            if (UsesIntegers(shared[0]))
            {
                RunIntegers(job, shared, targets[..products.Length]);
            }
            else
            {
                RunHalves(job, shared, targets[..products.Length]);
            }
        }

        GC.KeepAlive(input.Buffer);
        foreach (Product product in products)
        {
            GC.KeepAlive(product.Output.Buffer);
            GC.KeepAlive(product.Bias);
        }
    }

    /// <summary>
    /// The weight as Q8_0, in memory of its own, its rows filled up to whole blocks; null where its scales are not all numbers (the f32 kernels then show what is broken), or where no array is large enough.
    /// </summary>
    private CpuWeight? Quantised(TensorView view)
    {
        int block = TensorType.Q8_0.BlockElements(), columns = (view.Columns + block - 1) / block * block, rowBytes = checked((int)TensorType.Q8_0.Bytes(columns));
        if ((long)view.Rows * rowBytes > Array.MaxLength)
        {
            return null;
        }

        byte[] rows = GC.AllocateUninitializedArray<byte>(view.Rows * rowBytes, pinned: true);
        float[] row = new float[columns];
        for (int r = 0; r < view.Rows; r++)
        {
            Dequantizer.Row(view, r, row.AsSpan(0, view.Columns));
            Quantizer.Quantize(TensorType.Q8_0, row, rows.AsSpan(r * rowBytes, rowBytes));
        }

        CpuWeight weight = new(new TensorView(view.Name, TensorType.Q8_0, [view.Rows, columns], Marshal.UnsafeAddrOfPinnedArrayElement(rows, 0), view.FilePath), Arena, view.Columns) { Owner = rows };
        if (!weight.HasIntegers)
        {
            return null;
        }

        lock (_team.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            Packed(weight);
        }

        return weight;
    }

    private bool UsesIntegers(CpuWeight weight) => _arithmetic == Arithmetic.Auto && weight.HasIntegers;

    private PackedWeights Packed(CpuWeight weight) => weight.Packed ??= PackedWeights.Create(weight, weight.Arena);

    /// <summary>The native library's tile, or null: the C# tile.</summary>
    private void* Int8Tile => _native == null ? null : _native.Int8;

    private InputFormat FormatOf(CpuWeight weight) => _kernels.InputFormat(weight.Type, Int8Tile != null);

    /// <summary>Whether products can run as one: of integers, whose input is quantised alike, or of 16-bit floats.</summary>
    private bool ShareInput(ReadOnlySpan<Product> products)
    {
        CpuWeight first = Cpu(products[0].Weight);
        bool share = products.Length <= MostShared;
        foreach (Product product in products)
        {
            CpuWeight w = Cpu(product.Weight);
            bool alike = UsesIntegers(w) ? UsesIntegers(first) && FormatOf(w) == FormatOf(first) : UsesHalves(w) && UsesHalves(first);
            share = share && alike && w.Columns == first.Columns;
        }

        return share;
    }

    /// <summary>Quantises the input once, then multiplies it with all weights, whose items are shared out together. Holds the team's gate.</summary>
    private void RunIntegers(in MatMulJob product, ReadOnlySpan<CpuWeight> weights, ReadOnlySpan<MatMulTarget> targets)
    {
        InputFormat format = FormatOf(weights[0]);
        int inputBytes = InputBlocks.Bytes(format);
        InputJob inputs = new()
        {
            Input = product.Input,
            Stride = product.InputStride,
            Rows = product.Rows,
            Columns = product.Columns,
            Format = format,
        };
        int blocks = inputs.Blocks;
        inputs.Output = _scratch.Shared((long)product.Rows * blocks * inputBytes);
        int tiles = inputs.Tiles;
        int inputItems = _team.Threads == 1 ? 1 : (int)Math.Clamp(product.Rows * (long)product.Columns / ElementsPerInputItem, 1, Math.Min(tiles, _team.Threads));
        inputs.TilesPerItem = (tiles + inputItems - 1) / inputItems;
        _team.Run(&InputBlocks.Run, &inputs, (tiles + inputs.TilesPerItem - 1) / inputs.TilesPerItem);

        IntegerJob* jobs = stackalloc IntegerJob[MostShared];
        int items = 0;
        for (int i = 0; i < weights.Length; i++)
        {
            PackedWeights packed = Packed(weights[i]);
            IntegerJob job = new()
            {
                Kernel = _kernels.IntegerMatMul(weights[i].Type, Int8Tile != null),
                Weights = packed.Data,
                GroupBytes = packed.GroupBytes,
                Blocks = blocks,
                Groups = packed.Groups,
                Inputs = inputs.Output,
                InputBytes = inputBytes,
                Rows = product.Rows,
                Function = Int8Tile,
                Layout = NativeLayouts.Of(weights[i].Type),
                StreamsAhead = _native?.IntegerStreamsAhead(product.Rows) ?? 0,
                QuadsAt = packed.QuadsAt,
                Target = targets[i],
                TilesPerItem = Math.Max(1, Math.Min(tiles, (int)(RowBlockBytes / (InputBlocks.TileRows * (long)blocks * inputBytes)))),
            };
            OperationCost cost = OperationCosts.MatMul(weights[i].Type, product.Rows, product.Columns, weights[i].Rows);
            int outputItems = Math.Max(1, Items(packed.Groups * job.RowItems, cost.Bytes, cost.Flops) / job.RowItems);
            job.GroupsPerItem = (packed.Groups + outputItems - 1) / outputItems;
            jobs[i] = job;
            items += job.Items;
        }

        _team.Run(&IntegerJob.RunItem, jobs, items);
    }

    [System.Runtime.CompilerServices.InlineArray(MostShared)]
    private struct SharedWeights
    {
        private CpuWeight _first;
    }
}
