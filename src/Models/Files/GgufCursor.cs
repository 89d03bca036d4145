using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace LowLevelSpec.Models;

/// <summary>The kinds of a GGUF metadata value, as numbered in the file.</summary>
internal enum GgufKind : uint
{
    UInt8 = 0,
    Int8 = 1,
    UInt16 = 2,
    Int16 = 3,
    UInt32 = 4,
    Int32 = 5,
    Float32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    UInt64 = 10,
    Int64 = 11,
    Float64 = 12,
}

/// <summary>Reads a GGUF header front to back; every length and count is compared with the bytes left before anything is allocated.</summary>
internal sealed class GgufCursor(MappedFile file)
{
    private const int MaxArrayDepth = 4;
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public long Position { get; private set; }

    private long Left => file.Length - Position;

    public uint UInt32(string what) => BinaryPrimitives.ReadUInt32LittleEndian(Take(4, what));

    public ulong UInt64(string what) => BinaryPrimitives.ReadUInt64LittleEndian(Take(8, what));

    public string String(string what)
    {
        ulong length = UInt64(what);
        if (length > (ulong)Left || length > int.MaxValue)
        {
            throw Bad($"{what} announces {length} bytes of text, but only {Left} bytes are left");
        }

        try
        {
            return Utf8.GetString(Take((int)length, what));
        }
        catch (DecoderFallbackException e)
        {
            throw new ModelFileException(file.Path, $"{what} is not valid UTF-8; the file is damaged, download it again", e);
        }
    }

    /// <summary>A value as the matching .NET type; arrays as arrays of it (string[], int[], ...; object[] for arrays of arrays).</summary>
    public object Value(uint kind, string what, int depth = 0)
    {
        switch ((GgufKind)kind)
        {
            case GgufKind.UInt8: return Take(1, what)[0];
            case GgufKind.Int8: return (sbyte)Take(1, what)[0];
            case GgufKind.UInt16: return BinaryPrimitives.ReadUInt16LittleEndian(Take(2, what));
            case GgufKind.Int16: return BinaryPrimitives.ReadInt16LittleEndian(Take(2, what));
            case GgufKind.UInt32: return UInt32(what);
            case GgufKind.Int32: return BinaryPrimitives.ReadInt32LittleEndian(Take(4, what));
            case GgufKind.Float32: return BinaryPrimitives.ReadSingleLittleEndian(Take(4, what));
            case GgufKind.Bool: return Bool(Take(1, what)[0], what);
            case GgufKind.String: return String(what);
            case GgufKind.UInt64: return UInt64(what);
            case GgufKind.Int64: return BinaryPrimitives.ReadInt64LittleEndian(Take(8, what));
            case GgufKind.Float64: return BinaryPrimitives.ReadDoubleLittleEndian(Take(8, what));
            case GgufKind.Array when depth < MaxArrayDepth: return Array(what, depth);
            case GgufKind.Array: throw Bad($"{what} nests arrays more than {MaxArrayDepth} deep");
            default: throw Bad($"{what} has the unknown value kind {kind}, expected 0 to 12");
        }
    }

    public ModelFileException Bad(string reason) => new(file.Path, reason + "; the file is damaged or malicious, download it again from a source you trust");

    private object Array(string what, int depth)
    {
        uint kind = UInt32(what);
        ulong count = UInt64(what);

        // The least that an element occupies: a string its length, an array its kind and count.
        int least = (GgufKind)kind switch
        {
            GgufKind.UInt8 or GgufKind.Int8 or GgufKind.Bool => 1,
            GgufKind.UInt16 or GgufKind.Int16 => 2,
            GgufKind.UInt32 or GgufKind.Int32 or GgufKind.Float32 => 4,
            GgufKind.UInt64 or GgufKind.Int64 or GgufKind.Float64 or GgufKind.String => 8,
            GgufKind.Array => 12,
            _ => throw Bad($"{what} is an array of the unknown value kind {kind}, expected 0 to 12"),
        };
        if (count > (ulong)(Left / least) || count > (ulong)global::System.Array.MaxLength / 16)
        {
            throw Bad($"{what} announces an array of {count} values, but only {Left} bytes are left");
        }

        int n = (int)count;
        switch ((GgufKind)kind)
        {
            case GgufKind.UInt8: return Copy<byte>(n, what);
            case GgufKind.Int8: return Copy<sbyte>(n, what);
            case GgufKind.UInt16: return Copy<ushort>(n, what);
            case GgufKind.Int16: return Copy<short>(n, what);
            case GgufKind.UInt32: return Copy<uint>(n, what);
            case GgufKind.Int32: return Copy<int>(n, what);
            case GgufKind.Float32: return Copy<float>(n, what);
            case GgufKind.UInt64: return Copy<ulong>(n, what);
            case GgufKind.Int64: return Copy<long>(n, what);
            case GgufKind.Float64: return Copy<double>(n, what);
            case GgufKind.Bool:
                bool[] flags = new bool[n];
                for (int i = 0; i < n; i++)
                {
                    flags[i] = Bool(Take(1, what)[0], what);
                }

                return flags;
            case GgufKind.String:
                string[] texts = new string[n];
                for (int i = 0; i < n; i++)
                {
                    texts[i] = String(what);
                }

                return texts;
            default:
                object[] values = new object[n];
                for (int i = 0; i < n; i++)
                {
                    values[i] = Value(kind, what, depth + 1);
                }

                return values;
        }
    }

    /// <summary>The file and every platform that .NET runs this on are little endian.</summary>
    private T[] Copy<T>(int count, string what)
        where T : unmanaged => MemoryMarshal.Cast<byte, T>(Take(checked(count * Unsafe.SizeOf<T>()), what)).ToArray();

    private bool Bool(byte value, string what) => value <= 1 ? value == 1 : throw Bad($"{what} is a boolean stored as {value}, expected 0 or 1");

    private ReadOnlySpan<byte> Take(int bytes, string what)
    {
        if (bytes > Left)
        {
            throw Bad($"ends inside {what}: {bytes} bytes expected at byte {Position}, {Left} found");
        }

        ReadOnlySpan<byte> span = file.Span(Position, bytes);
        Position += bytes;
        return span;
    }
}
