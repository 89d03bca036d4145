using System.Diagnostics;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.Remote.Server;

/// <summary>
/// One thread that runs the target for all sessions. Each pass collects rows of the sessions that wait: whole trees, single rows of plain decoding and
/// chunks of prompts, the session with the fewest rows served so far first. A row's bits do not depend on what shares its pass, so neither does any text.
/// </summary>
internal sealed class PassScheduler : IDisposable
{
    /// <summary>Prompt rows of one session per pass: enough to reuse each weight, few enough that others' trees do not wait long.</summary>
    private const int ChunkRows = 128;

    /// <summary>Answers of a Write that may wait to be read before its session pauses.</summary>
    private const int MaxUnread = 256;

    private readonly SessionTable _sessions;
    private readonly ServerMetrics _metrics;
    private readonly SessionWork _work;
    private readonly TargetPass _pass;
    private readonly PassBatch _batch;
    private readonly Thread _thread;
    private readonly object _queueGate = new();
    private readonly List<TargetSession> _waiting = [];
    private readonly List<(TargetSession Session, RowRange Rows)> _inPass = [];
    private readonly Action<string> _log;
    private long _passTicks;
    private long _virtualTime;
    private bool _stopping;

    public PassScheduler(ServedModel served, ServerOptions options, SessionTable sessions, ServerMetrics metrics, Action<string> log)
    {
        (_sessions, _metrics, _log) = (sessions, metrics, log);
        IBackend backend = served.Model.Backend;
        PassTime = options.PassTime;
        _pass = new TargetPass(backend, served.Model.Target, options.MaxPassRows, 1);
        _batch = new PassBatch(options.MaxPassRows, options.MaxPassRows * 8);
        _work = new SessionWork(served, _pass, _batch, sessions, metrics);
        _thread = new Thread(Run) { IsBackground = true, Name = "llspec target passes" };
        _thread.Start();
    }

    /// <summary>Least time of a pass, see <see cref="ServerOptions.PassTime"/>.</summary>
    public TimeSpan PassTime
    {
        get => TimeSpan.FromSeconds(Volatile.Read(ref _passTicks) / (double)Stopwatch.Frequency);
        set => Volatile.Write(ref _passTicks, (long)(value.TotalSeconds * Stopwatch.Frequency));
    }

    /// <summary>Values of state per token.</summary>
    public int StateSize(Protocol.Drafting drafting) => _work.StateSize(drafting);

    /// <summary>Sessions with work.</summary>
    public int Waiting
    {
        get
        {
            lock (_queueGate)
            {
                return _waiting.Count;
            }
        }
    }

    /// <summary>Hands in a session whose job has just been set.</summary>
    public void Submit(TargetSession session)
    {
        lock (_queueGate)
        {
            // A newcomer starts where the others are: it neither owes nor is owed the rows of its absence.
            session.RowsServed = Math.Max(session.RowsServed, _virtualTime);
            _waiting.Add(session);
            Monitor.Pulse(_queueGate);
        }
    }

    /// <summary>Stops after the pass in progress.</summary>
    public void Dispose()
    {
        lock (_queueGate)
        {
            if (_stopping)
            {
                return;
            }

            _stopping = true;
            Monitor.Pulse(_queueGate);
        }

        _thread.Join();
        _work.Dispose();
        _pass.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            TargetSession[] order;
            lock (_queueGate)
            {
                while (_waiting.Count == 0 && !_stopping)
                {
                    Monitor.Wait(_queueGate);
                }

                if (_stopping)
                {
                    return;
                }

                order = [.. _waiting.OrderBy(static session => session.RowsServed)];
                _virtualTime = order[0].RowsServed;
            }

            if (!RunPass(order))
            {
                // Every waiting session is paused by a slow reader.
                Thread.Sleep(2);
            }
        }
    }

    /// <summary>One pass over what fits of the waiting sessions' rows; false where none could go.</summary>
    private bool RunPass(TargetSession[] order)
    {
        _batch.Clear();
        _inPass.Clear();
        bool ended = false;
        foreach (TargetSession session in order)
        {
            try
            {
                if (_work.Prepare(session) is Ending ending)
                {
                    End(session, ending);
                    ended = true;
                }
                else if (!Paused(session))
                {
                    int room = _batch.Capacity - _batch.Count;
                    if (_work.TryAddRows(session, Math.Min(room, ChunkRows), room) is RowRange rows)
                    {
                        _inPass.Add((session, rows));
                    }
                }
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // Its rows may be in the batch already, so this pass is not run.
                Fail(session, e);
                return true;
            }
        }

        if (_inPass.Count == 0)
        {
            return ended;
        }

        long start = Stopwatch.GetTimestamp();
        try
        {
            _pass.Forward(_batch);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            _inPass.ForEach(entry => Fail(entry.Session, e));
            return true;
        }

        HoldBack(start);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        _metrics.Pass(_batch.Count, _inPass.Count, seconds);
        foreach ((TargetSession session, RowRange rows) in _inPass)
        {
            session.RowsServed += rows.Count;
            session.Spent(rows.Count);
            try
            {
                if (_work.Finish(session, rows, start, seconds, _batch.Count) is Ending ending)
                {
                    End(session, ending);
                }
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                Fail(session, e);
            }
        }

        return true;
    }

    /// <summary>What goes wrong in one session ends that session and no other.</summary>
    private void Fail(TargetSession session, Exception defect)
    {
        _log($"a session of {session.Account.Name} ended by a defect: {defect}");
        _sessions.Close(session);
        End(session, new Ending(null, Answered: false));
    }

    private void End(TargetSession session, Ending ending)
    {
        // First out of the queue, then the answer: its reader may hand in the next job at once.
        lock (_queueGate)
        {
            _waiting.Remove(session);
        }

        session.End(ending);
        if (session.Closed)
        {
            _sessions.Release(session);
        }
    }

    private static bool Paused(TargetSession session) => session.Job!.Kind == JobKind.Write && session.Unread > MaxUnread;

    private void HoldBack(long start)
    {
        long ticks = Volatile.Read(ref _passTicks);
        while (ticks > 0 && Stopwatch.GetTimestamp() - start is long spent && spent < ticks)
        {
            double left = (ticks - spent) * 1000.0 / Stopwatch.Frequency;
            Thread.Sleep(left > 1 ? (int)left : 0);
        }
    }
}
