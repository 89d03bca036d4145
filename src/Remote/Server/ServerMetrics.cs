using System.Diagnostics.Metrics;

namespace LowLevelSpec.Remote.Server;

/// <summary>The server's instruments (System.Diagnostics.Metrics, meter <see cref="MeterName"/>), for OpenTelemetry or anything else that listens.</summary>
internal sealed class ServerMetrics : IDisposable
{
    public const string MeterName = "LowLevelSpec.Remote.Server";

    private readonly Meter _meter = new(MeterName);
    private readonly Counter<long> _opened, _refused, _requests, _tokens, _drafted, _passes, _rows, _up, _down;
    private readonly Histogram<double> _queue, _pass, _accepted, _sessionsPerPass;
    private long _committed, _verifications;

    public ServerMetrics(SessionTable sessions, Func<int> waiting)
    {
        _opened = _meter.CreateCounter<long>("llspec.sessions.opened", "{session}", "Sessions opened.");
        _refused = _meter.CreateCounter<long>("llspec.refusals", "{refusal}", "Requests and streams refused, by reason.");
        _requests = _meter.CreateCounter<long>("llspec.requests", "{request}", "Requests taken on, by kind.");
        _tokens = _meter.CreateCounter<long>("llspec.tokens.committed", "{token}", "Tokens committed by verification and decoding passes.");
        _drafted = _meter.CreateCounter<long>("llspec.tokens.drafted", "{token}", "Draft nodes verified.");
        _passes = _meter.CreateCounter<long>("llspec.passes", "{pass}", "Target passes.");
        _rows = _meter.CreateCounter<long>("llspec.pass.rows", "{row}", "Rows of all passes.");
        _up = _meter.CreateCounter<long>("llspec.bytes.up", "By", "Protocol messages received.");
        _down = _meter.CreateCounter<long>("llspec.bytes.down", "By", "Protocol messages sent.");
        _queue = _meter.CreateHistogram<double>("llspec.queue.duration", "s", "Wait of a session's rows for their pass.");
        _pass = _meter.CreateHistogram<double>("llspec.pass.duration", "s", "Time of a target pass.");
        _accepted = _meter.CreateHistogram<double>("llspec.call.tokens", "{token}", "Tokens committed per verification (its mean is tau).");
        _sessionsPerPass = _meter.CreateHistogram<double>("llspec.pass.sessions", "{session}", "Sessions that share a pass.");
        _meter.CreateObservableGauge("llspec.sessions", () => sessions.Count, "{session}", "Sessions, those in grace included.");
        _meter.CreateObservableGauge("llspec.sessions.attached", () => sessions.Attached, "{session}", "Sessions with a stream.");
        _meter.CreateObservableGauge("llspec.sessions.waiting", waiting, "{session}", "Sessions with work in hand.");
        _meter.CreateObservableGauge("llspec.kv.bytes", () => sessions.ReservedBytes, "By", "Key/value memory reserved.");
        _meter.CreateObservableCounter("llspec.sessions.evicted", () => sessions.Evictions, "{session}", "Sessions whose key/value memory was taken for others.");
        _meter.CreateObservableGauge("llspec.tau", () => Ratio(_committed, _verifications), "{token}", "Tokens committed per verification, since the start.");
        _meter.CreateObservableGauge("llspec.calls_per_100_tokens", () => 100 * Ratio(_verifications, _committed), "{call}", "Verifications per 100 tokens, since the start.");
    }

    /// <summary>Tokens committed per verification since the start; 0 before the first.</summary>
    public double Tau => Ratio(_committed, _verifications);

    public void Opened() => _opened.Add(1);

    public void Refused(string reason) => _refused.Add(1, new KeyValuePair<string, object?>("reason", reason));

    public void Request(JobKind kind) => _requests.Add(1, new KeyValuePair<string, object?>("kind", kind.ToString()));

    public void Queued(double seconds) => _queue.Record(seconds);

    public void Pass(int rows, int sessions, double seconds)
    {
        _passes.Add(1);
        _rows.Add(rows);
        _pass.Record(seconds);
        _sessionsPerPass.Record(sessions);
    }

    public void Verified(int committed, int drafted)
    {
        Interlocked.Add(ref _committed, committed);
        Interlocked.Increment(ref _verifications);
        _tokens.Add(committed);
        _drafted.Add(drafted);
        _accepted.Record(committed);
    }

    public void BytesUp(int count) => _up.Add(count);

    public void BytesDown(int count) => _down.Add(count);

    public void Dispose() => _meter.Dispose();

    private static double Ratio(long a, long b) => b == 0 ? 0 : a / (double)b;
}
