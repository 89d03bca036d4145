using System.Net;
using Grpc.AspNetCore.HealthChecks;
using Grpc.HealthCheck;
using LowLevelSpec.Models;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace LowLevelSpec.Remote.Server;

/// <summary>A server of target passes: many sessions of remote drafters on one target. Thread-safe.</summary>
public sealed class TargetServer : IAsyncDisposable
{
    /// <summary>Bytes that a message may have before even its key is looked at.</summary>
    private const int MaxMessageBytes = 16 << 20;

    private readonly WebApplication _app;
    private readonly ServerCore _core;
    private readonly Timer _expiry;
    private int _disposed;

    private TargetServer(WebApplication app, ServerCore core, Uri address, Uri? metrics)
    {
        (_app, _core, Address, MetricsAddress) = (app, core, address, metrics);
        TimeSpan period = TimeSpan.FromMilliseconds(Math.Clamp(core.Options.Grace.TotalMilliseconds / 4, 20, 5000));
        _expiry = new Timer(_ => core.Sessions.Expire(), null, period, period);
    }

    /// <summary>Where it listens, with the port taken.</summary>
    public Uri Address { get; }

    /// <summary>Where /metrics and /healthz are, or null.</summary>
    public Uri? MetricsAddress { get; }

    /// <summary>Sessions now, those in grace included.</summary>
    public int Sessions => _core.Sessions.Count;

    /// <summary>Bytes of key/value memory reserved now.</summary>
    public long KvBytes => _core.Sessions.ReservedBytes;

    /// <summary>Sessions whose key/value memory was taken for others so far.</summary>
    public long Evictions => _core.Sessions.Evictions;

    /// <summary>Tokens committed per verification since the start; 0 before the first.</summary>
    public double Tau => _core.Metrics.Tau;

    /// <summary>Least time of a target pass, see <see cref="ServerOptions.PassTime"/>; may change while it runs.</summary>
    public TimeSpan PassTime
    {
        get => _core.Scheduler.PassTime;
        set => _core.Scheduler.PassTime = value;
    }

    /// <summary>Starts a server. The model is the caller's to dispose, after the server.</summary>
    /// <exception cref="InputException">An option is out of range, or the address can't be listened on.</exception>
    public static async Task<TargetServer> StartAsync(ServedModel served, ServerOptions options, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(served);
        ArgumentNullException.ThrowIfNull(options);
        Check(options);
        IPEndPoint listen = Parse(options.Listen, "--listen");
        IPEndPoint? metrics = options.MetricsListen is null ? null : Parse(options.MetricsListen, "--metrics");
        ServerCore core = new(served, options);
        WebApplication? app = null;
        try
        {
            app = Build(core, listen, metrics);
            await app.StartAsync(cancellation).ConfigureAwait(false);
            string[] bound = [.. app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses];
            return new TargetServer(app, core, new Uri(bound[0]), metrics is null ? null : new Uri(bound[1]));
        }
        catch (Exception e)
        {
            if (app is not null)
            {
                await app.DisposeAsync().ConfigureAwait(false);
            }

            core.Dispose();
            if (e is IOException or System.Net.Sockets.SocketException)
            {
                throw new InputException($"--listen {options.Listen}: can't be listened on: {e.Message}", e);
            }

            throw;
        }
    }

    /// <summary>Takes no new sessions, lets the present ones go on until they close or <paramref name="patience"/> is over, then stops.</summary>
    public async Task DrainAsync(TimeSpan patience, CancellationToken cancellation = default)
    {
        _core.BeginDrain(patience);
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        while (!cancellation.IsCancellationRequested && System.Diagnostics.Stopwatch.GetElapsedTime(start) < patience && (_core.Sessions.Attached > 0 || _core.Scheduler.Waiting > 0))
        {
            await Task.Delay(20, CancellationToken.None).ConfigureAwait(false);
        }

        await DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Stops at once: streams end, sessions are gone.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        await _expiry.DisposeAsync().ConfigureAwait(false);
        _core.Stop();
        using (CancellationTokenSource soon = new(TimeSpan.FromSeconds(2)))
        {
            await _app.StopAsync(soon.Token).ConfigureAwait(false);
        }

        await _app.DisposeAsync().ConfigureAwait(false);
        _core.Dispose();
    }

