using System.Threading.Channels;
using LowLevelSpec.Remote.Protocol;
using LowLevelSpec.Remote.Server;
using Xunit;

namespace LowLevelSpec.Remote.Tests;

/// <summary>A request whose stream is dropped half-way and that comes again: what of it was run, what is run again, and what that costs the key.</summary>
public sealed class DroppedRequestTests
{
    /// <summary>A prompt of two passes, and how many of its tokens the first one runs.</summary>
    private const int Prompt = 256, Run = 128;

    /// <summary>
    /// The client goes away after the first pass. Without the state of its tokens it has them run again, and pays for them again; what was paid and not run it does not pay twice, and what the
    /// server still holds of a client that has the state costs nothing.
    /// </summary>
    /// <param name="perMinute">Tokens per minute of the key: the first request takes as many as the prompt has, and half a minute passes before as many as were run flow in again.</param>
    /// <param name="known">Tokens whose state the client has when it asks again.</param>
    /// <param name="served">Whether the rest of the key's tokens is enough.</param>
    [Theory]
    [InlineData(Prompt, 0, false)]
    [InlineData(Prompt + Run, 0, true)]
    [InlineData(Prompt, Run, true)]
    public async Task Rows_that_run_again_after_a_dropped_stream_are_paid_again(int perMinute, int known, bool served)
    {
        Loopback pair = Loopback.Instance;
        using ServerCore core = new(pair.Served, new ServerOptions());
        using ClientAccount account = new("one", new KeyLimits { TokensPerMinute = perMinute }, pair.Served.Model.ContextLength);
        TargetSession session = core.Sessions.TryOpen(account, Drafting.Eagle, Encoding.Int8)!;
        using CancellationTokenSource patience = new(Patience.Longest);
        DroppedStream dropped = new();
        dropped.Detach(session, session.Attach(dropped));
        Assert.Empty(core.Requests.Handle(session, Start(0)));
        while (InProgress(session))
        {
            await Task.Delay(10, patience.Token);
        }

        Assert.Equal(Run, session.Cache!.Length);
        Channel<ServerMessage> stream = Channel.CreateUnbounded<ServerMessage>();
        session.Attach(stream);
        ServerMessage[] said = core.Requests.Handle(session, Start(known));
        if (!served)
        {
            Assert.Equal(Refusal.Busy, Assert.Single(said).Refused?.Reason);
            return;
        }

        Assert.Empty(said);
        ServerMessage answer;
        do
        {
            answer = await stream.Reader.ReadAsync(patience.Token);
        }
        while (answer.State is not null);

        Assert.Equal((uint)Prompt, answer.Result?.Verified);
    }

    private static ClientMessage Start(int known) => new()
    {
        Start = new Start { RequestId = 1, MaxTokens = Prompt + 8, KnownState = (uint)known, Tokens = { Enumerable.Range(0, Prompt).Select(static i => (uint)(i % 41)) } },
    };

    private static bool InProgress(TargetSession session)
    {
        lock (session.Gate)
        {
            return session.Job is not null;
        }
    }

    /// <summary>A stream that is lost with the first message: between two passes, as no client could time it.</summary>
    private sealed class DroppedStream : Channel<ServerMessage>
    {
        private Action? _detach;

        public DroppedStream()
        {
            Reader = Channel.CreateUnbounded<ServerMessage>().Reader;
            Writer = new Losing(this);
        }

        public void Detach(TargetSession session, int attachment) => _detach = () => session.Detach(attachment);

        private sealed class Losing(DroppedStream stream) : ChannelWriter<ServerMessage>
        {
            public override bool TryWrite(ServerMessage item)
            {
                stream._detach!();
                return true;
            }

            public override ValueTask<bool> WaitToWriteAsync(CancellationToken cancellationToken = default) => new(true);
        }
    }
}
