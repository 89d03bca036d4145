using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Super-blocks of 256 inputs in the order of <see cref="SuperTile{TVec, TInt, TKind}"/>, for 16 outputs: the outputs' d as halves, but for Q6_K their m likewise, then
/// eight blocks of 32 inputs. A block: two bytes per output, 16 and 16 (scale and minimum; Q6_K: the scales of its lower and upper 16 inputs); four
/// quads of words of nibbles (quad j low, quad j + 4 high). Q5_K: a word per output whose byte i has in bit j the fifth
/// bit of element 4j + i. Q6_K: two words per output, of the lower and the upper inputs, whose byte i has in bits 2j, 2j + 1 the upper bits of element 4j + i.
/// </summary>
internal static unsafe class PackedSuperBlocks
{
    private const int Lanes = PackedWeights.GroupOutputs;

    /// <summary>Bytes before the eight blocks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int HeaderBytes(int bits) => bits == 6 ? 32 : 64;

    /// <summary>Bytes of a block of 32 inputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int BlockBytes(int bits) => bits == 4 ? 288 : bits == 5 ? 352 : 416;

    /// <summary>Bytes of 256 inputs.</summary>
    public static int Bytes(int bits) => HeaderBytes(bits) + (8 * BlockBytes(bits));

    /// <summary>Writes the stored super-block <paramref name="from"/> as output <paramref name="lane"/> of the group at <paramref name="to"/>.</summary>
    public static void Pack(int bits, byte* from, byte* to, int lane)
    {
        ((ushort*)to)[lane] = Unsafe.ReadUnaligned<ushort>(from + (bits == 6 ? 208 : 0));
        if (bits != 6)
        {
            ((ushort*)to)[Lanes + lane] = Unsafe.ReadUnaligned<ushort>(from + 2);
        }

        for (int block = 0; block < 8; block++)
        {
            byte* at = to + HeaderBytes(bits) + (block * BlockBytes(bits));
            (at[lane], at[Lanes + lane]) = bits == 6 ? (from[192 + (2 * block)], from[193 + (2 * block)]) : Scales(from + 4, block);
            uint* words = (uint*)(at + (2 * Lanes)) + lane;
            byte* nibbles = bits switch
            {
                4 => from + 16 + (block / 2 * 32),
                5 => from + 48 + (block / 2 * 32),
                _ => from + (block / 4 * 64) + (block % 2 * 32),
            };
            int shift = bits == 6 ? block % 4 / 2 * 4 : block % 2 * 4;
            for (int quad = 0; quad < 4; quad++)
            {
                words[quad * Lanes] = ((Word(nibbles, quad) >> shift) & 0x0f0f0f0f) | (((Word(nibbles, quad + 4) >> shift) & 0x0f0f0f0f) << 4);
            }

            if (bits == 5)
            {
                words[4 * Lanes] = Gather(from + 16, 0, 8, block, 1);
            }
            else if (bits == 6)
            {
                byte* upper = from + 128 + (block / 4 * 32);
                words[4 * Lanes] = Gather(upper, 0, 4, block % 4 * 2, 2);
                words[5 * Lanes] = Gather(upper, 4, 4, block % 4 * 2, 2);
            }
        }
    }

    private static uint Word(byte* at, int index) => Unsafe.ReadUnaligned<uint>(at + (4 * index));

    /// <summary>The <paramref name="width"/> bits from <paramref name="shift"/> on of the bytes of <paramref name="count"/> words, the j-th word's moved up by j * width.</summary>
    private static uint Gather(byte* at, int first, int count, int shift, int width)
    {
        uint mask = width == 1 ? 0x01010101u : 0x03030303u, result = 0;
        for (int j = 0; j < count; j++)
        {
            result |= ((Word(at, first + j) >> shift) & mask) << (j * width);
        }

        return result;
    }

    /// <summary>Six-bit scale and minimum of a block, see <see cref="KQuantFactors.Unpack"/>.</summary>
    private static (byte Scale, byte Minimum) Scales(byte* packed, int block) => block < 4
        ? ((byte)(packed[block] & 63), (byte)(packed[block + 4] & 63))
        : ((byte)((packed[block + 4] & 15) | (packed[block - 4] >> 6 << 4)), (byte)((packed[block + 4] >> 4) | (packed[block] >> 6 << 4)));
}
