using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>The kernels of one vector width, as functions (job, thread, item) for a <see cref="ThreadTeam"/>.</summary>
internal abstract unsafe class KernelSet
{
    /// <summary>Width in bits; 32 = scalar.</summary>
    public abstract SimdWidth Width { get; }

    /// <summary><see cref="MatMulKernels{TVec}.Tiled"/>.</summary>
    public abstract delegate*<void*, int, int, void> MatMulTiled { get; }

    /// <summary><see cref="AttentionKernels{TVec, TElement}.Grouped"/>.</summary>
    public abstract delegate*<void*, int, int, void> GroupAttention { get; }

    /// <summary><see cref="ElementKernels{TVec}.RmsNorm"/>.</summary>
    public abstract delegate*<void*, int, int, void> RmsNorm { get; }

    /// <summary><see cref="ElementKernels{TVec}.SwiGlu"/>.</summary>
    public abstract delegate*<void*, int, int, void> SwiGlu { get; }

    /// <summary><see cref="ElementKernels{TVec}.Rope"/>.</summary>
    public abstract delegate*<void*, int, int, void> Rope { get; }

    /// <summary><see cref="ElementKernels{TVec}.GroupMean"/>.</summary>
    public abstract delegate*<void*, int, int, void> GroupMean { get; }

    /// <summary><see cref="SelectionKernels{TVec}.TopLogProbabilities"/>.</summary>
    public abstract delegate*<void*, int, int, void> TopLogProbabilities { get; }

    /// <summary><see cref="SelectionKernels{TVec}.ArgMax"/>.</summary>
    public abstract delegate*<void*, int, int, void> ArgMax { get; }

    /// <summary>Whether this processor runs <paramref name="width"/> in hardware.</summary>
    public static bool IsSupported(SimdWidth width) => width switch
    {
        SimdWidth.Auto or SimdWidth.Scalar => true,
        SimdWidth.Bits128 => Vector128.IsHardwareAccelerated,
        SimdWidth.Bits256 => Vector256.IsHardwareAccelerated && Avx2.IsSupported && Fma.IsSupported,
        SimdWidth.Bits512 => Vector512.IsHardwareAccelerated && Avx512F.IsSupported && Avx512BW.IsSupported,
        _ => false,
    };

    /// <summary>The kernels of <paramref name="width"/>.</summary>
    /// <exception cref="InputException">This processor lacks it.</exception>
    public static KernelSet For(SimdWidth width)
    {
        if (!IsSupported(width))
        {
            throw new InputException(
                $"this processor does not run vectors of width {width} in hardware; the widest it runs is {Widest()}, or leave the width on {SimdWidth.Auto}");
        }

        return (width == SimdWidth.Auto ? Widest() : width) switch
        {
            SimdWidth.Bits512 => new KernelSet<Simd16Of512, ByteLanesOf512>(SimdWidth.Bits512),
            SimdWidth.Bits256 when AvxVnni.IsSupported => new KernelSet<Simd16Of256, ByteLanesOf256<IntProducts>>(SimdWidth.Bits256),
            SimdWidth.Bits256 => Avx2Only(),
            SimdWidth.Bits128 => new KernelSet<Simd16Of128, ByteLanesOf128>(SimdWidth.Bits128),
            _ => new KernelSet<Simd16Scalar, ByteLanesScalar>(SimdWidth.Scalar),
        };
    }

    /// <summary>The kernels of 256 bits without AVX-VNNI.</summary>
    public static KernelSet Avx2Only() => new KernelSet<Simd16Of256, ByteLanesOf256<ShortProducts>>(SimdWidth.Bits256);

    /// <summary>
    /// <see cref="AttentionKernels{TVec, TElement}.Cached"/> over caches of <paramref name="type"/>; <paramref name="isFinite"/>: whether their halves are known
    /// to be finite, which changes no bit.
    /// </summary>
    public abstract delegate*<void*, int, int, void> Attention(KvType type, bool isFinite);

