// log_softmax and the largest entries of rows of logits, in two steps. top_partial: grid (ceil(V / 2048), rows); top_merge: grid rows; both block 256,
// LLSPEC_TOP_SHARED bytes.
//
// Each step takes the entries one after another, largest first: in a round every thread looks for its largest key below the last one taken. With 2048 columns
// a thread has eight, and V = 128256 gives 63 blocks per row. Logits are read once from memory, `top` times from cache.
// The sum of exponentials is taken per block relative to the block's maximum, in a fixed order; blocks are added in order, in double.
#include "../device/order.cuh"
#include "../device/reduce.cuh"

namespace top
{
__device__ __forceinline__ int chunks(const LlspecTop& p) { return (p.columns + LLSPEC_TOP_CHUNK - 1) / LLSPEC_TOP_CHUNK; }

__device__ __forceinline__ int status_of(float value)
{
    return value != value ? LLSPEC_HAS_NAN : value == -negative_infinity() ? LLSPEC_HAS_POSITIVE_INFINITY : value == negative_infinity() ? LLSPEC_HAS_NEGATIVE_INFINITY : 0;
}
}

LLSPEC_KERNEL __launch_bounds__(256) llspec_top_partial(LlspecTop p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* shared_keys = reinterpret_cast<unsigned long long*>(shared);
    auto* shared_sums = reinterpret_cast<float*>(shared + 64);
    auto* shared_status = reinterpret_cast<int*>(shared + 96);
    int row = blockIdx.y, chunk = blockIdx.x, first = chunk * LLSPEC_TOP_CHUNK, end = min(p.columns, first + LLSPEC_TOP_CHUNK);
    if (row >= row_count(p.count, p.rows))
    {
        return;
    }

    if (threadIdx.x == 0)
    {
        *shared_status = 0;
    }

    const float* logits = p.logits + static_cast<long long>(row) * p.stride;
    long long at = static_cast<long long>(row) * top::chunks(p) + chunk;
    unsigned long long last = ~0ull;
    float largest = negative_infinity();
    int status = 0;
    for (int taken = 0; taken < p.top; taken++)
    {
        unsigned long long best = 0;
        for (int i = first + threadIdx.x; i < end; i += blockDim.x)
        {
            float x = logits[i];
            status |= top::status_of(x);
            unsigned long long key = x == x ? order_key(x, i) : 0;
            best = key < last ? larger(best, key) : best;
        }

        last = block_largest(best, shared_keys);
        largest = taken == 0 && last != 0 ? key_value(last) : largest;
        if (threadIdx.x == 0)
        {
            p.keys[at * p.top + taken] = last;
        }
    }

    // Exponentials of infinite values would only spoil the sum; the status says that they were there.
    float sum = 0;
    for (int i = first + threadIdx.x; i < end; i += blockDim.x)
    {
        sum += top::status_of(logits[i]) == 0 ? expf(logits[i] - largest) : 0.0f;
    }

    if (status != 0)
    {
        atomicOr(shared_status, status);
    }

    sum = block_sum(sum, shared_sums);
    if (threadIdx.x == 0)
    {
        p.sums[2 * at] = largest;
        p.sums[2 * at + 1] = sum;
        p.chunk_status[at] = *shared_status;
    }
}

LLSPEC_KERNEL __launch_bounds__(256) llspec_top_merge(LlspecTop p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* shared_keys = reinterpret_cast<unsigned long long*>(shared);
    int row = blockIdx.x;
    if (row >= row_count(p.count, p.rows))
    {
        return;
    }

    int chunks = top::chunks(p), candidates = chunks * p.top;
    long long first = static_cast<long long>(row) * chunks;
    const unsigned long long* keys = p.keys + first * p.top;
    unsigned long long last = ~0ull;
    float largest = negative_infinity();
    double log_sum = 0;
    int status = 0;
    for (int taken = 0; taken < p.top; taken++)
    {
        unsigned long long best = 0;
        for (int i = threadIdx.x; i < candidates; i += blockDim.x)
        {
            best = keys[i] < last ? larger(best, keys[i]) : best;
        }

        last = block_largest(best, shared_keys);
        if (threadIdx.x == 0)
        {
            if (taken == 0)
            {
                largest = last == 0 ? negative_infinity() : key_value(last);
                double sum = 0;
                for (int chunk = 0; chunk < chunks; chunk++)
                {
                    float part = p.sums[2 * (first + chunk)];
                    sum += part == negative_infinity() ? 0.0 : static_cast<double>(p.sums[2 * (first + chunk) + 1]) * exp(static_cast<double>(part) - largest);
                    status |= p.chunk_status[first + chunk];
                }

                log_sum = log(sum);
                p.status[row] = status | (largest == negative_infinity() ? LLSPEC_HAS_NOTHING : 0);
            }

            p.tokens[static_cast<long long>(row) * p.top + taken] = last == 0 ? 0 : key_index(last);
            if (p.log_probabilities != nullptr)
            {
                float value = last == 0 ? negative_infinity() : key_value(last);
                p.log_probabilities[static_cast<long long>(row) * p.top + taken] = static_cast<float>(static_cast<double>(value) - largest - log_sum);
            }
        }
    }
}
