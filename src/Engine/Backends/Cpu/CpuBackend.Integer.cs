using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Matrix products in integer arithmetic.</content>
public sealed unsafe partial class CpuBackend
{
    // Below this many elements quantising the input is done before another thread could help.
    private const long ElementsPerInputItem = 32 * 1024;

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
        }

        return w;
    }

    private bool UsesIntegers(CpuWeight weight) => _arithmetic == Arithmetic.Auto && PackedWeights.Supports(weight.Type);

    private PackedWeights Packed(CpuWeight weight)
    {
        if (weight.Packed is null)
        {
            weight.Packed = PackedWeights.Create(weight);
            _packed.Add(weight.Packed);
        }

        return weight.Packed;
    }

    /// <summary>Quantises the input once, then multiplies. Holds the team's gate.</summary>
    private void RunInteger(CpuWeight weight, in MatMulJob product)
    {
        PackedWeights packed = Packed(weight);
        bool native = _native is not null && PackedWeights.HasNative(weight.Type);
        InputFormat format = PackedWeights.InputFormatOf(weight.Type, native);
        InputJob inputs = new()
        {
            Input = product.Input,
            Stride = product.InputStride,
            Rows = product.Rows,
            Blocks = packed.Blocks,
            Format = format,
            Output = _scratch.Shared((long)product.Rows * packed.Blocks * InputBlocks.Bytes(format)),
        };
        int tiles = inputs.Tiles;
        int items = _team.Threads == 1 ? 1 : (int)Math.Clamp(product.Rows * (long)product.Columns / ElementsPerInputItem, 1, Math.Min(tiles, _team.Threads));
        inputs.TilesPerItem = (tiles + items - 1) / items;
        _team.Run(&InputBlocks.Run, &inputs, (tiles + inputs.TilesPerItem - 1) / inputs.TilesPerItem);

        IntegerJob job = new()
        {
            Weights = packed.Data,
            GroupBytes = packed.GroupBytes,
            Blocks = packed.Blocks,
            Groups = packed.Groups,
            Inputs = inputs.Output,
            InputBytes = InputBlocks.Bytes(format),
            Rows = product.Rows,
            Function = native ? _native!.Int8Tile : null,
            Target = product.Target,
            TilesPerItem = Math.Max(1, Math.Min(tiles, (int)(RowBlockBytes / (InputBlocks.TileRows * packed.Blocks * InputBlocks.Bytes(format))))),
        };
        OperationCost cost = OperationCosts.MatMul(weight.Type, product.Rows, product.Columns, weight.Rows);
        items = Math.Max(1, Items(packed.Groups * job.RowItems, cost.Bytes, cost.Flops) / job.RowItems);
        job.GroupsPerItem = (packed.Groups + items - 1) / items;
        _team.Run(_kernels.IntegerMatMul(weight.Type, native), &job, job.Items);
    }
}
