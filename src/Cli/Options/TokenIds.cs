using System.Globalization;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Options;

/// <summary>Token ids on a command line: "1,2,3".</summary>
internal static class TokenIds
{
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
}
