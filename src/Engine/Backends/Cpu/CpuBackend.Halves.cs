using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Matrix products with 16-bit floats in f32.</content>
public sealed unsafe partial class CpuBackend
{
    private bool UsesHalves(CpuWeight weight) => _arithmetic == Arithmetic.Auto && PackedHalves.Supports(weight);

    private PackedHalves Halves(CpuWeight weight) => weight.Halves ??= PackedHalves.Create(weight, weight.Arena);

    /// <summary>Multiplies an input with all weights, whose items are shared out together. Holds the team's gate.</summary>
    private void RunHalves(in MatMulJob product, ReadOnlySpan<CpuWeight> weights, ReadOnlySpan<MatMulTarget> targets)
    {
        void* function = _native == null ? null : _native.Half;
        byte* scratch = function == null ? _scratch.PerThread((long)product.Columns * PackedHalves.GroupOutputs * sizeof(float)) : null;
        HalfJob* jobs = stackalloc HalfJob[MostShared];
        int items = 0;
        for (int i = 0; i < weights.Length; i++)
        {
            PackedHalves packed = Halves(weights[i]);
            HalfJob job = new()
            {
                Kernel = _kernels.HalfMatMul,
                Function = function,
                Layout = weights[i].Type == TensorType.F16 ? 0 : 1,
                StreamsAhead = _native?.HalfStreamsAhead(product.Rows) ?? 0,
                Weights = packed.Data,
                GroupBytes = packed.GroupBytes,
                Inputs = packed.Inputs,
                Groups = packed.Groups,
                Input = product.Input,
                InputStride = product.InputStride,
                Rows = product.Rows,
                Target = targets[i],
                TilesPerItem = 1,
                Scratch = scratch,
                ScratchStride = _scratch.ThreadStride,
            };
            job.TilesPerItem = Math.Max(1, Math.Min(job.Tiles, (int)(RowBlockBytes / (HalfTile.MostRows * (long)product.Columns * sizeof(float)))));
            OperationCost cost = OperationCosts.MatMul(weights[i].Type, product.Rows, product.Columns, weights[i].Rows);
            int outputItems = Math.Max(1, Items(packed.Groups * job.RowItems, cost.Bytes, cost.Flops) / job.RowItems);
            job.GroupsPerItem = (packed.Groups + outputItems - 1) / outputItems;
            jobs[i] = job;
            items += job.Items;
        }

        _team.Run(&HalfJob.RunItem, jobs, items);
    }
}
