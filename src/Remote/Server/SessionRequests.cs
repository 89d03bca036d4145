using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Server;

/// <summary>Checks a session's requests and turns them into jobs. Nothing of a refused request takes effect.</summary>
internal sealed class SessionRequests(ServedModel served, PassScheduler scheduler, ServerMetrics metrics, Func<Drafting, int> stateSize)
{
    private readonly int _vocabulary = served.Model.Config.VocabularySize;

    /// <summary>Deals with a Start, Verify or Write.</summary>
    /// <returns>Messages to send at once: a refusal, or the stored answer of a repeated request.</returns>
    public ServerMessage[] Handle(TargetSession session, ClientMessage message)
    {
        ulong id = message.BodyCase switch
        {
            ClientMessage.BodyOneofCase.Start => message.Start.RequestId,
            ClientMessage.BodyOneofCase.Verify => message.Verify.RequestId,
            _ => message.Write.RequestId,
        };
        lock (session.Gate)
        {
            if (id == session.LastRequest && id > 0)
            {
                return session.StoredAnswer();
            }

            if (id < session.LastRequest)
            {
                // Older than the last: a late copy, whose answer the client has long had.
                return [];
            }

            if (id != session.LastRequest + 1)
            {
                return Refuse(id, Refusal.Gap, $"request {id} came where {session.LastRequest + 1} is next; send that one", session.LastRequest + 1);
            }

            if (session.Job is not null)
            {
                return Refuse(id, Refusal.BadRequest, $"request {session.LastRequest} is still in progress; wait for its answer");
            }

            string? problem = null;
            Job? job = message.BodyCase switch
            {
                ClientMessage.BodyOneofCase.Start => Start(session, message.Start, out problem),
                ClientMessage.BodyOneofCase.Verify => Verify(session, message.Verify, out problem),
                _ => Write(session, message.Write, out problem),
            };
            if (job is null)
            {
                return Refuse(id, Refusal.BadRequest, problem!);
            }

            int cost = Cost(session, job, message), due = session.Due(id, cost);
            if (due > 0 && !session.Account.TakeTokens(due))
            {
                metrics.Refused("rate");
                return [new ServerMessage { Refused = new Refused { RequestId = id, Reason = Refusal.Busy, RetryMs = 1000, Message = $"the key's {session.Account.Limits.TokensPerMinute} tokens per minute are used up; try again later" } }];
            }

            if (message.BodyCase == ClientMessage.BodyOneofCase.Start)
            {
                Apply(session, message.Start);
            }

            metrics.Request(job.Kind);
            session.Paid(id, cost);
            session.Begin(job);
        }

        scheduler.Submit(session);
        return [];
    }

    /// <summary>Rows of target passes that a request asks for, as long as the session's cache stays.</summary>
    private int Cost(TargetSession session, Job job, ClientMessage message) => job.Kind switch
    {
        JobKind.Start => message.Start.Tokens.Count - Kept(session, message.Start),
        JobKind.Verify => job.Tree!.Count,
        _ => job.Remaining,
    };

    private Job? Start(TargetSession session, Start start, out string? problem)
    {
        int most = session.Account.MaxTokens;
        problem = start.Tokens.Count == 0 ? "start: found no tokens, expected at least one"
            : start.MaxTokens > most ? $"start: found max_tokens {start.MaxTokens}, expected at most {most} (the model's context and the key's limit)"
            : start.Tokens.Count >= start.MaxTokens ? $"start: found {start.Tokens.Count} tokens with max_tokens {start.MaxTokens}, expected room for at least one new token"
            : start.KnownState > start.Tokens.Count ? $"start: found known_state {start.KnownState}, expected at most the {start.Tokens.Count} tokens sent"
            : Outside(start.Tokens) ?? Outside(start.EndTokens) ?? (start.EndTokens.Count > 64 ? $"start: found {start.EndTokens.Count} end tokens, expected at most 64" : null);
        return problem is null ? new Job { Kind = JobKind.Start, RequestId = start.RequestId, KnownState = (int)start.KnownState } : null;
    }

