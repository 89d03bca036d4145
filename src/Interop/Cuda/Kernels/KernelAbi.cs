using System.Runtime.CompilerServices;

namespace LowLevelSpec.Interop.Cuda.Kernels;

/// <summary>Compares the sizes of the shared structs with those the device code was compiled with.</summary>
internal static class KernelAbi
{
    /// <summary>Name and size of every shared struct, in the order in which the device code lists them.</summary>
    public static IReadOnlyList<(string Name, int Size)> Structs { get; } =
    [
        Of<DeviceRow>(), Of<DeviceTree>(), Of<DeviceGrower>(), Of<DeviceState>(), Of<AbiArgument>(), Of<EmbedArgument>(), Of<RmsNormArgument>(), Of<RopeAppendArgument>(),
        Of<AttentionArgument>(), Of<AttentionMergeArgument>(), Of<GroupAttentionArgument>(), Of<GroupMeanArgument>(), Of<GatherLayersArgument>(), Of<CopyRowsArgument>(),
        Of<KeepRowsArgument>(), Of<MatMulArgument>(), Of<SwiGluArgument>(), Of<TopArgument>(), Of<SampleArgument>(), Of<GrowArgument>(), Of<SelectArgument>(),
        Of<AcceptArgument>(), Of<RowsArgument>(), Of<SplitRowsArgument>(),
    ];

    /// <summary>Asks a module for its sizes.</summary>
    /// <exception cref="CudaException">They differ: library and device code are of different versions.</exception>
    public static void Check(CudaModule module, CudaStream stream)
    {
        int[] sizes = Ask(module, stream);
        List<string> differences = [];
        for (int i = 0; i < Structs.Count; i++)
        {
            if (sizes[i] != Structs[i].Size)
            {
                differences.Add($"{Structs[i].Name} has {sizes[i]} bytes there and {Structs[i].Size} here");
            }
        }

        if (sizes[Structs.Count] != 0)
        {
            differences.Add("it shares more structs than this library knows");
        }

        if (differences.Count > 0)
        {
            throw new CudaException("check the device code", "version mismatch", 0, $"{string.Join("; ", differences)}; build library and device code from the same sources");
        }
    }

    private static unsafe int[] Ask(CudaModule module, CudaStream stream)
    {
        // One more than expected, so that a longer list shows.
        int[] sizes = new int[Structs.Count + 1];
        long bytes = sizes.Length * sizeof(int);
        using DeviceMemory device = new(module.Context, bytes, "the sizes of shared structs");
        stream.Clear(device.Address, bytes);
        stream.Launch(module.Function("llspec_abi", 0), new Grid(1), 32, 0, new AbiArgument { Sizes = device.Address, Capacity = sizes.Length });
        fixed (int* to = sizes)
        {
            stream.CopyToHost((nint)to, device.Address, bytes);
            stream.Synchronize();
        }

        return sizes;
    }

    private static (string Name, int Size) Of<T>()
        where T : unmanaged => (typeof(T).Name, Unsafe.SizeOf<T>());
}
