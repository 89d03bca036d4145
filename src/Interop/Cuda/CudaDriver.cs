namespace LowLevelSpec.Interop.Cuda;

/// <summary>Opens a driver: the system's or the emulated device's library.</summary>
internal static class CudaDriver
{
    /// <summary>Names the library to use instead of the system's driver, e.g. the emulated device's.</summary>
    public const string LibraryVariable = "LLSPEC_CUDA_LIBRARY";

    /// <summary>File name of the emulated device's library.</summary>
    public const string EmulatedFile = "libllspec_cuda_emulated.so";

    /// <summary>Another binding of the system's driver, used in place of this library's own (src/Interop.ManagedCuda).</summary>
    public static ICudaDriver? Other { get; set; }

    /// <summary>Opens the driver: <see cref="Other"/> where one is set and no emulated device is asked for.</summary>
    /// <exception cref="CudaException">It is not there, or the process already uses another one.</exception>
    public static ICudaDriver OpenAny(bool emulated) => !emulated && Other is not null ? Other : Open(emulated);

    /// <summary>Opens the driver's library.</summary>
    /// <param name="emulated">Whether the emulated device is wanted rather than the system's driver.</param>
    /// <exception cref="CudaException">It is not there, or the process already uses the other one.</exception>
    public static NativeCudaDriver Open(bool emulated)
    {
        string? path = emulated ? FindEmulated() : Environment.GetEnvironmentVariable(LibraryVariable);
        if (emulated && path is null)
        {
            throw new CudaException("open the emulated device", "no library", 0, $"{EmulatedFile} is not built; run './build.sh native', or set {LibraryVariable} to its path");
        }

        return NativeCudaDriver.Open(string.IsNullOrEmpty(path) ? null : path)
            ?? throw new CudaException("open the CUDA driver", "no driver", 0, $"{path ?? "libcuda.so.1"} can't be loaded; install NVIDIA's driver or run on the CPU");
    }

    /// <summary>The emulated device's library: the environment's, beside this assembly, or in out/native of a checkout above; null where there is none.</summary>
    public static string? FindEmulated()
    {
        string? given = Environment.GetEnvironmentVariable(LibraryVariable);
        if (!string.IsNullOrEmpty(given))
        {
            return given;
        }

        string beside = Path.Combine(AppContext.BaseDirectory, EmulatedFile);
        if (File.Exists(beside))
        {
            return beside;
        }

        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string built = Path.Combine(folder.FullName, "out", "native", EmulatedFile);
            if (File.Exists(built))
            {
                return built;
            }
        }

        return null;
    }
}
