using System.Threading.Channels;

namespace LowLevelSpec.Engine.Decoding;

/// <summary>
/// A streaming generation: chunks as cycles commit them. It starts when it is enumerated, on a thread of its own. <c>await foreach</c> ends it in every case;
/// whoever moves an enumerator by hand must dispose it, or the thread waits for its reader until the request's token is cancelled. After a cancellation chunks
/// already produced (up to 64) still come; the result holds every token.
/// </summary>
public sealed class GenerationStream : IAsyncEnumerable<GenerationChunk>
{
    /// <summary>A consumer this many chunks behind makes the generation wait.</summary>
    private const int ChunkBuffer = 64;

    private readonly LanguageModel _model;
    private readonly GenerationPlan _plan;
    private readonly CancellationToken _cancellation;
    private int _started;

    internal GenerationStream(LanguageModel model, GenerationPlan plan, CancellationToken cancellation) =>
        (_model, _plan, _cancellation) = (model, plan, cancellation);

    /// <summary>The finished generation; null until the enumeration has ended.</summary>
    public GenerationResult? Result { get; private set; }

    /// <summary>Starts the generation.</summary>
    /// <exception cref="InvalidOperationException">Enumerated before.</exception>
    /// <exception cref="Models.InputException">While it is enumerated: too little memory, or the model's logits are not finite.</exception>
    public async IAsyncEnumerator<GenerationChunk> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _started, 1) != 0)
        {
            throw new InvalidOperationException("a generation streams once: start another with GenerateAsync");
        }

        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(_cancellation, cancellationToken);
        Channel<GenerationChunk> channel = Channel.CreateBounded<GenerationChunk>(new BoundedChannelOptions(ChunkBuffer) { SingleReader = true, SingleWriter = true });
        Task<GenerationResult> work = Task.Factory.StartNew(() => Produce(channel.Writer, stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        GenerationResult? result = null;
        try
        {
            await foreach (GenerationChunk chunk in channel.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
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

    private GenerationResult Produce(ChannelWriter<GenerationChunk> writer, CancellationToken cancellation)
    {
        try
        {
            return GenerationRun.Execute(_model, _plan, static (state, chunk) => Write(state.Writer, chunk, state.Cancellation), (Writer: writer, Cancellation: cancellation), cancellation);
        }
        finally
        {
            writer.Complete();
        }
    }

    private static void Write(ChannelWriter<GenerationChunk> writer, GenerationChunk chunk, CancellationToken cancellation)
    {
        while (!writer.TryWrite(chunk))
        {
            // The buffer is full: the consumer is slow, so waiting costs nothing.
            if (!writer.WaitToWriteAsync(cancellation).AsTask().GetAwaiter().GetResult())
            {
                return;
            }
        }
    }
}
