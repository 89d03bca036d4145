using System.Net.Sockets;
using System.Security.Authentication;
using Grpc.Core;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Client;

/// <summary>The stream to the server is gone or silent: worth another attempt.</summary>
internal sealed class LinkLostException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether nobody listens at the address, or there is no such address.</summary>
    public bool NobodyThere => Cause<SocketException>() is { SocketErrorCode: SocketError.ConnectionRefused or SocketError.HostNotFound or SocketError.NoData or SocketError.TryAgain };

    /// <summary>What is wrong with who listens at the address, where it is no server of this kind as it was called; null where nothing says so.</summary>
    public string? Stranger => Cause<HttpRequestException>()?.HttpRequestError switch
    {
        HttpRequestError.SecureConnectionError when Cause<AuthenticationException>() is { } refused =>
            $"no TLS connection: {refused.Message.TrimEnd('.')}; check https:// against http://, and --tls-fingerprint for a certificate of the server's own",
        HttpRequestError.HttpProtocolError or HttpRequestError.InvalidResponse or HttpRequestError.VersionNegotiationError => "what listens there does not speak gRPC as it was called; check the port, and https:// against http://",
        _ => null,
    };

    /// <summary>The first cause of a kind, calls' own causes included.</summary>
    private T? Cause<T>() where T : Exception
    {
        Exception? cause = this;
        while (cause is not null and not T)
        {
            cause = (cause as RpcException)?.Status.DebugException ?? cause.InnerException;
        }

        return cause as T;
    }

    /// <summary>What a failed call means: a refusal by the server is final and for the user, everything else is the link's.</summary>
    public static Exception From(RpcException e, string server) => e.StatusCode switch
    {
        StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.Unauthenticated or StatusCode.PermissionDenied or StatusCode.ResourceExhausted or StatusCode.Unimplemented
            => new InputException($"server {server}: {e.Status.Detail}", e),
        StatusCode.NotFound => new SessionGoneException(e.Status.Detail),
        _ => new LinkLostException(e.Status.Detail, e),
    };
}

/// <summary>The server does not know the session any more: it has to be rebuilt.</summary>
internal sealed class SessionGoneException(string message) : Exception(message);

/// <summary>The server refuses a request of a session that goes on.</summary>
internal sealed class RequestRefusedException(Protocol.Refused refused) : Exception(refused.Message)
{
    public Protocol.Refused Refused { get; } = refused;
}
