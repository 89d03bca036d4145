// bfloat16 as bits: the upper half of an f32. No vendor header, so that the sources run emulated too.
#pragma once

#include "device.cuh"

__device__ __forceinline__ float bf16_value(unsigned short bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }

// Round to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ unsigned short bf16_bits(float value)
{
    unsigned bits = __float_as_uint(value);
    unsigned rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return static_cast<unsigned short>(value == value ? rounded : 0x7FFF);
}

// Two neighbours in one register, the first in the low half: what matrix instructions take.
__device__ __forceinline__ unsigned bf16_pair(unsigned short first, unsigned short second) { return first | (static_cast<unsigned>(second) << 16); }

// An f32 as a sum of two bf16: value = high + low up to 2^-17 of it. Products with a bf16 then cost two matrix instructions instead of one and keep
// f32 activations; where weights stream from memory the second one is free.
struct SplitPair
{
    unsigned high, low;
};

__device__ __forceinline__ SplitPair split_pair(float first, float second)
{
    unsigned short high0 = bf16_bits(first), high1 = bf16_bits(second);
    return {bf16_pair(high0, high1), bf16_pair(bf16_bits(first - bf16_value(high0)), bf16_bits(second - bf16_value(high1)))};
}
