// RMSNorm, with the residual sum that precedes it. One block per row: 256 threads, 32 bytes of dynamic shared memory (one float per warp).
//
// Memory-bound: reads and writes a row once, plus the gain, which stays in cache. Sum of squares: thread t adds elements t, t + 256, ... in order, then a fixed tree.
#include "../device/reduce.cuh"

LLSPEC_KERNEL __launch_bounds__(256) llspec_rms_norm(LlspecRmsNorm p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    int row = blockIdx.x;
    if (row >= row_count(p.count, p.rows))
    {
        return;
    }

    float* input = p.input + static_cast<long long>(row) * p.input_stride;
    float* output = p.output + static_cast<long long>(row) * p.output_stride;
    float squares = 0;
    for (int i = threadIdx.x; i < p.columns; i += blockDim.x)
    {
        float x = input[i];
        if (p.residual != nullptr)
        {
            x += p.residual[static_cast<long long>(row) * p.residual_stride + i];
            input[i] = x;
        }

        squares = fmaf(x, x, squares);
    }

    float mean = block_sum(squares, reinterpret_cast<float*>(shared)) / static_cast<float>(p.columns);
    float inverse = 1.0f / sqrtf(mean + p.epsilon);
    for (int i = threadIdx.x; i < p.columns; i += blockDim.x)
    {
        output[i] = input[i] * inverse * p.gain[i];
    }
}
