using LowLevelSpec.Interop.Cuda;
using Xunit;

namespace LowLevelSpec.Interop.Tests;

/// <summary>The device that these tests run on: the emulated one where it is built, else the machine's GPU, which LLSPEC_TEST_DEVICE=cuda asks for in any case.</summary>
internal static class Device
{
    /// <summary>The driver; skips the test where there is neither.</summary>
    public static NativeCudaDriver Driver()
    {
        bool emulated = CudaDriver.FindEmulated() is not null && Environment.GetEnvironmentVariable("LLSPEC_TEST_DEVICE") != "cuda";
        NativeCudaDriver? driver = emulated ? CudaDriver.Open(emulated: true) : NativeCudaDriver.Open(null);
        Assert.SkipWhen(driver is null, "no emulated device is built (./build.sh native) and this machine has no CUDA driver");
        return driver;
    }

    /// <summary>The same, emulated.</summary>
    public static NativeCudaDriver Emulated()
    {
        NativeCudaDriver driver = Driver();
        Assert.SkipUnless(driver.IsEmulated, "the emulated device is not built (./build.sh native)");
        return driver;
    }

    /// <summary>What is alive on the emulated device.</summary>
    public static long[] Alive(NativeCudaDriver driver)
    {
        EmulatedCounts c = driver.Counts();
        return [c.DeviceAllocations, c.DeviceBytes, c.HostAllocations, c.HostBytes, c.Streams, c.Events, c.Graphs, c.GraphExecs, c.Modules, c.Contexts, c.CublasHandles];
    }
}
