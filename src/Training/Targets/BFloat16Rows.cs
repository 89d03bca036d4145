using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Training.Targets;

/// <summary>Floats to bfloat16, rounded to the nearest, ties to even, and back. Finite values only.</summary>
internal static class BFloat16Rows
{
    /// <summary>to[i] = from[i] rounded.</summary>
    public static void Narrow(ReadOnlySpan<float> from, Span<ushort> to)
    {
        ReadOnlySpan<uint> bits = MemoryMarshal.Cast<float, uint>(from);
        int i = 0;
        for (; i + 16 <= from.Length; i += 16)
        {
            Vector256.Narrow(Round(Vector256.Create(bits[i..])), Round(Vector256.Create(bits[(i + 8)..]))).CopyTo(to[i..]);
        }

        for (; i < from.Length; i++)
        {
            to[i] = (ushort)((bits[i] + 0x7FFF + ((bits[i] >> 16) & 1)) >> 16);
        }
    }

    /// <summary>to[i] = from[i], exactly.</summary>
    public static void Widen(ReadOnlySpan<ushort> from, Span<float> to)
    {
        Span<uint> bits = MemoryMarshal.Cast<float, uint>(to);
        int i = 0;
        for (; i + 16 <= from.Length; i += 16)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Create(from[i..]));
            (low << 16).CopyTo(bits[i..]);
            (high << 16).CopyTo(bits[(i + 8)..]);
        }

        for (; i < from.Length; i++)
        {
            bits[i] = (uint)from[i] << 16;
        }
    }

    private static Vector256<uint> Round(Vector256<uint> bits) => (bits + Vector256.Create(0x7FFFu) + ((bits >> 16) & Vector256<uint>.One)) >> 16;
}
