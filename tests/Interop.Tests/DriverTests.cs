using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;
using Xunit;

namespace LowLevelSpec.Interop.Tests;

/// <summary>The driver's calls through the bindings.</summary>
[Collection(nameof(Device))]
public sealed class DriverTests
{
    [Fact]
    public void Nothing_is_loaded_where_nothing_is_asked_for() =>

        // The tables are plain data: a machine without a driver reads them.
        Assert.Equal(24, KernelAbi.Structs.Count);

    [Fact]
    public void A_driver_that_is_not_there_is_named()
    {
        Assert.SkipWhen(CudaDriver.FindEmulated() is not null || File.Exists("/dev/nvidiactl"), "this process has a device");
        CudaException failure = Assert.Throws<CudaException>(() => CudaDriver.Open(emulated: false));
        Assert.Contains("run on the CPU", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_driver_is_refused()
    {
        _ = Device.Driver();
        CudaException failure = Assert.Throws<CudaException>(() => NativeCudaDriver.Open("/nowhere/libcuda.so.1"));
        Assert.Contains("already uses", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Shared_structs_have_the_sizes_of_the_device_code()
    {
        using CudaContext context = new(Device.Driver(), 0);
        using CudaStream stream = new(context);
        using CudaModule module = KernelImage.Load(context, stream);
        Assert.False(module.IsInvalid);
    }

    [Fact]
    public void The_device_is_described()
    {
        using CudaContext context = new(Device.Driver(), 0);
        Assert.NotEmpty(context.Device.Name);
        Assert.True(context.Device.Major >= 8);
        Assert.True(context.Device.Processors > 0);
        Assert.InRange(context.Memory.Free, 1, context.Memory.Total);
    }

    [Fact]
    public void A_device_that_is_not_there_is_named()
    {
        NativeCudaDriver driver = Device.Driver();
        CudaException failure = Assert.Throws<CudaException>(() => new CudaContext(driver, 99));
        Assert.Contains("CUDA device 99", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public unsafe void Bytes_travel_there_and_back()
    {
        using CudaContext context = new(Device.Driver(), 0);
        using CudaStream stream = new(context);
        using DeviceMemory first = new(context, 1000, "a test"), second = new(context, 1000, "a test");
        using PinnedMemory from = new(context, 1000, "a test"), to = new(context, 1000, "a test");
        for (int i = 0; i < 1000; i++)
        {
            from.Pointer[i] = (byte)(i * 7);
        }

        stream.CopyToDevice(first.Address, (nint)from.Pointer, 1000);
        stream.CopyOnDevice(second.Address, first.Address, 1000);
        stream.Clear(second.Address + 10, 5);
        stream.CopyToHost((nint)to.Pointer, second.Address, 1000);
        stream.Synchronize();
        for (int i = 0; i < 1000; i++)
        {
            Assert.Equal(i is >= 10 and < 15 ? 0 : (byte)(i * 7), to.Pointer[i]);
        }
    }

    [Fact]
    public unsafe void A_graph_repeats_what_was_recorded()
    {
        using CudaContext context = new(Device.Driver(), 0);
        using CudaStream stream = new(context);
        using DeviceMemory memory = new(context, 64, "a test"), copy = new(context, 64, "a test");
        using PinnedMemory host = new(context, 64, "a test");
        new Span<byte>(host.Pointer, 64).Fill(1);
        stream.CopyToDevice(memory.Address, (nint)host.Pointer, 64);
        stream.Synchronize();
        stream.BeginCapture();
        stream.CopyOnDevice(copy.Address, memory.Address, 64);
        stream.CopyToHost((nint)host.Pointer, copy.Address, 64);
        using CudaGraph graph = stream.EndCapture();
        Assert.Equal(2, graph.Nodes);
        using CudaGraphExec exec = graph.Instantiate();
        for (byte round = 0; round < 3; round++)
        {
            host.Pointer[0] = 99;
            stream.Clear(memory.Address, round);
            stream.Launch(exec);
            stream.Synchronize();
            Assert.Equal(round == 0 ? 1 : 0, host.Pointer[0]);
            Assert.Equal(1, host.Pointer[63]);
        }
    }

    [Fact]
    public void A_wait_inside_a_capture_is_refused()
    {
        using CudaContext context = new(Device.Driver(), 0);
        using CudaStream stream = new(context);
        stream.BeginCapture();
        CudaException failure = Assert.Throws<CudaException>(stream.Synchronize);
        Assert.StartsWith("CUDA_ERROR_STREAM_CAPTURE", failure.Name, StringComparison.Ordinal);
        try
        {
            stream.EndCapture().Dispose();
        }
        catch (CudaException)
        {
            // A real driver has given the capture up.
        }
    }

    [Fact]
    public void A_kernel_that_is_not_there_is_named()
    {
        using CudaContext context = new(Device.Driver(), 0);
        using CudaStream stream = new(context);
        using CudaModule module = KernelImage.Load(context, stream);
        CudaException failure = Assert.Throws<CudaException>(() => module.Function("llspec_nothing", 0));
        Assert.Contains("llspec_nothing", failure.Message, StringComparison.Ordinal);
        Assert.Equal("CUDA_ERROR_NOT_FOUND", failure.Name);
    }

    [Fact]
    public void Events_order_streams()
    {
        using CudaContext context = new(Device.Driver(), 0);
        using CudaStream first = new(context), second = new(context);
        using DeviceMemory memory = new(context, 1 << 20, "a test");
        using CudaEvent mark = new(context, timed: true), end = new(context, timed: true);
        mark.Record(first);
        first.Clear(memory.Address, 1 << 20);
        end.Record(first);
        second.Wait(end);
        second.Clear(memory.Address, 1);
        second.Synchronize();
        end.Synchronize();
        Assert.True(end.MillisecondsSince(mark) >= 0);
    }
}
