namespace LowLevelSpec.Remote.Links;

/// <summary>Which way bytes go.</summary>
public enum LinkDirection
{
    /// <summary>Client to server.</summary>
    Up,

    /// <summary>Server to client.</summary>
    Down,
}

/// <summary>
/// When bytes that enter one direction of a link come out of it: a queue before a line of fixed rate, then delay, jitter and losses. It
/// reads no clock, so tests play any moment. Thread-safe: the connections of a link share its line.
/// <para>
/// A loss on TCP is never a hole in the stream, it is a stall. Packets of <see cref="PacketBytes"/> are lost in bursts: a burst starts at a packet
/// with probability <see cref="LinkProfile.LossStart"/> and takes each following one with probability 1 - 1/<see cref="LinkProfile.LossLength"/>. Where at least three later
/// packets of the same write arrive, their duplicate acknowledgements bring the lost one a round trip later (fast retransmit); at a write's end there
/// are none, and the sender waits for its timer, 200 ms (Linux's least) or twice the round trip, whichever is more, doubled (at most twice) when the repetition is lost in
/// the same burst. What follows in the connection waits behind it (head-of-line blocking).
/// </para>
/// </summary>
internal sealed class LinkLane
{
    /// <summary>Payload of a packet on Ethernet: 1500 bytes less the headers of IPv4 and TCP with time stamps.</summary>
    public const int PacketBytes = 1448;

    /// <summary>Duplicate acknowledgements that a sender takes for a loss (RFC 5681).</summary>
    private const int FastRetransmitPackets = 3;

    private const int MostDoublings = 2;

    private static readonly TimeSpan LeastTimeout = TimeSpan.FromMilliseconds(200);

    private readonly Lock _lock = new();
    private readonly LinkProfile _profile;
    private readonly long _bitsPerSecond;
    private readonly Random _random;
    private TimeSpan _free;
    private bool _losing;

    /// <param name="profile">The link.</param>
    /// <param name="direction">Which of its rates counts.</param>
    /// <param name="seed">Of jitter and losses.</param>
    public LinkLane(LinkProfile profile, LinkDirection direction, int seed)
    {
        _profile = profile;
        _bitsPerSecond = direction == LinkDirection.Up ? profile.UpBitsPerSecond : profile.DownBitsPerSecond;
        _random = new Random(seed);
    }

    /// <summary>Packets lost so far.</summary>
    public long Lost { get; private set; }

    /// <summary>Bytes that may be under way or queued: twice what the line holds, so that it never idles, from 64 KiB to 4 MiB.</summary>
    public int QueueBytes => (int)Math.Clamp(2 * (_bitsPerSecond == 0 ? long.MaxValue / 4 : (long)(_bitsPerSecond / 8.0 * _profile.RoundTrip.TotalSeconds)), 64 << 10, 4 << 20);

    /// <summary>When <paramref name="bytes"/> written at <paramref name="now"/> come out.</summary>
    /// <param name="now">Any clock that does not go back.</param>
    /// <param name="bytes">Length of the write.</param>
    /// <param name="previous">When the connection's bytes before these come out; never later than the result.</param>
    public TimeSpan Schedule(TimeSpan now, int bytes, TimeSpan previous)
    {
        lock (_lock)
        {
            if (_bitsPerSecond > 0)
            {
                TimeSpan start = now > _free ? now : _free;
                now = _free = start + TimeSpan.FromSeconds(bytes * 8.0 / _bitsPerSecond);
            }

            TimeSpan due = now + _profile.Delay + (_profile.Jitter * _random.NextDouble()) + Stall((bytes + PacketBytes - 1) / PacketBytes);
            return due > previous ? due : previous;
        }
    }

    private TimeSpan Stall(int packets)
    {
        if (_profile.LossStart <= 0)
        {
            return TimeSpan.Zero;
        }

        int lastLost = -1;
        for (int i = 0; i < packets; i++)
        {
            _losing = _random.NextDouble() < (_losing ? 1 - (1 / _profile.LossLength) : _profile.LossStart);
            if (_losing)
            {
                Lost++;
                lastLost = i;
            }
        }

        if (lastLost < 0)
        {
            return TimeSpan.Zero;
        }

        if (packets - 1 - lastLost >= FastRetransmitPackets)
        {
            return _profile.RoundTrip;
        }

        TimeSpan timeout = _profile.RoundTrip * 2 > LeastTimeout ? _profile.RoundTrip * 2 : LeastTimeout, stall = timeout;
        for (int i = 0; i < MostDoublings && _losing; i++)
        {
            _losing = _random.NextDouble() < 1 - (1 / _profile.LossLength);
            if (_losing)
            {
                Lost++;
                timeout *= 2;
                stall += timeout;
            }
        }

        _losing = false;
        return stall;
    }
}
