using System.Diagnostics;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Client;

/// <summary>
/// One generation: draft, call, draft ahead while the call is in flight, take in the answer. When the link is cut it writes on alone, reconnects, resumes or
/// rebuilds, and reconciles. Requests are numbered; one is open at a time, and after a lost stream the same one is sent again, so nothing is lost or done twice.
/// </summary>
internal sealed partial class RemoteGeneration : IAsyncDisposable
{
    /// <summary>Tokens drafted ahead of an answer at most: beyond, hardly any survive.</summary>
    private const int MaxAhead = 24;

    /// <summary>Bounds of an adaptive tree where the request names none: slow links are worth deep ones.</summary>
    private static readonly TreeSettings Largest = new(24, 8, DraftTree.MaxNodes - 1);

    /// <summary>Sessions rebuilt in a row without a token between them, after which something is wrong beyond the link.</summary>
    private const int MaxRebuilds = 4;

    private readonly ClientModel _model;
    private readonly RemoteOptions _options;
    private readonly RemoteMethod _method;
    private readonly RemoteConnection? _maybeConnection;
    private readonly SequenceState _sequence;
    private readonly RemoteText _text;
    private readonly RemoteDrafting? _drafting;
    private readonly CallPlanner _planner;
    private readonly RemoteFigures _figures;
    private readonly int[] _prompt, _endTokens;
    private readonly List<int> _chosen = [];
    private int _maxTokens;
    private ulong _request;
    private ClientMessage? _open;
    private DraftTree? _sentTree;
    private int _rebuilds;

    /// <summary>Whether results of the open Write have come, so that the next one's time is no round trip.</summary>
    private bool _streaming;
    private FinishReason? _finished;

    public RemoteGeneration(ClientModel model, RemoteOptions options, CallPlanner planner, GenerationRequest request, RemoteMethod method, int[] prompt, Action<RemoteChunk> emit)
    {
        (_model, _options, _planner, _method, _prompt) = (model, options, planner, method, prompt);
        _maxTokens = (int)Math.Min(model.ContextLength, (long)prompt.Length + request.MaxNewTokens);
        _endTokens = [.. request.IgnoreEndTokens ? [] : model.Config.EndTokens, .. request.StopTokens];
        int[] tokens = new int[_maxTokens];
        prompt.CopyTo(tokens, 0);
        _sequence = new SequenceState(tokens, cache: null) { Count = prompt.Length };
        _text = new RemoteText(_sequence, prompt.Length, model.Tokenizer, emit);
        _figures = new RemoteFigures(prompt.Length);
        bool drafts = method is RemoteMethod.Speculative or RemoteMethod.DrafterOnly;
        _maybeConnection = method == RemoteMethod.DrafterOnly ? null : new RemoteConnection(model, options, drafts ? model.Drafting : Drafting.None);

        // Here it is the link's round trip that decides how much is drafted: the planner of calls does that.
        TreeSettings tree = request.Tree is { Adapts: false } given ? given : options.Adaptive ? Largest : TreeSettings.Default;
        _drafting = drafts ? new RemoteDrafting(model, _sequence, tree, _maxTokens, options.Adaptive ? _planner : null) : null;
    }

    /// <summary>The connection, which every method but the drafter's own has.</summary>
    private RemoteConnection Connection => _maybeConnection!;

