using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Measuring;

/// <summary>
/// How fast this machine reads memory: threads sum disjoint slices of one buffer, each as one or two linear streams, as a weight matrix is read.
/// The limit that decoding of one sequence is measured against. One caller at a time.
/// </summary>
public sealed unsafe class ReadBandwidth : IDisposable
{
    // Asking for lines ahead, or reading two streams, helps on some machines and in some minutes; the kernels do it, so the limit may, too.
    private const int MiB = 1 << 20, Lines = 8, Ahead = 8192;

    private readonly long _bytes;
    private byte* _data;

    /// <summary>Allocates the buffer and touches all of it.</summary>
    /// <param name="mebibytes">Size; must be several times the largest cache to measure memory.</param>
    /// <exception cref="InputException">There is not enough memory.</exception>
    public ReadBandwidth(int mebibytes = 512)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(mebibytes);
        _bytes = (long)mebibytes * MiB;
        try
        {
            _data = (byte*)NativeMemory.AlignedAlloc((nuint)_bytes, LargePages.Bytes);
        }
        catch (OutOfMemoryException e)
        {
            throw new InputException($"measuring the read bandwidth needs {mebibytes} MiB of memory, more than there is: free some", e);
        }

        // Without large pages the walk through the page tables is measured too.
        LargePages.Advise(_data, _bytes);

        for (long i = 0; i < _bytes; i += sizeof(ulong))
        {
            *(ulong*)(_data + i) = (ulong)i * 0x9E3779B97F4A7C15UL;
        }
    }

    /// <summary>Reads the whole buffer three times with <paramref name="threads"/> threads: as one stream a thread, with and without software prefetches, and as two.</summary>
    /// <returns>Bytes per second of the fastest, from the first thread's start to the last one's end.</returns>
    public double Measure(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        ObjectDisposedException.ThrowIf(_data is null, this);
        return Math.Max(Measure(threads, Way.OneStream), Math.Max(Measure(threads, Way.OneStreamAhead), Measure(threads, Way.TwoStreams)));
    }

    private double Measure(int threads, Way way)
    {
        long slice = _bytes / threads / (2 * Lines * Vector256<byte>.Count) * (2 * Lines * Vector256<byte>.Count);
        long[] starts = new long[threads], ends = new long[threads];
        ulong sink = 0;
        using Barrier ready = new(threads);
        Thread[] workers = [.. Enumerable.Range(0, threads).Select(t => new Thread(() => Work(t)))];
        Array.ForEach(workers, static worker => worker.Start());
        Array.ForEach(workers, static worker => worker.Join());
        GC.KeepAlive(sink);
        return slice * threads * (double)Stopwatch.Frequency / (ends.Max() - starts.Min());

        void Work(int thread)
        {
            ready.SignalAndWait();

            // Each thread's own clock: the caller may be scheduled late on a busy machine.
            starts[thread] = Stopwatch.GetTimestamp();
            byte* data = _data + (slice * thread);
            ulong sum = way == Way.TwoStreams ? Sum(data, data + (slice / 2), slice / 2) : Sum(data, slice, way == Way.OneStreamAhead);
            ends[thread] = Stopwatch.GetTimestamp();
            Interlocked.Add(ref sink, sum);
        }
    }

    /// <summary>Frees the buffer; nothing may be measured any more.</summary>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_data);
        _data = null;
    }

    private static ulong Sum(byte* data, long bytes, bool ahead)
    {
        Vector256<ulong> a = default, b = default, c = default, d = default;
        for (byte* end = data + bytes; data < end; data += Lines * Vector256<byte>.Count)
        {
            if (ahead)
            {
                SimdMath.Prefetch(data + Ahead);
                SimdMath.Prefetch(data + Ahead + 64);
                SimdMath.Prefetch(data + Ahead + 128);
                SimdMath.Prefetch(data + Ahead + 192);
            }

            a ^= Vector256.LoadAligned((ulong*)data) ^ Vector256.LoadAligned((ulong*)(data + 32));
            b ^= Vector256.LoadAligned((ulong*)(data + 64)) ^ Vector256.LoadAligned((ulong*)(data + 96));
            c ^= Vector256.LoadAligned((ulong*)(data + 128)) ^ Vector256.LoadAligned((ulong*)(data + 160));
            d ^= Vector256.LoadAligned((ulong*)(data + 192)) ^ Vector256.LoadAligned((ulong*)(data + 224));
        }

        return Vector256.Sum(a ^ b ^ c ^ d);
    }

    private static ulong Sum(byte* one, byte* other, long bytes)
    {
        Vector256<ulong> a = default, b = default, c = default, d = default;
        for (byte* end = one + bytes; one < end; one += 64, other += 64)
        {
            a ^= Vector256.LoadAligned((ulong*)one);
            b ^= Vector256.LoadAligned((ulong*)(one + 32));
            c ^= Vector256.LoadAligned((ulong*)other);
            d ^= Vector256.LoadAligned((ulong*)(other + 32));
        }

        return Vector256.Sum(a ^ b ^ c ^ d);
    }

    private enum Way
    {
        OneStream,
        OneStreamAhead,
        TwoStreams,
    }
}
