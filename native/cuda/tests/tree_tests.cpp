// Growth, selection, acceptance and the rows of a cycle, against plain definitions.
#include "harness.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

namespace
{
// Structs in device memory as one value.
template <class T>
class Device1
{
public:
    explicit Device1(const T& value) : _buffer(std::vector<T>{value}) {}

    T* data() const { return _buffer.data(); }

    T read() const { return _buffer.read()[0]; }

    void write(const T& value) { _buffer.write({value}); }

private:
    Buffer<T> _buffer;
};

template <class T>
T zeroed()
{
    T value;
    std::memset(static_cast<void*>(&value), 0, sizeof value);
    return value;
}

struct Scored
{
    int token, parent, depth;
    float score;
};

// The rule in its plainest form: sort all candidates of a level, keep the best; sort all scored nodes, keep the best.
struct Reference
{
    std::vector<Scored> scored;
    std::vector<int> frontier;

    void add(int token, int parent, float score) { scored.push_back({token, parent, parent < 0 ? 1 : scored[parent].depth + 1, score}); }

    std::vector<int> best(int first, int count) const
    {
        std::vector<int> order(scored.size() - first);
        std::iota(order.begin(), order.end(), first);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scored[a].score > scored[b].score; });
        order.resize(std::min<std::size_t>(order.size(), count));
        return order;
    }
};

struct Setting
{
    int depth, breadth, total;
};
}

TEST("tree.grows_and_selects")
{
    for (Setting setting : {Setting{7, 8, 62}, Setting{2, 3, 63}, Setting{5, 1, 4}, Setting{4, 5, 10}, Setting{3, 32, 63}})
    {
        int b = setting.breadth;
        auto host = std::make_unique<LlspecGrower>(zeroed<LlspecGrower>());
        Device1<LlspecGrower> grower(*host);
        LlspecState initial = zeroed<LlspecState>();
        initial.root = 77;
        Device1<LlspecState> state(initial);
        Buffer<LlspecTree> tree(1);
        Reference reference;
        std::vector<int> names(1000);
        std::generate(names.begin(), names.end(), [&] { return random.below(128256); });
        Buffer<int> name_buffer(names);
        for (int level = 0; level < setting.depth - 1; level++)
        {
            int rows = level == 0 ? 1 : b;
            std::vector<int> tokens(rows * b);
            std::vector<float> scores(rows * b);
            for (int i = 0; i < rows * b; i++)
            {
                tokens[i] = random.below(1000);
                // Coarse values make ties, also between parent and child (0).
                scores[i] = static_cast<float>(-random.below(5)) / 4;
            }

            Buffer<int> token_buffer(tokens), status(std::vector<int>(rows, 0));
            Buffer<float> score_buffer(scores);
            // A trimmed head's columns have names of their own.
            bool is_trimmed = setting.breadth % 2 == 1;
            LlspecGrow p{grower.data(), token_buffer.data(), score_buffer.data(), status.data(), is_trimmed ? name_buffer.data() : nullptr, b, 0};
            launch(level == 0 ? "llspec_grow_first" : "llspec_grow", p, {1}, 256, LLSPEC_GROW_SHARED);

            int start = static_cast<int>(reference.scored.size());
            for (int i = 0; i < rows * b; i++)
            {
                int parent = level == 0 ? -1 : reference.frontier[i / b];
                reference.add(is_trimmed ? names[tokens[i]] : tokens[i], parent, level == 0 ? scores[i] : reference.scored[parent].score + scores[i]);
            }

            std::vector<int> frontier(b);
            std::iota(frontier.begin(), frontier.end(), 0);
            reference.frontier = level == 0 ? frontier : reference.best(start, b);
            *host = grower.read();
            expect_equal("frontier", {host->frontier_scored, host->frontier_scored + b}, reference.frontier);
            expect(host->level == level + 1, "the level counts up");
            for (int i = 0; i < b; i++)
            {
                expect(host->frontier_tokens[i] == reference.scored[reference.frontier[i]].token, "frontier tokens");
                expect(host->paths[i * LLSPEC_MAX_DEPTH + level] == level * b + i, "a path ends with its own slot");
                int parent = host->frontier_parents[i];
                expect(level == 0 || host->paths[i * LLSPEC_MAX_DEPTH + level - 1] == (level - 1) * b + parent, "a path goes through its parent's slot");
            }
        }

        LlspecSelect p{grower.data(), tree.data(), state.data(), setting.total, 0};
        launch("llspec_select", p, {1}, 256, LLSPEC_GROW_SHARED);
        LlspecTree found = tree.read()[0];
        std::vector<int> chosen = reference.best(0, setting.total);
        std::sort(chosen.begin(), chosen.end());
        expect(found.count == static_cast<int>(chosen.size()) + 1 && state.read().tree_count == found.count, "the tree's size");
        expect(found.tokens[0] == 77 && found.parents[0] == -1 && found.masks[0] == 1 && found.depths[0] == 0, "the root");
        for (std::size_t i = 0; i < chosen.size(); i++)
        {
            const Scored& node = reference.scored[chosen[i]];
            auto place = std::find(chosen.begin(), chosen.end(), node.parent) - chosen.begin();
            int parent = node.parent < 0 ? 0 : static_cast<int>(place) + 1, at = static_cast<int>(i) + 1;
            expect(parent <= static_cast<int>(i), "a chosen node's parent is chosen");
            expect(found.tokens[at] == node.token && found.parents[at] == parent && found.depths[at] == node.depth && found.log_probabilities[at] == node.score,
                   "node " + std::to_string(at));
            expect(found.masks[at] == (found.masks[parent] | (1ull << at)), "mask of node " + std::to_string(at));
        }
    }
}

