// Kernels with seeded bugs. seeded_reverse: each block of 128 values reversed, through shared memory; seeded_pipeline: sums of neighbouring values of each chunk of 128,
// fetched with asynchronous copies into one buffer.
#include "../../device/matrix.cuh"
#include "seeded.h"

LLSPEC_KERNEL seeded_reverse(SeededArgument p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* values = reinterpret_cast<float*>(shared);
    int i = threadIdx.x, at = blockIdx.x * blockDim.x + i;
    if (p.bug == Seeded::EarlyReturn && i == 5)
    {
        return;
    }

    values[p.bug == Seeded::SharedOutOfBounds ? i + 1 : i] = p.input[at];
    if (p.bug != Seeded::MissingBarrier)
    {
        __syncthreads();
    }

    p.output[p.bug == Seeded::OutOfBounds ? at + 1 : at] = values[blockDim.x - 1 - i];
}

LLSPEC_KERNEL seeded_pipeline(SeededArgument p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* values = reinterpret_cast<float*>(shared);
    constexpr int Chunk = 128;
    int i = threadIdx.x;
    for (int first = 0; first < p.length; first += Chunk)
    {
        if (i < Chunk / 4)
        {
            copy_async_16(values + 4 * i, p.input + first + 4 * i, 16);
        }

        copy_async_commit();
        if (p.bug != Seeded::MissingWait)
        {
            copy_async_wait<0>();
        }

        __syncthreads();
        p.output[first + i] = values[i] + values[(i + 1) % Chunk];

        // The next round's copies go where this one reads.
        if (p.bug != Seeded::BufferReuse)
        {
            __syncthreads();
        }
    }

    copy_async_wait<0>();
}
