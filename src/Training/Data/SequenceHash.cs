using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace LowLevelSpec.Training.Data;

/// <summary>What tells one set of training texts from another.</summary>
internal static class SequenceHash
{
    /// <summary>16 hexadecimal digits of a SHA-256 over tokens, lengths and, where they matter, which tokens are responses.</summary>
    public static string Of(IReadOnlyList<TrainingSequence> sequences, bool responses)
    {
        using IncrementalHash texts = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (TrainingSequence sequence in sequences)
        {
            int[] tokens = [sequence.Tokens.Count, .. sequence.Tokens];
            texts.AppendData(MemoryMarshal.AsBytes(tokens.AsSpan()));
            if (responses)
            {
                texts.AppendData([.. sequence.Response.Select(static r => (byte)(r ? 1 : 0))]);
            }
        }

        return Convert.ToHexStringLower(texts.GetHashAndReset().AsSpan(0, 8));
    }
}
