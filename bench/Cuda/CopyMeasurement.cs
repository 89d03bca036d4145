using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cuda;

namespace LowLevelSpec.CudaBench;

/// <summary>The device's copy bandwidth, which everything else is a share of.</summary>
internal static class CopyMeasurement
{
    /// <summary>Copies a block inside the device's memory.</summary>
    /// <returns>Bytes read and written per second.</returns>
    public static double Run(CudaBackend backend, bool isTiny, ResultTable table)
    {
        long length = isTiny ? 1 << 10 : 256L << 20;
        using TensorBuffer buffer = backend.Allocate(2 * length, "the copy measurement");
        Timing.Result time = Timing.Median(backend, () => backend.CopyElements(buffer, 0, length, length), isTiny);
        double bandwidth = 2 * length * sizeof(float) / time.Seconds;
        table.Add("copy bandwidth", $"{bandwidth / 1e9:0.0} GB/s (read + write of {length * sizeof(float) / 1e6:0.0} MB)");
        return bandwidth;
    }
}

/// <summary>Times work of the device with its own clock.</summary>
internal static class Timing
{
    /// <summary>A median.</summary>
    /// <param name="Seconds">Of one call.</param>
    public readonly record struct Result(double Seconds);

    /// <summary>Median over rounds of several calls each, after a warm-up.</summary>
    public static Result Median(CudaBackend backend, Action work, bool isTiny)
    {
        int rounds = isTiny ? 1 : 9, calls = isTiny ? 1 : 10;
        work();
        double[] times = new double[rounds];
        for (int r = 0; r < rounds; r++)
        {
            times[r] = backend.Seconds(() =>
            {
                for (int c = 0; c < calls; c++)
                {
                    work();
                }
            }) / calls;
        }

        Array.Sort(times);

        // The emulated device has no clock.
        return new Result(Math.Max(times[rounds / 2], 1e-9));
    }
}
