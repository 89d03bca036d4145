// What the CUDA kernels share with whoever launches them: one plain C struct per kernel, passed by value, and the structs that live in device memory.
//
// Every kernel takes exactly one argument, its struct; pointers are device addresses. Letters: n rows, E hidden, H query heads, K kv heads, D head size,
// L layers, V vocabulary, F MLP width, O outputs and I inputs of a weight. Matrices are row-major; `stride` counts elements from row to row.
//
// Row counts. Grids are sized for `rows`, the most rows a launch may have. Where `count` is not null the device reads the actual number there, so that a
// captured graph serves every tree: rows from min(rows, *count) on are neither read nor written. Null means: all `rows`.
//
// Row-count invariance. A row's bits depend on nothing but the row: tile shapes and the splits of sums follow from the weight's shape, key splits from the
// key's logical position (docs/cuda.md says how).
//
// No pointer is aliased unless its comment says so. Compiles as C, C++ and under NVRTC, which has no standard headers.
#ifndef LLSPEC_KERNELS_H
#define LLSPEC_KERNELS_H

// ---------------------------------------------------------------------------------------------------------------------------------------------- limits

enum
{
    LLSPEC_MAX_TREE = 64,        // nodes of a draft tree, root included
    LLSPEC_MAX_BREADTH = 32,     // frontier nodes, and children scored per node
    LLSPEC_MAX_DEPTH = 32,       // levels, root included
    LLSPEC_MAX_SCORED = 32 + 30 * 32 * 32,
    LLSPEC_MAX_TOP = 32,         // entries of a top-k
    LLSPEC_TILE_KEYS = 64,       // keys of one attention tile
    LLSPEC_SPLIT_KEYS = 256,     // keys of one attention split: split s holds logical keys 256 s .. 256 s + 255
    LLSPEC_BLOCK_ROWS = 64,      // (query, head) pairs of one attention block: 64 / (H/K) queries
    LLSPEC_MATMUL_OUTPUTS = 128, // outputs of one matmul block
    LLSPEC_MATMUL_ROWS = 64,     // rows of one matmul block
    LLSPEC_QUANT_BLOCK = 32,     // weights that share a scale
    LLSPEC_TOP_CHUNK = 2048      // columns of one top-k block
};

// -------------------------------------------------------------------------------------------------------------------------------- structs on the device

// A row of a pass (PassBatch's row, spelled out): 48 bytes.
typedef struct
{
    unsigned short* keys;   // layer 0 of its sequence's cache: bf16 [L, K, capacity, row size], after RoPE; row size = D rounded up to 8
    unsigned short* values; // the same shape
    int capacity;           // rows of that cache
    int token;
    int position;
    int cache_row;       // row that its key and value are written to; -1: none
    int prefix;          // leading cache rows it sees
    int ancestor_first;  // then ancestors[ancestor_first .. + ancestor_count), cache rows in position order
    int ancestor_count;
    int reserved;
} LlspecRow;

// A draft tree: node 0 is the root, parents precede children. DraftTree's twin.
typedef struct
{
    unsigned long long masks[LLSPEC_MAX_TREE]; // bit i: node i is an ancestor or the node itself
    int tokens[LLSPEC_MAX_TREE];
    int parents[LLSPEC_MAX_TREE]; // -1 for the root
    int depths[LLSPEC_MAX_TREE];
    float log_probabilities[LLSPEC_MAX_TREE]; // cumulative, 0 for the root
    int count;
    int reserved;
} LlspecTree;

// A tree while it grows. TreeGrower's twin: ties go to the node scored first.
typedef struct
{
    int scored_count;
    int level_start;                        // first scored node of the current level
    int level;                              // depth of the frontier
    int failed;                             // nonzero: a logit was not finite; select then leaves the root alone
    int frontier_scored[LLSPEC_MAX_BREADTH]; // index in the scored list
    int frontier_tokens[LLSPEC_MAX_BREADTH];
    int frontier_parents[LLSPEC_MAX_BREADTH]; // index in the previous frontier
    float frontier_scores[LLSPEC_MAX_BREADTH];
    int paths[LLSPEC_MAX_BREADTH * LLSPEC_MAX_DEPTH]; // [breadth, 32]: slots of a frontier node's drafted ancestors, itself last; slot = (level-1)*breadth + i
    int scored_tokens[LLSPEC_MAX_SCORED];
    int scored_parents[LLSPEC_MAX_SCORED]; // index in this list, -1 = root
    float scores[LLSPEC_MAX_SCORED];
} LlspecGrower;