    /// <summary>Runs to the end.</summary>
    /// <exception cref="InputException">The server can't be reached at the start or refuses; the message says why.</exception>
    public async Task<RemoteResult> RunAsync(CancellationToken cancellation)
    {
        try
        {
            if (_method == RemoteMethod.DrafterOnly)
            {
                WriteWithoutServer(cancellation);
            }
            else
            {
                await FirstConnectAsync(cancellation).ConfigureAwait(false);
                while (_finished is null)
                {
                    cancellation.ThrowIfCancellationRequested();
                    await RoundAsync(cancellation).ConfigureAwait(false);
                }

                await Connection.CloseAsync().ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            _finished = FinishReason.Cancelled;
        }

        _text.Finish();
        int[] output = _sequence.Tokens.AsSpan(_prompt.Length, _text.GivenOut - _prompt.Length).ToArray();
        int verified = _text.Committed - _prompt.Length - _text.Kept;
        return new RemoteResult(_prompt, output, verified, _text.Text, _finished!.Value, _figures.Statistics(output.Length, _text, _drafting, _planner, _maybeConnection?.Bytes ?? new ByteCounter()));
    }

    public async ValueTask DisposeAsync()
    {
        if (_maybeConnection is not null)
        {
            await _maybeConnection.DisposeAsync().ConfigureAwait(false);
        }

        _drafting?.Dispose();
    }

    private async Task FirstConnectAsync(CancellationToken cancellation)
    {
        try
        {
            await Connection.ReconnectAsync(2 * _options.ConnectTimeout, TimeSpan.FromSeconds(2), cancellation).ConfigureAwait(false);
        }
        catch (LinkLostException e)
        {
            throw new InputException(e.Message, e);
        }

        _maxTokens = (int)Math.Min((uint)_maxTokens, Connection.Limits.MaxTokens);
        if (_prompt.Length >= _maxTokens)
        {
            throw new InputException($"the prompt has {_prompt.Length} tokens and the server allows {_maxTokens} in all: shorten the prompt to leave room for at least one new token");
        }

        _open = StartRequest(knownState: 0);
    }

    /// <summary>One call and its answer, or an outage and its end.</summary>
    private async Task RoundAsync(CancellationToken cancellation)
    {
        try
        {
            _open ??= NextRequest();
            await Connection.Link.SendAsync(_open, cancellation).ConfigureAwait(false);
            await AnswerAsync(cancellation).ConfigureAwait(false);
        }
        catch (LinkLostException)
        {
            await OutageAsync(cancellation).ConfigureAwait(false);
        }
        catch (SessionGoneException)
        {
            Connection.ForgetSession();
            await OutageAsync(cancellation).ConfigureAwait(false);
        }
        catch (RequestRefusedException e)
        {
            await RefusedAsync(e.Refused, cancellation).ConfigureAwait(false);
        }
    }

    private ClientMessage StartRequest(int knownState)
    {
        Start start = new() { RequestId = ++_request, KnownState = (uint)knownState, MaxTokens = (uint)_maxTokens };
        start.Tokens.Add(_sequence.Tokens.AsSpan(0, _text.Committed).ToArray().Select(static token => (uint)token));
        start.EndTokens.Add(_endTokens.Select(static token => (uint)token));
        return new ClientMessage { Start = start };
    }

    /// <summary>What to ask next: the tail or a fresh tree verified, or the server's own tokens.</summary>
    private ClientMessage NextRequest()
    {
        uint verified = (uint)_sequence.Verified, root = (uint)_sequence.Tokens[_text.Committed - 1];
        _figures.Calls++;
        _sentTree = null;
        if (_drafting is not null)
        {
            Verify verify = new() { RequestId = _request + 1, Verified = verified, Root = root };
            if (!TryFillWithTail(verify))
            {
                FillWithTree(verify);
            }

            if (verify.Tokens.Count > 0)
            {
                _request++;
                _figures.Drafted += verify.Tokens.Count;
                return new ClientMessage { Verify = verify };
            }
        }

        // Beyond the drafter's length the server writes the rest.
        int count = _method == RemoteMethod.PerCall ? 1 : _maxTokens - _text.Committed;
        return new ClientMessage { Write = new Write { RequestId = ++_request, Verified = verified, Root = root, MaxTokens = (uint)count } };
    }

    /// <summary>Sends the tail as a chain where it must be verified (it was given out) or promises more per millisecond than a fresh tree.</summary>
    private bool TryFillWithTail(Verify verify)
    {
        if (_text.Tail == 0)
        {
            return false;
        }

        if (_text.Alone == 0 && !(_options.Adaptive && _planner.PrefersChain(_drafting!.Chain(_text.Committed, _text.Tail))))
        {
            _text.CutTail(0);
            _drafting!.TailChanged();
            return false;
        }

        int count = Math.Min(_text.Tail, DraftTree.MaxNodes - 1);
        for (int i = 0; i < count; i++)
        {
            verify.Tokens.Add((uint)_sequence.Tokens[_text.Committed + i]);
            verify.Parents.Add((uint)i);
        }

        return true;
    }

    private void FillWithTree(Verify verify)
    {
        if (_drafting!.Draft() is not DraftTree tree)
        {
            return;
        }

        // Improbable nodes are left out; a node's ancestors are at least as probable, so what stays is a tree.
        double least = _options.Adaptive ? Math.Log(_planner.LeastProbability) : double.NegativeInfinity;
        Span<int> sent = stackalloc int[DraftTree.MaxNodes];
        int count = 0;
        for (int i = 1; i < tree.Count; i++)
        {
            if (i > 1 && tree.LogProbabilities[i] < least)
            {
                sent[i] = -1;
                continue;
            }

            int parent = sent[tree.Parents[i]];
            if (parent >= 0)
            {
                verify.Tokens.Add((uint)tree.Tokens[i]);
                verify.Parents.Add((uint)parent);
                sent[i] = ++count;
            }
            else
            {
                sent[i] = -1;
            }
        }

        _sentTree = tree;
    }

    /// <summary>Waits for the open request's answer, drafting ahead meanwhile, and takes it in.</summary>
    private async Task AnswerAsync(CancellationToken cancellation)
    {
        long sent = Stopwatch.GetTimestamp(), progress = sent;
        bool repeated = false;
        int furthest = 0;
        while (true)
        {
            Task<ServerMessage> receiving = Connection.Link.ReceiveAsync(cancellation).AsTask();
            DraftAhead(receiving, sent);
            long waiting = Stopwatch.GetTimestamp();
            try
            {
                repeated |= await WaitAsync(receiving, progress, cancellation).ConfigureAwait(false);
            }
            finally
            {
                _figures.WaitSeconds += Stopwatch.GetElapsedTime(waiting).TotalSeconds;
            }

            ServerMessage message = await receiving.ConfigureAwait(false);
            if (TakeIn(message, sent, repeated))
            {
                return;
            }

            // On a new stream an answer comes again from its start: what is nearer its end than all before on this stream is progress.
            int reached = message switch
            {
                { State: { } state } when state.RequestId == _request => (int)(state.First + state.Count),
                { Result: { } result } when result.RequestId == _request => (int)result.Verified,
                _ => 0,
            };
            (progress, furthest) = reached > furthest ? (Stopwatch.GetTimestamp(), reached) : (progress, furthest);
        }
    }

    /// <summary>Waits for a message, asking again where none comes.</summary>
    /// <param name="receiving">The message.</param>
    /// <param name="progress">When the answer last came nearer, in ticks of <see cref="Stopwatch"/>.</param>
    /// <param name="cancellation">Ends the wait.</param>
    /// <returns>Whether the request was sent again.</returns>
    /// <exception cref="LinkLostException">Nothing at all is heard, or no progress is made for <see cref="RemoteOptions.AnswerDeadline"/>.</exception>
    private async Task<bool> WaitAsync(Task receiving, long progress, CancellationToken cancellation)
    {
        TimeSpan deadline = Deadline(), patience = deadline / 2;
        long asked = 0;
        while (true)
        {
            TimeSpan left = _options.AnswerDeadline - Stopwatch.GetElapsedTime(progress);
            TimeSpan time = left < TimeSpan.Zero ? TimeSpan.Zero : left < patience ? left : patience;
            if (await Task.WhenAny(receiving, Task.Delay(time, cancellation)).ConfigureAwait(false) == receiving)
            {
                return asked != 0;
            }

            cancellation.ThrowIfCancellationRequested();
            TimeSpan waited = Stopwatch.GetElapsedTime(progress);
            if (waited >= _options.AnswerDeadline || (asked != 0 && !Connection.Link.HeardSince(asked)))
            {
                throw new LinkLostException($"no answer within {waited.TotalSeconds:0.#} s");
            }

            // Perhaps the request or its answer was lost: asking again does no harm. A link that answers the heartbeat is not cut: its server is slow or busy.
            (asked, patience) = (Stopwatch.GetTimestamp(), deadline);
            await Connection.Link.BeatAsync(cancellation).ConfigureAwait(false);
            await Connection.Link.SendAsync(_open!, cancellation).ConfigureAwait(false);
        }
    }

    private TimeSpan Deadline()
    {
        // A prompt may take many passes: only the full deadline bounds it.
        double milliseconds = _open!.BodyCase == ClientMessage.BodyOneofCase.Start ? double.MaxValue : Math.Max(1000, 10 * _planner.Answer);
        return milliseconds < _options.AnswerDeadline.TotalMilliseconds ? TimeSpan.FromMilliseconds(milliseconds) : _options.AnswerDeadline;
    }

    /// <summary>Assumes the most likely tokens below the last one while the answer is not expected yet, or is late: one step more would otherwise hold it up.</summary>
    private void DraftAhead(Task answer, long sent)
    {
        if (_drafting is null || _open!.BodyCase != ClientMessage.BodyOneofCase.Verify || !_options.Adaptive)
        {
            return;
        }

        while (!answer.IsCompleted && _planner.HasTimeAhead(Stopwatch.GetElapsedTime(sent).TotalMilliseconds) && _text.Tail < MaxAhead && !TailEnds()
            && _drafting.TryNext(out TokenId token))
        {
            _text.Assume(token);
        }
    }

    /// <summary>Takes a message in; true where it completes the open request's answer.</summary>
    private bool TakeIn(ServerMessage message, long sent, bool repeated)
    {
        switch (message.BodyCase)
        {
            case ServerMessage.BodyOneofCase.State when message.State.RequestId == _request && _open!.BodyCase == ClientMessage.BodyOneofCase.Start:
                return TakeState(message.State);
            case ServerMessage.BodyOneofCase.Result when message.Result.RequestId == _request:
                return TakeResult(message.Result, sent, repeated);
            case ServerMessage.BodyOneofCase.Refused when message.Refused.RequestId == _request:
                throw new RequestRefusedException(message.Refused);
            default:
                // A late copy of an earlier answer.
                return false;
        }
    }

    private bool TakeState(State state)
    {
        int first = (int)state.First, count = (int)state.Count, wanted = Math.Max(_figures.StateEnd, (int)_open!.Start.KnownState);
        if (first <= wanted && wanted < first + count && first + count <= _text.Committed)
        {
            // Of a repeated answer the beginning may be here already; every token takes as many bytes.
            int skip = wanted - first;
            _drafting?.Receive(Connection.Encoding, wanted, count - skip, state.Values.Span[(skip * (state.Values.Length / count))..]);
            _figures.StateEnd = first + count;
        }

        return false;
    }

    private bool TakeResult(Result result, long sent, bool repeated)
    {
        int verified = (int)result.Verified, before = _sequence.Verified;
        bool start = _open!.BodyCase == ClientMessage.BodyOneofCase.Start;
        if (start && _drafting?.WantsState == true && Math.Max(_figures.StateEnd, (int)_open.Start.KnownState) < verified)
        {
            // A repeated answer whose states were lost on the way: ask again.
            throw new LinkLostException("part of an answer is missing");
        }

        if (!start && verified <= before)
        {
            // A late copy. The last result of a Write that the server gave up with a lost stream says so anew: what is here is all of it, and the rest is asked for.
            bool givenUp = verified == before && result.Last && _open.BodyCase == ClientMessage.BodyOneofCase.Write;
            _open = givenUp ? null : _open;
            return givenUp;
        }

        if (_open.BodyCase == ClientMessage.BodyOneofCase.Write && verified - before > result.Accepted.Count + 1)
        {
            // Results before this one were lost with a stream or on the way: all of them come again, in order, when the request is repeated.
            return false;
        }

        Choose(result);
        if (_chosen.Count == 0 || _text.Committed + _chosen.Count > _maxTokens || verified != (start ? _text.Committed : before + _chosen.Count + (result.HasNext ? 0 : 1)))
        {
            throw new InputException($"server {_options.Authority}: sent an answer that does not fit its request; client and server do not fit together");
        }

        _figures.Answer(result, start);
        _rebuilds = 0;
        _text.Commit(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_chosen));
        if (!start && result.Values.Length > 0)
        {
            _drafting?.Receive(Connection.Encoding, before, verified - before, result.Values.Span);
            _figures.StateTokens += verified - before;
        }

        _sequence.Verified = verified;
        _drafting?.TailChanged();
        if (start)
        {
            _planner.Started((result.QueueUs + (double)result.PassUs) / 1000);
        }
        else if (!repeated && !_streaming)
        {
            _planner.Answered(Stopwatch.GetElapsedTime(sent).TotalMilliseconds, result.QueueUs / 1000.0, result.PassUs / 1000.0, (int)result.PassRows, _chosen.Count, _sentTree is null ? null : OfChain(_sentTree));
        }

        _figures.FirstToken(Connection.Bytes);
        _finished = result.Finish switch { Finish.Stop => FinishReason.Stop, Finish.Length => FinishReason.Length, _ => null };
        bool complete = _finished is not null || _open.BodyCase != ClientMessage.BodyOneofCase.Write || result.Last;
        _streaming = !complete;
        _open = complete ? null : _open;
        return complete;
    }

