using System.CommandLine;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Remote;
using LowLevelSpec.Engine;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Server;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec serve</c>: runs a target for remote drafters until Ctrl-C or SIGTERM.</summary>
internal sealed class ServeCommand : Command
{
    private const string DefaultListen = "127.0.0.1:7071";

    private readonly CliConsole _console;
    private readonly ModelArguments _model = new();
    private readonly Option<string?> _drafter = new("--drafter") { Description = "The Mixture-of-Attentions checkpoint that clients draft with; none = only other clients. The embedded target's own where no --model is given.", HelpName = "PATH|none" };
    private readonly Option<string?> _listen = new("--listen") { Description = $"Address and port; {DefaultListen} by default, port 0 takes a free one.", HelpName = "HOST:PORT" };
    private readonly Option<string?> _certificate = new("--tls-cert") { Description = "Certificate for TLS: PEM with --tls-key, or PFX without a password.", HelpName = "FILE" };
    private readonly Option<string?> _certificateKey = new("--tls-key") { Description = "Private key of --tls-cert, PEM.", HelpName = "FILE" };
    private readonly Option<bool> _selfSigned = new("--tls-self-signed") { Description = "TLS with a certificate made at the start; its fingerprint is printed for clients' --tls-fingerprint." };
    private readonly Option<string?> _keys = new("--api-keys") { Description = "File of keys, a line each: name secret [sessions=N tokens=N tokens-per-minute=N messages-per-second=N message-bytes=N]; anyone may connect by default.", HelpName = "FILE" };
    private readonly Option<string?> _metrics = new("--metrics") { Description = "Plain HTTP address for /metrics (Prometheus text) and /healthz; none by default.", HelpName = "HOST:PORT" };
    private readonly NumberOption<int> _budget = new("--kv-budget", "Key/value memory of all sessions together in MiB; 2048 by default. Idle sessions make room and are rebuilt when they return.", low: 1, high: 1 << 24);
    private readonly NumberOption<int> _sessions = new("--max-sessions", "Sessions of one client at a time, where its key does not say; 256 by default.", low: 1);
    private readonly NumberOption<int> _grace = new("--grace", "Seconds that a session survives without a connection; 60 by default.", low: 1, high: 86_400);
    private readonly NumberOption<int> _drain = new("--drain", "Seconds that running sessions may go on after SIGTERM; 10 by default.", low: 0, high: 86_400);
    private readonly NumberOption<float> _passTime = new("--server-pass-ms", "Least milliseconds of a target pass: stands in for a larger target when measuring; 0 by default.", low: 0, high: 59_000);

    public ServeCommand(CliConsole console)
        : base("serve", "Run the target for drafters elsewhere (generate --server).")
    {
        _console = console;
        foreach (Option option in (IEnumerable<Option>)[.. _model.All, _drafter, _listen, _certificate, _certificateKey, _selfSigned, _keys, _metrics, _budget, _sessions, _grace, _drain, _passTime])
        {
            Add(option);
        }

        SetAction((result, _) => RunAsync(result));
    }

    private async Task<int> RunAsync(ParseResult result)
    {
        EngineOptions engine = _model.Engine(result);
        if (engine.Prefill != PrefillProducts.Kernels)
        {
            throw new InputException("--prefill: a server rebuilds contexts from their tokens and must get the bits of decoding; leave --prefill out");
        }

        using X509Certificate2? certificate = Certificate(result);
        ServerOptions options = Read(result, certificate);
        TimeSpan drain = TimeSpan.FromSeconds(_drain.Read(result) ?? 10);
        using ServedModel served = ServedModel.Open(Filled.In("--model", _model.Path(result)), Drafter(result), engine);
        using Interrupts.Work work = _console.Interrupts.Begin();
        using CancellationTokenSource terminated = new();
        using PosixSignalRegistration sigterm = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            terminated.Cancel();
        });
        TargetServer server = await TargetServer.StartAsync(served, options, work.Token).ConfigureAwait(false);
        await using (server.ConfigureAwait(false))
        {
            Announce(server, served, certificate);
            using CancellationTokenSource end = CancellationTokenSource.CreateLinkedTokenSource(work.Token, terminated.Token);
            await Task.Delay(Timeout.Infinite, end.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _console.Error.WriteLine($"stopping; {server.Sessions} sessions, up to {drain.TotalSeconds:0} s");
            await server.DrainAsync(drain, work.Token).ConfigureAwait(false);
        }

        return work.Token.IsCancellationRequested ? ExitCode.Interrupted : ExitCode.Well;
    }

    private ServerOptions Read(ParseResult result, X509Certificate2? certificate)
    {
        ServerOptions defaults = new();
        KeyLimits limits = new() { Sessions = _sessions.Read(result) ?? new KeyLimits().Sessions };
        return defaults with
        {
            Listen = result.GetValue(_listen) ?? DefaultListen,
            Certificate = certificate,
            DefaultLimits = limits,
            ApiKeys = result.GetValue(_keys) is string keys ? ApiKey.ReadFile(Filled.In("--api-keys", keys), limits) : [],
            KvBudgetBytes = (long)(_budget.Read(result) ?? 2048) << 20,
            Grace = TimeSpan.FromSeconds(_grace.Read(result) ?? (int)defaults.Grace.TotalSeconds),
            MetricsListen = result.GetValue(_metrics),
            PassTime = TimeSpan.FromMilliseconds(_passTime.Read(result) ?? 0),
            Log = line => _console.Error.WriteLine(line),
        };
    }

    /// <summary>The drafter's path, or null for none.</summary>
    private string? Drafter(ParseResult result) => result.GetValue(_drafter) switch
    {
        "none" => null,
        string path => Filled.In("--drafter", path),
        null => _model.IsGiven(result) ? null : EmbeddedModels.Find().Drafter,
    };

    private X509Certificate2? Certificate(ParseResult result)
    {
        string? file = result.GetValue(_certificate), key = result.GetValue(_certificateKey);
        bool self = result.GetValue(_selfSigned);
        if ((file is not null && self) || (key is not null && file is null))
        {
            throw new UsageException(self ? "Give either --tls-cert or --tls-self-signed, not both." : "--tls-key belongs to --tls-cert: give both.");
        }

        try
        {
            return self ? Certificates.SelfSigned()
                : file is null ? null
                : key is not null ? Certificates.FromPem(file, key)
                : X509CertificateLoader.LoadPkcs12FromFile(file, null);
        }
        catch (CryptographicException e)
        {
            throw new InputException($"--tls-cert {file}: holds no usable certificate and key: {e.Message}", e);
        }
    }

    private void Announce(TargetServer server, ServedModel served, X509Certificate2? certificate)
    {
        _console.Out.WriteLine($"serving {served.Name} on {server.Address.GetLeftPart(UriPartial.Authority)}");
        if (certificate is not null)
        {
            _console.Out.WriteLine($"certificate sha256 {certificate.GetCertHashString(HashAlgorithmName.SHA256)}");
        }

        if (server.MetricsAddress is Uri metrics)
        {
            _console.Out.WriteLine($"metrics on {metrics.GetLeftPart(UriPartial.Authority)}/metrics");
        }

        _console.Out.Flush();
    }
}
