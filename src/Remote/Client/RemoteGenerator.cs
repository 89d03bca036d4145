using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Client;

/// <summary>Generates with a target that runs elsewhere. Thread-safe: each generation has its own connection and session. Keep one for many texts: it
/// remembers how fast link, server and drafter are.</summary>
public sealed class RemoteGenerator
{
    private readonly ClientModel _model;
    private readonly RemoteOptions _options;
    private readonly KnownLink _link = new();

    /// <summary>Creates a generator; nothing is sent yet.</summary>
    /// <param name="model">What the client holds; stays the caller's to dispose.</param>
    /// <param name="options">How the server is reached.</param>
    public RemoteGenerator(ClientModel model, RemoteOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        (_model, _options) = (model, options);
    }

    /// <summary>
    /// Starts a generation that streams; the request is checked here. Its <see cref="GenerationRequest.Drafter"/> is not used: the drafter is the model's.
    /// Decoding is greedy, and unless unverified text is kept the output equals local plain greedy decoding. A tree of fixed shape is the largest that is sent, unless <see cref="RemoteOptions.Adaptive"/>
    /// is off; without a tree the server writes alone (<see cref="RemoteMethod.Streamed"/>). Prompt lookup does not join in.
    /// </summary>
    /// <exception cref="InputException">The request can't be carried out remotely.</exception>
    public RemoteStream GenerateAsync(GenerationRequest request, RemoteMethod method = RemoteMethod.Speculative, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        method = Method(request, method);
        return new RemoteStream(_model, _options, _link, request, method, _model.Check(request, method), cancellation);
    }

    /// <summary>What a request is carried out by: without a tree nothing is drafted, here as locally.</summary>
    /// <param name="request">The request.</param>
    /// <param name="asked">The method asked for.</param>
    public static RemoteMethod Method(GenerationRequest request, RemoteMethod asked)
    {
        ArgumentNullException.ThrowIfNull(request);
        return asked == RemoteMethod.Speculative && request.Tree is null ? RemoteMethod.Streamed : asked;
    }

    /// <summary>Generates to the end.</summary>
    /// <exception cref="InputException">The request can't be carried out, or the server refuses or can't be reached.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public async Task<RemoteResult> RunAsync(GenerationRequest request, RemoteMethod method = RemoteMethod.Speculative, CancellationToken cancellation = default)
    {
        RemoteStream stream = GenerateAsync(request, method, cancellation);
        await foreach (RemoteChunk chunk in stream.ConfigureAwait(false))
        {
            _ = chunk;
        }

        return stream.Result!;
    }
}
