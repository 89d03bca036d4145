// Skinny matrix product: 1..64 rows of activations per block against weights that stream from memory once. One body for bf16, f32, 8- and 4-bit weights.
// Grid (LLSPEC_MATMUL_TILES(O), parts, LLSPEC_MATMUL_BLOCKS(rows)), block 128, LLSPEC_MATMUL_SHARED bytes.
//
// Weights are the 16 x 16 operand of the tensor core, so that few rows waste few instructions (rows come in eights). They go from memory to registers in 16-byte
// pieces, whole 64-byte runs of each row, and are never in shared memory: nobody else needs them. A lane's piece holds eight neighbouring columns, which serve as
// the fragments of two products; the activations' fragments are taken with the same permutation of columns, so no value moves between lanes.
// Activations stay f32: they are split into two bf16 (two products per weight fragment). On an H100 the tensor cores then need about half the time that memory
// takes at 64 rows (docs/cuda.md), so the second product costs nothing there. The next chunk's weights are loaded before the current chunk is multiplied.
//
// Order of a sum: columns in `parts` ranges; in a range ascending chunks of 16 in the tensor core's order, high part then low part; then the ranges in order, by
// the block that arrives last. None of it depends on the number of rows.
#include "../device/bf16.cuh"
#include "../device/matrix.cuh"
#include "../device/reduce.cuh"

namespace matmul
{
constexpr int Chunk = 64;                          // columns staged at once
constexpr int RowTiles = LLSPEC_MATMUL_ROWS / 8;
constexpr int HalfTile = LLSPEC_MATMUL_ROWS * Chunk; // elements of one bf16 part of a staged chunk

// A chunk of activations in shared memory: high parts, then low parts, [64 rows, 64 columns] each; the halves of odd rows are swapped, so that the eight lanes which
// read 16 bytes each at the same time touch different banks.
__device__ __forceinline__ int staged_index(int row, int column) { return row * Chunk + (column ^ ((row & 1) << 5)); }

struct Block
{
    int first_output, first_row, rows, first_column, end_column;
};

__device__ __forceinline__ float normed(const LlspecMatMul& p, const Block& b, const float* inverses, int row, int column)
{
    float x = p.input[static_cast<long long>(b.first_row + row) * p.input_stride + column];
    return p.gain == nullptr ? x : x * inverses[row] * p.gain[column];
}

// Stages columns column .. column + 63 of the block's rows, zeros beyond the rows and columns. With sums, also each row's sums over 32 columns.
__device__ __forceinline__ void stage(const LlspecMatMul& p, const Block& b, int column, const float* inverses, unsigned short* to, float* sums)
{
    int staged_rows = (b.rows + 7) / 8 * 8;
    for (int pair = threadIdx.x; pair < staged_rows * (Chunk / 2); pair += blockDim.x)
    {
        int row = pair / (Chunk / 2), i = pair % (Chunk / 2) * 2;
        float x0 = row < b.rows && column + i < b.end_column ? normed(p, b, inverses, row, column + i) : 0.0f;
        float x1 = row < b.rows && column + i + 1 < b.end_column ? normed(p, b, inverses, row, column + i + 1) : 0.0f;
        SplitPair split = split_pair(x0, x1);
        int at = staged_index(row, i);
        *reinterpret_cast<unsigned*>(to + at) = split.high;
        *reinterpret_cast<unsigned*>(to + HalfTile + at) = split.low;
        if (sums != nullptr)
        {
            // Sixteen lanes hold the 32 columns of one sum, sixteen the other's.
            float sum = x0 + x1;
#pragma unroll
            for (int lanes = 1; lanes < 16; lanes *= 2)
            {
                sum += __shfl_xor_sync(FullMask, sum, lanes);
            }

            if (i % LLSPEC_QUANT_BLOCK == 0)
            {
                sums[row * 2 + i / LLSPEC_QUANT_BLOCK] = sum;
            }
        }
    }
}

// Eight columns of one weight row as a lane holds them: what comes from memory, and what the tensor core takes.
template <int Type>
struct Piece;

template <>
struct Piece<LLSPEC_BF16>
{
    static constexpr bool IsQuantised = false, IsSplit = false;
    uint4 bits;

