using CsCheck;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Links;
using Xunit;

namespace LowLevelSpec.Remote.Tests.Links;

public class LinkLaneTests
{
    private static readonly LinkProfile Slow = new()
    {
        Name = "slow",
        Delay = TimeSpan.FromMilliseconds(100),
        UpBitsPerSecond = 8_000,
        DownBitsPerSecond = 80_000,
        Origin = "test",
    };

    [Fact]
    public void A_write_takes_its_time_on_the_line_and_then_the_delay()
    {
        // 8 kb/s are a byte per millisecond.
        LinkLane up = new(Slow, LinkDirection.Up, 0), down = new(Slow, LinkDirection.Down, 0);
        Assert.Equal(Milliseconds(150), up.Schedule(TimeSpan.Zero, 50, TimeSpan.Zero));
        Assert.Equal(Milliseconds(105), down.Schedule(TimeSpan.Zero, 50, TimeSpan.Zero));
    }

    [Fact]
    public void Writes_queue_before_the_line_and_an_idle_line_is_free_at_once()
    {
        LinkLane lane = new(Slow, LinkDirection.Up, 0);
        Assert.Equal(Milliseconds(200), lane.Schedule(TimeSpan.Zero, 100, TimeSpan.Zero));
        Assert.Equal(Milliseconds(300), lane.Schedule(Milliseconds(10), 100, TimeSpan.Zero));
        Assert.Equal(Milliseconds(1101), lane.Schedule(Milliseconds(1000), 1, TimeSpan.Zero));
    }

    [Fact]
    public void The_end_of_a_stream_takes_the_delay_alone() =>
        Assert.Equal(Milliseconds(100), new LinkLane(Slow, LinkDirection.Up, 0).Schedule(TimeSpan.Zero, 0, TimeSpan.Zero));

    [Fact]
    public void Bytes_never_overtake_each_other_and_never_beat_rate_and_delay() =>
        Gen.Select(Gen.Int[0, 5], Gen.Int, Gen.Select(Gen.Int[0, 50], Gen.Int[1, 20_000]).Array[1, 60]).Sample((profile, seed, writes) =>
        {
            LinkProfile link = LinkProfile.All[profile];
            LinkLane lane = new(link, LinkDirection.Down, seed);
            TimeSpan now = TimeSpan.Zero, due = TimeSpan.Zero, free = TimeSpan.Zero;
            foreach ((int wait, int bytes) in writes)
            {
                now += Milliseconds(wait);
                free = (now > free ? now : free) + TimeSpan.FromSeconds(bytes * 8.0 / link.DownBitsPerSecond);
                TimeSpan next = lane.Schedule(now, bytes, due);

                // One tick per write: the line's times are whole ticks.
                if (next < due || next < free + link.Delay - TimeSpan.FromTicks(writes.Length))
                {
                    return false;
                }

                due = next;
            }

            return true;
        }, iter: 200);

    [Fact]
    public void The_same_seed_meets_the_same_jitter_and_losses()
    {
        LinkProfile link = LinkProfile.All.Single(static p => p.Name == "3g");
        Assert.Equal(Dues(link, 5), Dues(link, 5));
        Assert.NotEqual(Dues(link, 5), Dues(link, 6));
    }

    [Fact]
    public void A_loss_is_a_stall_of_a_round_trip_inside_a_write_and_of_a_timer_at_its_end()
    {
        // A first packet that is always lost, alone.
        LinkProfile link = Slow with { UpBitsPerSecond = 0, LossStart = 1, LossLength = 1 };
        LinkLane last = new(link, LinkDirection.Up, 0);
        Assert.Equal(Milliseconds(100 + 400), last.Schedule(TimeSpan.Zero, 100, TimeSpan.Zero));
        Assert.Equal(1, last.Lost);

        // Lost and not lost take turns: of 20 packets the 19th is the last lost one, and one packet behind it is too few to tell.
        LinkLane tail = new(link, LinkDirection.Up, 0);
        Assert.Equal(Milliseconds(100 + 400), tail.Schedule(TimeSpan.Zero, 20 * LinkLane.PacketBytes, TimeSpan.Zero));
        Assert.Equal(10, tail.Lost);
    }

    [Fact]
    public void Losses_come_as_often_and_in_bursts_as_long_as_the_profile_says()
    {
        // Writes of many packets: a repetition's own losses, which single packets add, hardly count.
        LinkProfile link = Slow with { UpBitsPerSecond = 0, LossStart = 0.01, LossLength = 4 };
        LinkLane lane = new(link, LinkDirection.Up, 3);
        const int Writes = 200, Packets = 1000;
        for (int i = 0; i < Writes; i++)
        {
            lane.Schedule(TimeSpan.Zero, Packets * LinkLane.PacketBytes, TimeSpan.Zero);
        }

        // Share of the bad state of the two-state chain: start / (start + 1/length) = 0.0385; the seeded draw lies within a tenth of it.
        double share = lane.Lost / (double)(Writes * Packets);
        Assert.InRange(share, 0.0385 * 0.9, 0.0385 * 1.1);
    }

    [Fact]
    public void Profiles_are_named_and_documented()
    {
        Assert.Equal(["lan", "wifi", "5g", "4g", "3g", "satellite"], LinkProfile.All.Select(static p => p.Name));
        Assert.All(LinkProfile.All, static p => Assert.True(p.Origin.Length > 0 && p.LossLength >= 1));
        Assert.Equal(LinkProfile.All, LinkProfile.Parse("all"));
        Assert.Equal(["4g", "none"], LinkProfile.Parse(" 4G,none").Select(static p => p.Name));
        Assert.Contains("'5h'", Assert.Throws<InputException>(() => LinkProfile.Parse("lan,5h")).Message, StringComparison.Ordinal);
    }

    private static TimeSpan[] Dues(LinkProfile link, int seed)
    {
        LinkLane lane = new(link, LinkDirection.Up, seed);
        return [.. Enumerable.Range(0, 500).Select(i => lane.Schedule(Milliseconds(i), 1000, TimeSpan.Zero))];
    }

    private static TimeSpan Milliseconds(double ms) => TimeSpan.FromMilliseconds(ms);
}
