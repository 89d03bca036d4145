// Acceptance: walks from the root while the target's token is a child, commits what it visits and the target's own last token. One block of 64 threads.
//
// Greedy and sampling differ only in where the tokens come from (the largest logit, or the draw of the shared random stream for the token's output index):
// docs/lossless.md says why that is the exact acceptance rule. Thread i is node i; the walk is at most 31 steps, each a look at all children at once.
#include "../device/device.cuh"

LLSPEC_KERNEL __launch_bounds__(64) llspec_accept(LlspecAccept p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* next = reinterpret_cast<int*>(shared); // child that each node's token leads to, -1: none
    const LlspecTree* t = p.tree;
    LlspecState* s = p.state;
    int node = threadIdx.x, count = t->count;
    if (node < count)
    {
        next[node] = -1;
    }

    __syncthreads();

    // Siblings carry different tokens, so at most one thread writes an entry.
    if (node > 0 && node < count && t->tokens[node] == p.tokens[t->parents[node]])
    {
        next[t->parents[node]] = node;
    }

    __syncthreads();
    if (node != 0)
    {
        return;
    }

    int verified = s->verified, accepted = 0, at = 0;
    bool failed = (p.status[0] & ~LLSPEC_HAS_NEGATIVE_INFINITY) != 0;
    while (!failed)
    {
        int token = p.tokens[at];
        s->tokens[accepted] = token;
        s->path[accepted] = at;
        s->rows[accepted] = verified + at;
        bool ends = false;
#pragma unroll
        for (int i = 0; i < static_cast<int>(sizeof p.end_tokens / sizeof *p.end_tokens); i++)
        {
            ends = ends || (i < p.end_count && token == p.end_tokens[i]);
        }

        int child = next[at];
        if (child < 0 || ends || accepted == p.max_accepted)
        {
            break;
        }

        at = child;
        accepted++;
        failed = (p.status[at] & ~LLSPEC_HAS_NEGATIVE_INFINITY) != 0;
    }

    if (failed)
    {
        s->failed = 1;
        return;
    }

    // The drafter has taken in everything up to the root, which is now verified.
    s->sa_length = verified + 1;
    s->accepted = accepted;
    s->observed = accepted + 1;
    s->verified = verified + accepted + 1;
    s->committed += accepted + 1;
    s->root = s->tokens[accepted];
}
