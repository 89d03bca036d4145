using System.Globalization;
using ILGPU;
using ILGPU.Algorithms;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>A device that ILGPU can run kernels on.</summary>
/// <param name="Index">N of <c>ilgpu:N</c>.</param>
/// <param name="Name">As its driver calls it.</param>
/// <param name="Kind">"CUDA", "OpenCL", or "CPU" for the emulation that tests use.</param>
/// <param name="MemoryBytes">Its memory; 0 where the driver does not say.</param>
public sealed record IlgpuDeviceInfo(int Index, string Name, string Kind, long MemoryBytes)
{
    /// <summary>Whether it is a real device rather than the emulation.</summary>
    public bool IsGpu => Kind != "CPU";
}

/// <summary>Finds devices and opens backends on them. GPUs come first, the CPU emulation last, so that ilgpu:0 is a GPU where there is one.</summary>
public static class IlgpuDevices
{
    /// <summary>What <c>--drafter-device</c> takes.</summary>
    public const string Choices = "auto, cpu or ilgpu:N";

    private const string Prefix = "ilgpu:";

    /// <summary>All devices, in the order of their numbers. Where a driver is absent or broken, its devices are missing.</summary>
    public static IReadOnlyList<IlgpuDeviceInfo> List()
    {
        using Context context = CreateContext();
        return [.. Ordered(context).Select(static (device, i) => new IlgpuDeviceInfo(i, device.Name, Kind(device), device.AcceleratorType == AcceleratorType.CPU ? 0 : device.MemorySize))];
    }

    /// <summary>
    /// Opens the device that <paramref name="choice"/> names: "ilgpu:N" device N, "auto" the first GPU, "cpu" none.
    /// </summary>
    /// <returns>The backend, or null where the processor is to draft: "cpu", or "auto" without a GPU.</returns>
    /// <exception cref="InputException">Another word, a number that no device has, or a device that does not start.</exception>
    public static IBackend? Open(string choice)
    {
        ArgumentNullException.ThrowIfNull(choice);
        switch (choice)
        {
            case "cpu":
                return null;
            case "auto":
                return List().FirstOrDefault(static d => d.IsGpu) is { } gpu ? Open(gpu.Index) : null;
            default:
                return choice.StartsWith(Prefix, StringComparison.Ordinal) && int.TryParse(choice.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int index)
                    ? Open(index)
                    : throw new InputException($"drafter device: found '{choice}', expected {Choices}");
        }
    }

    /// <summary>Opens device <paramref name="index"/> with a given number of threads per group (for tests; 0 = what suits the device).</summary>
    internal static IlgpuBackend Open(int index, int threadsPerGroup = 0)
    {
        Context context = CreateContext();
        try
        {
            List<Device> devices = Ordered(context);
            if (index >= devices.Count)
            {
                throw new InputException($"drafter device ilgpu:{index}: there is none; found {string.Join(", ", devices.Select(static (d, i) => $"ilgpu:{i} ({d.Name})"))}; 'llspec doctor' lists them");
            }

            return new IlgpuBackend(context, devices[index], $"ilgpu:{index}", threadsPerGroup);
        }
        catch (Exception e)
        {
            context.Dispose();
            if (e is InputException)
            {
                throw;
            }

            throw new InputException($"drafter device ilgpu:{index} does not start: {e.Message}; update its driver or take --drafter-device cpu", e);
        }
    }

    private static Context CreateContext() => Context.Create(static builder =>
    {
        // A driver that is absent or broken must not take the others with it.
        Try(() => builder.Cuda());
        Try(() => builder.OpenCL());
        builder.CPU(new CPUDevice(4, 4, 1)).EnableAlgorithms().Optimize(OptimizationLevel.O2);
    });

    private static void Try(Action register)
    {
        try
        {
            register();
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // The list of devices says what is there; a missing driver is the usual case.
        }
    }

    private static List<Device> Ordered(Context context) =>
        [.. context.Devices.OrderBy(static d => d.AcceleratorType switch { AcceleratorType.Cuda => 0, AcceleratorType.OpenCL => 1, _ => 2 })];

    private static string Kind(Device device) => device.AcceleratorType switch
    {
        AcceleratorType.Cuda => "CUDA",
        AcceleratorType.OpenCL => "OpenCL",
        _ => "CPU",
    };
}
