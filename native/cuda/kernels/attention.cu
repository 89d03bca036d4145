// Tree attention, first step: flash decoding over splits of 256 keys, grouped queries packed into the rows of tensor core tiles. Grid
// (ceil(rows / (64 / (H/K))) * shared_lanes + rows * private_lanes, K), block 128, LLSPEC_ATTENTION_SHARED(d) bytes.
//
// Keys are numbered by their logical order: a row's prefix, then its ancestors. Split s holds keys 256 s .. 256 s + 255 in tiles of 64. A split that lies wholly in
// the prefix of every query of a block (64 / (H/K) neighbouring queries of one sequence) is shared: one block of threads reads its keys once for all of them. All
// other splits are private: one query's own, each key fetched from wherever it lies. Both go through the same code with the same tiles, so a query's bits are
// the same whether its predecessors are a prefix or a path of a tree, and whoever else is in the pass.
//
// Memory: the prefix is read once per block of 64 (query, head) pairs and kv head; the private splits, at most two per query of a tree, once per query, from L2.
// Queries and probabilities are split into two bf16, so the cache's bf16 is the only rounding beyond f32 (a second product per fragment).
#include "../device/bf16.cuh"
#include "../device/matrix.cuh"
#include "../device/reduce.cuh"

namespace attention
{
constexpr float Log2E = 1.4426950408889634f;
constexpr int Tile = LLSPEC_TILE_KEYS;
constexpr int TilesPerSplit = LLSPEC_SPLIT_KEYS / Tile;

// Element offset of a 16-byte piece in a row of d elements: pieces are permuted by row, so that eight rows' pieces lie in different banks.
template <int HeadSize>
__device__ __forceinline__ int piece_offset(int row, int piece)
{
    int swizzle = HeadSize == 32 ? (row >> 1) & 3 : row & 7;
    return row * HeadSize + ((piece ^ swizzle) << 3);
}

// The queries a block of threads works on, and what they all see.
struct Work
{
    int first_query; // row of the pass
    int rows;        // (query, head) pairs
    int group;       // H/K
    int kv_head;
    const LlspecRow* row; // the first query's
    int keys;             // logical keys visible to all of them (shared) or to the one query (private)
};

// The splits that the queries of a block share: whole splits within the shortest prefix, none where their sequences differ.
__device__ __forceinline__ int shared_splits(const LlspecRow* rows, int first, int end)
{
    int shortest = rows[first].prefix;
    bool same = true;
    for (int i = first + 1; i < end; i++)
    {
        shortest = min(shortest, rows[i].prefix);
        same = same && rows[i].keys == rows[first].keys;
    }

    return same ? shortest / LLSPEC_SPLIT_KEYS : 0;
}

// Queries as two bf16 tiles [64, HeadSize]: high parts, low parts; zeros beyond the rows and the head.
template <int HeadSize>
__device__ __forceinline__ void load_queries(const LlspecAttention& p, const Work& w, unsigned short* to)
{
    for (int pair = threadIdx.x; pair < LLSPEC_BLOCK_ROWS * HeadSize / 2; pair += blockDim.x)
    {
        int row = pair / (HeadSize / 2), d = pair % (HeadSize / 2) * 2;
        float q0 = 0, q1 = 0;
        if (row < w.rows)
        {
            const float* query = p.queries + static_cast<long long>(w.first_query + row / w.group) * p.query_stride + (w.kv_head * w.group + row % w.group) * p.head_size;
            q0 = d < p.head_size ? query[d] : 0.0f;
            q1 = d + 1 < p.head_size ? query[d + 1] : 0.0f;
        }

        SplitPair split = split_pair(q0, q1);
        int at = piece_offset<HeadSize>(row, d >> 3) + (d & 7);
        *reinterpret_cast<unsigned*>(to + at) = split.high;
        *reinterpret_cast<unsigned*>(to + LLSPEC_BLOCK_ROWS * HeadSize + at) = split.low;
    }
}

// Begins to copy 64 keys and values from logical key `first` on; rows beyond the visible keys become zeros.
template <int HeadSize>
__device__ __forceinline__ void fetch_tile(const LlspecAttention& p, const Work& w, int first, unsigned short* keys, unsigned short* values)
{
    constexpr int Pieces = HeadSize / 8;
    const LlspecRow& row = *w.row;
    int row_size = (p.head_size + 7) / 8 * 8;
    long long head = (static_cast<long long>(p.layer) * p.kv_heads + w.kv_head) * row.capacity;
    for (int i = threadIdx.x; i < Tile * Pieces; i += blockDim.x)
    {
        int tile_row = i / Pieces, piece = i % Pieces, key = first + tile_row;
        int bytes = key < w.keys ? max(0, min(16, 2 * (p.head_size - 8 * piece))) : 0;
        int cache_row = key < row.prefix || bytes == 0 ? key : p.ancestors[row.ancestor_first + key - row.prefix];
        long long from = bytes == 0 ? 0 : (head + cache_row) * row_size + piece * 8;
        int to = piece_offset<HeadSize>(tile_row, piece);
        copy_async_16(keys + to, row.keys + from, bytes);
        copy_async_16(values + to, row.values + from, bytes);
    }

    copy_async_commit();
}

// A warp's sixteen rows: running maximum and sum (rows g and g + 8 of the quad's lane), and sums of p v.
template <int HeadSize>
struct Accumulator
{
    float largest[2], sum[2];
    float mixed[HeadSize / 8][4];
};

// Scores of sixteen rows against 64 keys, in units of log2; keys beyond the visible ones become -infinity.
template <int HeadSize>
__device__ __forceinline__ void score_tile(const unsigned short* queries, const unsigned short* keys, int visible, float scale, float (&scores)[Tile / 8][4])
{
    int lane = lane_index();
#pragma unroll
    for (int n = 0; n < Tile / 8; n++)
    {
        scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0;
    }

#pragma unroll
    for (int k = 0; k < HeadSize / 16; k++)
    {
        // Matrices: rows 0-7 and 8-15 at columns 0-7, then both at columns 8-15.
        int at = piece_offset<HeadSize>(warp_index() * 16 + (lane & 15), 2 * k + (lane >> 4));
        unsigned high[4], low[4];
        load_matrices(high, queries + at);
        load_matrices(low, queries + LLSPEC_BLOCK_ROWS * HeadSize + at);
#pragma unroll
        for (int n = 0; n < Tile / 16; n++)
        {
            // Keys 0-7 at columns 0-7 and 8-15, then keys 8-15.
            unsigned b[4];
            load_matrices(b, keys + piece_offset<HeadSize>(n * 16 + (lane & 7) + ((lane >> 4) << 3), 2 * k + ((lane >> 3) & 1)));
            multiply_accumulate(scores[2 * n], high, b[0], b[1]);
            multiply_accumulate(scores[2 * n], low, b[0], b[1]);
            multiply_accumulate(scores[2 * n + 1], high, b[2], b[3]);
            multiply_accumulate(scores[2 * n + 1], low, b[2], b[3]);
        }
    }

#pragma unroll
    for (int n = 0; n < Tile / 8; n++)
    {
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            scores[n][i] = n * 8 + (lane & 3) * 2 + (i & 1) < visible ? scores[n][i] * scale : negative_infinity();
        }
    }
}

