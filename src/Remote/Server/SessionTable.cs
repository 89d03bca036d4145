using System.Diagnostics;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Server;

/// <summary>All sessions of a server: who may open one, who owns which, how much KV memory they hold, and when they are forgotten. Thread-safe.</summary>
internal sealed class SessionTable(long kvBudget, TimeSpan grace)
{
    /// <summary>Bytes of key/value memory for all sessions together.</summary>
    public long KvBudget => kvBudget;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, TargetSession> _sessions = [];
    private long _reserved;

    /// <summary>Sessions, those in grace included.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _sessions.Count;
            }
        }
    }

    /// <summary>Sessions with a stream.</summary>
    public int Attached
    {
        get
        {
            lock (_lock)
            {
                return _sessions.Values.Count(static session => session.Outbox is not null);
            }
        }
    }

    /// <summary>Bytes of KV memory reserved.</summary>
    public long ReservedBytes => Interlocked.Read(ref _reserved);

    /// <summary>Evictions so far.</summary>
    public long Evictions { get; private set; }

    /// <summary>Adds a session; null where the account has as many as it may. A session of the account that nobody holds any more makes room.</summary>
    public TargetSession? TryOpen(ClientAccount account, Drafting drafting, Encoding encoding)
    {
        lock (_lock)
        {
            if (account.Sessions >= account.Limits.Sessions)
            {
                TargetSession? orphan = _sessions.Values.Where(session => session.Account == account && session.Outbox is null).MinBy(static session => session.LastActive);
                if (orphan is null)
                {
                    return null;
                }

                Remove(orphan);
            }

            TargetSession opened = new(account, drafting, encoding);
            account.Sessions++;
            _sessions.Add(Convert.ToHexString(opened.ResumeToken), opened);
            return opened;
        }
    }

    /// <summary>The session that a token stands for, if it is the account's own. Another account's is not found, as if it did not exist.</summary>
    public TargetSession? Find(ClientAccount account, ReadOnlySpan<byte> resumeToken)
    {
        lock (_lock)
        {
            return _sessions.TryGetValue(Convert.ToHexString(resumeToken), out TargetSession? session) && session.Account == account && !session.Closed ? session : null;
        }
    }

    /// <summary>Ends a session.</summary>
    public void Close(TargetSession session)
    {
        lock (_lock)
        {
            Remove(session);
        }
    }

    /// <summary>Every session now.</summary>
    public TargetSession[] All()
    {
        lock (_lock)
        {
            return [.. _sessions.Values];
        }
    }

    /// <summary>Forgets sessions whose grace is over.</summary>
    public int Expire()
    {
        long oldest = Stopwatch.GetTimestamp() - (long)(grace.TotalSeconds * Stopwatch.Frequency);
        lock (_lock)
        {
            TargetSession[] expired = [.. _sessions.Values.Where(session => session.Outbox is null && session.Job is null && session.LastActive < oldest)];
            Array.ForEach(expired, Remove);
            return expired.Length;
        }
    }

    /// <summary>
    /// Reserves memory for a session's caches, evicting idle sessions as far as it takes: those without a stream first, then the longest idle. False where
    /// even that does not make room.
    /// </summary>
    public bool TryReserve(TargetSession session, long bytes)
    {
        lock (_lock)
        {
            // A session closed meanwhile has given its memory back for good.
            if (session.Closed)
            {
                return false;
            }

            if (_reserved + bytes > kvBudget)
            {
                TargetSession[] idle = [.. _sessions.Values
                    .Where(other => other != session && other.CacheBytes > 0 && other.Job is null)
                    .OrderBy(static other => other.Outbox is not null).ThenBy(static other => other.LastActive)];
                if (_reserved + bytes - idle.Sum(static other => other.CacheBytes) > kvBudget)
                {
                    return false;
                }

                foreach (TargetSession other in idle)
                {
                    if (_reserved + bytes <= kvBudget)
                    {
                        break;
                    }

                    TryEvict(other);
                }

                if (_reserved + bytes > kvBudget)
                {
                    return false;
                }
            }

            session.CacheBytes = bytes;
            _reserved += bytes;
            return true;
        }
    }

    /// <summary>Gives back the memory of a session that has no job in progress (or whose job is the caller's own).</summary>
    public void Release(TargetSession session)
    {
        lock (_lock)
        {
            Free(session);
        }
    }

    private void TryEvict(TargetSession session)
    {
        lock (session.Gate)
        {
            if (session.Job is null)
            {
                Free(session);
                Evictions++;
            }
        }
    }

    private void Remove(TargetSession session)
    {
        if (!_sessions.Remove(Convert.ToHexString(session.ResumeToken)))
        {
            return;
        }

        session.Account.Sessions--;
        session.Close();
        lock (session.Gate)
        {
            // A job in progress uses the caches; the scheduler frees them when it finds the session closed.
            if (session.Job is null)
            {
                Free(session);
            }
        }
    }

    private void Free(TargetSession session)
    {
        _reserved -= session.CacheBytes;
        session.CacheBytes = 0;
        session.Cache?.Dispose();
        session.CrossCache?.Dispose();
        session.Cache = session.CrossCache = null;
    }
}
