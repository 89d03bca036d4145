namespace LowLevelSpec.Engine.Sampling;

/// <summary>
/// Random numbers by position: number i of a seed's stream is a function of (seed, i) and of nothing that happened before. That is what
/// makes seeded text with speculation equal to the text without it, however many draft tokens were proposed and thrown away in between.
/// <para>
/// The function is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011): the seed is the key,
/// the index the low half of the counter.
/// </para>
/// </summary>
internal static class RandomStream
{
    private const int Rounds = 10;

    // The paper's multipliers and Weyl increments.
    private const uint Multiplier0 = 0xD2511F53;
    private const uint Multiplier1 = 0xCD9E8D57;
    private const uint KeyStep0 = 0x9E3779B9;
    private const uint KeyStep1 = 0xBB67AE85;

    /// <summary>Number <paramref name="index"/> of the stream, in [0, 1), a multiple of 2^-53.</summary>
    public static double Uniform(ulong seed, long index)
    {
        ulong counter = unchecked((ulong)index);
        Block block = Philox(new Block((uint)counter, (uint)(counter >> 32), 0, 0), (uint)seed, (uint)(seed >> 32));
        ulong bits = ((ulong)block.W1 << 32) | block.W0;
        return (bits >> 11) * (1.0 / (1L << 53));
    }

    /// <summary>The block function: 128 bits of counter and 64 bits of key to 128 random bits.</summary>
    internal static Block Philox(Block counter, uint key0, uint key1)
    {
        Block x = counter;
        for (int round = 0; round < Rounds; round++)
        {
            ulong product0 = (ulong)Multiplier0 * x.W0;
            ulong product1 = (ulong)Multiplier1 * x.W2;
            x = new Block((uint)(product1 >> 32) ^ x.W1 ^ key0, (uint)product1, (uint)(product0 >> 32) ^ x.W3 ^ key1, (uint)product0);
            unchecked
            {
                key0 += KeyStep0;
                key1 += KeyStep1;
            }
        }

        return x;
    }

    /// <summary>Four 32-bit words.</summary>
    internal readonly record struct Block(uint W0, uint W1, uint W2, uint W3);
}