// What one generation carries from cycle to cycle. The host reads the first 16 ints of it once a cycle.
typedef struct
{
    int verified;  // P: rows of the target's cache that hold verified tokens = position of the root
    int root;      // the last committed token
    int committed; // tokens written so far = index of the next random draw
    int accepted;  // drafted tokens that the last cycle accepted
    int observed;  // rows that the last cycle verified = accepted + 1, at positions verified - observed ..; LSA and SA take them in next
    int sa_length; // rows of SA's cache that hold committed tokens
    int failed;    // 1: a logit of the target was not finite at a visited node
    int drafter_failed; // 1: a logit of the drafter was not finite; nothing is drafted from then on
    int tree_count;     // nodes of the last tree, root included
    int reserved[7];
    int tokens[LLSPEC_MAX_TREE]; // tokens the last cycle committed: accepted drafted ones, then the target's own; accepted + 1 of them
    int path[LLSPEC_MAX_TREE];   // tree nodes of the accepted path, root first; accepted + 1 of them
    int rows[LLSPEC_MAX_TREE];   // their cache rows: verified (before the cycle) + node; what keep_rows takes
} LlspecState;

// ------------------------------------------------------------------------------------------------------------------------------------ kernel arguments

// sizes[i] = sizeof of struct i in the order of LLSPEC_STRUCTS. Grid 1, block 32.
typedef struct
{
    int* sizes;
    int capacity; // entries of sizes
} LlspecAbi;

// output[i] = row token[i] of the table.
typedef struct
{
    const void* table;     // [V, E]
    const LlspecRow* rows_of; // tokens come from here, or where null from tokens
    const int* tokens;     // [rows]
    float* output;         // [rows, stride]
    const int* count;
    int rows;
    int columns;           // E
    int stride;
    int vocabulary;        // V; a token outside writes zeros
    int table_type;        // LLSPEC_BF16 or LLSPEC_F32
    int reserved;
} LlspecEmbed;

// output = x / sqrt(mean(x^2) + epsilon) * gain with x = input (+ residual); x is written back to input where residual is given.
typedef struct
{
    float* input;          // [rows, E]; read only unless residual is given
    const float* residual; // [rows, E] or null
    const float* gain;     // [E]
    float* output;         // [rows, E]; may be input where residual is null
    const int* count;
    int rows;
    int columns;           // E
    int input_stride;
    int residual_stride;
    int output_stride;
    float epsilon;
} LlspecRmsNorm;

// Rotates heads in place by position, pairs (i, i + D/2), and/or stores keys and values to the cache as bf16. Any of q, k, v may be null.
typedef struct
{
    const LlspecRow* rows_of; // positions and cache rows; null where positions is given (then nothing is stored)
    const int* positions;     // [rows] or null
    float* q;                 // [rows, H*D], rotated in place
    float* k;                 // [rows, K*D], rotated in place
    const float* v;           // [rows, K*D]
    const float* cos;         // [positions, D/2] or null: nothing is rotated
    const float* sin;
    const int* count;
    int rows;
    int heads;    // H
    int kv_heads; // K
    int head_size;
    int q_stride;
    int k_stride;
    int v_stride;
    int layer;
    int store;    // 1: k (after rotation) and v go to layer `layer` of each row's cache at its cache_row (rows with -1 excepted)
    int table_rows; // rows of cos and sin; positions beyond are clamped to the last one
} LlspecRopeAppend;

// Tree attention, first step: partial results per split of 256 keys. Queries are f32, keys and values bf16, products exact to f32 rounding (see docs/cuda.md).
// The scratch must hold LLSPEC_ATTENTION_SCRATCH floats; uninitialised is fine.
typedef struct
{
    const LlspecRow* rows_of;
    const int* ancestors;  // the rows' ancestor lists
    const float* queries;  // [rows, H*D]
    float* scratch;        // [splits, rows, H, D + 2]: sums of p v, then the maximum and the sum of p
    const int* count;
    int rows;
    int heads;
    int kv_heads;
    int head_size;
    int query_stride;
    int layer;
    int splits;            // most splits of any row: (keys + 255) / 256; splits beyond are not written
    int shared_lanes;      // blocks that walk a row block's shared splits (stride shared_lanes)
    int private_lanes;     // blocks that walk a query's private splits; 2 serve one sequence, more help many sequences in one pass
    float scale;
    int reserved;
} LlspecAttention;

