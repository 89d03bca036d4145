using System.Net;
using System.Net.Sockets;

namespace LowLevelSpec.Remote.Links;

/// <summary>
/// A link between a client and a server, played in user space: it listens on loopback, dials the server for each connection, and passes
/// bytes on both ways as slowly, late and unreliably as its <see cref="LinkProfile"/> says; a new connection's first bytes wait a round trip more. Seeded: the same writes meet the same jitter and losses. Thread-safe.
/// </summary>
public sealed class LinkRelay : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly TcpListener _listener;
    private readonly IPEndPoint _server;
    private readonly LinkLane _up, _down;
    private readonly TimeProvider _time;
    private readonly long _started;
    private readonly CancellationTokenSource _stop = new();
    private readonly HashSet<LinkConnection> _connections = [];
    private readonly Task _accepting;
    private bool _closed;
    private long _bytesUp, _bytesDown;
    private TaskCompletionSource? _upSilence, _downSilence;
    private LinkCut? _armed;
    private long _armedLeft;

    /// <summary>Starts to listen on a free port of loopback.</summary>
    /// <param name="profile">Figures of the link.</param>
    /// <param name="server">Where the server listens.</param>
    /// <param name="seed">Of jitter and losses.</param>
    /// <param name="time">The clock; the system's by default.</param>
    public LinkRelay(LinkProfile profile, IPEndPoint server, int seed = 0, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(profile);
        ArgumentNullException.ThrowIfNull(server);
        (Profile, _server, _time) = (profile, server, time ?? TimeProvider.System);
        _started = _time.GetTimestamp();
        _up = new LinkLane(profile, LinkDirection.Up, seed);
        _down = new LinkLane(profile, LinkDirection.Down, seed ^ 0x5bd1e995);
        _listener = new TcpListener(IPAddress.Loopback, 0);
        _listener.Start();
        EndPoint = (IPEndPoint)_listener.LocalEndpoint;
        _accepting = AcceptAsync();
    }

    /// <summary>The link's figures.</summary>
    public LinkProfile Profile { get; }

    /// <summary>Where clients connect.</summary>
    public IPEndPoint EndPoint { get; }

    /// <summary>Bytes delivered to the server.</summary>
    public long BytesUp => Interlocked.Read(ref _bytesUp);

    /// <summary>Bytes delivered to the client.</summary>
    public long BytesDown => Interlocked.Read(ref _bytesDown);

    /// <summary>Packets lost, both ways.</summary>
    public long PacketsLost => _up.Lost + _down.Lost;

    /// <summary>Breaks so far.</summary>
    public int Cuts { get; private set; }

    /// <summary>Connections open now.</summary>
    public int Connections
    {
        get
        {
            lock (_lock)
            {
                return _connections.Count;
            }
        }
    }

    /// <summary>Called on a thread of the relay when a break armed by <see cref="Arm"/> happens.</summary>
    public Action<LinkCut>? OnCut { get; set; }

    /// <summary>Arms one break; a second call replaces one that has not happened.</summary>
    public void Arm(LinkCut? cut)
    {
        lock (_lock)
        {
            (_armed, _armedLeft) = (cut, cut?.AfterBytes ?? 0);
        }
    }

    /// <summary>Breaks the link now.</summary>
    /// <param name="kind">How.</param>
    /// <param name="silenced">A silence of this direction alone; null = both.</param>
    public void Cut(CutKind kind, LinkDirection? silenced = null) => Apply(new LinkCut(kind, silenced ?? LinkDirection.Up, 0, silenced is not null));

    /// <summary>Refuses new connections until <see cref="Restore"/>: the link is away. Those that are open stay as they are.</summary>
    public void Close()
    {
        lock (_lock)
        {
            _closed = true;
        }
    }

    /// <summary>Ends a silence and accepts connections again; what was held back comes through now.</summary>
    public void Restore()
    {
        TaskCompletionSource? up, down;
        lock (_lock)
        {
            (up, down) = (_upSilence, _downSilence);
            (_upSilence, _downSilence, _closed) = (null, null, false);
        }

        up?.SetResult();
        down?.SetResult();
    }

    /// <summary>Closes every connection and the listener.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _listener.Stop();
        LinkConnection[] open;
        lock (_lock)
        {
            _closed = true;
            open = [.. _connections];
        }

        foreach (LinkConnection connection in open)
        {
            connection.Abort();
        }

        await _accepting.ConfigureAwait(false);
        await Task.WhenAll(open.Select(static c => c.Ended)).ConfigureAwait(false);
        _listener.Dispose();
        _stop.Dispose();
    }

    /// <summary>The line of one direction.</summary>
    internal LinkLane Lane(LinkDirection direction) => direction == LinkDirection.Up ? _up : _down;

    /// <summary>Time since the relay began.</summary>
    internal TimeSpan Now => _time.GetElapsedTime(_started);

    /// <summary>Waits until bytes are due. Waits below half a millisecond are not worth a timer, whose steps are a millisecond.</summary>
    internal async ValueTask WaitUntilAsync(TimeSpan due, CancellationToken cancellation)
    {
        for (TimeSpan left = due - Now; left > TimeSpan.FromMilliseconds(0.5); left = due - Now)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(Math.Ceiling(left.TotalMilliseconds - 0.5)), _time, cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// How many of <paramref name="bytes"/> may be delivered now; waits while the direction is silent. Fewer than asked for, perhaps none, where the
    /// armed break falls among them: the caller delivers those and hands the break to <see cref="Apply"/>.
    /// </summary>
    internal async ValueTask<(int Bytes, LinkCut? Cut)> PassAsync(LinkDirection direction, int bytes, CancellationToken cancellation)
    {
        while (true)
        {
            Task silence;
            lock (_lock)
            {
                TaskCompletionSource? silent = direction == LinkDirection.Up ? _upSilence : _downSilence;
                if (silent is null)
                {
                    if (_armed is not LinkCut armed || armed.Direction != direction)
                    {
                        return (bytes, null);
                    }

                    if (_armedLeft >= bytes)
                    {
                        _armedLeft -= bytes;
                        return (bytes, null);
                    }

                    _armed = null;
                    return ((int)_armedLeft, armed);
                }

                silence = silent.Task;
            }

            await silence.WaitAsync(cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>Breaks the link.</summary>
    internal void Apply(LinkCut cut)
    {
        LinkConnection[] open = [];
        lock (_lock)
        {
            Cuts++;
            if (cut.Kind == CutKind.Reset)
            {
                open = [.. _connections];
            }
            else
            {
                bool up = !cut.OneWay || cut.Direction == LinkDirection.Up, down = !cut.OneWay || cut.Direction == LinkDirection.Down;
                _upSilence = up ? _upSilence ?? new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously) : _upSilence;
                _downSilence = down ? _downSilence ?? new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously) : _downSilence;
            }
        }

        foreach (LinkConnection connection in open)
        {
            connection.Abort();
        }

        OnCut?.Invoke(cut);
    }

    /// <summary>Counts bytes that have been delivered.</summary>
    internal void Count(LinkDirection direction, int bytes) =>
        Interlocked.Add(ref direction == LinkDirection.Up ? ref _bytesUp : ref _bytesDown, bytes);

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            Socket client;
            try
            {
                client = await _listener.AcceptSocketAsync(_stop.Token).ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                return;
            }

            Accept(client);
        }
    }

    private void Accept(Socket client)
    {
        LinkConnection connection = new(this, client, _server);
        lock (_lock)
        {
            if (!_closed)
            {
                _connections.Add(connection);
                connection.Start(() =>
                {
                    lock (_lock)
                    {
                        _connections.Remove(connection);
                    }
                });
                return;
            }
        }

        connection.Abort();
    }
}
