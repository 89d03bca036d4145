using System.Diagnostics;
using System.Security.Cryptography;
using System.Threading.Channels;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Server;

/// <summary>What the scheduler is to do for a session.</summary>
internal enum JobKind
{
    /// <summary>Run the committed tokens and choose the next.</summary>
    Start,

    /// <summary>Verify a tree.</summary>
    Verify,

    /// <summary>Decode plainly, token after token.</summary>
    Write,
}

/// <summary>A request that waits for target passes. Set up by the service, used by the scheduler.</summary>
internal sealed class Job
{
    public required JobKind Kind { get; init; }

    public required ulong RequestId { get; init; }

    /// <summary>Start: leading tokens whose state the client holds.</summary>
    public int KnownState { get; init; }

    /// <summary>Write: tokens left to write.</summary>
    public int Remaining { get; set; }

    /// <summary>Verify: the tree.</summary>
    public DraftTree? Tree { get; init; }

    /// <summary>When it was handed in, then when its last pass ended.</summary>
    public long WaitingSince { get; set; } = Stopwatch.GetTimestamp();

    /// <summary>Set where the client went away or the session closed: the job ends before its next pass.</summary>
    public bool Abandoned { get; set; }

    /// <summary>Set by the scheduler when it gives an abandoned job up for good. Both are guarded by the session's gate.</summary>
    public bool GivenUp { get; set; }
}

/// <summary>How a job ends.</summary>
/// <param name="Message">What is sent last; null = nothing.</param>
/// <param name="Answered">Whether the request is answered; otherwise it counts as never made, so that it can be made again.</param>
internal readonly record struct Ending(ServerMessage? Message, bool Answered)
{
    /// <summary>Ends with a refusal.</summary>
    public static Ending Refusal(ulong request, Refusal reason, string message, uint retryMs = 0) =>
        new(new ServerMessage { Refused = new Refused { RequestId = request, Reason = reason, Message = message, RetryMs = retryMs } }, Answered: false);
}

/// <summary>
/// One client's sequence: committed tokens, its part of the KV memory, the answer to its last request. Guarded by <see cref="Gate"/>; while a job
/// is in progress its token and cache fields belong to the scheduler's thread.
/// </summary>
internal sealed class TargetSession(ClientAccount account, Drafting drafting, Encoding encoding)
{
    private readonly List<ServerMessage> _answer = [];
    private Channel<ServerMessage>? _outbox;
    private ulong _paidRequest;
    private int _paid;

    /// <summary>Guards everything here.</summary>
    public Lock Gate { get; } = new();

    /// <summary>Whose it is.</summary>
    public ClientAccount Account { get; } = account;

    public Drafting Drafting { get; } = drafting;

    public Encoding Encoding { get; } = encoding;

    /// <summary>256 random bits: unguessable, and of use only with the account's key.</summary>
    public byte[] ResumeToken { get; } = RandomNumberGenerator.GetBytes(32);

    /// <summary>Committed tokens; the first <see cref="Count"/> are valid.</summary>
    public int[] Tokens { get; set; } = [];

    public int Count { get; set; }

    /// <summary>Tokens verified, as the client knows: Count - 1, or Count once the text has ended with an accepted token. The cache holds as many, or none when evicted.</summary>
    public int Verified { get; set; }

    /// <summary>Most tokens.</summary>
    public int MaxTokens { get; set; }

    public int[] EndTokens { get; set; } = [];

    public Finish Finish { get; set; }

    /// <summary>The target's keys and values; null before the first pass and after an eviction.</summary>
    public KvCache? Cache { get; set; }

    /// <summary>CA's keys and values; null but for Mixture of Attentions.</summary>
    public KvCache? CrossCache { get; set; }

    /// <summary>Bytes reserved for both caches.</summary>
    public long CacheBytes { get; set; }

    public ulong LastRequest { get; private set; }

    public Job? Job { get; private set; }

    /// <summary>The stream's queue of answers; null while no stream is attached.</summary>
    public ChannelWriter<ServerMessage>? Outbox => _outbox?.Writer;

    /// <summary>Answers that the stream has not taken yet.</summary>
    public int Unread => _outbox?.Reader.Count ?? 0;

    /// <summary>Counts streams, so that an old one does not detach its successor.</summary>
    public int Attachment { get; private set; }

    public bool Closed { get; private set; }

