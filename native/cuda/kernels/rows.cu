// The rows of a pass, written where they are needed: a cycle's passes follow from its state and tree without the host. One block of 64 threads, a thread per row.
#include "../device/device.cuh"

namespace rows
{
// What a row is and sees; the cache's addresses are the same for all.
struct Content
{
    int token, position, cache_row, prefix;
};

__device__ __forceinline__ int count(const LlspecRows& p)
{
    switch (p.kind)
    {
        case LLSPEC_ROWS_VERIFY:
            return p.tree->count;
        case LLSPEC_ROWS_CATCH_UP:
        case LLSPEC_ROWS_FEATURES:
            return p.state->verified + 1 - p.state->sa_length;
        case LLSPEC_ROWS_OBSERVED:
            return p.state->observed;
        case LLSPEC_ROWS_LAST_QUERY:
        case LLSPEC_ROWS_TLI_ROOT:
            return 1;
        default:
            return p.breadth;
    }
}

// Token at position `position`, one of the last cycle's or the root.
__device__ __forceinline__ int committed_token(const LlspecState* s, int position)
{
    // tokens[accepted] is the root at position verified; tokens[0] stands at verified - accepted.
    return position == s->verified ? s->root : s->tokens[max(0, position - (s->verified - s->accepted))];
}

__device__ __forceinline__ Content content(const LlspecRows& p, int i)
{
    const LlspecState* s = p.state;
    int verified = s->verified, slot = p.grower == nullptr ? 0 : (p.grower->level - 1) * p.breadth + i;
    switch (p.kind)
    {
        case LLSPEC_ROWS_VERIFY:
            return {p.tree->tokens[i], verified + p.tree->depths[i], verified + i, verified};
        case LLSPEC_ROWS_CATCH_UP:
        {
            int position = s->sa_length + i;
            return {committed_token(s, position), position, position, position + 1};
        }
        case LLSPEC_ROWS_LAST_QUERY:
            return {s->root, verified, -1, verified};
        case LLSPEC_ROWS_FRONTIER:
            return {p.grower->frontier_tokens[i], verified + p.grower->level, verified + 1 + slot, verified + 1};
        case LLSPEC_ROWS_QUERY:
            return {p.grower->frontier_tokens[i], verified + p.grower->level, -1, verified};
        case LLSPEC_ROWS_OBSERVED:
        {
            int position = verified - s->observed + i;
            return {0, position, position, position + 1};
        }
        case LLSPEC_ROWS_TLI_ROOT:
            return {s->root, verified, verified, verified};
        case LLSPEC_ROWS_FEATURES:
        {
            int position = s->sa_length + i;
            return {committed_token(s, position), position - 1, position - 1, position};
        }
        case LLSPEC_ROWS_FEATURE_FRONTIER:
        case LLSPEC_ROWS_FEATURE_REFERENCE:
            return {p.grower->frontier_tokens[i], verified - 1 + p.grower->level, verified + slot, verified};
        default:
            return {p.grower->frontier_tokens[i], verified + p.grower->level, verified + 1 + slot, verified};
    }
}

// Writes the row's ancestor list and returns its length.
__device__ __forceinline__ int write_ancestors(const LlspecRows& p, int i, int* list)
{
    int verified = p.state->verified, length = 0;
    if (p.kind == LLSPEC_ROWS_VERIFY)
    {
        // Bits ascend with depth on a path: parents precede children.
        for (unsigned long long mask = p.tree->masks[i]; mask != 0; mask &= mask - 1)
        {
            list[length++] = verified + __ffsll(mask) - 1;
        }
    }

    if (p.kind == LLSPEC_ROWS_TLI_ROOT || p.kind == LLSPEC_ROWS_TLI_FRONTIER)
    {
        list[length++] = verified;
    }

    if (p.kind == LLSPEC_ROWS_FRONTIER || p.kind == LLSPEC_ROWS_TLI_FRONTIER)
    {
        for (int j = 0; j < p.grower->level; j++)
        {
            list[length++] = verified + 1 + p.grower->paths[i * LLSPEC_MAX_DEPTH + j];
        }
    }

    if (p.kind == LLSPEC_ROWS_FEATURE_FRONTIER)
    {
        for (int j = 0; j < p.grower->level; j++)
        {
            list[length++] = verified + p.grower->paths[i * LLSPEC_MAX_DEPTH + j];
        }
    }

    if (p.kind == LLSPEC_ROWS_FEATURE_REFERENCE)
    {
        list[length++] = verified;
        for (int j = 0; j < p.grower->level; j++)
        {
            int column = p.grower->paths[i * LLSPEC_MAX_DEPTH + j] + 1;
            if (column < p.grower->level * p.breadth)
            {
                list[length++] = verified + column;
            }
        }
    }

    return length;
}
}

LLSPEC_KERNEL __launch_bounds__(64) llspec_rows(LlspecRows p)
{
    int i = threadIdx.x, n = rows::count(p);
    if (i < n)
    {
        rows::Content content = rows::content(p, i);
        LlspecRow row;
        row.keys = p.keys;
        row.values = p.values;
        row.capacity = p.capacity;
        row.token = content.token;
        row.position = content.position;
        row.cache_row = content.cache_row;
        row.prefix = content.prefix;
        row.ancestor_first = i * LLSPEC_MAX_TREE;
        row.ancestor_count = rows::write_ancestors(p, i, p.ancestors + i * LLSPEC_MAX_TREE);
        row.reserved = 0;
        p.rows_of[i] = row;
    }

    if (i == 0)
    {
        *p.count = n;
        if (p.last != nullptr)
        {
            *p.last = n - 1;
        }
    }
}
