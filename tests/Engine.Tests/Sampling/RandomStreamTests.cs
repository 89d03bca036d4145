using LowLevelSpec.Engine.Sampling;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Sampling;

public sealed class RandomStreamTests
{
    // A true stream fails a test of fixed seed at this level once in ten thousand; these seeds are fixed, so a failure is a change.
    private const double Level = 1e-4;

    /// <summary>The known answers that the authors of Philox publish for philox4x32-10.</summary>
    [Theory]
    [InlineData(0u, 0u, 0u, 0u, 0u, 0u, 0x6627E8D5u, 0xE169C58Du, 0xBC57AC4Cu, 0x9B00DBD8u)]
    [InlineData(~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408F276Du, 0x41C83B0Eu, 0xA20BC7C6u, 0x6D5451FDu)]
    [InlineData(0x243F6A88u, 0x85A308D3u, 0x13198A2Eu, 0x03707344u, 0xA4093822u, 0x299F31D0u, 0xD16CFE09u, 0x94FDCCEBu, 0x5001E420u, 0x24126EA1u)]
    public void Philox_GivesThePublishedAnswers(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint w0, uint w1, uint w2, uint w3)
        => Assert.Equal(new RandomStream.Block(w0, w1, w2, w3), RandomStream.Philox(new RandomStream.Block(c0, c1, c2, c3), k0, k1));

    /// <summary>Pinned: texts written with a seed stay what they were.</summary>
    [Theory]
    [InlineData(0ul, 0, 0.8805201978886142)]
    [InlineData(0ul, 1, 0.36209111566940344)]
    [InlineData(1ul, 0, 0.8946847163350924)]
    [InlineData(42ul, 7, 0.4080856156904158)]
    [InlineData(18446744073709551615ul, 2147483648, 0.7898450237110234)]
    [InlineData(81985529216486895ul, 1099511627779, 0.26989262935310265)]
    public void Uniform_IsPinned(ulong seed, long index, double expected) => Assert.Equal(expected, RandomStream.Uniform(seed, index));

    [Fact]
    public void Uniform_TakesAllBitsOfSeedAndIndex()
    {
        HashSet<double> seen = [RandomStream.Uniform(0, 0)];
        for (int bit = 0; bit < 64; bit++)
        {
            Assert.True(seen.Add(RandomStream.Uniform(1ul << bit, 0)));
            Assert.True(seen.Add(RandomStream.Uniform(0, 1L << bit)));
        }
    }

    [Theory]
    [InlineData(0ul)]
    [InlineData(1ul)]
    [InlineData(20260101ul)]
    [InlineData(ulong.MaxValue)]
    public void Uniform_IsUniformAndPairsAreIndependent(ulong seed)
    {
        const int cells = 16;
        long[] single = new long[cells * cells];
        long[] neighbours = new long[cells * cells];
        long[] acrossSeeds = new long[cells * cells];
        for (int i = 0; i < 100_000; i++)
        {
            double u = RandomStream.Uniform(seed, i);
            Assert.InRange(u, 0, Math.BitDecrement(1.0));
            single[(int)(u * cells * cells)]++;
            neighbours[Cell(u, RandomStream.Uniform(seed, i + 1))]++;
            acrossSeeds[Cell(u, RandomStream.Uniform(unchecked(seed + 1), i))]++;
        }

        double[] flat = [.. Enumerable.Repeat(1.0 / (cells * cells), cells * cells)];
        Assert.InRange(ChiSquare.PValue(single, flat), Level, 1);
        Assert.InRange(ChiSquare.PValue(neighbours, flat), Level, 1);
        Assert.InRange(ChiSquare.PValue(acrossSeeds, flat), Level, 1);

        static int Cell(double a, double b) => ((int)(a * cells) * cells) + (int)(b * cells);
    }

    /// <summary>A generation's first tokens see few indexes and many seeds: neighbouring seeds must not give neighbouring numbers.</summary>
    [Fact]
    public void Uniform_OverNeighbouringSeeds_IsUniform()
    {
        long[] counts = new long[100];
        for (ulong seed = 0; seed < 100_000; seed++)
        {
            counts[(int)(RandomStream.Uniform(seed, 0) * 100)]++;
        }

        Assert.InRange(ChiSquare.PValue(counts, [.. Enumerable.Repeat(0.01, 100)]), Level, 1);
    }
}
