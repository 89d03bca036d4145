namespace LowLevelSpec.Cli;

/// <summary>
/// Ctrl-C for one process: the first press cancels the work that runs, a press with no work running, or a second one, ends the process.
/// Thread-safe: signals come on a thread of their own.
/// </summary>
internal sealed class Interrupts
{
    private readonly Lock _lock = new();
    private Action? _cancel;

    /// <summary>Starts work that Ctrl-C cancels; dispose the result when it has ended.</summary>
    public Work Begin()
    {
        Work work = new(this);
        lock (_lock)
        {
            _cancel = work.Cancel;
        }

        return work;
    }

    /// <summary>Cancels the running work; false where none runs or it was cancelled before.</summary>
    public bool TryCancel()
    {
        lock (_lock)
        {
            if (_cancel is not Action cancel)
            {
                return false;
            }

            // Under the lock, so that the work isn't disposed meanwhile; cancelling only wakes waiting threads.
            _cancel = null;
            cancel();
            return true;
        }
    }

    /// <summary>A stretch of interruptible work.</summary>
    internal sealed class Work(Interrupts owner) : IDisposable
    {
        private readonly CancellationTokenSource _source = new();

        /// <summary>Cancelled by Ctrl-C.</summary>
        public CancellationToken Token => _source.Token;

        /// <summary>Cancels <see cref="Token"/>.</summary>
        public void Cancel() => _source.Cancel();

        /// <inheritdoc/>
        public void Dispose()
        {
            lock (owner._lock)
            {
                owner._cancel = null;
                _source.Dispose();
            }
        }
    }
}
