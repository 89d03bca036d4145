using System.Globalization;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Options;

/// <summary>Token ids on a command line: "1,2,3".</summary>
internal static class TokenIds
{
    /// <summary>A list of ids of the largest vocabulary is far smaller.</summary>
    private const int MaxBytes = 16 << 20;

    /// <summary>Reads them; whether they are in the vocabulary is for the engine to say.</summary>
    /// <exception cref="InputException">None, or something that is no token id.</exception>
    public static int[] Parse(string option, string text)
    {
        if (string.IsNullOrWhiteSpace(text))
        {
            throw new InputException($"{option}: found no token ids, expected some, e.g. 1,2,3");
        }

        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        int[] ids = new int[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            if (!int.TryParse(parts[i], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out ids[i]))
            {
                throw new InputException($"{option}: found '{parts[i]}' at place {i + 1}, expected a token id; give whole numbers separated by commas, e.g. 1,2,3");
            }
        }

        return ids;
    }

    /// <summary>Reads a file of ids, separated by commas, blanks or line ends, as a JSON array or bare.</summary>
    /// <exception cref="InputException">It can't be read, or holds something else.</exception>
    public static int[] ReadFile(string option, string path)
    {
        try
        {
            if (new FileInfo(path) is { Exists: true, Length: > MaxBytes })
            {
                throw new InputException($"{option} {path}: is longer than {MaxBytes >> 20} MiB, expected a file of token ids");
            }

            return Parse($"{option} {path}", string.Join(',', File.ReadAllText(path).Split([',', ' ', '\t', '\r', '\n', '[', ']'], StringSplitOptions.RemoveEmptyEntries)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{option} {path}: can't be read: {FileProblem.Reason(e)}; give a file of token ids", e);
        }
    }
}
