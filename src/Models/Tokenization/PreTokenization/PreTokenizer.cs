namespace LowLevelSpec.Models;

/// <summary>One step of cutting text into pre-tokens.</summary>
internal abstract class PreTokenStep
{
    /// <summary>Cuts a piece and hands each part, in order, to <paramref name="rest"/>. Empty parts may be handed on; they are dropped.</summary>
    public abstract void Split(ReadOnlySpan<char> text, in PreTokenRest rest);
}

/// <summary>Receives pre-tokens.</summary>
internal interface IPreTokenSink
{
    /// <summary>Takes one pre-token.</summary>
    void Add(ReadOnlySpan<char> preToken);
}

/// <summary>The steps after the current one, and where the last step's parts go.</summary>
internal readonly struct PreTokenRest(PreTokenStep[] steps, int next, IPreTokenSink sink)
{
    /// <summary>Hands a part on.</summary>
    public void Add(ReadOnlySpan<char> part)
    {
        if (part.IsEmpty)
        {
            return;
        }

        if (next == steps.Length)
        {
            sink.Add(part);
        }
        else
        {
            steps[next].Split(part, new PreTokenRest(steps, next + 1, sink));
        }
    }
}

/// <summary>Each number code point (category N) on its own, or each run of them.</summary>
internal sealed class DigitsStep(bool individual) : PreTokenStep
{
    public override void Split(ReadOnlySpan<char> text, in PreTokenRest rest)
    {
        var start = 0;
        for (var at = 0; at < text.Length;)
        {
            if (CharClasses.At(text, at, out var length) != CharClass.Number)
            {
                at += length;
                continue;
            }

            rest.Add(text[start..at]);
            var end = individual ? at + length : CharClasses.RunEnd(text, at, CharClass.Number);
            rest.Add(text[at..end]);
            start = at = end;
        }

        rest.Add(text[start..]);
    }
}

/// <summary>A space in front of each piece that does not start with one.</summary>
internal sealed class PrefixSpaceStep : PreTokenStep
{
    public override void Split(ReadOnlySpan<char> text, in PreTokenRest rest)
        => rest.Add(text is [' ', ..] ? text : string.Concat(" ", text));
}