    __device__ __forceinline__ void load(const void* weight, long long at) { bits = *reinterpret_cast<const uint4*>(static_cast<const unsigned short*>(weight) + at); }
    __device__ __forceinline__ void clear() { bits = make_uint4(0, 0, 0, 0); }

    // Pairs (4j, 4j + 1) and (4j + 2, 4j + 3).
    __device__ __forceinline__ unsigned first(int j) const { return j == 0 ? bits.x : bits.z; }
    __device__ __forceinline__ unsigned second(int j) const { return j == 0 ? bits.y : bits.w; }
};

template <>
struct Piece<LLSPEC_F32>
{
    static constexpr bool IsQuantised = false, IsSplit = true;
    float4 front, back;

    __device__ __forceinline__ void load(const void* weight, long long at)
    {
        const auto* from = reinterpret_cast<const float4*>(static_cast<const float*>(weight) + at);
        front = from[0];
        back = from[1];
    }

    __device__ __forceinline__ void clear() { front = back = make_float4(0, 0, 0, 0); }

    __device__ __forceinline__ SplitPair first(int j) const { return j == 0 ? split_pair(front.x, front.y) : split_pair(back.x, back.y); }
    __device__ __forceinline__ SplitPair second(int j) const { return j == 0 ? split_pair(front.z, front.w) : split_pair(back.z, back.w); }
};

// Small integers are exact in bf16; the scale is applied to the block's sum.
template <>
struct Piece<LLSPEC_Q8>
{
    static constexpr bool IsQuantised = true, IsSplit = false;
    uint2 codes;

    __device__ __forceinline__ void load(const void* weight, long long at) { codes = *reinterpret_cast<const uint2*>(static_cast<const signed char*>(weight) + at); }
    __device__ __forceinline__ void clear() { codes = make_uint2(0, 0); }

    static __device__ __forceinline__ unsigned short value(unsigned word, int i) { return bf16_bits(static_cast<float>(static_cast<signed char>(word >> (8 * i)))); }
    __device__ __forceinline__ unsigned first(int j) const { return bf16_pair(value(j == 0 ? codes.x : codes.y, 0), value(j == 0 ? codes.x : codes.y, 1)); }
    __device__ __forceinline__ unsigned second(int j) const { return bf16_pair(value(j == 0 ? codes.x : codes.y, 2), value(j == 0 ? codes.x : codes.y, 3)); }
};

template <>
struct Piece<LLSPEC_Q4>
{
    static constexpr bool IsQuantised = true, IsSplit = false;
    unsigned codes;

    __device__ __forceinline__ void load(const void* weight, long long at) { codes = *reinterpret_cast<const unsigned*>(static_cast<const unsigned char*>(weight) + at / 2); }
    __device__ __forceinline__ void clear() { codes = 0; }

    __device__ __forceinline__ unsigned short value(int i) const { return bf16_bits(static_cast<float>((codes >> (4 * i)) & 15)); }
    __device__ __forceinline__ unsigned first(int j) const { return bf16_pair(value(4 * j), value(4 * j + 1)); }
    __device__ __forceinline__ unsigned second(int j) const { return bf16_pair(value(4 * j + 2), value(4 * j + 3)); }
};

// The sixteen-row tiles of one warp: outputs 16m + g and 16m + g + 8 of its 32, for two runs of 32 columns.
template <int Type>
struct Weights
{
    Piece<Type> pieces[2][2][2]; // [m][g, g + 8][run]

    __device__ __forceinline__ void load(const LlspecMatMul& p, const Block& b, int column)
    {
        int lane = lane_index(), output = b.first_output + warp_index() * 32 + lane / 4;
#pragma unroll
        for (int m = 0; m < 2; m++)
        {
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
#pragma unroll
                for (int run = 0; run < 2; run++)
                {
                    int row = output + m * 16 + half * 8, at = column + run * 32 + (lane & 3) * 8;
                    if (row < p.outputs && at < b.end_column)
                    {
                        pieces[m][half][run].load(p.weight, static_cast<long long>(row) * p.weight_stride + at);
                    }
                    else
                    {
                        pieces[m][half][run].clear();
                    }
                }
            }
        }
    }
};

// The fragments of one run of 32 columns: [m][j] is the 16 x 16 tile of outputs 16m .. and columns 8t + 4j .. of each lane t. f32 weights come in two bf16.
template <int Type>
struct Fragments
{
    static constexpr bool IsSplit = Piece<Type>::IsSplit;
    unsigned high[2][2][4], low[2][2][4];

