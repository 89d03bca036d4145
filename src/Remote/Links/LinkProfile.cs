using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Links;

/// <summary>
/// Figures of one kind of link, as <see cref="LinkRelay"/> plays them. A round trip of a small message takes 2 x <see cref="Delay"/>
/// plus jitter both ways, plus what the peers need.
/// </summary>
public sealed record LinkProfile
{
    /// <summary>Name on the command line.</summary>
    public required string Name { get; init; }

    /// <summary>One-way delay; both ways alike.</summary>
    public required TimeSpan Delay { get; init; }

    /// <summary>Most that is added to <see cref="Delay"/>, drawn evenly per packet. TCP delivers in order, so a late packet holds up those after it.</summary>
    public TimeSpan Jitter { get; init; }

    /// <summary>Rate from client to server in bits per second; 0 = unlimited.</summary>
    public long UpBitsPerSecond { get; init; }

    /// <summary>Rate from server to client in bits per second; 0 = unlimited.</summary>
    public long DownBitsPerSecond { get; init; }

    /// <summary>Probability that a burst of losses starts at a packet.</summary>
    public double LossStart { get; init; }

    /// <summary>Mean number of packets lost in a burst, at least 1.</summary>
    public double LossLength { get; init; } = 1;

    /// <summary>Where the figures come from.</summary>
    public required string Origin { get; init; }

    /// <summary>2 x <see cref="Delay"/>, jitter apart.</summary>
    public TimeSpan RoundTrip => Delay * 2;

    /// <summary>Nothing but loopback's own delay: what a measurement without a link means.</summary>
    public static LinkProfile None { get; } = new() { Name = "none", Delay = TimeSpan.Zero, Origin = "loopback" };

    /// <summary>The documented profiles, fastest first.</summary>
    public static IReadOnlyList<LinkProfile> All { get; } =
    [
        new()
        {
            Name = "lan",
            Delay = TimeSpan.FromMilliseconds(0.15),
            UpBitsPerSecond = 1_000_000_000,
            DownBitsPerSecond = 1_000_000_000,
            Origin = "gigabit Ethernet through one switch; waits below half a millisecond are left to loopback's own delay",
        },
        new()
        {
            Name = "wifi",
            Delay = TimeSpan.FromMilliseconds(1),
            Jitter = TimeSpan.FromMilliseconds(2),
            UpBitsPerSecond = 33_000_000,
            DownBitsPerSecond = 40_000_000,
            LossStart = 0.0005,
            LossLength = 2,
            Origin = "delay and rates of the preset Wi-Fi of Apple's Network Link Conditioner; jitter and loss are ours",
        },
        new()
        {
            Name = "5g",
            Delay = TimeSpan.FromMilliseconds(12.5),
            Jitter = TimeSpan.FromMilliseconds(4),
            UpBitsPerSecond = 20_000_000,
            DownBitsPerSecond = 100_000_000,
            LossStart = 0.001,
            LossLength = 3,
            Origin = "round figures for a commercial non-standalone 5G network below 6 GHz with the server in the same region: 25 ms, 100/20 Mb/s; ours",
        },
        new()
        {
            Name = "4g",
            Delay = TimeSpan.FromMilliseconds(35),
            Jitter = TimeSpan.FromMilliseconds(10),
            UpBitsPerSecond = 12_000_000,
            DownBitsPerSecond = 12_000_000,
            LossStart = 0.002,
            LossLength = 3,
            Origin = "WebPageTest's connectivity profile LTE (12/12 Mb/s, 70 ms); jitter and loss are ours",
        },
        new()
        {
            Name = "3g",
            Delay = TimeSpan.FromMilliseconds(150),
            Jitter = TimeSpan.FromMilliseconds(30),
            UpBitsPerSecond = 768_000,
            DownBitsPerSecond = 1_600_000,
            LossStart = 0.003,
            LossLength = 4,
            Origin = "WebPageTest's connectivity profile 3G (1.6/0.768 Mb/s, 300 ms); jitter and loss are ours",
        },
        new()
        {
            Name = "satellite",
            Delay = TimeSpan.FromMilliseconds(279),
            Jitter = TimeSpan.FromMilliseconds(10),
            UpBitsPerSecond = 3_000_000,
            DownBitsPerSecond = 25_000_000,
            LossStart = 0.002,
            LossLength = 6,
            Origin = "RFC 2488 section 2 for a geostationary hop (279 ms one way, 558 ms and more both ways); rates as consumer services advertise them; jitter and loss are ours",
        },
    ];

    /// <summary>Profiles of a list of names, "all" or "none".</summary>
    /// <param name="names">Names separated by commas.</param>
    /// <exception cref="InputException">A name is not known.</exception>
    public static IReadOnlyList<LinkProfile> Parse(string names)
    {
        ArgumentNullException.ThrowIfNull(names);
        if (names.Trim().Equals("all", StringComparison.OrdinalIgnoreCase))
        {
            return All;
        }

        return
        [
            .. names.Split(',', StringSplitOptions.TrimEntries).Select(name =>
                All.Append(None).FirstOrDefault(profile => profile.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
                ?? throw new InputException($"link profile: found '{name}', expected all, or some of {string.Join(", ", All.Append(None).Select(static p => p.Name))} separated by commas")),
        ];
    }
}
