using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;
using Xunit;

namespace LowLevelSpec.Interop.Tests;

/// <summary>Everything is freed once, whatever is disposed first.</summary>
[Collection(nameof(Device))]
public sealed class LifetimeTests
{
    [Fact]
    public void Disposal_in_any_order_frees_everything()
    {
        NativeCudaDriver driver = Device.Emulated();
        long[] before = Device.Alive(driver);
        Random random = new(1);
        for (int round = 0; round < 100; round++)
        {
            List<IDisposable> all = Everything(driver);
            foreach (IDisposable one in all.OrderBy(_ => random.Next()))
            {
                one.Dispose();
                if (random.Next(4) == 0)
                {
                    one.Dispose();
                }
            }

            Assert.Equal(before, Device.Alive(driver));
        }
    }

    [Fact]
    public void What_nobody_disposes_is_freed_too()
    {
        NativeCudaDriver driver = Device.Emulated();
        long[] before = Device.Alive(driver);
        Forget(driver);
        for (int i = 0; i < 10 && !Device.Alive(driver).SequenceEqual(before); i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.Equal(before, Device.Alive(driver));
    }

    [Fact]
    public void What_is_disposed_says_so()
    {
        NativeCudaDriver driver = Device.Driver();
        CudaContext context = new(driver, 0);
        DeviceMemory memory = new(context, 16, "a test");
        CudaStream stream = new(context);
        context.Dispose();
        Assert.Throws<ObjectDisposedException>(() => new DeviceMemory(context, 16, "a test"));
        Assert.Throws<ObjectDisposedException>(() => stream.Clear(memory.Address, 16));
        memory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => memory.Address);
        stream.Dispose();
        Assert.Throws<ObjectDisposedException>(stream.Synchronize);
    }

    [Fact]
    public void An_allocation_that_fails_leaves_nothing_behind()
    {
        NativeCudaDriver driver = Device.Emulated();
        long[] before = Device.Alive(driver);
        using (CudaContext context = new(driver, 0))
        {
            CudaException failure = Assert.Throws<CudaException>(() => new DeviceMemory(context, 1L << 50, "a very long context"));
            Assert.True(failure.IsOutOfMemory);
            Assert.Equal("CUDA_ERROR_OUT_OF_MEMORY", failure.Name);
            Assert.Contains("1125899906842624 bytes", failure.Message, StringComparison.Ordinal);
            Assert.Contains("a very long context", failure.Message, StringComparison.Ordinal);
        }

        Assert.Equal(before, Device.Alive(driver));
    }

    private static List<IDisposable> Everything(NativeCudaDriver driver)
    {
        CudaContext context = new(driver, 0), second = new(driver, 0);
        CudaStream stream = new(context);
        CudaModule module = KernelImage.Load(context, stream);
        DeviceMemory memory = new(context, 100, "a test"), other = new(second, 50, "a test");
        PinnedMemory pinned = new(context, 64, "a test");
        CudaEvent mark = new(context);
        Cublas cublas = Cublas.TryOpen(stream)!;
        stream.BeginCapture();
        stream.Clear(memory.Address, 100);
        CudaGraph graph = stream.EndCapture();
        CudaGraphExec exec = graph.Instantiate();
        stream.Launch(exec);
        mark.Record(stream);
        return [context, second, stream, module, memory, other, pinned, mark, cublas, graph, exec];
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static void Forget(NativeCudaDriver driver) => Everything(driver).Clear();
}