    __device__ __forceinline__ Fragments(const Weights<Type>& w, int run)
    {
#pragma unroll
        for (int m = 0; m < 2; m++)
        {
#pragma unroll
            for (int j = 0; j < 2; j++)
            {
                set(m, j, 0, w.pieces[m][0][run].first(j));
                set(m, j, 1, w.pieces[m][1][run].first(j));
                set(m, j, 2, w.pieces[m][0][run].second(j));
                set(m, j, 3, w.pieces[m][1][run].second(j));
            }
        }
    }

    // c += this tile times sixteen columns of eight rows.
    __device__ __forceinline__ void multiply(float (&c)[4], int m, int j, unsigned high0, unsigned high1, unsigned low0, unsigned low1) const
    {
        multiply_accumulate(c, high[m][j], high0, high1);
        multiply_accumulate(c, high[m][j], low0, low1);
        if constexpr (IsSplit)
        {
            multiply_accumulate(c, low[m][j], high0, high1);
        }
    }

private:
    __device__ __forceinline__ void set(int m, int j, int i, unsigned pair) { high[m][j][i] = pair; }

    __device__ __forceinline__ void set(int m, int j, int i, const SplitPair& pair)
    {
        high[m][j][i] = pair.high;
        low[m][j][i] = pair.low;
    }
};

// Scale and offset of the lane's four weight rows for one run of 32 columns.
struct Scales
{
    float scale[2][2], offset[2][2];

    __device__ __forceinline__ void load(const LlspecMatMul& p, const Block& b, int column, float implied)
    {
        int output = b.first_output + warp_index() * 32 + lane_index() / 4;
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            int row = output + (i >> 1) * 16 + (i & 1) * 8;
            bool inside = row < p.outputs && column < b.end_column;
            long long at = static_cast<long long>(row) * (p.weight_stride / LLSPEC_QUANT_BLOCK) + column / LLSPEC_QUANT_BLOCK;
            float s = inside ? p.scales[at] : 0.0f;
            scale[i >> 1][i & 1] = s;
            offset[i >> 1][i & 1] = !inside ? 0.0f : p.offsets != nullptr ? p.offsets[at] : implied * s;
        }
    }
};

template <int Type>
__device__ __forceinline__ void multiply_chunk(float (&sums)[2][RowTiles][4], const LlspecMatMul& p, const Block& b, const Weights<Type>& w, int column,
                                               const unsigned short* staged, const float* x_sums)
{
    int lane = lane_index(), g = lane / 4, t = lane & 3;
#pragma unroll
    for (int run = 0; run < 2; run++)
    {
        Fragments<Type> weights(w, run);
        Scales scales;
        if constexpr (Piece<Type>::IsQuantised)
        {
            scales.load(p, b, column + run * 32, Type == LLSPEC_Q4 ? -8.0f : 0.0f);
        }

#pragma unroll
        for (int tile = 0; tile < RowTiles; tile++)
        {
            // Uniform over the block: rows beyond the last eight in use are not multiplied.
            if (tile * 8 < b.rows)
            {
                int at = staged_index(tile * 8 + g, run * 32 + t * 8);
                uint4 high = *reinterpret_cast<const uint4*>(staged + at), low = *reinterpret_cast<const uint4*>(staged + HalfTile + at);
#pragma unroll
                for (int m = 0; m < 2; m++)
                {
                    if constexpr (Piece<Type>::IsQuantised)
                    {
                        float block[4] = {0, 0, 0, 0};
                        weights.multiply(block, m, 0, high.x, high.y, low.x, low.y);
                        weights.multiply(block, m, 1, high.z, high.w, low.z, low.w);
#pragma unroll
                        for (int i = 0; i < 4; i++)
                        {
                            float x_sum = x_sums[(tile * 8 + t * 2 + (i & 1)) * 2 + run];
                            sums[m][tile][i] = fmaf(scales.scale[m][i >> 1], block[i], fmaf(scales.offset[m][i >> 1], x_sum, sums[m][tile][i]));
                        }
                    }
                    else
                    {
                        weights.multiply(sums[m][tile], m, 0, high.x, high.y, low.x, low.y);
                        weights.multiply(sums[m][tile], m, 1, high.z, high.w, low.z, low.w);
                    }
                }
            }
        }
    }
}

