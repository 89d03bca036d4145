using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Sixteen lanes without vector instructions.</summary>
internal unsafe struct ByteLanesScalar : IByteLanes<ByteLanesScalar, Simd16Scalar>
{
    private fixed int _lanes[16];

    public static bool CollectsInts => false;

    public static ByteLanesScalar Zero => default;

    public static ByteLanesScalar Load(byte* source) => Unsafe.ReadUnaligned<ByteLanesScalar>(source);

    public static ByteLanesScalar BroadcastInt(int* source)
    {
        ByteLanesScalar result = default;
        for (int i = 0; i < 16; i++)
        {
            result._lanes[i] = *source;
        }

        return result;
    }

    public static ByteLanesScalar LowNibbles(ByteLanesScalar bytes) => Masked(bytes, 0, 0x0f0f0f0f);

    public static ByteLanesScalar HighNibbles(ByteLanesScalar bytes) => Masked(bytes, 4, 0x0f0f0f0f);

    public static ByteLanesScalar OrBits(ByteLanesScalar bytes, ByteLanesScalar packed, int right, byte mask)
    {
        for (int i = 0; i < 16; i++)
        {
            int shifted = right >= 0 ? packed._lanes[i] >> right : packed._lanes[i] << -right;
            bytes._lanes[i] |= shifted & (mask * 0x01010101);
        }

        return bytes;
    }

    public static ByteLanesScalar EvenBytes(ByteLanesScalar bytes) => Masked(bytes, 0, 0x00ff00ff);

    public static ByteLanesScalar OddBytes(ByteLanesScalar bytes) => Masked(bytes, 8, 0x00ff00ff);

    public static ByteLanesScalar AddByteProducts(ByteLanesScalar sums, ByteLanesScalar weights, byte* x)
    {
        ByteLanesScalar result = default;
        sbyte* four = (sbyte*)x;
        for (int i = 0; i < 16; i++)
        {
            byte* w = (byte*)&weights._lanes[i];
            short* sum = (short*)&sums._lanes[i], to = (short*)&result._lanes[i];
            to[0] = (short)(sum[0] + (w[0] * four[0]) + (w[1] * four[1]));
            to[1] = (short)(sum[1] + (w[2] * four[2]) + (w[3] * four[3]));
        }

        return result;
    }

    public static ByteLanesScalar AddShortProducts(ByteLanesScalar sums, ByteLanesScalar weights, byte* x)
    {
        ByteLanesScalar result = default;
        short* two = (short*)x;
        for (int i = 0; i < 16; i++)
        {
            short* w = (short*)&weights._lanes[i];
            result._lanes[i] = sums._lanes[i] + (w[0] * two[0]) + (w[1] * two[1]);
        }

        return result;
    }

    public static ByteLanesScalar AddInts(ByteLanesScalar a, ByteLanesScalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            a._lanes[i] += b._lanes[i];
        }

        return a;
    }

    public static ByteLanesScalar SumProducts(ByteLanesScalar shorts)
    {
        for (int i = 0; i < 16; i++)
        {
            shorts._lanes[i] = (short)shorts._lanes[i] + (shorts._lanes[i] >> 16);
        }

        return shorts;
    }

    public static Simd16Scalar ToSingle(ByteLanesScalar ints)
    {
        float* values = stackalloc float[16];
        for (int i = 0; i < 16; i++)
        {
            values[i] = ints._lanes[i];
        }

        return Simd16Scalar.Load(values);
    }

    private static ByteLanesScalar Masked(ByteLanesScalar bytes, int shift, int mask)
    {
        for (int i = 0; i < 16; i++)
        {
            bytes._lanes[i] = (bytes._lanes[i] >> shift) & mask;
        }

        return bytes;
    }
}