#define LLSPEC_ATTENTION_SCRATCH(rows, heads, head_size, splits) ((long long)(splits) * (rows) * (heads) * ((head_size) + 2))

// Second step: sums the splits in order. A row that sees nothing gives zeros.
typedef struct
{
    const LlspecRow* rows_of;
    const float* scratch;
    float* output; // [rows, H*D]
    const int* count;
    int rows;
    int heads;
    int head_size;
    int output_stride;
    int splits;
    int reserved;
} LlspecAttentionMerge;

// Unmasked self-attention inside groups of consecutive rows (LSA over the layer axis).
typedef struct
{
    const float* queries; // [groups*group_rows, H*D]
    const float* k;       // [groups*group_rows, K*D]
    const float* v;
    float* output;        // [groups*group_rows, H*D]; may be queries
    const int* count;     // groups
    int groups;
    int group_rows;
    int heads;
    int kv_heads;
    int head_size;
    int query_stride;
    int k_stride;
    int v_stride;
    int output_stride;
    float scale;
} LlspecGroupAttention;

// output[g] = mean of the group's rows, summed in order.
typedef struct
{
    const float* input; // [groups*group_rows, C]
    float* output;      // [groups, C]
    const int* count;   // groups
    int groups;
    int group_rows;
    int columns;
    int input_stride;
    int output_stride;
    int reserved;
} LlspecGroupMean;

// LSA's input: output[(t*L)+l] = per kv head [K_head ; V_head] of layer l at cache row first + t.
typedef struct
{
    const unsigned short* keys; // [L, K, capacity, row size]
    const unsigned short* values;
    float* output;              // [tokens*L, 2*K*D]
    const int* count;           // tokens
    const int* first;           // null: first_row; else first = *first + first_row
    int tokens;
    int layers;
    int kv_heads;
    int head_size;
    int capacity;
    int first_row;
    int output_stride;
    int reserved;
} LlspecGatherLayers;

// output[i] = input[sources[i]], or input[i] where sources is null. Where input and output overlap they must be the same matrix, sources[i] >= i ascending, one launch.
typedef struct
{
    const float* input;
    const int* sources; // [rows] or null
    float* output;
    const int* count;
    int rows;
    int columns;
    int input_stride;
    int output_stride;
} LlspecCopyRows;

// high[r, i] + low[r, i] = input[r, i] up to 2^-17 of it, both bf16. Grid (rows, ceil(columns / 256)), block 256.
typedef struct
{
    const float* input;
    unsigned short* high;
    unsigned short* low;
    int rows;
    int columns;
    int input_stride;
    int output_stride; // of high and low
} LlspecSplitRows;

// Compacts an accepted path: in all layers row sources[i] moves to base + i. sources ascending, sources[i] >= base + i.
typedef struct
{
    unsigned short* keys; // [L, K, capacity, row size]
    unsigned short* values;
    const int* sources;   // [rows]
    const int* count;
    const int* base;      // null: base_row; else base = *base + base_row
    int rows;
    int layers;
    int kv_heads;
    int head_size;
    int capacity;
    int base_row;
} LlspecKeepRows;

enum
{
    LLSPEC_BF16 = 0, // unsigned short [O, I]
    LLSPEC_F32 = 1,  // float [O, I]
    LLSPEC_Q8 = 2,   // signed char [O, I], a scale per 32 columns; weight = scale * code (+ offset)
    LLSPEC_Q4 = 3    // two codes a byte [O, I/2], the even column in the low four bits; weight = scale * (code - 8), or scale * code + offset where offsets are given
};

