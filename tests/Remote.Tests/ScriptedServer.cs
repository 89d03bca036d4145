using Google.Protobuf;
using Grpc.Core;
using LowLevelSpec.Remote.Protocol;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace LowLevelSpec.Remote.Tests;

/// <summary>A server without a target that says what a test has it say: for moments that a real one reaches by rare accidents of time.</summary>
internal sealed class ScriptedServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private ScriptedServer(WebApplication app) => _app = app;

    public Uri Address => new(_app.Urls.Single());

    /// <summary>Starts it.</summary>
    /// <param name="answer">Answers to a request of a session (opening and resuming are answered already); null ends the stream there.</param>
    public static async Task<ScriptedServer> StartAsync(Func<ClientMessage, IEnumerable<ServerMessage?>> answer)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.WebHost.ConfigureKestrel(static kestrel => kestrel.ConfigureEndpointDefaults(static listen => listen.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(new Script(answer));
        WebApplication app = builder.Build();
        app.MapGrpcService<Script>();
        await app.StartAsync();
        return new ScriptedServer(app);
    }

    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource soon = new(TimeSpan.FromSeconds(1));
        await _app.StopAsync(soon.Token);
        await _app.DisposeAsync();
    }

    private sealed class Script(Func<ClientMessage, IEnumerable<ServerMessage?>> answer) : Protocol.Target.TargetBase
    {
        private ulong _last;

        public override async Task Session(IAsyncStreamReader<ClientMessage> requestStream, IServerStreamWriter<ServerMessage> responseStream, ServerCallContext context)
        {
            while (await requestStream.MoveNext(context.CancellationToken))
            {
                ClientMessage message = requestStream.Current;
                _last = Math.Max(_last, Math.Max(message.Start?.RequestId ?? 0, Math.Max(message.Verify?.RequestId ?? 0, message.Write?.RequestId ?? 0)));
                switch (message.BodyCase)
                {
                    case ClientMessage.BodyOneofCase.Open:
                        await responseStream.WriteAsync(new ServerMessage
                        {
                            Opened = new Opened { ResumeToken = ByteString.CopyFrom(new byte[32]), Encoding = message.Open.Encodings[0], Limits = new Limits { MaxTokens = 64 } },
                        });
                        break;
                    case ClientMessage.BodyOneofCase.Resume:
                        await responseStream.WriteAsync(new ServerMessage { Resumed = new Resumed { LastRequestId = _last } });
                        break;
                    case ClientMessage.BodyOneofCase.Heartbeat:
                        await responseStream.WriteAsync(new ServerMessage { Heartbeat = new Heartbeat { Number = message.Heartbeat.Number, Echo = true } });
                        break;
                    case ClientMessage.BodyOneofCase.Close:
                        return;
                    default:
                        foreach (ServerMessage? said in answer(message))
                        {
                            await responseStream.WriteAsync(said ?? throw new RpcException(new Status(StatusCode.Unavailable, "cut here")));
                        }

                        break;
                }
            }
        }
    }
}