    /// <summary>Last sign of life, in ticks of <see cref="Stopwatch"/>.</summary>
    public long LastActive { get; set; } = Stopwatch.GetTimestamp();

    /// <summary>Rows that the scheduler has run for it: what fairness goes by.</summary>
    public long RowsServed { get; set; }

    /// <summary>Puts a stream in charge; an earlier one is cut off.</summary>
    public int Attach(Channel<ServerMessage> outbox)
    {
        lock (Gate)
        {
            Outbox?.TryComplete();
            _outbox = outbox;
            LastActive = Stopwatch.GetTimestamp();
            if (Job is { GivenUp: false })
            {
                // The client is back before its request was given up: it goes on.
                Job.Abandoned = false;
            }

            return ++Attachment;
        }
    }

    /// <summary>The stream is gone: waiting work is given up, so that the slot is free at once; the session waits to be resumed.</summary>
    public void Detach(int attachment)
    {
        lock (Gate)
        {
            if (attachment == Attachment)
            {
                _outbox = null;
                LastActive = Stopwatch.GetTimestamp();
                if (Job is not null)
                {
                    Job.Abandoned = true;
                }
            }
        }
    }

    public void Close()
    {
        lock (Gate)
        {
            Closed = true;
            Outbox?.TryComplete();
            _outbox = null;
            if (Job is not null)
            {
                Job.Abandoned = true;
            }
        }
    }

    /// <summary>What is left to pay for a request: one that was refused for want of memory, or given up, and comes again has paid for what was not run.</summary>
    public int Due(ulong request, int cost) => request == _paidRequest ? Math.Max(0, cost - _paid) : cost;

    /// <summary>Rows were run: what was paid for them is spent.</summary>
    public void Spent(int rows)
    {
        lock (Gate)
        {
            _paid = Math.Max(0, _paid - rows);
        }
    }

    /// <summary>Notes what a request has paid, in tokens of its key's rate.</summary>
    public void Paid(ulong request, int cost) => (_paidRequest, _paid) = (request, request == _paidRequest ? Math.Max(cost, _paid) : cost);

    /// <summary>Takes a job on; the answer to the request before it is forgotten.</summary>
    public void Begin(Job job)
    {
        Job = job;
        LastRequest = job.RequestId;
        _answer.Clear();
    }

    /// <summary>Adds to the answer and sends it where a stream is attached. A stream that has stopped reading is cut off: it can resume and ask again.</summary>
    public void Answer(ServerMessage message)
    {
        lock (Gate)
        {
            _answer.Add(message);
            if (Outbox?.TryWrite(message) == false)
            {
                Outbox.TryComplete(new SlowReaderException());
                _outbox = null;
            }
        }
    }

    /// <summary>Ends the job and sends what ends it, in one step: whoever reads the answer may ask anew at once.</summary>
    public void End(Ending ending)
    {
        lock (Gate)
        {
            if (!ending.Answered && Job is not null)
            {
                LastRequest = Job.RequestId - 1;
                _answer.Clear();
            }

            Job = null;
            LastActive = Stopwatch.GetTimestamp();
            if (ending.Message is not null && ending.Answered)
            {
                Answer(ending.Message);
            }
            else if (ending.Message is not null)
            {
                Tell(ending.Message);
            }
        }
    }

    /// <summary>Whether the job is wanted no more; then it is given up for good.</summary>
    public bool GiveUpIfAbandoned()
    {
        lock (Gate)
        {
            return Job!.GivenUp = Closed || Job.Abandoned;
        }
    }

    /// <summary>Marks the stored answer of a Write that was given up: what it holds is all there will be.</summary>
    public void CloseAnswer()
    {
        lock (Gate)
        {
            if (_answer is [.., { Result: Result last }])
            {
                Result ended = last.Clone();
                ended.Last = true;
                _answer[^1] = new ServerMessage { Result = ended };
            }
        }
    }

    /// <summary>Sends something that is no answer.</summary>
    public void Tell(ServerMessage message)
    {
        lock (Gate)
        {
            Outbox?.TryWrite(message);
        }
    }

    /// <summary>The stored answer so far.</summary>
    public ServerMessage[] StoredAnswer() => [.. _answer];
}

/// <summary>A client takes its answers too slowly.</summary>
internal sealed class SlowReaderException() : Exception("the client does not read its answers");