// output[r, o] = sum_i weight[o, i] * x[r, i] (+ bias[o]) (+ output[r, o] where accumulate); x = input, or rms_norm(input) where gain is given.
// With cos the result's heads are rotated by position (cross-attention's query in one kernel).
// Columns are summed in `parts` ranges of LLSPEC_MATMUL_PART(I, parts) columns, each in order, then the parts in order.
typedef struct
{
    const void* weight;
    const float* scales;  // [O, I/32], q8 and q4
    const float* offsets; // [O, I/32] or null
    const float* input;   // [rows, I]
    const float* bias;    // [O] or null
    float* output;        // [rows, O]
    float* scratch;       // parts > 1: LLSPEC_MATMUL_SCRATCH floats; uninitialised is fine
    int* arrivals;        // parts > 1: LLSPEC_MATMUL_ARRIVALS ints, zero before the first launch and after each
    const float* gain;    // [I] or null
    const float* cos;     // [positions, D/2] or null
    const float* sin;
    const LlspecRow* rows_of; // positions for cos
    const int* count;
    int rows;
    int outputs;   // O
    int columns;   // I
    int weight_stride; // columns of a stored weight row: I rounded up to 8 (bf16, f32) or 32 (q8, q4), zeros beyond I
    int input_stride;
    int output_stride;
    int parts;     // LLSPEC_MATMUL_PARTS(O, I), for every row count the same
    int accumulate;
    int head_size; // D: divides 128, for cos
    int table_rows;
    float epsilon;
    int reserved;
} LlspecMatMul;

#define LLSPEC_MATMUL_TILES(outputs) (((outputs) + LLSPEC_MATMUL_OUTPUTS - 1) / LLSPEC_MATMUL_OUTPUTS)
#define LLSPEC_MATMUL_BLOCKS(rows) (((rows) + LLSPEC_MATMUL_ROWS - 1) / LLSPEC_MATMUL_ROWS)
#define LLSPEC_MATMUL_SCRATCH(rows, outputs, parts) ((long long)(parts) * LLSPEC_MATMUL_BLOCKS(rows) * LLSPEC_MATMUL_TILES(outputs) * LLSPEC_MATMUL_OUTPUTS * LLSPEC_MATMUL_ROWS)
#define LLSPEC_MATMUL_ARRIVALS(rows, outputs) (LLSPEC_MATMUL_BLOCKS(rows) * LLSPEC_MATMUL_TILES(outputs))
// Enough blocks for 132 processors twice over, but no part under 256 columns: a function of the weight's shape alone.
#define LLSPEC_MATMUL_PARTS_WANTED(outputs) ((256 + LLSPEC_MATMUL_TILES(outputs) - 1) / LLSPEC_MATMUL_TILES(outputs))
#define LLSPEC_MATMUL_PARTS_MOST(columns) ((columns) / 256 > 1 ? ((columns) / 256 < 16 ? (columns) / 256 : 16) : 1)
#define LLSPEC_MATMUL_PARTS(outputs, columns) \
    (LLSPEC_MATMUL_PARTS_WANTED(outputs) < LLSPEC_MATMUL_PARTS_MOST(columns) ? LLSPEC_MATMUL_PARTS_WANTED(outputs) : LLSPEC_MATMUL_PARTS_MOST(columns))
// Columns of one part, a multiple of 64.
#define LLSPEC_MATMUL_PART(columns, parts) ((((columns) + (parts) - 1) / (parts) + 63) / 64 * 64)

// output = silu(gate) * up, elementwise.
typedef struct
{
    const float* gate; // [rows, F]
    const float* up;
    float* output;     // may be gate or up
    const int* count;
    int rows;
    int columns;
    int gate_stride;
    int up_stride;
    int output_stride;
    int reserved;
} LlspecSwiGlu;

// What a row of logits holds, as bits of a row's status.
enum
{
    LLSPEC_HAS_NAN = 1,
    LLSPEC_HAS_POSITIVE_INFINITY = 2,
    LLSPEC_HAS_NEGATIVE_INFINITY = 4,
    LLSPEC_HAS_NOTHING = 8 // nothing but NaN and -infinity
};

// log_softmax and the `top` largest entries of each row, descending, ties to the lower index. top = 1 is ArgMax.
// First step (top_partial): each block of 2048 columns; second step (top_merge): the row. Both take this struct.
typedef struct
{
    const float* logits;      // [rows, V]
    unsigned long long* keys; // scratch: [rows, chunks, top], chunks = (V + 2047) / 2048
    float* sums;              // scratch: [rows, chunks, 2]: maximum, sum of exp(x - maximum)
    int* chunk_status;        // scratch: [rows, chunks]
    int* tokens;              // [rows, top]
    float* log_probabilities; // [rows, top] or null
    int* status;              // [rows]: LLSPEC_HAS_*; log-probabilities are valid where it is 0, tokens also where only -infinity was met
    const int* count;
    int rows;
    int columns; // V
    int stride;
    int top;     // 1..32, at most V
} LlspecTop;

