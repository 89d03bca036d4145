using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using ILGPU;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>A row-major f32 matrix as a kernel sees it.</summary>
[SuppressMessage("Design", "CA1051:Do not declare visible instance fields", Justification = "ILGPU takes kernel arguments as plain public structs")]
[SuppressMessage("Performance", "CA1815:Override equals and operator equals on value types", Justification = "never compared")]
public readonly struct DeviceMatrix(ArrayView<float> data, long offset, int rows, int columns, int stride)
{
    /// <summary>The buffer.</summary>
    public readonly ArrayView<float> Data = data;

    /// <summary>First element.</summary>
    public readonly long Offset = offset;

    /// <summary>Rows.</summary>
    public readonly int Rows = rows;

    /// <summary>Elements used per row.</summary>
    public readonly int Columns = columns;

    /// <summary>Elements from one row to the next.</summary>
    public readonly int Stride = stride;

    /// <summary>Index of an element in <see cref="Data"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long At(int row, int column) => Offset + ((long)row * Stride) + column;
}

/// <summary>A weight as a kernel sees it: one of the three arrays holds it, which one is <see cref="Storage"/> (<see cref="IlgpuStorage"/>).</summary>
[SuppressMessage("Design", "CA1051:Do not declare visible instance fields", Justification = "ILGPU takes kernel arguments as plain public structs")]
[SuppressMessage("Performance", "CA1815:Override equals and operator equals on value types", Justification = "never compared")]
public readonly struct WeightData(ArrayView<float> floats, ArrayView<ushort> halves, ArrayView<sbyte> bytes, int columns, int storage)
{
    /// <summary>f32 values [rows, columns], or Q8_0's scales [rows, columns / 32].</summary>
    public readonly ArrayView<float> Floats = floats;

    /// <summary>bf16 bits [rows, columns].</summary>
    public readonly ArrayView<ushort> Halves = halves;

    /// <summary>Q8_0's bytes [rows, columns].</summary>
    public readonly ArrayView<sbyte> Bytes = bytes;

    /// <summary>Elements of a row.</summary>
    public readonly int Columns = columns;

    /// <summary>Which array holds it.</summary>
    public readonly int Storage = storage;

    /// <summary>One element as f32, exactly.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float Value(int row, int column)
    {
        long at = ((long)row * Columns) + column;
        if (Storage == 1)
        {
            return ILGPU.Interop.IntAsFloat((uint)Halves[at] << 16);
        }

        return Storage == 2 ? Bytes[at] * Floats[at / 32] : Floats[at];
    }
}

/// <summary>What the rows of an attention call see: keys of one head lie at Base + row * RowStride + head * HeadStride.</summary>
[SuppressMessage("Design", "CA1051:Do not declare visible instance fields", Justification = "ILGPU takes kernel arguments as plain public structs")]
[SuppressMessage("Performance", "CA1815:Override equals and operator equals on value types", Justification = "never compared")]
public readonly struct DeviceKeys(ArrayView<float> keys, ArrayView<float> values, long offset, long valueOffset, long rowStride, long valueRowStride, long headStride, int headSize, int group, float scale)
{
    /// <summary>Keys.</summary>
    public readonly ArrayView<float> Keys = keys;

    /// <summary>Values.</summary>
    public readonly ArrayView<float> Values = values;

    /// <summary>First key.</summary>
    public readonly long Offset = offset;

    /// <summary>First value.</summary>
    public readonly long ValueOffset = valueOffset;

    /// <summary>Elements from one key to the next.</summary>
    public readonly long RowStride = rowStride;

    /// <summary>Elements from one value to the next.</summary>
    public readonly long ValueRowStride = valueRowStride;

    /// <summary>Elements from one kv head to the next.</summary>
    public readonly long HeadStride = headStride;

    /// <summary>D.</summary>
    public readonly int HeadSize = headSize;

    /// <summary>H / K: query heads that share a kv head.</summary>
    public readonly int Group = group;

    /// <summary>Factor of the scores.</summary>
    public readonly float Scale = scale;
}