// Turns scores into probabilities relative to the running maximum and rescales what was summed before.
template <int HeadSize>
__device__ __forceinline__ void weigh_tile(float (&scores)[Tile / 8][4], Accumulator<HeadSize>& sums)
{
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        float largest = sums.largest[half];
#pragma unroll
        for (int n = 0; n < Tile / 8; n++)
        {
            largest = fmaxf(largest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
        }

#pragma unroll
        for (int lanes = 1; lanes < 4; lanes *= 2)
        {
            largest = fmaxf(largest, __shfl_xor_sync(FullMask, largest, lanes));
        }

        float rescale = exp2f(sums.largest[half] - largest);
        sums.largest[half] = largest;
        sums.sum[half] *= rescale;
#pragma unroll
        for (int n = 0; n < HeadSize / 8; n++)
        {
            sums.mixed[n][2 * half] *= rescale;
            sums.mixed[n][2 * half + 1] *= rescale;
        }

#pragma unroll
        for (int n = 0; n < Tile / 8; n++)
        {
#pragma unroll
            for (int i = 0; i < 2; i++)
            {
                float& score = scores[n][2 * half + i];
                score = exp2f(score - largest);
                sums.sum[half] += score;
            }
        }
    }
}

template <int HeadSize>
__device__ __forceinline__ void mix_tile(const float (&weights)[Tile / 8][4], const unsigned short* values, Accumulator<HeadSize>& sums)
{
    int lane = lane_index();
#pragma unroll
    for (int k = 0; k < Tile / 16; k++)
    {
        unsigned high[4], low[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            const float* pair = &weights[2 * k + (i >> 1)][2 * (i & 1)];
            SplitPair split = split_pair(pair[0], pair[1]);
            high[i] = split.high;
            low[i] = split.low;
        }

#pragma unroll
        for (int n = 0; n < HeadSize / 16; n++)
        {
            // Keys 0-7 and 8-15 at columns 0-7, then both at columns 8-15, each transposed.
            unsigned b[4];
            load_matrices_transposed(b, values + piece_offset<HeadSize>(k * 16 + (lane & 15), 2 * n + (lane >> 4)));
            multiply_accumulate(sums.mixed[2 * n], high, b[0], b[1]);
            multiply_accumulate(sums.mixed[2 * n], low, b[0], b[1]);
            multiply_accumulate(sums.mixed[2 * n + 1], high, b[2], b[3]);
            multiply_accumulate(sums.mixed[2 * n + 1], low, b[2], b[3]);
        }
    }
}

