using LowLevelSpec.Remote.Client;

namespace LowLevelSpec.Cli.Remote;

/// <summary>
/// Writes a remote text as it comes. On a terminal unverified text is faint, and what is taken back is said; elsewhere unverified text is held back until
/// it is confirmed or kept, so that a pipe only ever carries text that stays.
/// </summary>
internal sealed class RemotePainter(CliConsole console)
{
    private const string Faint = "\u001b[2m", Plain = "\u001b[0m";

    private readonly Queue<(int Tokens, string Text)> _held = new();

    /// <summary>Writes a chunk.</summary>
    public void Write(in RemoteChunk chunk)
    {
        bool terminal = console.OutIsTerminal;
        switch (chunk.Kind)
        {
            case ChunkKind.Unverified when terminal:
                console.Out.Write(console.OutHasColour ? Faint + Visible(chunk.Text) + Plain : Visible(chunk.Text));
                break;
            case ChunkKind.Unverified:
                _held.Enqueue((chunk.Tokens.Length, chunk.Text));
                break;
            case ChunkKind.RolledBack when terminal:
                console.Out.Write($"\n[taken back: {Visible(chunk.Text)}]\n");
                break;
            case ChunkKind.RolledBack:
                _held.Clear();
                break;
            case ChunkKind.Confirmed or ChunkKind.Kept when !terminal:
                Release(chunk.Tokens.Length);
                break;
            case ChunkKind.Verified:
                console.Out.Write(terminal ? Visible(chunk.Text) : chunk.Text);
                break;
            default:
                break;
        }
    }

    /// <summary>Writes what is still unverified at the end.</summary>
    public void Finish() => Release(int.MaxValue);

    private void Release(int tokens)
    {
        while (tokens > 0 && _held.TryDequeue(out (int Tokens, string Text) piece))
        {
            console.Out.Write(piece.Text);
            tokens -= Math.Max(1, piece.Tokens);
        }
    }

    /// <summary>Control characters become visible: a model's text must not steer a terminal.</summary>
    private static string Visible(string text) => string.Create(text.Length, text, static (target, source) =>
    {
        for (int i = 0; i < source.Length; i++)
        {
            char c = source[i];
            target[i] = c is '\n' or '\t' || !char.IsControl(c) ? c : c < ' ' ? (char)(0x2400 + c) : '\uFFFD';
        }
    });
}