    /// <summary>Tokens of the answer that a tree's most likely path alone would have brought, the server's own included.</summary>
    private int OfChain(DraftTree tree)
    {
        int node = 0, same = 0;
        while (same < _chosen.Count)
        {
            int best = -1;
            for (int i = node + 1; i < tree.Count; i++)
            {
                best = tree.Parents[i] == node && (best < 0 || tree.LogProbabilities[i] > tree.LogProbabilities[best]) ? i : best;
            }

            if (best < 0 || tree.Tokens[best] != _chosen[same])
            {
                break;
            }

            (node, same) = (best, same + 1);
        }

        return Math.Min(same + 1, _chosen.Count);
    }

    /// <summary>The tokens of an answer: what the request's accepted nodes carry, then the server's own.</summary>
    private void Choose(Result result)
    {
        _chosen.Clear();
        foreach (uint node in result.Accepted)
        {
            Verify? verify = _open!.Verify;
            if (verify is null || node == 0 || node > verify.Tokens.Count)
            {
                throw new InputException($"server {_options.Authority}: accepted node {node}, which was not sent; client and server do not fit together");
            }

            _chosen.Add((int)verify.Tokens[(int)node - 1]);
        }

        if (result.HasNext)
        {
            if (result.Next >= _model.Config.VocabularySize)
            {
                throw new InputException($"server {_options.Authority}: sent token {result.Next}, expected 0 to {_model.Config.VocabularySize - 1}; client and server do not fit together");
            }

            _chosen.Add((int)result.Next);
        }
    }
}
