using System.Security.Cryptography;
using System.Text;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Server;

/// <summary>One client's key and what it may ask for. Only the key's SHA-256 is kept.</summary>
public sealed class ApiKey
{
    /// <summary>Creates a key.</summary>
    public ApiKey(string name, string secret, KeyLimits limits)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentException.ThrowIfNullOrEmpty(secret);
        ArgumentNullException.ThrowIfNull(limits);
        limits.Validate($"API key {name}");
        (Name, Hash, Limits) = (name, SHA256.HashData(Encoding.UTF8.GetBytes(secret)), limits);
    }

    /// <summary>For logs and metrics.</summary>
    public string Name { get; }

    /// <summary>What the key may ask for.</summary>
    public KeyLimits Limits { get; }

    internal byte[] Hash { get; }

    /// <summary>
    /// Reads a file of keys: one a line as <c>name secret [limit=number ...]</c>, limits being sessions, tokens, tokens-per-minute, messages-per-second
    /// and message-bytes; empty lines and lines that begin with # are skipped.
    /// </summary>
    /// <exception cref="InputException">The file can't be read, holds no key, or a line is malformed; the message names the line and never a secret.</exception>
    public static IReadOnlyList<ApiKey> ReadFile(string path, KeyLimits defaults)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path}: the file of API keys can't be read: {e.Message}", e);
        }

        List<ApiKey> keys = [];
        for (int i = 0; i < lines.Length; i++)
        {
            string[] words = lines[i].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || words[0].StartsWith('#'))
            {
                continue;
            }

            string where = $"{path}: line {i + 1}";
            if (words.Length < 2 || words[1].Contains('='))
            {
                throw new InputException($"{where}: found {words.Length} words, expected a name, a secret and limits such as sessions=4");
            }

            ApiKey key = new(words[0], words[1], words.Skip(2).Aggregate(defaults, (limits, word) => With(limits, word, where)));
            if (keys.Exists(other => other.Name == key.Name || other.Hash.AsSpan().SequenceEqual(key.Hash)))
            {
                throw new InputException($"{where}: the name '{key.Name}' or its secret occurs twice, expected different ones");
            }

            keys.Add(key);
        }

        return keys.Count > 0 ? keys : throw new InputException($"{path}: found no API key, expected at least one line 'name secret'");
    }

    private static KeyLimits With(KeyLimits limits, string word, string where)
    {
        string[] parts = word.Split('=', 2);
        if (parts.Length != 2 || !int.TryParse(parts[1], out int value))
        {
            throw new InputException($"{where}: found '{parts[0]}', expected a limit as name=number");
        }

        return parts[0] switch
        {
            "sessions" => limits with { Sessions = value },
            "tokens" => limits with { Tokens = value },
            "tokens-per-minute" => limits with { TokensPerMinute = value },
            "messages-per-second" => limits with { MessagesPerSecond = value },
            "message-bytes" => limits with { MessageBytes = value },
            _ => throw new InputException($"{where}: found limit '{parts[0]}', expected sessions, tokens, tokens-per-minute, messages-per-second or message-bytes"),
        };
    }
}
