namespace LowLevelSpec.Remote.Links;

/// <summary>What happens to calls on their way: probabilities per message.</summary>
/// <param name="Lost">It never arrives.</param>
/// <param name="Repeated">It arrives twice.</param>
/// <param name="Reordered">It arrives after the next one of its direction, or after <see cref="CallFaultProxy.Held"/> where none follows.</param>
public sealed record CallFaults(double Lost, double Repeated, double Reordered)
{
    /// <summary>Every message arrives once and in order.</summary>
    public static CallFaults None { get; } = new(0, 0, 0);
}

/// <summary>One direction of one stream: decides what becomes of each message. Seeded; one caller at a time.</summary>
/// <typeparam name="T">A message.</typeparam>
internal sealed class FaultLine<T>(CallFaults faults, int seed)
    where T : class
{
    private readonly Random _random = new(seed);
    private T? _held;

    /// <summary>Messages lost.</summary>
    public int Lost { get; private set; }

    /// <summary>Messages doubled.</summary>
    public int Repeated { get; private set; }

    /// <summary>Messages that changed places with the next one.</summary>
    public int Reordered { get; private set; }

    /// <summary>Whether a message waits for the next one to overtake it.</summary>
    public bool Holds => _held is not null;

    /// <summary>What arrives now that <paramref name="message"/> has been sent.</summary>
    public IReadOnlyList<T> Pass(T message)
    {
        double drawn = _random.NextDouble();
        if (drawn < faults.Lost)
        {
            Lost++;
            return Release();
        }

        if (drawn < faults.Lost + faults.Repeated)
        {
            Repeated++;
            return [message, message, .. Release()];
        }

        if (_held is null && drawn < faults.Lost + faults.Repeated + faults.Reordered)
        {
            _held = message;
            return [];
        }

        Reordered += _held is null ? 0 : 1;
        return [message, .. Release()];
    }

    /// <summary>The message that waits, if any.</summary>
    public IReadOnlyList<T> Release()
    {
        T? held = _held;
        _held = null;
        return held is null ? [] : [held];
    }
}