TEST("tree.failed_drafter_leaves_the_root")
{
    Device1<LlspecGrower> grower(zeroed<LlspecGrower>());
    Device1<LlspecState> state(zeroed<LlspecState>());
    Buffer<LlspecTree> tree(1);
    Buffer<int> tokens(std::vector<int>{1, 2}), status(std::vector<int>{LLSPEC_HAS_NAN});
    Buffer<float> scores(std::vector<float>{NAN, NAN});
    LlspecGrow g{grower.data(), tokens.data(), scores.data(), status.data(), nullptr, 2, 0};
    launch("llspec_grow_first", g, {1}, 256, LLSPEC_GROW_SHARED);
    LlspecSelect p{grower.data(), tree.data(), state.data(), 2, 0};
    launch("llspec_select", p, {1}, 256, LLSPEC_GROW_SHARED);
    expect(tree.read()[0].count == 1 && state.read().drafter_failed == 1, "nothing is drafted");
}

namespace
{
LlspecTree random_tree(Random& random, int count)
{
    LlspecTree tree = zeroed<LlspecTree>();
    tree.count = count;
    tree.parents[0] = -1;
    tree.masks[0] = 1;
    for (int i = 0; i < count; i++)
    {
        // Different tokens everywhere, so siblings differ too.
        tree.tokens[i] = i * 3;
        if (i > 0)
        {
            tree.parents[i] = random.below(std::min(i, 20));
            tree.depths[i] = tree.depths[tree.parents[i]] + 1;
            tree.masks[i] = tree.masks[tree.parents[i]] | (1ull << i);
        }
    }

    return tree;
}
}

