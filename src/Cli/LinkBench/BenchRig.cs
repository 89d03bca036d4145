using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Server;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>How a client wins tokens from the server, a row of the table.</summary>
internal enum BenchMethod
{
    /// <summary>One call per token.</summary>
    VanillaPerCall,

    /// <summary>One call for the answer, which the server streams.</summary>
    VanillaStreamed,

    /// <summary>EAGLE-2 drafts at the client.</summary>
    Eagle2,

    /// <summary>Mixture of Attentions drafts at the client.</summary>
    Moa,
}

/// <summary>Paths of what a bench runs.</summary>
/// <param name="Target">The target.</param>
/// <param name="Moa">Its Mixture-of-Attentions drafter, or null.</param>
/// <param name="Eagle">Its EAGLE-2 drafter, or null.</param>
internal sealed record BenchModels(string Target, string? Moa, string? Eagle)
{
    /// <summary>The only methods wanted; null = all.</summary>
    public IReadOnlyList<BenchMethod>? Only { get; init; }

    /// <summary>Methods that can run, of those wanted.</summary>
    public IReadOnlyList<BenchMethod> Methods => [.. All.Where(method => Only?.Contains(method) != false)];

    private IReadOnlyList<BenchMethod> All =>
    [
        BenchMethod.VanillaPerCall,
        BenchMethod.VanillaStreamed,
        .. Eagle is null ? [] : (BenchMethod[])[BenchMethod.Eagle2],
        .. Moa is null ? [] : (BenchMethod[])[BenchMethod.Moa],
    ];

    /// <summary>The drafter's path of a method, null where none drafts.</summary>
    public string? Drafter(BenchMethod method) => method switch
    {
        BenchMethod.Eagle2 => Eagle,
        BenchMethod.Moa => Moa,
        _ => null,
    };
}

/// <summary>A prompt with the text that local plain greedy decoding writes after it: what every remote answer must equal.</summary>
/// <param name="Prompt">Token ids.</param>
/// <param name="Plain">New token ids.</param>
internal sealed record BenchCase(int[] Prompt, int[] Plain);

/// <summary>What all modes of a bench share: the model, loaded once, and the prompts with their plain answers.</summary>
internal sealed class BenchRig : IDisposable
{
    private readonly Dictionary<BenchMethod, ClientModel> _clients = [];

    private BenchRig(BenchModels models, ServedModel served, IReadOnlyList<BenchCase> cases, int maxNew) =>
        (Models, Served, Cases, MaxNew) = (models, served, cases, maxNew);

    public BenchModels Models { get; }

    /// <summary>The target and the server's half of the MoA drafter.</summary>
    public ServedModel Served { get; }

    public IReadOnlyList<BenchCase> Cases { get; }

    /// <summary>Most new tokens of an answer.</summary>
    public int MaxNew { get; }

    /// <summary>How state travels to drafting clients.</summary>
    public StateEncoding Encoding { get; init; } = StateEncoding.Int8;

    /// <summary>Shape of every tree; null = the client adapts each.</summary>
    public TreeSettings? Tree { get; init; }

    /// <summary>Opens everything and decodes each prompt plainly.</summary>
    public static BenchRig Open(BenchModels models, EngineOptions engine, int prompts, IReadOnlyList<string> promptFiles, int maxNew, StateEncoding encoding, TreeSettings? tree, Action advance, CancellationToken cancellation)
    {
        ServedModel served = ServedModel.Open(models.Target, models.Moa, engine);
        try
        {
            LanguageModel model = served.Model;
            int longest = Math.Min(512, model.ContextLength - maxNew - 1);
            List<BenchCase> cases = [];
            foreach (int[] prompt in BenchPrompts.Take(model, prompts, promptFiles, longest))
            {
                GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = maxNew };
                cases.Add(new BenchCase(prompt, [.. model.Generate(request, cancellation).OutputIds]));
                advance();
            }

            return new BenchRig(models, served, cases, maxNew) { Encoding = encoding, Tree = tree };
        }
        catch
        {
            served.Dispose();
            throw;
        }
    }

    /// <summary>What clients of a method hold; all of them share it.</summary>
    public ClientModel Client(BenchMethod method)
    {
        lock (_clients)
        {
            // One thread: the server beside it has the others.
            return _clients.TryGetValue(method, out ClientModel? known)
                ? known
                : _clients[method] = ClientModel.Open(Models.Target, Models.Drafter(method), new EngineOptions { Threads = 1 });
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (ClientModel client in _clients.Values)
        {
            client.Dispose();
        }

        Served.Dispose();
    }
}