// 1 / sqrt(mean of squares + epsilon) of the block's rows.
__device__ __forceinline__ void inverse_norms(const LlspecMatMul& p, const Block& b, float* inverses)
{
    for (int row = warp_index(); row < b.rows; row += blockDim.x / WarpSize)
    {
        const float* x = p.input + static_cast<long long>(b.first_row + row) * p.input_stride;
        float squares = 0;
        for (int i = lane_index(); i < p.columns; i += WarpSize)
        {
            squares = fmaf(x[i], x[i], squares);
        }

        squares = warp_sum(squares);
        if (lane_index() == 0)
        {
            inverses[row] = 1.0f / sqrtf(squares / static_cast<float>(p.columns) + p.epsilon);
        }
    }
}

// Writes a lane's sums to [row, output] of a tile of 128 outputs.
__device__ __forceinline__ void spill_tile(const float (&sums)[2][RowTiles][4], const Block& b, float* tile_values)
{
    int lane = lane_index(), output = warp_index() * 32 + lane / 4, column = (lane & 3) * 2;
#pragma unroll
    for (int tile = 0; tile < RowTiles; tile++)
    {
#pragma unroll
        for (int i = 0; i < 8; i++)
        {
            int row = tile * 8 + column + (i & 1), m = i >> 2, half = (i >> 1) & 1;
            if (row < b.rows)
            {
                tile_values[row * LLSPEC_MATMUL_OUTPUTS + output + m * 16 + half * 8] = sums[m][tile][half * 2 + (i & 1)];
            }
        }
    }
}

// Whether this block is the last of its tile's parts to arrive. All sums of the others are visible then.
__device__ __forceinline__ bool arrives_last(const LlspecMatMul& p, int* flag)
{
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
    {
        int* arrivals = p.arrivals + static_cast<long long>(blockIdx.z) * gridDim.x + blockIdx.x;
        int before = atomicAdd(arrivals, 1);
        *flag = before == p.parts - 1 ? 1 : 0;
        if (before == p.parts - 1)
        {
            *arrivals = 0;
            __threadfence();
        }
    }

    __syncthreads();
    return *flag != 0;
}

__device__ __forceinline__ float rotated(const LlspecMatMul& p, const Block& b, const float* values, int row, int i)
{
    int half = p.head_size / 2, d = i % p.head_size, pair = d % half;
    int position = max(0, min(p.rows_of[b.first_row + row].position, p.table_rows - 1));
    float cosine = p.cos[static_cast<long long>(position) * half + pair], sine = p.sin[static_cast<long long>(position) * half + pair];
    const float* head = values + row * LLSPEC_MATMUL_OUTPUTS + (i - d);
    return d < half ? fmaf(-head[pair + half], sine, head[pair] * cosine) : fmaf(head[pair], sine, head[pair + half] * cosine);
}

// Bias, rotation, residual. `values` [rows, 128] in shared memory.
__device__ __forceinline__ void finish(const LlspecMatMul& p, const Block& b, float* values)
{
    int outputs = min(LLSPEC_MATMUL_OUTPUTS, p.outputs - b.first_output);
    if (p.bias != nullptr)
    {
        for (int i = threadIdx.x; i < b.rows * LLSPEC_MATMUL_OUTPUTS; i += blockDim.x)
        {
            int o = i % LLSPEC_MATMUL_OUTPUTS;
            values[i] += o < outputs ? p.bias[b.first_output + o] : 0.0f;
        }
    }

    __syncthreads();
    for (int i = threadIdx.x; i < b.rows * LLSPEC_MATMUL_OUTPUTS; i += blockDim.x)
    {
        int row = i / LLSPEC_MATMUL_OUTPUTS, o = i % LLSPEC_MATMUL_OUTPUTS;
        if (o < outputs)
        {
            float value = p.cos == nullptr ? values[i] : rotated(p, b, values, row, o);
            float* output = p.output + static_cast<long long>(b.first_row + row) * p.output_stride + b.first_output + o;
            *output = p.accumulate != 0 ? *output + value : value;
        }
    }
}

