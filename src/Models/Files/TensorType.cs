namespace LowLevelSpec.Models;

/// <summary>How a tensor's elements are stored. The K and block types follow GGUF v3 (ggml's block layouts).</summary>
public enum TensorType
{
    /// <summary>IEEE float, 32 bits.</summary>
    F32,

    /// <summary>IEEE float, 16 bits.</summary>
    F16,

    /// <summary>bfloat16: the upper half of an F32.</summary>
    BF16,

    /// <summary>32 elements in 34 bytes: scale (F16), 32 signed bytes.</summary>
    Q8_0,

    /// <summary>32 elements in 18 bytes: scale (F16), 32 nibbles, value = scale * (nibble - 8).</summary>
    Q4_0,

    /// <summary>32 elements in 20 bytes: scale, minimum (F16), 32 nibbles, value = scale * nibble + minimum.</summary>
    Q4_1,

    /// <summary>256 elements in 144 bytes: super-block of 8 blocks with 6-bit scales and minima, 4-bit values.</summary>
    Q4_K,

    /// <summary>256 elements in 176 bytes: as Q4_K with 5-bit values.</summary>
    Q5_K,

    /// <summary>256 elements in 210 bytes: 16 blocks with 8-bit scales, 6-bit values.</summary>
    Q6_K,

    /// <summary>Signed integer, 64 bits (golden files only; not a weight type).</summary>
    I64,

    /// <summary>Unsigned byte (golden files only; not a weight type).</summary>
    U8,
}

/// <summary>Block geometry of each <see cref="TensorType"/>.</summary>
public static class TensorTypes
{
    /// <summary>Elements per storage block; a row's length must be a multiple of it.</summary>
    public static int BlockElements(this TensorType type) => type switch
    {
        TensorType.Q8_0 or TensorType.Q4_0 or TensorType.Q4_1 => 32,
        TensorType.Q4_K or TensorType.Q5_K or TensorType.Q6_K => 256,
        _ => 1,
    };

    /// <summary>Bytes per storage block.</summary>
    public static int BlockBytes(this TensorType type) => type switch
    {
        TensorType.F32 => 4,
        TensorType.F16 or TensorType.BF16 => 2,
        TensorType.Q8_0 => 34,
        TensorType.Q4_0 => 18,
        TensorType.Q4_1 => 20,
        TensorType.Q4_K => 144,
        TensorType.Q5_K => 176,
        TensorType.Q6_K => 210,
        TensorType.I64 => 8,
        TensorType.U8 => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "unknown tensor type"),
    };

    /// <summary>Bytes of <paramref name="elements"/> consecutive elements (a multiple of the block length).</summary>
    public static long Bytes(this TensorType type, long elements) => elements / type.BlockElements() * type.BlockBytes();
}