TEST("accept.walks")
{
    for (int trial = 0; trial < 12; trial++)
    {
        int count = trial == 0 ? 1 : trial == 1 ? 64 : 1 + random.below(64);
        LlspecTree tree = random_tree(random, count);
        std::vector<int> tokens(count), status(count, 0);
        for (int i = 0; i < count; i++)
        {
            // Mostly a child's token where there is one.
            tokens[i] = 1000 + i;
            for (int j = i + 1; j < count; j++)
            {
                tokens[i] = tree.parents[j] == i && random.below(4) > 0 ? tree.tokens[j] : tokens[i];
            }
        }

        LlspecState before = zeroed<LlspecState>();
        before.verified = 50;
        before.committed = 9;
        int limit = trial == 3 ? 1 : 63, end_token = trial % 3 == 2 ? tokens[0] : -5;
        status[count - 1] = trial == 0 ? LLSPEC_HAS_NEGATIVE_INFINITY : 0;

        std::vector<int> committed, path{0};
        int node = 0;
        while (true)
        {
            committed.push_back(tokens[node]);
            int child = -1;
            for (int j = node + 1; j < count; j++)
            {
                child = tree.parents[j] == node && tree.tokens[j] == tokens[node] ? j : child;
            }

            if (child < 0 || tokens[node] == end_token || static_cast<int>(path.size()) - 1 == limit)
            {
                break;
            }

            node = child;
            path.push_back(child);
        }

        Device1<LlspecTree> tree_buffer(tree);
        Device1<LlspecState> state(before);
        Buffer<int> token_buffer(tokens), status_buffer(status);
        LlspecAccept p{};
        p.tree = tree_buffer.data();
        p.tokens = token_buffer.data();
        p.status = status_buffer.data();
        p.state = state.data();
        p.max_accepted = limit;
        p.end_count = 2;
        p.end_tokens[0] = -7;
        p.end_tokens[1] = end_token;
        launch("llspec_accept", p, {1}, 64, LLSPEC_ACCEPT_SHARED);
        LlspecState after = state.read();
        int accepted = static_cast<int>(path.size()) - 1;
        expect(after.accepted == accepted && after.observed == accepted + 1 && after.verified == 51 + accepted && after.committed == 10 + accepted && after.failed == 0, "counts");
        expect(after.root == committed.back(), "the last token is the next root");
        expect_equal("tokens", {after.tokens, after.tokens + accepted + 1}, committed);
        expect_equal("path", {after.path, after.path + accepted + 1}, path);
        for (int& row : path)
        {
            row += 50;
        }

        expect_equal("rows", {after.rows, after.rows + accepted + 1}, path);
    }
}

TEST("accept.fails_on_a_visited_node")
{
    LlspecTree tree = random_tree(random, 3);
    tree.parents[1] = 0;
    Device1<LlspecTree> tree_buffer(tree);
    Device1<LlspecState> state(zeroed<LlspecState>());
    Buffer<int> tokens(std::vector<int>{tree.tokens[1], 500, 500}), status(std::vector<int>{0, LLSPEC_HAS_NAN, 0});
    LlspecAccept p{};
    p.tree = tree_buffer.data();
    p.tokens = tokens.data();
    p.status = status.data();
    p.state = state.data();
    p.max_accepted = 63;
    launch("llspec_accept", p, {1}, 64, LLSPEC_ACCEPT_SHARED);
    LlspecState after = state.read();
    expect(after.failed == 1 && after.verified == 0 && after.committed == 0, "nothing is committed");
}

namespace
{
struct Written
{
    std::vector<LlspecRow> rows;
    std::vector<int> ancestors;
    int count, last;

    std::vector<int> list(int row) const
    {
        auto first = ancestors.begin() + rows[row].ancestor_first;
        return {first, first + rows[row].ancestor_count};
    }
};

Written run_rows(int kind, const LlspecState& state, const LlspecTree& tree, const LlspecGrower& grower, int breadth)
{
    Device1<LlspecState> s(state);
    Device1<LlspecTree> t(tree);
    Device1<LlspecGrower> g(grower);
    Buffer<LlspecRow> rows(LLSPEC_MAX_TREE);
    Buffer<int> ancestors(LLSPEC_MAX_TREE * LLSPEC_MAX_TREE), count(1), last(1);
    Buffer<unsigned short> cache(8);
    LlspecRows p{s.data(), t.data(), g.data(), cache.data(), cache.data(), rows.data(), ancestors.data(), count.data(), last.data(), 500, kind, breadth, 0};
    launch("llspec_rows", p, {1}, 64);
    Written written{rows.read(), ancestors.read(), count.read()[0], last.read()[0]};
    expect(written.last == written.count - 1, "the last row's index");
    for (int i = 0; i < written.count; i++)
    {
        expect(written.rows[i].capacity == 500 && written.rows[i].keys == cache.data(), "the cache's address and capacity");
    }

    return written;
}

void expect_row(const LlspecRow& row, int token, int position, int cache_row, int prefix)
{
    expect(row.position == position && row.cache_row == cache_row && row.prefix == prefix && (token < 0 || row.token == token),
           "row: token " + std::to_string(row.token) + ", position " + std::to_string(row.position) + ", cache row " + std::to_string(row.cache_row) + ", prefix " +
               std::to_string(row.prefix));
}
}

