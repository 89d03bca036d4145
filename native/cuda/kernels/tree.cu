// Growth and selection of a draft tree, the device's TreeGrower: grow_first, grow and select, each one block of 256 threads with LLSPEC_GROW_SHARED bytes.
//
// The best nodes are taken one after another; a key of score and index makes ties go to the node scored first, which is never a child before its parent.
#include "../device/order.cuh"

namespace tree
{
// A node that does not take part: every other score is above it.
__device__ __forceinline__ float usable(float score) { return score == score ? score : negative_infinity(); }

// The token of entry i of the top entries.
__device__ __forceinline__ int token_of(const LlspecGrow& p, int i) { return p.names == nullptr ? p.tokens[i] : p.names[p.tokens[i]]; }

// Whether any of a level's rows has a logit that is not finite. All threads get the same answer.
__device__ __forceinline__ bool has_failed(const int* status, int rows)
{
    int all = 0;
    for (int row = 0; row < rows; row++)
    {
        all |= status[row];
    }

    return all != 0;
}
}

LLSPEC_KERNEL __launch_bounds__(256) llspec_grow_first(LlspecGrow p)
{
    LlspecGrower* g = p.grower;
    int i = threadIdx.x;
    if (i < p.breadth)
    {
        g->scored_tokens[i] = g->frontier_tokens[i] = tree::token_of(p, i);
        g->scored_parents[i] = -1;
        g->scores[i] = g->frontier_scores[i] = p.log_probabilities[i];
        g->frontier_scored[i] = i;
        g->frontier_parents[i] = 0;
        g->paths[i * LLSPEC_MAX_DEPTH] = i;
    }

    if (i == 0)
    {
        g->scored_count = p.breadth;
        g->level_start = 0;
        g->level = 1;
        g->failed = tree::has_failed(p.status, 1) ? 1 : 0;
    }
}

LLSPEC_KERNEL __launch_bounds__(256) llspec_grow(LlspecGrow p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* shared_keys = reinterpret_cast<unsigned long long*>(shared);
    LlspecGrower* g = p.grower;
    int b = p.breadth, start = g->scored_count, level = g->level;
    for (int i = threadIdx.x; i < b * b; i += blockDim.x)
    {
        g->scored_tokens[start + i] = tree::token_of(p, i);
        g->scored_parents[start + i] = g->frontier_scored[i / b];
        g->scores[start + i] = g->frontier_scores[i / b] + p.log_probabilities[i];
    }

    // Thread i keeps path i of the old frontier, so that the new paths can take its place.
    int path[LLSPEC_MAX_DEPTH];
#pragma unroll
    for (int j = 0; j < LLSPEC_MAX_DEPTH; j++)
    {
        path[j] = 0;
    }

    __syncthreads();
    unsigned long long last = ~0ull;
    int chosen = 0;
    for (int taken = 0; taken < b; taken++)
    {
        unsigned long long best = 0;
        for (int i = threadIdx.x; i < b * b; i += blockDim.x)
        {
            unsigned long long key = order_key(tree::usable(g->scores[start + i]), start + i);
            best = key < last ? larger(best, key) : best;
        }

        last = block_largest(best, shared_keys);
        chosen = static_cast<int>(threadIdx.x) == taken ? key_index(last) : chosen;
    }

    int parent = (chosen - start) / b;
    if (static_cast<int>(threadIdx.x) < b)
    {
#pragma unroll
        for (int j = 0; j < LLSPEC_MAX_DEPTH; j++)
        {
            path[j] = j < level ? g->paths[parent * LLSPEC_MAX_DEPTH + j] : 0;
        }
    }

    __syncthreads();
    if (static_cast<int>(threadIdx.x) < b)
    {
        int i = threadIdx.x;
        g->frontier_scored[i] = chosen;
        g->frontier_tokens[i] = g->scored_tokens[chosen];
        g->frontier_scores[i] = g->scores[chosen];
        g->frontier_parents[i] = parent;
#pragma unroll
        for (int j = 0; j < LLSPEC_MAX_DEPTH; j++)
        {
            g->paths[i * LLSPEC_MAX_DEPTH + j] = j == level ? level * b + i : path[j];
        }
    }

    if (threadIdx.x == 0)
    {
        g->level_start = start;
        g->scored_count = start + b * b;
        g->level = level + 1;
        g->failed |= tree::has_failed(p.status, b) ? 1 : 0;
    }
}

LLSPEC_KERNEL __launch_bounds__(256) llspec_select(LlspecSelect p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* shared_keys = reinterpret_cast<unsigned long long*>(shared);
    auto* chosen = reinterpret_cast<int*>(shared + 64);
    auto* parents = reinterpret_cast<int*>(shared + 64 + LLSPEC_MAX_TREE * 4);
    const LlspecGrower* g = p.grower;
    LlspecTree* t = p.tree;
    bool failed = g->failed != 0 || p.state->drafter_failed != 0;
    int scored = g->scored_count, total = failed ? 0 : min(min(p.total, scored), LLSPEC_MAX_TREE - 1), i = threadIdx.x;
    unsigned long long last = ~0ull;
    int mine = 0;
    for (int taken = 0; taken < total; taken++)
    {
        unsigned long long best = 0;
        for (int j = threadIdx.x; j < scored; j += blockDim.x)
        {
            unsigned long long key = order_key(tree::usable(g->scores[j]), j);
            best = key < last ? larger(best, key) : best;
        }

        last = block_largest(best, shared_keys);
        mine = i == taken ? key_index(last) : mine;
    }

    if (i < total)
    {
        chosen[i] = mine;
    }

    // Scoring order: a node's place is one more than the number of chosen nodes before it; its parent is chosen too, so the same holds for the parent.
    __syncthreads();
    int node = 1, parent = 0, parent_scored = i < total ? g->scored_parents[mine] : -1;
    for (int j = 0; j < total; j++)
    {
        node += chosen[j] < mine ? 1 : 0;
        parent += parent_scored >= 0 && chosen[j] <= parent_scored ? 1 : 0;
    }

    if (i < total)
    {
        parents[node] = parent;
    }

    __syncthreads();
    if (i < total)
    {
        unsigned long long mask = (1ull << node) | 1;
        int depth = 1;
        for (int ancestor = parent; ancestor > 0; ancestor = parents[ancestor])
        {
            mask |= 1ull << ancestor;
            depth++;
        }

        t->tokens[node] = g->scored_tokens[mine];
        t->parents[node] = parent;
        t->depths[node] = depth;
        t->log_probabilities[node] = g->scores[mine];
        t->masks[node] = mask;
    }

    if (i == 0)
    {
        t->tokens[0] = p.state->root;
        t->parents[0] = -1;
        t->depths[0] = 0;
        t->log_probabilities[0] = 0;
        t->masks[0] = 1;
        t->count = total + 1;
        p.state->tree_count = total + 1;
        p.state->drafter_failed = failed ? 1 : 0;
    }
}
