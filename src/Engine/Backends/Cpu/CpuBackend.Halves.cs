using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Matrix products with 16-bit floats by the native library.</content>
public sealed unsafe partial class CpuBackend
{
    private bool UsesHalves(CpuWeight weight) => _arithmetic == Arithmetic.Auto && _native != null && _native.Half != null && PackedHalves.Supports(weight);

    private PackedHalves Halves(CpuWeight weight) => weight.Halves ??= PackedHalves.Create(weight, weight.Arena);

    /// <summary>Multiplies an input with all weights, whose items are shared out together. Holds the team's gate.</summary>
    private void RunHalves(in MatMulJob product, ReadOnlySpan<CpuWeight> weights, ReadOnlySpan<MatMulTarget> targets)
    {
        HalfJob* jobs = stackalloc HalfJob[MostShared];
        int items = 0;
        for (int i = 0; i < weights.Length; i++)
        {
            PackedHalves packed = Halves(weights[i]);
            HalfJob job = new()
            {
                Kernel = _kernels.HalfMatMul,
                Function = _native!.Half,
                Layout = weights[i].Type == TensorType.F16 ? 0 : 1,
                Weights = packed.Data,
                GroupBytes = packed.GroupBytes,
                Blocks = packed.Blocks,
                Groups = packed.Groups,
                Input = product.Input,
                InputStride = product.InputStride,
                Rows = product.Rows,
                Target = targets[i],
                TilesPerItem = 1,
            };
            job.TilesPerItem = Math.Max(1, Math.Min(job.Tiles, (int)(RowBlockBytes / (NativeHalfKernels.TileRows * (long)product.Columns * sizeof(float)))));
            OperationCost cost = OperationCosts.MatMul(weights[i].Type, product.Rows, product.Columns, weights[i].Rows);
            int outputItems = Math.Max(1, Items(packed.Groups * job.RowItems, cost.Bytes, cost.Flops) / job.RowItems);
            job.GroupsPerItem = (packed.Groups + outputItems - 1) / outputItems;
            jobs[i] = job;
            items += job.Items;
        }

        _team.Run(&HalfJob.RunItem, jobs, items);
    }
}
