using System.Diagnostics;
using LowLevelSpec.Interop.Cpu;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Threads that share the work of one call. The caller publishes a job of numbered items and takes items itself; workers that are
/// awake join. Each thread has a run of neighbouring items of its own, which it takes first and in order, so that what it asks memory for ahead of an
/// item is what it needs next; then it helps the others. The caller waits for those that joined, not for those that did not: a worker the operating
/// system has put aside never holds a call up. Idle workers spin for a few tens of microseconds, then sleep until woken.
/// A call allocates nothing.
/// </summary>
internal sealed unsafe class ThreadTeam : IDisposable
{
    /// <summary>Most threads a team may have.</summary>
    public const int MaxThreads = 256;

    // _state = (job number << 32) | Open | workers inside. A worker enters only while Open is set; the caller clears it when the
    // items have run out and then waits for the count to reach zero, after which the job's memory may go away.
    private const long Open = 1L << 31;
    private const long InsideMask = Open - 1;

    private static readonly long SpinTicks = Math.Max(1, Stopwatch.Frequency * 50 / 1_000_000);
    private static readonly long YieldAfterTicks = Math.Max(1, Stopwatch.Frequency * 10 / 1_000_000);

    // The next item of each thread's run, a cache line apart.
    private const int LineInts = 16;

    private readonly Thread[] _workers;
    private readonly int[] _next;
    private readonly object _parking = new();
    private delegate*<void*, int, int, void> _body;
    private void* _job;
    private int _items;
    private Exception? _failure;
    private volatile bool _stopping;
    private long _state;
    private int _parked;

    /// <summary>Starts <paramref name="threads"/> - 1 workers.</summary>
    /// <param name="threads">Threads, the caller included.</param>
    /// <param name="pin">Keeps each worker on a core of its own, from the second that the process may use on: the first is the caller's, who is nobody's to pin. No more workers than cores are pinned.</param>
    public ThreadTeam(int threads, bool pin = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(threads, MaxThreads);
        (Threads, Pinned) = (threads, new bool[threads]);
        _workers = new Thread[threads - 1];
        _next = new int[(threads + 1) * LineInts];
        int[] cores = pin ? ThreadAffinity.Allowed() : [];
        for (int i = 0; i < _workers.Length; i++)
        {
            int index = i + 1;
            _workers[i] = new Thread(() => Work(index, index < cores.Length ? cores[index] : null), 256 * 1024) { IsBackground = true, Name = $"llspec cpu {index}" };
        }

        foreach (Thread worker in _workers)
        {
            worker.Start();
        }
    }

    /// <summary>Threads including the caller.</summary>
    public int Threads { get; }

    /// <summary>Whether each thread is kept on a core; [0], the caller's, never is.</summary>
    internal bool[] Pinned { get; }

    /// <summary>To be held around <see cref="Run"/> and around any use of memory that belongs to the team's threads.</summary>
    public Lock Gate { get; } = new();

    /// <summary>
    /// Calls body(job, thread, item) for every item 0..items-1, each once, in any order on any thread (0 = the caller, which
    /// holds <see cref="Gate"/>); returns when all are done. A failure of the body is thrown here.
    /// </summary>
    public void Run(delegate*<void*, int, int, void> body, void* job, int items)
    {
        if (_workers.Length == 0 || items <= 1 || _stopping)
        {
            for (int item = 0; item < items; item++)
            {
                body(job, 0, item);
            }

            return;
        }

        _body = body;
        _job = job;
        _items = items;
        _failure = null;
        for (int run = 0; run < Threads; run++)
        {
            Volatile.Write(ref Next(run), First(run));
        }

        long number = (_state >> 32) + 1;
        Interlocked.Exchange(ref _state, (number << 32) | Open);
        if (Volatile.Read(ref _parked) > 0)
        {
            lock (_parking)
            {
                Monitor.PulseAll(_parking);
            }
        }

        TakeItems(0);
        Interlocked.And(ref _state, ~Open);
        WaitForWorkers();
        if (_failure is { } failure)
        {
            _failure = null;
            throw new InvalidOperationException("a CPU worker thread failed", failure);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (Gate)
        {
            if (_stopping)
            {
                return;
            }

            _stopping = true;
            lock (_parking)
            {
                Monitor.PulseAll(_parking);
            }
        }

        foreach (Thread worker in _workers)
        {
            worker.Join();
        }
    }

    /// <summary>First item of a thread's run; of the thread after the last: how many items there are.</summary>
    private int First(int run) => (int)((long)_items * run / Threads);

    private ref int Next(int run) => ref _next[(run + 1) * LineInts];

    private void TakeItems(int thread)
    {
        try
        {
            for (int i = 0; i < Threads; i++)
            {
                int run = (thread + i) % Threads, end = First(run + 1), item;
                ref int next = ref Next(run);
                while (Volatile.Read(ref next) < end && (item = Interlocked.Increment(ref next) - 1) < end)
                {
                    _body(_job, thread, item);
                }
            }
        }
#pragma warning disable CA1031 // whatever went wrong is thrown to the caller of Run; a worker must not die of it
        catch (Exception failure)
#pragma warning restore CA1031
        {
            for (int run = 0; run < Threads; run++)
            {
                Volatile.Write(ref Next(run), int.MaxValue / 2);
            }

            Interlocked.CompareExchange(ref _failure, failure, null);
        }
    }

    private void WaitForWorkers()
    {
        if ((Volatile.Read(ref _state) & InsideMask) == 0)
        {
            return;
        }

        long start = Stopwatch.GetTimestamp();
        while ((Volatile.Read(ref _state) & InsideMask) != 0)
        {
            // A worker that takes long has probably lost its core to another process: give ours up too.
            if (Stopwatch.GetTimestamp() - start > YieldAfterTicks)
            {
                Thread.Yield();
            }
            else
            {
                Thread.SpinWait(4);
            }
        }
    }

    private void Work(int thread, int? core)
    {
        Pinned[thread] = core is { } number && ThreadAffinity.PinCurrentThread(number);
        long last = 0;
        while (!_stopping)
        {
            long state = Volatile.Read(ref _state);
            if ((state & Open) != 0 && state >> 32 != last)
            {
                if (Interlocked.CompareExchange(ref _state, state + 1, state) == state)
                {
                    last = state >> 32;
                    TakeItems(thread);
                    Interlocked.Decrement(ref _state);
                }

                continue;
            }

            WaitForJob(last);
        }
    }

    private bool HasJob(long last)
    {
        long state = Volatile.Read(ref _state);
        return (state & Open) != 0 && state >> 32 != last;
    }

    private void WaitForJob(long last)
    {
        long start = Stopwatch.GetTimestamp();
        long elapsed;
        while ((elapsed = Stopwatch.GetTimestamp() - start) < SpinTicks)
        {
            if (HasJob(last) || _stopping)
            {
                return;
            }

            if (elapsed > YieldAfterTicks)
            {
                Thread.Yield();
            }
            else
            {
                Thread.SpinWait(4);
            }
        }

        lock (_parking)
        {
            // Announced before the last look: Run publishes before it looks at _parked, so one of the two sees the other.
            Interlocked.Increment(ref _parked);
            while (!HasJob(last) && !_stopping)
            {
                Monitor.Wait(_parking);
            }

            Interlocked.Decrement(ref _parked);
        }
    }
}
