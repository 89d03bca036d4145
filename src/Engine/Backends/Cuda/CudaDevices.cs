using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>The devices that <see cref="EngineOptions.Device"/> names.</summary>
public static class CudaDevices
{
    /// <summary>Opens the backend of a device.</summary>
    /// <param name="device">Its name.</param>
    /// <param name="prefill">What multiplies a prompt's rows.</param>
    /// <returns>Null for "cpu".</returns>
    /// <exception cref="InputException">The name is none, or the device can't be used.</exception>
    internal static IBackend? Open(string device, PrefillProducts prefill = PrefillProducts.Kernels)
    {
        ArgumentNullException.ThrowIfNull(device);
        string[] parts = device.Split(':');
        int number = 0;
        return (parts[0], parts.Length) switch
        {
            ("cpu", 1) when prefill == PrefillProducts.Cublas => throw new InputException("--prefill cublas: the CPU has no cuBLAS; add --device cuda, or leave --prefill out"),
            ("cpu", 1) => null,
            ("emulated", 1) => new CudaBackend(0, emulated: true, prefill),
            ("cuda", 1) => new CudaBackend(0, emulated: false, prefill),
            ("cuda", 2) when int.TryParse(parts[1], out number) && number >= 0 => new CudaBackend(number, emulated: false, prefill),
            _ => throw new InputException($"--device: found '{device}', expected cpu, cuda, cuda:N (N counts from 0) or emulated"),
        };
    }

    /// <summary>What this machine has for CUDA.</summary>
    public static CudaReport Examine()
    {
        try
        {
            ICudaDriver driver = CudaDriver.OpenAny(emulated: false);
            List<string> devices = [];
            using CudaContext first = new(driver, 0);
            driver.DeviceCount(out int count);
            for (int i = 0; i < count; i++)
            {
                CudaDevice device = CudaDevice.Describe(driver, i);
                devices.Add($"cuda:{i} {device.Name}, compute capability {device.Major}.{device.Minor}, {device.Bytes / (double)(1 << 30):0.0} GiB");
            }

            driver.GetVersion(out int version);
            return new CudaReport(true, $"{version / 1000}.{version % 1000 / 10}", devices, KernelImage.Carried, Usable(first));
        }
        catch (CudaException e)
        {
            return new CudaReport(e.Code != 0, null, [], KernelImage.Carried, e.Message);
        }
    }

    /// <summary>Why the first device can't be used, or null.</summary>
    private static string? Usable(CudaContext context)
    {
        try
        {
            using CudaStream stream = new(context);
            KernelImage.Load(context, stream).Dispose();
            return null;
        }
        catch (CudaException e)
        {
            return e.Message;
        }
    }
}

/// <summary>What a machine has for CUDA.</summary>
/// <param name="HasDriver">Whether a driver is installed.</param>
/// <param name="Version">The CUDA version the driver offers; null where it does not answer.</param>
/// <param name="Devices">Its devices, in words.</param>
/// <param name="Kernels">Device code that this build carries: fatbin, ptx, sm_NN.cubin.</param>
/// <param name="Problem">Why nothing can run there and what to do about it; null where it can.</param>
public sealed record CudaReport(bool HasDriver, string? Version, IReadOnlyList<string> Devices, IReadOnlyList<string> Kernels, string? Problem);
