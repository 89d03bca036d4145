namespace LowLevelSpec.Training;

/// <summary>What the operands of the trainer's matrix products are rounded to. Sums, weights, gradients and the optimiser are in single precision always.</summary>
public enum Products
{
    /// <summary>Nothing: single precision.</summary>
    Single,

    /// <summary>bf16, with AVX-512 BF16 where the native library and the processor have it; else operands are rounded and multiplied in single precision, which is slower than no rounding.</summary>
    BFloat16,
}
