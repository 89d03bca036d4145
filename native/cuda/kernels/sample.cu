// Draws the target's token after each node: temperature, top-k, top-p, min-p, then one uniform number of the shared random stream inverts the cumulative distribution
// in the order of token ids. One block of 256 threads per row, LLSPEC_SAMPLE_SHARED bytes.
//
// The draw belongs to the output index (committed + depth), so every node's token can be drawn before the walk knows which nodes it visits, and acceptance is the
// same walk as for greedy decoding (docs/lossless.md). Probabilities are integers in units of 2^-40 of the most probable token: their sums are exact, whatever
// order threads add in, and a token below 2^-41 of the best one is never drawn.
#include "../device/order.cuh"

namespace sample
{
constexpr int Threads = 256;
constexpr double One = 1099511627776.0; // 2^40
constexpr int TopShift = 40, DigitBits = 8, Digits = 1 << DigitBits;

struct Shared
{
    unsigned long long histogram[Digits];
    unsigned long long strips[Threads];
    unsigned long long boundary, before;
    unsigned long long keys[Threads / WarpSize];
    int status, found;
};

static_assert(sizeof(Shared) <= LLSPEC_SAMPLE_SHARED, "the kernel's shared memory grew");

// Number `index` of a seed's stream as 53 random bits: Philox4x32-10 (Salmon et al. 2011), the seed as key and the index as counter. RandomStream's twin.
__device__ __forceinline__ unsigned long long random_bits(unsigned long long seed, unsigned long long index)
{
    unsigned x0 = static_cast<unsigned>(index), x1 = static_cast<unsigned>(index >> 32), x2 = 0, x3 = 0;
    unsigned key0 = static_cast<unsigned>(seed), key1 = static_cast<unsigned>(seed >> 32);
    for (int round = 0; round < 10; round++)
    {
        unsigned long long a = 0xD2511F53ull * x0, b = 0xCD9E8D57ull * x2;
        x0 = static_cast<unsigned>(b >> 32) ^ x1 ^ key0;
        x2 = static_cast<unsigned>(a >> 32) ^ x3 ^ key1;
        x1 = static_cast<unsigned>(b);
        x3 = static_cast<unsigned>(a);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }

    return ((static_cast<unsigned long long>(x1) << 32) | x0) >> 11;
}

// A thread's neighbouring ids, in whose order ties and the draw are decided.
struct Strip
{
    int first, end;

    __device__ __forceinline__ explicit Strip(int columns)
    {
        int length = (columns + Threads - 1) / Threads;
        first = min(columns, static_cast<int>(threadIdx.x) * length);
        end = min(columns, first + length);
    }
};

// Sum of `mine` over the threads before this one; the block's sum in total. Begins and ends with a barrier.
__device__ __forceinline__ unsigned long long sum_before(Shared& s, unsigned long long mine, unsigned long long& total)
{
    __syncthreads();
    s.strips[threadIdx.x] = mine;
    __syncthreads();
    unsigned long long before = 0;
    total = 0;
    for (int i = 0; i < Threads; i++)
    {
        before += i < static_cast<int>(threadIdx.x) ? s.strips[i] : 0;
        total += s.strips[i];
    }

    __syncthreads();
    return before;
}

__device__ __forceinline__ unsigned long long total_weight(Shared& s, const unsigned long long* weights, int columns)
{
    unsigned long long mine = 0, total;
    for (int i = threadIdx.x; i < columns; i += Threads)
    {
        mine += weights[i];
    }

    sum_before(s, mine, total);
    return total;
}

// Leaves in s.boundary the largest weight at which the weights from it upwards reach `needed` in number or mass, in s.before what lies above it. 0 where all of them do not.
__device__ __forceinline__ void find_boundary(Shared& s, const unsigned long long* weights, int columns, unsigned long long needed, bool by_mass)
{
    unsigned long long prefix = 0, before = 0;
    for (int shift = TopShift; shift >= 0; shift -= DigitBits)
    {
        __syncthreads();
        s.histogram[threadIdx.x] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < columns; i += Threads)
        {
            unsigned long long weight = weights[i];
            if (weight != 0 && weight >> (shift + DigitBits) == prefix)
            {
                atomicAdd(&s.histogram[(weight >> shift) & (Digits - 1)], by_mass ? weight : 1ull);
            }
        }

        __syncthreads();
        if (threadIdx.x == 0)
        {
            int digit = Digits - 1;
            while (digit > 0 && before + s.histogram[digit] < needed)
            {
                before += s.histogram[digit];
                digit--;
            }

            s.before = before;
            s.boundary = (prefix << DigitBits) | static_cast<unsigned>(digit);
        }

        __syncthreads();
        prefix = s.boundary;
        before = s.before;
    }
}