    /// <summary>How many of the tokens the cache holds already, as far as the client needs no state for them: at most all but the last.</summary>
    private int Kept(TargetSession session, Start start)
    {
        int n = start.Tokens.Count, same = 0;
        int known = stateSize(session.Drafting) > 0 ? (int)start.KnownState : n;

        // A cache too small for what is asked for now is thrown away before the first pass.
        int most = session.Cache is not { } cache || cache.Capacity < start.MaxTokens + DraftTree.MaxNodes ? 0 : Math.Min(Math.Min(cache.Length, n - 1), known);
        while (same < most && session.Tokens[same] == (int)start.Tokens[same])
        {
            same++;
        }

        return same;
    }

    /// <summary>Puts the tokens in place and keeps what the cache holds of them.</summary>
    private void Apply(TargetSession session, Start start)
    {
        int n = start.Tokens.Count, same = Kept(session, start);
        session.Cache?.Length = same;
        session.CrossCache?.Length = same;
        session.MaxTokens = (int)start.MaxTokens;
        session.Tokens = new int[session.MaxTokens];
        for (int i = 0; i < n; i++)
        {
            session.Tokens[i] = (int)start.Tokens[i];
        }

        session.Count = n;
        session.Verified = same;
        session.EndTokens = [.. start.EndTokens.Select(static token => (int)token)];
        session.Finish = Finish.None;
    }

    private Job? Verify(TargetSession session, Verify verify, out string? problem)
    {
        problem = Place(session, verify.Verified, verify.Root, "verify")
            ?? (verify.Tokens.Count is 0 or > DraftTree.MaxNodes - 1 ? $"verify: found {verify.Tokens.Count} drafted nodes, expected 1 to {DraftTree.MaxNodes - 1}"
            : verify.Parents.Count != verify.Tokens.Count ? $"verify: found {verify.Parents.Count} parents for {verify.Tokens.Count} tokens, expected as many"
            : Outside(verify.Tokens));
        if (problem is not null)
        {
            return null;
        }

        DraftTree tree = new();
        tree.Reset(new TokenId((int)verify.Root));
        for (int i = 0; i < verify.Tokens.Count; i++)
        {
            if (verify.Parents[i] > i)
            {
                problem = $"verify: node {i + 1} has parent {verify.Parents[i]}, expected one before it";
                return null;
            }

            tree.Add(new NodeIndex((int)verify.Parents[i]), new TokenId((int)verify.Tokens[i]), 0);
        }

        return new Job { Kind = JobKind.Verify, RequestId = verify.RequestId, Tree = tree };
    }

    private static Job? Write(TargetSession session, Write write, out string? problem)
    {
        problem = Place(session, write.Verified, write.Root, "write") ?? (write.MaxTokens == 0 ? "write: found max_tokens 0, expected at least 1" : null);
        return problem is null ? new Job { Kind = JobKind.Write, RequestId = write.RequestId, Remaining = (int)Math.Min(write.MaxTokens, (uint)session.MaxTokens) } : null;
    }

    /// <summary>Whether client and server speak of the same place in the text.</summary>
    private static string? Place(TargetSession session, uint verified, uint root, string what) =>
        session.Count == 0 ? $"{what}: the session has no tokens yet; send start first"
        : session.Finish != Finish.None ? $"{what}: the text has ended; send start to continue"
        : verified != session.Verified ? $"{what}: found verified {verified}, expected {session.Verified}"
        : root != session.Tokens[session.Count - 1] ? $"{what}: found root token {root}, expected {session.Tokens[session.Count - 1]}"
        : null;

    private string? Outside(IEnumerable<uint> tokens)
    {
        foreach (uint token in tokens)
        {
            if (token >= _vocabulary)
            {
                return $"found token {token}, expected 0 to {_vocabulary - 1} (the model's vocabulary)";
            }
        }

        return null;
    }

    private ServerMessage[] Refuse(ulong id, Refusal reason, string message, ulong expected = 0)
    {
        metrics.Refused(reason.ToString());
        return [new ServerMessage { Refused = new Refused { RequestId = id, Reason = reason, Message = message, Expected = expected } }];
    }
}
