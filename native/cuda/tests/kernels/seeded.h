// Small kernels, each right in one form and wrong in the other: what the emulated device must catch.
#pragma once

enum class Seeded
{
    Right,
    MissingBarrier,
    MissingWait,
    OutOfBounds,
    SharedOutOfBounds,
    BufferReuse,
    EarlyReturn
};

struct SeededArgument
{
    const float* input; // [length]
    float* output;      // [length]
    int length;         // a multiple of the block's 128 threads
    Seeded bug;
};
