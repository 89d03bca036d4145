using System.Threading.Channels;
using LowLevelSpec.Engine.Decoding;

namespace LowLevelSpec.Remote.Client;

/// <summary>
/// A remote generation: chunks as they come, with what is verified and what is not. It starts when it is enumerated; enumerate it once. After the last chunk
/// <see cref="Result"/> is set. Cancelling ends it with an <see cref="OperationCanceledException"/> and sets the result so far.
/// </summary>
public sealed class RemoteStream : IAsyncEnumerable<RemoteChunk>
{
    private readonly ClientModel _model;
    private readonly RemoteOptions _options;
    private readonly KnownLink _link;
    private readonly GenerationRequest _request;
    private readonly RemoteMethod _method;
    private readonly int[] _prompt;
    private readonly CancellationToken _cancellation;
    private int _started;

    internal RemoteStream(ClientModel model, RemoteOptions options, KnownLink link, GenerationRequest request, RemoteMethod method, int[] prompt, CancellationToken cancellation) =>
        (_model, _options, _link, _request, _method, _prompt, _cancellation) = (model, options, link, request, method, prompt, cancellation);

    /// <summary>The finished generation; null until the enumeration has ended.</summary>
    public RemoteResult? Result { get; private set; }

    /// <summary>Starts the generation.</summary>
    /// <exception cref="InvalidOperationException">Enumerated before.</exception>
    /// <exception cref="Models.InputException">The server refuses, or can't be reached at the start.</exception>
    public async IAsyncEnumerator<RemoteChunk> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _started, 1) != 0)
        {
            throw new InvalidOperationException("a generation streams once: start another with GenerateAsync");
        }

        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(_cancellation, cancellationToken);

        // A text has at most as many steps as a few per token, so a slow reader costs little memory and never holds up the link.
        Channel<RemoteChunk> channel = Channel.CreateUnbounded<RemoteChunk>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        Task<RemoteResult> work = Task.Run(() => ProduceAsync(channel.Writer, stop.Token), CancellationToken.None);
        RemoteResult? result = null;
        try
        {
            await foreach (RemoteChunk chunk in channel.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
            {
                yield return chunk;
            }
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            Result = result = await work.ConfigureAwait(false);
        }

        if (result.FinishReason == FinishReason.Cancelled)
        {
            throw new OperationCanceledException(_cancellation.IsCancellationRequested ? _cancellation : cancellationToken);
        }
    }

    private async Task<RemoteResult> ProduceAsync(ChannelWriter<RemoteChunk> writer, CancellationToken cancellation)
    {
        // Calls of other methods say nothing about trees.
        bool drafts = _method == RemoteMethod.Speculative;
        CallPlanner planner = drafts ? _link.Take() : new CallPlanner();
        try
        {
            RemoteGeneration generation = new(_model, _options, planner, _request, _method, _prompt, chunk => writer.TryWrite(chunk));
            await using (generation.ConfigureAwait(false))
            {
                return await generation.RunAsync(cancellation).ConfigureAwait(false);
            }
        }
        finally
        {
            if (drafts)
            {
                _link.PutBack(planner);
            }

            writer.Complete();
        }
    }
}