    private static WebApplication Build(ServerCore core, IPEndPoint listen, IPEndPoint? metrics)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Logging.ClearProviders();
        ServerOptions options = core.Options;
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;

            // Kestrel takes nothing below a second.
            TimeSpan least = TimeSpan.FromSeconds(1);
            kestrel.Limits.Http2.KeepAlivePingDelay = options.IdleTimeout / 2 > least ? options.IdleTimeout / 2 : least;
            kestrel.Limits.Http2.KeepAlivePingTimeout = options.IdleTimeout > least ? options.IdleTimeout : least;
            kestrel.Listen(listen, endpoint =>
            {
                endpoint.Protocols = HttpProtocols.Http2;
                if (options.Certificate is not null)
                {
                    endpoint.UseHttps(options.Certificate);
                }
            });
            if (metrics is not null)
            {
                kestrel.Listen(metrics, static endpoint => endpoint.Protocols = HttpProtocols.Http1);
            }
        });
        if (options.Certificate is not null)
        {
            builder.WebHost.UseKestrelHttpsConfiguration();
        }

        // Signals are the caller's business.
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.Services.AddSingleton(core);
        builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = MaxMessageBytes);
        builder.Services.AddGrpcHealthChecks().AddCheck("target", () => core.Draining ? HealthCheckResult.Unhealthy("draining") : HealthCheckResult.Healthy());
        builder.Services.Configure<HealthCheckPublisherOptions>(static publisher => (publisher.Delay, publisher.Period) = (TimeSpan.Zero, TimeSpan.FromSeconds(1)));
        WebApplication app = builder.Build();
        app.MapGrpcService<TargetService>();
        app.MapGrpcHealthChecksService();
        if (metrics is not null)
        {
            MetricsPage text = new();
            app.Lifetime.ApplicationStopped.Register(text.Dispose);
            app.MapGet("/metrics", () => Results.Text(text.Read(), "text/plain; version=0.0.4"));
            app.MapGet("/healthz", () => core.Draining ? Results.Text("draining\n", statusCode: StatusCodes.Status503ServiceUnavailable) : Results.Text("ok\n"));
        }

        return app;
    }

    private static void Check(ServerOptions options)
    {
        options.DefaultLimits.Validate("default limits");
        Require(options.KvBudgetBytes > 0, "the KV budget", options.KvBudgetBytes, "a number of bytes above 0");
        Require(options.MaxPassRows is >= 64 and <= 4096, "rows per pass", options.MaxPassRows, "64 (one draft tree) to 4096");
        Require(options.Grace > TimeSpan.Zero, "the grace time", options.Grace, "more than 0");
        Require(options.IdleTimeout > TimeSpan.Zero, "the idle timeout", options.IdleTimeout, "more than 0");
        Require(options.PassTime >= TimeSpan.Zero && options.PassTime < TimeSpan.FromMinutes(1), "the pass time", options.PassTime, "0 to 60 seconds");
        Require(options.Certificate?.HasPrivateKey != false, "the certificate", "no private key", "one with its private key");

        static void Require(bool holds, string what, object found, string expected)
        {
            if (!holds)
            {
                throw new InputException($"{what}: found {found}, expected {expected}");
            }
        }
    }

    private static IPEndPoint Parse(string text, string option)
    {
        string address = text.StartsWith("localhost:", StringComparison.OrdinalIgnoreCase) ? $"127.0.0.1{text[9..]}" : text;
        return IPEndPoint.TryParse(address, out IPEndPoint? parsed) && address.Contains(':')
            ? parsed
            : throw new InputException($"{option}: found '{text}', expected an address and a port, e.g. 127.0.0.1:7071, [::1]:7071 or 0.0.0.0:7071");
    }

    /// <summary>A host that waits for no signal of its own.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