template <int HeadSize>
__device__ __forceinline__ void write_split(const LlspecAttention& p, const Work& w, int split, Accumulator<HeadSize>& sums)
{
    int lane = lane_index();
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        float sum = sums.sum[half];
#pragma unroll
        for (int lanes = 1; lanes < 4; lanes *= 2)
        {
            sum += __shfl_xor_sync(FullMask, sum, lanes);
        }

        int row = warp_index() * 16 + half * 8 + lane / 4;
        if (row < w.rows)
        {
            long long query = w.first_query + row / w.group, head = w.kv_head * w.group + row % w.group;
            float* to = p.scratch + ((split * static_cast<long long>(p.rows) + query) * p.heads + head) * (p.head_size + 2);
#pragma unroll
            for (int n = 0; n < HeadSize / 8; n++)
            {
#pragma unroll
                for (int i = 0; i < 2; i++)
                {
                    int d = n * 8 + (lane & 3) * 2 + i;
                    if (d < p.head_size)
                    {
                        to[d] = sums.mixed[n][2 * half + i];
                    }
                }
            }

            if ((lane & 3) == 0)
            {
                to[p.head_size] = sums.largest[half];
                to[p.head_size + 1] = sum;
            }
        }
    }
}

// One split for all rows of the work. Queries are in shared memory; a barrier lies behind them.
template <int HeadSize>
__device__ __forceinline__ void attend_split(const LlspecAttention& p, const Work& w, int split, const unsigned short* queries, unsigned short* tiles)
{
    constexpr int TileElements = Tile * HeadSize;
    int first = split * LLSPEC_SPLIT_KEYS, end = min(w.keys, first + LLSPEC_SPLIT_KEYS), tile_count = (end - first + Tile - 1) / Tile;
    bool works = warp_index() * 16 < w.rows;
    Accumulator<HeadSize> sums;
    sums.largest[0] = sums.largest[1] = negative_infinity();
    sums.sum[0] = sums.sum[1] = 0;
#pragma unroll
    for (int n = 0; n < HeadSize / 8; n++)
    {
        sums.mixed[n][0] = sums.mixed[n][1] = sums.mixed[n][2] = sums.mixed[n][3] = 0;
    }

    fetch_tile<HeadSize>(p, w, first, tiles, tiles + TileElements);
    for (int tile = 0; tile < tile_count; tile++)
    {
        unsigned short* current = tiles + (tile & 1) * 2 * TileElements;
        if (tile + 1 < tile_count)
        {
            unsigned short* next = tiles + ((tile + 1) & 1) * 2 * TileElements;
            fetch_tile<HeadSize>(p, w, first + (tile + 1) * Tile, next, next + TileElements);
            copy_async_wait<1>();
        }
        else
        {
            copy_async_wait<0>();
        }

        __syncthreads();
        if (works)
        {
            float scores[Tile / 8][4];
            score_tile<HeadSize>(queries, current, end - first - tile * Tile, p.scale * Log2E, scores);
            weigh_tile<HeadSize>(scores, sums);
            mix_tile<HeadSize>(scores, current + TileElements, sums);
        }

        // The next round's copies go where this round has read.
        __syncthreads();
    }

    if (works)
    {
        write_split<HeadSize>(p, w, split, sums);
    }
}

template <int HeadSize>
__device__ __forceinline__ void run(const LlspecAttention& p, unsigned char* shared)
{
    auto* queries = reinterpret_cast<unsigned short*>(shared);
    unsigned short* tiles = queries + 2 * LLSPEC_BLOCK_ROWS * HeadSize;
    int rows = row_count(p.count, p.rows), group = p.heads / p.kv_heads, queries_per_block = LLSPEC_BLOCK_ROWS / group;
    int shared_blocks = (p.rows + queries_per_block - 1) / queries_per_block * p.shared_lanes;
    bool is_shared = static_cast<int>(blockIdx.x) < shared_blocks;
    int index = is_shared ? blockIdx.x : blockIdx.x - shared_blocks, lanes = is_shared ? p.shared_lanes : p.private_lanes;
    int query = index / lanes, lane = index % lanes;
    int first = (is_shared ? query : query / queries_per_block) * queries_per_block;
    Work w;
    w.first_query = is_shared ? first : query;
    if (w.first_query >= rows)
    {
        return;
    }

    int end = min(rows, first + queries_per_block), common = shared_splits(p.rows_of, first, end);
    w.row = p.rows_of + w.first_query;
    w.group = group;
    w.kv_head = blockIdx.y;
    w.rows = is_shared ? (end - first) * group : group;
    w.keys = is_shared ? common * LLSPEC_SPLIT_KEYS : w.row->prefix + w.row->ancestor_count;
    int split = is_shared ? lane : common + lane;
    if (split * LLSPEC_SPLIT_KEYS >= w.keys)
    {
        return;
    }

    load_queries<HeadSize>(p, w, queries);
    __syncthreads();
    for (; split * LLSPEC_SPLIT_KEYS < w.keys; split += lanes)
    {
        attend_split<HeadSize>(p, w, split, queries, tiles);
    }
}
}

LLSPEC_KERNEL __launch_bounds__(128) llspec_attention_d32(LlspecAttention p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    attention::run<32>(p, shared);
}

LLSPEC_KERNEL __launch_bounds__(128) llspec_attention_d64(LlspecAttention p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    attention::run<64>(p, shared);
}

LLSPEC_KERNEL __launch_bounds__(128) llspec_attention_d128(LlspecAttention p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    attention::run<128>(p, shared);
}
