using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Sixteen lanes one by one: the reference the vector widths are held to. Slow.</summary>
internal unsafe struct Simd16Scalar : ISimd16<Simd16Scalar>
{
    private Lanes _lanes;

    public static int OutputTile => 2;

    public static int RowTile => 3;

    public static Simd16Scalar Zero => default;

    public static Simd16Scalar Broadcast(float value)
    {
        Simd16Scalar result = default;
        for (int i = 0; i < 16; i++)
        {
            result._lanes[i] = value;
        }

        return result;
    }

    public static Simd16Scalar Load(float* source)
    {
        Simd16Scalar result = default;
        for (int i = 0; i < 16; i++)
        {
            result._lanes[i] = source[i];
        }

        return result;
    }

    public static void Store(Simd16Scalar value, float* destination)
    {
        for (int i = 0; i < 16; i++)
        {
            destination[i] = value._lanes[i];
        }
    }

    public static Simd16Scalar LoadBFloat16(ushort* source)
    {
        Simd16Scalar result = default;
        for (int i = 0; i < 16; i++)
        {
            result._lanes[i] = Simd16Parts.BFloat16(source[i]);
        }

        return result;
    }

    public static Simd16Scalar LoadFiniteHalf(ushort* source) => LoadHalf(source);

    public static Simd16Scalar LoadHalf(ushort* source)
    {
        Simd16Scalar result = default;
        for (int i = 0; i < 16; i++)
        {
            result._lanes[i] = Simd16Parts.Half(source[i]);
        }

        return result;
    }

    public static Simd16Scalar FromSBytes(Vector128<sbyte> values)
    {
        Simd16Scalar result = default;
        for (int i = 0; i < 16; i++)
        {
            result._lanes[i] = values.GetElement(i);
        }

        return result;
    }

    public static void Nibbles(
        Vector128<byte> packed, sbyte bias, Simd16Scalar lowScale, Simd16Scalar lowOffset, Simd16Scalar highScale, Simd16Scalar highOffset, out Simd16Scalar low, out Simd16Scalar high)
    {
        low = lowOffset;
        high = highOffset;
        for (int i = 0; i < 16; i++)
        {
            byte both = packed.GetElement(i);
            low._lanes[i] = MathF.FusedMultiplyAdd((both & 15) + bias, lowScale._lanes[i], lowOffset._lanes[i]);
            high._lanes[i] = MathF.FusedMultiplyAdd((both >> 4) + bias, highScale._lanes[i], highOffset._lanes[i]);
        }
    }

    public static Simd16Scalar Fma(Simd16Scalar a, Simd16Scalar b, Simd16Scalar c)
    {
        for (int i = 0; i < 16; i++)
        {
            c._lanes[i] = MathF.FusedMultiplyAdd(a._lanes[i], b._lanes[i], c._lanes[i]);
        }

        return c;
    }

    public static Simd16Scalar Add(Simd16Scalar a, Simd16Scalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            a._lanes[i] += b._lanes[i];
        }

        return a;
    }

    public static Simd16Scalar Subtract(Simd16Scalar a, Simd16Scalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            a._lanes[i] -= b._lanes[i];
        }

        return a;
    }

    public static Simd16Scalar Multiply(Simd16Scalar a, Simd16Scalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            a._lanes[i] *= b._lanes[i];
        }

        return a;
    }

    public static Simd16Scalar Divide(Simd16Scalar a, Simd16Scalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            a._lanes[i] /= b._lanes[i];
        }

        return a;
    }

    public static Simd16Scalar Max(Simd16Scalar a, Simd16Scalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            b._lanes[i] = a._lanes[i] > b._lanes[i] ? a._lanes[i] : b._lanes[i];
        }

        return b;
    }

    public static Simd16Scalar Min(Simd16Scalar a, Simd16Scalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            b._lanes[i] = a._lanes[i] < b._lanes[i] ? a._lanes[i] : b._lanes[i];
        }

        return b;
    }

    public static Simd16Scalar PowerOfTwo(Simd16Scalar n)
    {
        for (int i = 0; i < 16; i++)
        {
            n._lanes[i] = BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(n._lanes[i] + Simd16Parts.ExponentBias) << 23);
        }

        return n;
    }

    public static float Sum(Simd16Scalar value)
    {
        for (int half = 8; half > 0; half /= 2)
        {
            for (int i = 0; i < half; i++)
            {
                value._lanes[i] += value._lanes[i + half];
            }
        }

        return value._lanes[0];
    }

    public static Vector128<float> Sum4(Simd16Scalar a, Simd16Scalar b, Simd16Scalar c, Simd16Scalar d) =>
        Vector128.Create(Sum(a), Sum(b), Sum(c), Sum(d));

    public static bool AnyNaN(Simd16Scalar value)
    {
        for (int i = 0; i < 16; i++)
        {
            if (float.IsNaN(value._lanes[i]))
            {
                return true;
            }
        }

        return false;
    }

    public static bool AnyGreater(Simd16Scalar a, Simd16Scalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            if (a._lanes[i] > b._lanes[i])
            {
                return true;
            }
        }

        return false;
    }

    public static bool AnyEqual(Simd16Scalar a, Simd16Scalar b)
    {
        for (int i = 0; i < 16; i++)
        {
            if (a._lanes[i] == b._lanes[i])
            {
                return true;
            }
        }

        return false;
    }

    [InlineArray(16)]
    private struct Lanes
    {
        private float _first;
    }
}
