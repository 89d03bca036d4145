using System.Reflection;

namespace LowLevelSpec.Interop.Cuda.Kernels;

/// <summary>The compiled kernels that this assembly carries, where the native build had made them before it was built (docs/cuda.md).</summary>
internal static class KernelImage
{
    /// <summary>Names a file to load instead, e.g. a fatbin that was just compiled on a machine with a GPU.</summary>
    public const string FileVariable = "LLSPEC_CUDA_KERNELS";

    private const string Prefix = "kernels.";

    /// <summary>Names of the images carried: "fatbin" (nvcc), or "cubin" (compute capability 9.0) and "ptx" (NVRTC).</summary>
    public static IReadOnlyList<string> Carried { get; } =
        [.. Assembly.GetExecutingAssembly().GetManifestResourceNames().Where(static name => name.StartsWith(Prefix, StringComparison.Ordinal)).Select(static name => name[Prefix.Length..]).Order(StringComparer.Ordinal)];

    /// <summary>Loads the kernels that fit the device best and checks that they belong to this library.</summary>
    /// <exception cref="CudaException">None are carried, or the device can't run them.</exception>
    public static CudaModule Load(CudaContext context, CudaStream stream)
    {
        CudaModule module = Open(context);
        try
        {
            KernelAbi.Check(module, stream);
            return module;
        }
        catch
        {
            module.Dispose();
            throw;
        }
    }

    private static CudaModule Open(CudaContext context)
    {
        if (context.Driver is NativeCudaDriver { IsEmulated: true })
        {
            // The emulated device holds its kernels itself; it wants some image all the same.
            return new CudaModule(context, new byte[1]);
        }

        string? given = Environment.GetEnvironmentVariable(FileVariable);
        if (!string.IsNullOrEmpty(given))
        {
            return new CudaModule(context, [.. File.ReadAllBytes(given), 0]);
        }

        bool isHopper = context.Device is { Major: 9, Minor: 0 };
        string? name = new[] { "fatbin", isHopper ? "cubin" : "", "ptx" }.FirstOrDefault(static n => Carried.Contains(n));
        if (name is null)
        {
            throw new CudaException(
                $"load the kernels for {context.Device.Name}", "no kernels", 0,
                "this build carries no device code; run './build.sh native' (it needs nvcc or NVRTC) and build again");
        }

        using Stream resource = Assembly.GetExecutingAssembly().GetManifestResourceStream(Prefix + name)!;
        byte[] image = new byte[resource.Length + 1]; // PTX ends in a zero
        resource.ReadExactly(image.AsSpan(0, (int)resource.Length));
        return new CudaModule(context, image);
    }
}