template <int Type>
__device__ __forceinline__ void run(const LlspecMatMul& p, unsigned char* shared)
{
    auto* staged = reinterpret_cast<unsigned short*>(shared);
    auto* x_sums = reinterpret_cast<float*>(shared + 2 * 2 * HalfTile * 2);
    float* inverses = x_sums + 2 * LLSPEC_MATMUL_ROWS * 2;
    int all_rows = row_count(p.count, p.rows), part = LLSPEC_MATMUL_PART(p.columns, p.parts);
    Block b;
    b.first_output = blockIdx.x * LLSPEC_MATMUL_OUTPUTS;
    b.first_row = blockIdx.z * LLSPEC_MATMUL_ROWS;
    b.rows = min(LLSPEC_MATMUL_ROWS, all_rows - b.first_row);
    b.first_column = blockIdx.y * part;
    b.end_column = min(p.columns, b.first_column + part);
    if (b.rows <= 0)
    {
        return;
    }

    if (p.gain != nullptr)
    {
        inverse_norms(p, b, inverses);
        __syncthreads();
    }

    // f32 pieces are twice as large: they are loaded when they are needed, a second set of them would not stay in registers.
    constexpr bool LoadsAhead = !Piece<Type>::IsSplit;
    float sums[2][RowTiles][4] = {};
    Weights<Type> current;
    Weights<LoadsAhead ? Type : LLSPEC_Q4> next;
    current.load(p, b, b.first_column);
    stage(p, b, b.first_column, inverses, staged, Piece<Type>::IsQuantised ? x_sums : nullptr);
    __syncthreads();
    int buffer = 0;
    for (int column = b.first_column; column < b.end_column; column += Chunk)
    {
        int other = buffer ^ 1;
        if (column + Chunk < b.end_column)
        {
            if constexpr (LoadsAhead)
            {
                next.load(p, b, column + Chunk);
            }

            stage(p, b, column + Chunk, inverses, staged + other * 2 * HalfTile, Piece<Type>::IsQuantised ? x_sums + other * 2 * LLSPEC_MATMUL_ROWS : nullptr);
        }

        if (b.first_output + warp_index() * 32 < p.outputs)
        {
            multiply_chunk<Type>(sums, p, b, current, column, staged + buffer * 2 * HalfTile, x_sums + buffer * 2 * LLSPEC_MATMUL_ROWS);
        }

        __syncthreads();
        buffer = other;
        if constexpr (LoadsAhead)
        {
            current = next;
        }
        else
        {
            current.load(p, b, column + Chunk);
        }
    }

    auto* values = reinterpret_cast<float*>(shared);
    if (p.parts == 1)
    {
        spill_tile(sums, b, values);
        __syncthreads();
    }
    else
    {
        long long tile = static_cast<long long>(blockIdx.z) * gridDim.x + blockIdx.x, tiles = static_cast<long long>(gridDim.x) * gridDim.z;
        constexpr int TileSize = LLSPEC_MATMUL_OUTPUTS * LLSPEC_MATMUL_ROWS;
        spill_tile(sums, b, p.scratch + (blockIdx.y * tiles + tile) * TileSize);
        if (!arrives_last(p, reinterpret_cast<int*>(inverses)))
        {
            return;
        }

        for (int i = threadIdx.x; i < b.rows * LLSPEC_MATMUL_OUTPUTS; i += blockDim.x)
        {
            float sum = load_through(p.scratch + tile * TileSize + i);
            for (int from = 1; from < p.parts; from++)
            {
                sum += load_through(p.scratch + (from * tiles + tile) * TileSize + i);
            }

            values[i] = sum;
        }

        __syncthreads();
    }

    finish(p, b, values);
}
}

LLSPEC_KERNEL __launch_bounds__(128, 3) llspec_matmul_bf16(LlspecMatMul p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    matmul::run<LLSPEC_BF16>(p, shared);
}

LLSPEC_KERNEL __launch_bounds__(128, 2) llspec_matmul_f32(LlspecMatMul p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    matmul::run<LLSPEC_F32>(p, shared);
}

LLSPEC_KERNEL __launch_bounds__(128, 3) llspec_matmul_q8(LlspecMatMul p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    matmul::run<LLSPEC_Q8>(p, shared);
}

LLSPEC_KERNEL __launch_bounds__(128, 3) llspec_matmul_q4(LlspecMatMul p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    matmul::run<LLSPEC_Q4>(p, shared);
}
