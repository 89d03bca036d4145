using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Remote.Client;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>A client of a bench: asks for answers and checks them and their streams against local plain decoding.</summary>
internal sealed class BenchClient(BenchRig rig, BenchMethod method, Uri server)
{
    /// <summary>Longest wait for an answer where links are cut or calls lost: a lost prompt is otherwise noticed only after half a minute.</summary>
    private static readonly TimeSpan ShortDeadline = TimeSpan.FromSeconds(3);

    /// <summary>Longest wait for a connection: a machine busy with everything at once may be slow, which is no fault of the link's.</summary>
    private static readonly TimeSpan Connecting = TimeSpan.FromSeconds(60);

    private RemoteGenerator? _generator;
    private long _received;

    /// <summary>Verified tokens received so far, unfinished answers included.</summary>
    public long ReceivedTokens
    {
        get => Interlocked.Read(ref _received);
        set => Interlocked.Exchange(ref _received, value);
    }

    /// <summary>Whether the link may lose calls or break.</summary>
    public bool Unreliable { get; init; }

    /// <summary>Writes the answer to a prompt.</summary>
    /// <exception cref="Models.InputException">The server refuses or can't be reached.</exception>
    public async Task<LinkAnswer> WriteAsync(BenchCase one, CancellationToken cancellation)
    {
        RemoteOptions options = new() { Server = server, ConnectTimeout = Connecting, Encodings = [rig.Encoding], Adaptive = rig.Tree is null };
        _generator ??= new RemoteGenerator(rig.Client(method), Unreliable ? options with { AnswerDeadline = ShortDeadline } : options);
        GenerationRequest request = new() { PromptIds = one.Prompt, MaxNewTokens = rig.MaxNew, Tree = rig.Tree ?? TreeSettings.Auto };
        RemoteMethod calls = method switch
        {
            BenchMethod.VanillaPerCall => RemoteMethod.PerCall,
            BenchMethod.VanillaStreamed => RemoteMethod.Streamed,
            _ => RemoteMethod.Speculative,
        };
        RemoteStream stream = _generator.GenerateAsync(request, calls, cancellation);
        StreamReplay replay = new();
        await foreach (RemoteChunk chunk in stream.WithCancellation(cancellation).ConfigureAwait(false))
        {
            replay.Add(chunk);
            Interlocked.Add(ref _received, chunk.Kind is ChunkKind.Verified or ChunkKind.Confirmed ? chunk.Tokens.Length : 0);
        }

        RemoteResult result = stream.Result!;
        bool identical = result.OutputIds.SequenceEqual(one.Plain) && result.Verified == one.Plain.Length && replay.Agrees(result);
        return new LinkAnswer(identical, result.Statistics);
    }
}

/// <summary>What a reader of a stream has on its screen: tokens and text, unverified ones marked.</summary>
internal sealed class StreamReplay
{
    private readonly List<int> _tokens = [];
    private readonly System.Text.StringBuilder _text = new();
    private int _unverified;
    private bool _broken;

    /// <summary>Takes in a chunk.</summary>
    public void Add(RemoteChunk chunk)
    {
        int count = chunk.Tokens.Length;
        switch (chunk.Kind)
        {
            case ChunkKind.Verified:
                _broken |= _unverified > 0;
                Append();
                break;
            case ChunkKind.Unverified:
                _unverified += count;
                Append();
                break;
            case ChunkKind.Confirmed or ChunkKind.Kept:
                _broken |= count > _unverified || !_tokens.Skip(_tokens.Count - _unverified).Take(count).SequenceEqual(chunk.Tokens.ToArray());
                _unverified -= count;
                break;
            default:
                // From the first token that the target would not have chosen: all that is still unverified.
                _broken |= count != _unverified || !_tokens.TakeLast(count).SequenceEqual(chunk.Tokens.ToArray()) || !_text.ToString().EndsWith(chunk.Text, StringComparison.Ordinal);
                _tokens.RemoveRange(_tokens.Count - Math.Min(count, _tokens.Count), Math.Min(count, _tokens.Count));
                _text.Length -= Math.Min(chunk.Text.Length, _text.Length);
                _unverified = 0;
                break;
        }

        void Append()
        {
            _tokens.AddRange(chunk.Tokens.ToArray());
            _text.Append(chunk.Text);
        }
    }

    /// <summary>Whether the reader ends up with the result, all of it verified.</summary>
    public bool Agrees(RemoteResult result) => !_broken && _unverified == 0 && _tokens.SequenceEqual(result.OutputIds) && (result.Text is null || _text.ToString() == result.Text);
}