// Draws one token per row from the target's distribution: temperature, then top-k, top-p, min-p, then the draw of the shared random stream. Probabilities are
// fixed-point numbers (2^-40 of the most probable token), whose sums have no order, so the choice is a function of the row's bits and of the draw alone.
typedef struct
{
    const float* logits;      // [rows, V]
    const LlspecTree* tree;   // depth of node r, or null: depth r
    const LlspecState* state; // committed, or null: 0
    unsigned long long* weights; // scratch: [rows, V]
    int* tokens;              // [rows]
    int* status;              // [rows]: LLSPEC_HAS_*
    const int* count;
    unsigned long long seed;
    long long first_draw;     // row r uses draw first_draw + committed + depth of node r
    double temperature;       // > 0
    double top_p;             // 1: off
    double min_p;             // 0: off
    int top_k;                // 0: off
    int rows;
    int columns;
    int stride;
} LlspecSample;

// Opens a tree from the root's top entries (grow_first) or scores the frontier's children and chooses the next frontier (grow). Grid 1, block 256.
typedef struct
{
    LlspecGrower* grower;
    const int* tokens;              // grow_first [breadth], grow [breadth, breadth]: top_merge's output
    const float* log_probabilities;
    const int* status;              // [1] or [breadth]
    const int* names;               // token of each column of the logits where the draft head is trimmed, null: its own number
    int breadth;
    int reserved;
} LlspecGrow;

// Writes the best `total` of all scored nodes to the tree, in scoring order, root first. Grid 1, block 256.
typedef struct
{
    LlspecGrower* grower;
    LlspecTree* tree;
    LlspecState* state; // root; tree_count, drafter_failed are written
    int total;          // drafted tokens; the tree has at most total + 1 nodes
    int reserved;
} LlspecSelect;

// Walks the tree from the root while the target's token is a child, commits. Greedy and sampling alike: tokens are arg max or draws. Grid 1, block 64.
typedef struct
{
    const LlspecTree* tree;
    const int* tokens; // [tree.count]: the target's token after each node
    const int* status; // [tree.count]
    LlspecState* state; // verified moves on by accepted + 1, root becomes the last token; after a failure nothing but `failed` changes
    int max_accepted;   // bound on drafted tokens taken (the length limit)
    int end_count;
    int end_tokens[16]; // a path is cut right after one of these
} LlspecAccept;

// Rows of a pass, written on the device so that a cycle needs no host. Grid 1, block 64. Which rows: `kind`.
enum
{
    LLSPEC_ROWS_VERIFY = 0,  // tree nodes: cache row P + i, position P + depth, prefix P, ancestors P + node of the mask's bits, itself last
    LLSPEC_ROWS_CATCH_UP = 1, // committed tokens that SA has not cached (state.tokens' last ones and the root): causal rows sa_length ..; count = P + 1 - sa_length
    LLSPEC_ROWS_LAST_QUERY = 2, // one row: the root, prefix P, cache row -1 (cross-attention of the first level)
    LLSPEC_ROWS_FRONTIER = 3, // frontier nodes in SA's cache: row P + 1 + slot, position P + level, prefix P + 1, ancestors P + 1 + slots of the path
    LLSPEC_ROWS_QUERY = 4,    // frontier nodes as queries: position P + level, prefix P, cache row -1
    LLSPEC_ROWS_OBSERVED = 5, // rows verified by the last cycle: causal rows P - observed .. P - 1 of CA's cache
    LLSPEC_ROWS_TLI_ROOT = 6, // the root in the target's cache: row P, position P, prefix P, ancestors [P]
    LLSPEC_ROWS_TLI_FRONTIER = 7, // frontier nodes in the target's cache: row P + 1 + slot, prefix P, ancestors [P, P + 1 + slots]
    // EAGLE's cache, whose row t holds the feature of position t with the token after it.
    LLSPEC_ROWS_FEATURES = 8, // the tokens of CATCH_UP, each one row and one position earlier
    LLSPEC_ROWS_FEATURE_FRONTIER = 9, // frontier nodes: row P + slot, position P - 1 + level, prefix P, ancestors P + slots of the path
    LLSPEC_ROWS_FEATURE_REFERENCE = 10 // the same with the reference code's mask: slot 0, and a + 1 for every slot a of the path, the level's last column left out
};

