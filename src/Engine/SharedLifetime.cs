namespace LowLevelSpec.Engine;

/// <summary>
/// Counts the users of something that owns native memory or mapped files, so that disposing it under a running generation frees it only
/// when the last one has ended.
/// </summary>
internal sealed class SharedLifetime(Action release) : IDisposable
{
    private readonly Lock _lock = new();
    private int _users;
    private bool _disposed, _released;

    /// <summary>Registers a user; pair it with <see cref="Return"/>.</summary>
    /// <exception cref="ObjectDisposedException">Already disposed.</exception>
    public void Take(object owner)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, owner);
            _users++;
        }
    }

    /// <summary>Ends a user's stay.</summary>
    public void Return()
    {
        lock (_lock)
        {
            _users--;
        }

        ReleaseIfUnused();
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
        }

        ReleaseIfUnused();
    }

    private void ReleaseIfUnused()
    {
        lock (_lock)
        {
            if (!_disposed || _users > 0 || _released)
            {
                return;
            }

            _released = true;
        }

        release();
    }
}
