using System.CommandLine;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;

namespace LowLevelSpec.Cli.Options;

/// <summary>Which server holds the target, and how its client behaves.</summary>
internal sealed class RemoteArguments
{
    /// <summary>Where the key is taken from when no option gives it: command lines are visible to others.</summary>
    private const string KeyVariable = "LLSPEC_API_KEY";

    private static readonly Dictionary<string, StateEncoding> Encodings = new(StringComparer.OrdinalIgnoreCase)
    {
        ["f32"] = StateEncoding.F32,
        ["bf16"] = StateEncoding.Bf16,
        ["int8"] = StateEncoding.Int8,
    };

    private static readonly Dictionary<string, RemoteMethod> Methods = new(StringComparer.OrdinalIgnoreCase)
    {
        ["draft"] = RemoteMethod.Speculative,
        ["per-call"] = RemoteMethod.PerCall,
        ["stream"] = RemoteMethod.Streamed,
    };

    private readonly Option<string?> _server = new("--server") { Description = "The target runs there (llspec serve); here only the drafter does. Greedy decoding.", HelpName = "[https://]HOST:PORT" };
    private readonly Option<bool> _alone = new("--drafter-only") { Description = "No target at all: the drafter writes alone, unverified." };
    private readonly Option<string?> _key = new("--api-key") { Description = $"API key for --server; the variable {KeyVariable} by default.", HelpName = "KEY" };
    private readonly Option<string?> _fingerprint = new("--tls-fingerprint") { Description = "SHA-256 fingerprint of the one certificate to trust, as llspec serve prints it; the system's authorities decide by default.", HelpName = "HEX" };
    private readonly Option<string?> _reconnect = new("--on-reconnect") { Description = "What becomes of text written while the server was out of reach: the target verifies it (the default), or it is kept.", HelpName = "verify|keep" };
    private readonly Option<string?> _encoding = new("--encoding") { Description = "How the target's state travels: int8 (the default), bf16 or f32; the text is the same.", HelpName = "int8|bf16|f32" };
    private readonly Option<string?> _method = new("--remote-method") { Description = "draft (the default): trees are drafted here and verified there; per-call: a call per token; stream: the server writes alone.", HelpName = "draft|per-call|stream" };
    private readonly NumberOption<int> _unverified = new("--max-unverified", $"Most tokens written without the server; {new RemoteOptions().MaxUnverified} by default.", low: 0);
    private readonly NumberOption<int> _giveUp = new("--give-up", $"Seconds after which a lost server is given up; {(int)new RemoteOptions().GiveUpAfter.TotalSeconds} by default.", low: 1, high: 86_400);

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_server, _alone, _key, _fingerprint, _reconnect, _encoding, _method, _unverified, _giveUp])
        {
            command.Add(option);
        }
    }

    /// <summary>Whether the target is elsewhere, or nowhere.</summary>
    public bool IsGiven(ParseResult result) => result.GetValue(_server) is not null || result.GetValue(_alone);

    /// <summary>How tokens are won.</summary>
    public RemoteMethod Method(ParseResult result) => result.GetValue(_alone) ? RemoteMethod.DrafterOnly
        : Methods.TryGetValue(result.GetValue(_method) ?? "draft", out RemoteMethod method) ? method
        : throw new InputException($"--remote-method: found '{result.GetValue(_method)}', expected draft, per-call or stream");

    /// <summary>Reads how the server is reached.</summary>
    /// <exception cref="UsageException">Options that exclude each other.</exception>
    public RemoteOptions Read(ParseResult result)
    {
        if (result.GetValue(_alone) && result.GetValue(_server) is not null)
        {
            throw new UsageException("--drafter-only writes without a server: leave --server out.");
        }

        RemoteOptions defaults = new();
        string? encoding = result.GetValue(_encoding), fingerprint = result.GetValue(_fingerprint);
        if (fingerprint is not null && fingerprint.Count(char.IsAsciiHexDigit) != 64)
        {
            throw new InputException($"--tls-fingerprint: found '{fingerprint}', expected the 64 hexadecimal digits of a SHA-256");
        }

        return defaults with
        {
            Server = result.GetValue(_server) is string server ? Address(server) : null,
            ApiKey = result.GetValue(_key) ?? Environment.GetEnvironmentVariable(KeyVariable),
            CertificateFingerprint = fingerprint,
            OnReconnect = result.GetValue(_reconnect) switch
            {
                null or "verify" => OnReconnect.Verify,
                "keep" => OnReconnect.Keep,
                string other => throw new InputException($"--on-reconnect: found '{other}', expected verify or keep"),
            },
            Encodings = encoding is null ? defaults.Encodings : [Encoding(encoding)],
            MaxUnverified = _unverified.Read(result) ?? defaults.MaxUnverified,
            GiveUpAfter = _giveUp.Read(result) is int seconds ? TimeSpan.FromSeconds(seconds) : defaults.GiveUpAfter,
        };
    }

    private static Uri Address(string text)
    {
        string address = text.Contains("://", StringComparison.Ordinal) ? text : $"http://{text}";
        return Uri.TryCreate(address, UriKind.Absolute, out Uri? server) && server.Scheme is "http" or "https" && server.Host.Length > 0 && text.Contains(':')
            ? server
            : throw new InputException($"--server: found '{text}', expected host:port, or https://host:port for TLS");
    }

    /// <summary>Reads <c>--encoding</c>.</summary>
    /// <exception cref="InputException">None of the three.</exception>
    public static StateEncoding Encoding(string name) =>
        Encodings.TryGetValue(name, out StateEncoding chosen) ? chosen : throw new InputException($"--encoding: found '{name}', expected int8, bf16 or f32");
}