TEST("rows.of_a_cycle")
{
    LlspecTree tree = random_tree(random, 40);
    auto grower = std::make_unique<LlspecGrower>(zeroed<LlspecGrower>());
    int breadth = 3, verified = 100;
    grower->level = 2;
    for (int i = 0; i < breadth; i++)
    {
        grower->frontier_tokens[i] = 200 + i;
        grower->paths[i * LLSPEC_MAX_DEPTH] = 2 - i;
        grower->paths[i * LLSPEC_MAX_DEPTH + 1] = breadth + i;
    }

    LlspecState state = zeroed<LlspecState>();
    state.verified = verified;
    state.accepted = 2;
    state.observed = 3;
    state.sa_length = 99;
    state.root = 12;
    int committed[] = {10, 11, 12};
    std::copy_n(committed, 3, state.tokens);

    Written verify = run_rows(LLSPEC_ROWS_VERIFY, state, tree, *grower, breadth);
    expect(verify.count == 40, "a row per node");
    for (int i = 0; i < 40; i++)
    {
        expect_row(verify.rows[i], tree.tokens[i], verified + tree.depths[i], verified + i, verified);
        std::vector<int> path;
        for (int node = i; node >= 0; node = tree.parents[node])
        {
            path.insert(path.begin(), verified + node);
        }

        expect_equal("ancestors", verify.list(i), path);
    }

    Written catch_up = run_rows(LLSPEC_ROWS_CATCH_UP, state, tree, *grower, breadth);
    expect(catch_up.count == 2, "the tokens SA lacks");
    expect_row(catch_up.rows[0], 11, 99, 99, 100);
    expect_row(catch_up.rows[1], 12, 100, 100, 101);

    Written last_query = run_rows(LLSPEC_ROWS_LAST_QUERY, state, tree, *grower, breadth);
    expect(last_query.count == 1 && last_query.rows[0].ancestor_count == 0, "one query");
    expect_row(last_query.rows[0], 12, 100, -1, 100);

    Written frontier = run_rows(LLSPEC_ROWS_FRONTIER, state, tree, *grower, breadth), query = run_rows(LLSPEC_ROWS_QUERY, state, tree, *grower, breadth);
    Written inference = run_rows(LLSPEC_ROWS_TLI_FRONTIER, state, tree, *grower, breadth);
    for (int i = 0; i < breadth; i++)
    {
        expect_row(frontier.rows[i], 200 + i, 102, 101 + breadth + i, 101);
        expect_equal("frontier's ancestors", frontier.list(i), {101 + 2 - i, 101 + breadth + i});
        expect_row(query.rows[i], 200 + i, 102, -1, 100);
        expect_row(inference.rows[i], 200 + i, 102, 101 + breadth + i, 100);
        expect_equal("inference's ancestors", inference.list(i), {100, 101 + 2 - i, 101 + breadth + i});
    }

    Written observed = run_rows(LLSPEC_ROWS_OBSERVED, state, tree, *grower, breadth);
    expect(observed.count == 3, "the rows verified last");
    expect_row(observed.rows[0], -1, 97, 97, 98);
    expect_row(observed.rows[2], -1, 99, 99, 100);

    Written features = run_rows(LLSPEC_ROWS_FEATURES, state, tree, *grower, breadth);
    expect(features.count == 2, "the features that EAGLE's layer lacks");
    expect_row(features.rows[0], 11, 98, 98, 99);
    expect_row(features.rows[1], 12, 99, 99, 100);

    Written aligned = run_rows(LLSPEC_ROWS_FEATURE_FRONTIER, state, tree, *grower, breadth), reference = run_rows(LLSPEC_ROWS_FEATURE_REFERENCE, state, tree, *grower, breadth);
    for (int i = 0; i < breadth; i++)
    {
        expect_row(aligned.rows[i], 200 + i, 101, 100 + breadth + i, 100);
        expect_row(reference.rows[i], 200 + i, 101, 100 + breadth + i, 100);
        expect_equal("EAGLE's ancestors", aligned.list(i), {100 + 2 - i, 100 + breadth + i});
        std::vector<int> shifted{100, 101 + 2 - i};
        if (i + 1 < breadth)
        {
            shifted.push_back(101 + breadth + i);
        }

        expect_equal("the reference's ancestors", reference.list(i), shifted);
    }

    Written root = run_rows(LLSPEC_ROWS_TLI_ROOT, state, tree, *grower, breadth);
    expect_row(root.rows[0], 12, 100, 100, 100);
    expect_equal("the root sees itself", root.list(0), {100});
}