    /// <summary>The matrix kernel that decodes <paramref name="type"/> in registers for <paramref name="rows"/> rows, null where there is none.</summary>
    public abstract delegate*<void*, int, int, void> MatMulInRegisters(TensorType type, int rows);

    /// <summary>The integer matrix kernel of <paramref name="type"/>, see <see cref="IntegerKernels{TVec, TInt}"/>.</summary>
    public abstract delegate*<void*, int, int, void> IntegerMatMul(TensorType type, bool native);

    /// <summary>The layout in which the integer kernels of <paramref name="type"/> want their inputs.</summary>
    public abstract InputFormat InputFormat(TensorType type, bool native);

    /// <summary><see cref="HalfKernels{TVec}.Run"/>.</summary>
    public abstract delegate*<void*, int, int, void> HalfMatMul { get; }

    /// <summary>The row decoder of <paramref name="type"/>.</summary>
    public abstract delegate*<byte*, float*, int, void> RowDecoder(TensorType type);

    /// <summary>Bytes of working memory per thread that <see cref="MatMulTiled"/> needs for rows of <paramref name="columns"/>.</summary>
    public abstract long MatMulScratch(int columns);

    private static SimdWidth Widest() =>
        IsSupported(SimdWidth.Bits512) ? SimdWidth.Bits512
        : IsSupported(SimdWidth.Bits256) ? SimdWidth.Bits256
        : IsSupported(SimdWidth.Bits128) ? SimdWidth.Bits128
        : SimdWidth.Scalar;
}

/// <summary>The kernels over <typeparamref name="TVec"/> and, for integers, <typeparamref name="TInt"/>.</summary>
internal sealed unsafe class KernelSet<TVec, TInt>(SimdWidth width) : KernelSet
    where TVec : unmanaged, ISimd16<TVec>
    where TInt : unmanaged, IByteLanes<TInt, TVec>
{
    /// <inheritdoc/>
    public override SimdWidth Width => width;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> MatMulTiled => &MatMulKernels<TVec>.Tiled;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> GroupAttention => &AttentionKernels<TVec, StoredSingle<TVec>>.Grouped;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> RmsNorm => &ElementKernels<TVec>.RmsNorm;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> SwiGlu => &ElementKernels<TVec>.SwiGlu;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> Rope => &ElementKernels<TVec>.Rope;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> GroupMean => &ElementKernels<TVec>.GroupMean;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> TopLogProbabilities => &SelectionKernels<TVec>.TopLogProbabilities;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> ArgMax => &SelectionKernels<TVec>.ArgMax;

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> Attention(KvType type, bool isFinite) => type switch
    {
        KvType.F32 => &AttentionKernels<TVec, StoredSingle<TVec>>.Cached,
        KvType.BF16 => &AttentionKernels<TVec, StoredBFloat16<TVec>>.Cached,
        _ => isFinite ? &AttentionKernels<TVec, StoredFiniteHalf<TVec>>.Cached : &AttentionKernels<TVec, StoredHalf<TVec>>.Cached,
    };

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> MatMulInRegisters(TensorType type, int rows) =>
        rows == 1 ? MatMulKernels<TVec>.SingleRow(type) : MatMulKernels<TVec>.FewRows(type, rows);

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> IntegerMatMul(TensorType type, bool native) => IntegerKernels<TVec, TInt>.For(type, native);

    /// <inheritdoc/>
    public override InputFormat InputFormat(TensorType type, bool native) => PackedWeights.InputFormatOf(type, native || TInt.CollectsInts);

    /// <inheritdoc/>
    public override delegate*<void*, int, int, void> HalfMatMul => &HalfKernels<TVec>.Run;

    /// <inheritdoc/>
    public override delegate*<byte*, float*, int, void> RowDecoder(TensorType type) => Decoders.Row<TVec>(type);

    /// <inheritdoc/>
    public override long MatMulScratch(int columns) => MatMulKernels<TVec>.TiledScratch(columns);
}