typedef struct
{
    const LlspecState* state;
    const LlspecTree* tree;     // VERIFY
    const LlspecGrower* grower; // FRONTIER, QUERY, TLI_FRONTIER, FEATURE_FRONTIER, FEATURE_REFERENCE
    unsigned short* keys;       // of the cache the rows belong to
    unsigned short* values;
    LlspecRow* rows_of;         // [capacity of the list]
    int* ancestors;             // [rows, 64]: row i's list begins at 64 i
    int* count;                 // number of rows written
    int* last;                  // null, or: index of the last row (for copy_rows)
    int capacity;               // rows of the cache
    int kind;
    int breadth;                // as for the grower
    int reserved;
} LlspecRows;

// ------------------------------------------------------------------------------------------------------------------------- dynamic shared memory, bytes

// d: 32, 64 or 128, as in the kernel's name. Queries in two bf16 parts, keys and values of two tiles.
#define LLSPEC_ATTENTION_SHARED(d) (2 * LLSPEC_BLOCK_ROWS * (d) * 2 + 4 * LLSPEC_TILE_KEYS * (d) * 2)
// Two chunks of 64 columns by 64 rows in two bf16 parts; the result tile takes their place at the end; sums of x for quantised weights and rows' norms.
#define LLSPEC_MATMUL_SHARED (32768 + 1024 + 256)
#define LLSPEC_TOP_SHARED 256
#define LLSPEC_GROW_SHARED 576
#define LLSPEC_ACCEPT_SHARED 256
#define LLSPEC_SAMPLE_SHARED 4608

// ------------------------------------------------------------------------------------------------------------------------------------- lists of both

// Kernel name, argument struct.
#define LLSPEC_KERNELS(X) \
    X(llspec_abi, LlspecAbi) X(llspec_embed, LlspecEmbed) X(llspec_rms_norm, LlspecRmsNorm) \
    X(llspec_rope_append, LlspecRopeAppend) X(llspec_attention_d32, LlspecAttention) X(llspec_attention_d64, LlspecAttention) \
    X(llspec_attention_d128, LlspecAttention) X(llspec_attention_merge, LlspecAttentionMerge) X(llspec_group_attention, LlspecGroupAttention) \
    X(llspec_group_mean, LlspecGroupMean) X(llspec_gather_layers, LlspecGatherLayers) X(llspec_copy_rows, LlspecCopyRows) \
    X(llspec_keep_rows, LlspecKeepRows) X(llspec_matmul_bf16, LlspecMatMul) X(llspec_matmul_f32, LlspecMatMul) \
    X(llspec_matmul_q8, LlspecMatMul) X(llspec_matmul_q4, LlspecMatMul) X(llspec_swiglu, LlspecSwiGlu) \
    X(llspec_top_partial, LlspecTop) X(llspec_top_merge, LlspecTop) X(llspec_sample, LlspecSample) \
    X(llspec_grow_first, LlspecGrow) X(llspec_grow, LlspecGrow) X(llspec_select, LlspecSelect) \
    X(llspec_accept, LlspecAccept) X(llspec_rows, LlspecRows) X(llspec_split_rows, LlspecSplitRows)

// Order of llspec_abi's sizes.
#define LLSPEC_STRUCTS(X) \
    X(LlspecRow) X(LlspecTree) X(LlspecGrower) X(LlspecState) X(LlspecAbi) X(LlspecEmbed) X(LlspecRmsNorm) X(LlspecRopeAppend) X(LlspecAttention) \
    X(LlspecAttentionMerge) X(LlspecGroupAttention) X(LlspecGroupMean) X(LlspecGatherLayers) X(LlspecCopyRows) X(LlspecKeepRows) X(LlspecMatMul) \
    X(LlspecSwiGlu) X(LlspecTop) X(LlspecSample) X(LlspecGrow) X(LlspecSelect) X(LlspecAccept) X(LlspecRows) X(LlspecSplitRows)

#endif
