namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Sixteen lanes of 32 bits, one per output, that hold four bytes, two shorts or one int each: what the integer matrix kernels are
/// written in. All operations are exact, so every width gives the same integers.
/// </summary>
internal unsafe interface IByteLanes<T, TVec>
    where T : unmanaged, IByteLanes<T, TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    /// <summary>All bits zero.</summary>
    static abstract T Zero { get; }

    /// <summary>64 consecutive bytes, any alignment.</summary>
    static abstract T Load(byte* source);

    /// <summary>The int at <paramref name="source"/> in all lanes.</summary>
    static abstract T BroadcastInt(int* source);

    /// <summary>The low four bits of each byte.</summary>
    static abstract T LowNibbles(T bytes);

    /// <summary>The high four bits of each byte, moved down.</summary>
    static abstract T HighNibbles(T bytes);

    /// <summary>bytes | (packed >> <paramref name="right"/>, to the left where that is negative) &amp; <paramref name="mask"/> per byte; the mask hides what comes from a neighbour.</summary>
    static abstract T OrBits(T bytes, T packed, int right, byte mask);

    /// <summary>Bytes 0 and 2 of each lane as shorts.</summary>
    static abstract T EvenBytes(T bytes);

    /// <summary>Bytes 1 and 3 of each lane as shorts.</summary>
    static abstract T OddBytes(T bytes);

    /// <summary>Whether <see cref="AddByteProducts"/> collects ints, which nothing overflows, rather than shorts.</summary>
    static abstract bool CollectsInts { get; }

    /// <summary>
    /// sums + (w0 x0 + w1 x1, w2 x2 + w3 x3) per lane, as shorts, or both added, as an int: unsigned <paramref name="weights"/>, the four signed bytes at <paramref name="x"/> for all
    /// lanes. Unless <see cref="CollectsInts"/>, the caller sees to it that nothing leaves the range of a short.
    /// </summary>
    static abstract T AddByteProducts(T sums, T weights, byte* x);

    /// <summary>sums + w0 x0 + w1 x1 per lane, as ints: shorts, the two shorts at <paramref name="x"/> for all lanes.</summary>
    static abstract T AddShortProducts(T sums, T weights, byte* x);

    /// <summary>a + b as ints.</summary>
    static abstract T AddInts(T a, T b);

    /// <summary>What <see cref="AddByteProducts"/> collected in each lane, as an int.</summary>
    static abstract T SumProducts(T sums);

    /// <summary>Ints as floats, rounded to nearest even.</summary>
    static abstract TVec ToSingle(T ints);
}
