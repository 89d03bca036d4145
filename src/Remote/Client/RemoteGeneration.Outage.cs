using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Client;

/// <content>Life without the server: refusals, cuts, writing alone, reconciliation.</content>
internal sealed partial class RemoteGeneration
{
    /// <summary>The drafter alone, from the prompt to the end.</summary>
    private void WriteWithoutServer(CancellationToken cancellation)
    {
        while (!TailEnds() && _drafting!.TryNext(out TokenId token))
        {
            cancellation.ThrowIfCancellationRequested();
            _text.Assume(token);
            _text.GiveOutTail();
        }

        _finished = _sequence.Count < _maxTokens && TailEnds() ? FinishReason.Stop : FinishReason.Length;
    }

    /// <summary>A request refused in a session that goes on: wait where the server is busy, rebuild where the two disagree.</summary>
    private async Task RefusedAsync(Refused refused, CancellationToken cancellation)
    {
        if (refused.Reason == Refusal.Busy)
        {
            await Task.Delay((int)Math.Clamp(refused.RetryMs, 10, 10_000), cancellation).ConfigureAwait(false);
            return;
        }

        if (refused.Reason == Refusal.Model || ++_rebuilds > MaxRebuilds || _open?.BodyCase == ClientMessage.BodyOneofCase.Start)
        {
            throw new InputException($"server {_options.Authority}: {refused.Message}");
        }

        Connection.ForgetSession();
        await OutageAsync(cancellation).ConfigureAwait(false);
    }

    /// <summary>The link is cut: write on alone until it is back, then go on where both sides agree.</summary>
    private async Task OutageAsync(CancellationToken cancellation)
    {
        Task<Reunion> reconnecting = Task.Run(() => Connection.ReconnectAsync(_options.GiveUpAfter, _options.GiveUpAfter, cancellation), CancellationToken.None);

        // Not before the first token: without the target's state of the prompt a drafter only babbles.
        if (_sequence.Verified > 0)
        {
            await WriteAloneAsync(reconnecting, cancellation).ConfigureAwait(false);
        }

        Reunion reunion;
        try
        {
            reunion = await reconnecting.ConfigureAwait(false);
            if (reunion == Reunion.Resumed && Keeps)
            {
                // The server's session ends before the text that is kept: a new one begins with all of it.
                await Connection.CloseAsync().ConfigureAwait(false);
                Connection.ForgetSession();
                reunion = await Connection.ReconnectAsync(_options.GiveUpAfter, _options.GiveUpAfter, cancellation).ConfigureAwait(false);
            }
        }
        catch (LinkLostException e)
        {
            if (_text.Committed == _prompt.Length)
            {
                throw new InputException(e.Message, e);
            }

            // What was written alone stays unverified.
            _finished = FinishReason.Length;
            return;
        }

        _figures.Reconnected(rebuilt: reunion == Reunion.New);
        Reconcile(reunion);
    }

    /// <summary>Whether text written alone stays as it is.</summary>
    private bool Keeps => _options.OnReconnect == OnReconnect.Keep && _text.Alone > 0;

    /// <summary>Gives out the tail and goes on drafting it until the server is back, the text ends or as much as allowed is written.</summary>
    private async Task WriteAloneAsync(Task reconnecting, CancellationToken cancellation)
    {
        if (_drafting is null || _options.MaxUnverified == 0)
        {
            return;
        }

        // A stream that is back within a blink needs no text without it.
        await Task.WhenAny(reconnecting, Task.Delay(_options.WriteAloneAfter, cancellation)).ConfigureAwait(false);
        if (!reconnecting.IsCompleted)
        {
            _text.CutTail(_options.MaxUnverified);
            _drafting.TailChanged();
            _text.GiveOutTail();
        }

        while (!reconnecting.IsCompleted && !cancellation.IsCancellationRequested && _text.Alone < _options.MaxUnverified && !TailEnds() && _drafting.TryNext(out TokenId token))
        {
            _text.Assume(token);
            _text.GiveOutTail();
        }
    }

    /// <summary>Whether the tail has come to an end.</summary>
    private bool TailEnds() => _sequence.Count >= _maxTokens || (_text.Tail > 0 && Array.IndexOf(_endTokens, _sequence.Tokens[_sequence.Count - 1]) >= 0);

    /// <summary>Chooses the request that brings both sides together again.</summary>
    private void Reconcile(Reunion reunion)
    {
        if (Keeps)
        {
            bool ends = TailEnds();
            _text.KeepTail();
            if (ends)
            {
                _finished = _sequence.Count >= _maxTokens ? FinishReason.Length : FinishReason.Stop;
                return;
            }
        }

        if (reunion == Reunion.New)
        {
            // A new session counts from 1.
            _request = 0;
            _drafting?.TailChanged();
            _open = StartRequest(Math.Max(_figures.StateEnd, _sequence.Verified));
        }
        else if (_open is { Start: { } start })
        {
            // Sent again like any open request; where it was given up half-way it goes on after the state that is here.
            start.KnownState = Math.Max(start.KnownState, (uint)_figures.StateEnd);
        }
    }
}
