using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Server;

namespace LowLevelSpec.Remote.Tests;

/// <summary>The tiny pair, served and drafted for in this process over loopback. Shared by the tests; servers are each test's own.</summary>
public sealed class Loopback : IDisposable
{
    private static readonly Lazy<Loopback> Shared = new(() => new Loopback());
    private readonly Dictionary<string, ClientModel> _clients = [];

    private Loopback()
    {
        // Clients, servers and passes that sleep share this process: none should wait for a thread of the pool.
        ThreadPool.GetMinThreads(out int workers, out int completions);
        ThreadPool.SetMinThreads(Math.Max(workers, 64), completions);
        Folder = Directory.CreateTempSubdirectory("llspec-remote-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Dispose();
        TinyPair.Write(Folder, 1);
        Served = ServedModel.Open(At("target"), At("moa"), new EngineOptions { Threads = 1 });
    }

    public static Loopback Instance => Shared.Value;

    public string Folder { get; }

    public ServedModel Served { get; }

    public string At(string name) => Path.Combine(Folder, name);

    /// <summary>The client's parts with a drafter of the pair, or none.</summary>
    public ClientModel Client(string drafter)
    {
        lock (_clients)
        {
            if (!_clients.TryGetValue(drafter, out ClientModel? client))
            {
                client = ClientModel.Open(At("target"), drafter == "none" ? null : At(drafter), new EngineOptions { Threads = 1 });
                _clients.Add(drafter, client);
            }

            return client;
        }
    }

    /// <summary>A request whose prompt depends on <paramref name="number"/>.</summary>
    public static GenerationRequest Request(int number, int maxNew = 48) => new()
    {
        Prompt = Starts[number % Starts.Length] + (number < Starts.Length ? "" : $" {number}"),
        MaxNewTokens = maxNew,
        IgnoreEndTokens = number % 2 == 1,
    };

    /// <summary>Local plain greedy decoding.</summary>
    public GenerationResult Plain(GenerationRequest request) => Served.Model.Generate(request with { Drafter = null, Tree = null });

    public Task<TargetServer> StartAsync(ServerOptions? options = null) => TargetServer.StartAsync(Served, options ?? new ServerOptions());

    /// <summary>A server at the address of one that has gone: meanwhile its port may be the near end of somebody's connection, for a moment.</summary>
    public static async Task<TargetServer> StartAgainAsync(ServedModel served, ServerOptions options)
    {
        using CancellationTokenSource over = new(Patience.Longest);
        while (true)
        {
            try
            {
                return await TargetServer.StartAsync(served, options);
            }
            catch (InputException) when (!over.IsCancellationRequested)
            {
                await Task.Delay(20);
            }
        }
    }

    public static RemoteOptions To(TargetServer server) => To(server.Address);

    public static RemoteOptions To(Uri server) =>
        new() { Server = server, Backoff = TimeSpan.FromMilliseconds(5), MaxBackoff = TimeSpan.FromMilliseconds(100) };

    public void Dispose()
    {
        foreach (ClientModel client in _clients.Values)
        {
            client.Dispose();
        }

        Served.Dispose();
        if (Directory.Exists(Folder))
        {
            Directory.Delete(Folder, recursive: true);
        }
    }

    private static readonly string[] Starts = ["A large language model", "The drafter sees", "When the link is cut", "Every token", "The", "In one pass"];
}
