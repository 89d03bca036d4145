using System.Threading.RateLimiting;

namespace LowLevelSpec.Remote.Server;

/// <summary>A key's running totals: sessions and rates.</summary>
internal sealed class ClientAccount : IDisposable
{
    private readonly TokenBucketRateLimiter? _tokens, _messages;

    public ClientAccount(string name, KeyLimits limits, int contextLength)
    {
        (Name, Limits) = (name, limits);
        MaxTokens = limits.Tokens == 0 ? contextLength : Math.Min(limits.Tokens, contextLength);
        _tokens = limits.TokensPerMinute == 0 ? null : Bucket(limits.TokensPerMinute, limits.TokensPerMinute, TimeSpan.FromMinutes(1));
        _messages = limits.MessagesPerSecond == 0 ? null : Bucket(2 * limits.MessagesPerSecond, limits.MessagesPerSecond, TimeSpan.FromSeconds(1));
    }

    public string Name { get; }

    public KeyLimits Limits { get; }

    /// <summary>Most tokens of a session.</summary>
    public int MaxTokens { get; }

    /// <summary>Sessions that exist; guarded by the session table.</summary>
    public int Sessions { get; set; }

    /// <summary>Whether one more message is within the rate.</summary>
    public bool TakeMessage() => _messages is null || Take(_messages, 1);

    /// <summary>Whether <paramref name="count"/> more tokens are within the rate. A single request may be as large as a minute's worth.</summary>
    public bool TakeTokens(int count) => _tokens is null || Take(_tokens, Math.Min(count, Limits.TokensPerMinute));

    public void Dispose()
    {
        _tokens?.Dispose();
        _messages?.Dispose();
    }

    /// <summary>A bucket that <paramref name="count"/> per <paramref name="time"/> flow into, a little at a time.</summary>
    private static TokenBucketRateLimiter Bucket(int limit, int count, TimeSpan time)
    {
        // As many at once as flow in within a tenth of a second, or one. The period follows from them, but for the milliseconds that timers round it to: two in a hundred at most.
        int atOnce = (int)Math.Max(1, count * TimeSpan.FromSeconds(0.1) / time);
        return new TokenBucketRateLimiter(new TokenBucketRateLimiterOptions
        {
            TokenLimit = limit,
            TokensPerPeriod = atOnce,
            ReplenishmentPeriod = time * atOnce / count,
            QueueLimit = 0,
            AutoReplenishment = true,
        });
    }

    private static bool Take(TokenBucketRateLimiter bucket, int count)
    {
        using RateLimitLease lease = bucket.AttemptAcquire(count);
        return lease.IsAcquired;
    }
}
