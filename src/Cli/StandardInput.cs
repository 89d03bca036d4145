using System.Text;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli;

/// <summary>Reads a prompt from standard input, which may be an endless device.</summary>
internal static class StandardInput
{
    /// <summary>More than any prompt has: no context holds as many tokens.</summary>
    internal const int MaxBytes = 64 << 20;

    private const int ChunkLength = 1 << 16;

    /// <summary>Everything up to the end.</summary>
    /// <exception cref="InputException">There is more than <see cref="MaxBytes"/>.</exception>
    public static string Read(string option, TextReader input)
    {
        StringBuilder text = new();
        char[] chunk = new char[ChunkLength];
        long bytes = 0;
        for (int read = input.Read(chunk); read > 0; read = input.Read(chunk))
        {
            bytes += Encoding.UTF8.GetByteCount(chunk.AsSpan(0, read));
            if (bytes > MaxBytes)
            {
                throw new InputException($"{option} -: standard input has more than {MaxBytes >> 20} MiB, too much for a prompt; shorten it");
            }

            text.Append(chunk, 0, read);
        }

        return text.ToString();
    }
}