// Keeps the most probable tokens whose number or mass reaches `needed`; equal weights are kept in the order of their ids. The others' weights become 0.
__device__ __forceinline__ void keep_most_probable(Shared& s, unsigned long long* weights, int columns, unsigned long long needed, bool by_mass)
{
    find_boundary(s, weights, columns, needed, by_mass);
    unsigned long long boundary = s.boundary, missing = needed - s.before;
    if (boundary == 0)
    {
        return;
    }

    unsigned long long kept_ties = by_mass ? (missing + boundary - 1) / boundary : missing, ties = 0, all;
    Strip strip(columns);
    for (int i = strip.first; i < strip.end; i++)
    {
        ties += weights[i] == boundary ? 1 : 0;
    }

    unsigned long long rank = sum_before(s, ties, all);
    for (int i = strip.first; i < strip.end; i++)
    {
        bool is_tie = weights[i] == boundary;
        weights[i] = weights[i] > boundary || (is_tie && rank < kept_ties) ? weights[i] : 0;
        rank += is_tie ? 1 : 0;
    }

    __syncthreads();
}

// Weights relative to the largest logit; the row's status in s.status.
__device__ __forceinline__ void weigh(Shared& s, const LlspecSample& p, const float* logits, unsigned long long* weights)
{
    unsigned long long best = 0;
    int status = 0;
    if (threadIdx.x == 0)
    {
        s.status = 0;
    }

    for (int i = threadIdx.x; i < p.columns; i += Threads)
    {
        float x = logits[i];
        status |= x != x ? LLSPEC_HAS_NAN : x == -negative_infinity() ? LLSPEC_HAS_POSITIVE_INFINITY : x == negative_infinity() ? LLSPEC_HAS_NEGATIVE_INFINITY : 0;
        best = x == x ? larger(best, order_key(x, i)) : best;
    }

    best = block_largest(best, s.keys);
    float largest = best == 0 ? negative_infinity() : key_value(best);
    status |= largest == negative_infinity() ? LLSPEC_HAS_NOTHING : 0;
    if (status != 0)
    {
        atomicOr(&s.status, status);
    }

    for (int i = threadIdx.x; i < p.columns; i += Threads)
    {
        float x = logits[i];
        double weight = x > negative_infinity() && x < -negative_infinity() ? exp((static_cast<double>(x) - largest) / p.temperature) * One : 0.0;
        weights[i] = static_cast<unsigned long long>(weight + 0.5);
    }

    __syncthreads();
}

// The first token at which the running sum exceeds uniform * total.
__device__ __forceinline__ int draw(Shared& s, const unsigned long long* weights, int columns, unsigned long long uniform)
{
    Strip strip(columns);
    unsigned long long mine = 0, total;
    for (int i = strip.first; i < strip.end; i++)
    {
        mine += weights[i];
    }

    unsigned long long reached = sum_before(s, mine, total), target = (__umul64hi(uniform, total) << 11) | ((uniform * total) >> 53);
    if (mine != 0 && reached <= target && target < reached + mine)
    {
        int i = strip.first;
        while (reached + weights[i] <= target)
        {
            reached += weights[i];
            i++;
        }

        s.found = i;
    }

    __syncthreads();
    return s.found;
}
}

LLSPEC_KERNEL __launch_bounds__(256) llspec_sample(LlspecSample p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto& s = *reinterpret_cast<sample::Shared*>(shared);
    int row = blockIdx.x;
    if (row >= row_count(p.count, p.rows))
    {
        return;
    }

    unsigned long long* weights = p.weights + static_cast<long long>(row) * p.columns;
    sample::weigh(s, p, p.logits + static_cast<long long>(row) * p.stride, weights);
    int status = s.status;
    if ((status & ~LLSPEC_HAS_NEGATIVE_INFINITY) != 0)
    {
        if (threadIdx.x == 0)
        {
            p.tokens[row] = 0;
            p.status[row] = status;
        }

        return;
    }

    if (p.top_k > 0 && p.top_k < p.columns)
    {
        sample::keep_most_probable(s, weights, p.columns, static_cast<unsigned long long>(p.top_k), false);
    }

    if (p.top_p < 1)
    {
        double needed = ceil(p.top_p * static_cast<double>(sample::total_weight(s, weights, p.columns)));
        sample::keep_most_probable(s, weights, p.columns, needed < 1 ? 1ull : static_cast<unsigned long long>(needed), true);
    }

    if (p.min_p > 0)
    {
        auto least = static_cast<unsigned long long>(ceil(p.min_p * sample::One));
        for (int i = threadIdx.x; i < p.columns; i += blockDim.x)
        {
            weights[i] = weights[i] < least ? 0 : weights[i];
        }
    }

    long long index = p.first_draw + (p.state == nullptr ? 0 : p.state->committed) + (p.tree == nullptr ? row : p.tree->depths[row]);
    __syncthreads();
    int token = sample::draw(s, weights, p.columns, sample::random_bits(p.seed, static_cast<unsigned long long>(index)));
    if (threadIdx.x == 0)
    {
        p.tokens[row] = token;
        p.status[row] = status;
    }
}
