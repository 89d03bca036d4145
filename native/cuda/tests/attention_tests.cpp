#include "cache.h"

#include <algorithm>
#include <memory>

namespace
{
struct Shape
{
    int heads, kv_heads, head_size;
};

struct Pass
{
    std::vector<LlspecRow> rows; // addresses are filled in by run()
    std::vector<int> ancestors;
    std::vector<int> cache_of; // which cache a row belongs to

    void add(int cache, int prefix, const std::vector<int>& list)
    {
        LlspecRow row{};
        row.prefix = prefix;
        row.ancestor_first = static_cast<int>(ancestors.size());
        row.ancestor_count = static_cast<int>(list.size());
        ancestors.insert(ancestors.end(), list.begin(), list.end());
        rows.push_back(row);
        cache_of.push_back(cache);
    }
};

constexpr int Layer = 1;

const char* kernel_of(int head_size) { return head_size <= 32 ? "llspec_attention_d32" : head_size <= 64 ? "llspec_attention_d64" : "llspec_attention_d128"; }

int padded(int head_size) { return head_size <= 32 ? 32 : head_size <= 64 ? 64 : 128; }

std::vector<float> run(const Shape& shape, Pass pass, const std::vector<TestCache>& caches, const std::vector<float>& queries, float scale, const int* count = nullptr, int lanes = 2)
{
    int rows = static_cast<int>(pass.rows.size()), splits = 1;
    std::vector<std::unique_ptr<Buffer<unsigned short>>> keys, values;
    for (const TestCache& cache : caches)
    {
        keys.push_back(std::make_unique<Buffer<unsigned short>>(cache.keys));
        values.push_back(std::make_unique<Buffer<unsigned short>>(cache.values));
    }

    for (int i = 0; i < rows; i++)
    {
        pass.rows[i].keys = keys[pass.cache_of[i]]->data();
        pass.rows[i].values = values[pass.cache_of[i]]->data();
        pass.rows[i].capacity = caches[pass.cache_of[i]].capacity;
        splits = std::max(splits, (pass.rows[i].prefix + pass.rows[i].ancestor_count + LLSPEC_SPLIT_KEYS - 1) / LLSPEC_SPLIT_KEYS);
    }

    Buffer<LlspecRow> rows_of(pass.rows);
    Buffer<int> ancestors(pass.ancestors);
    Buffer<float> q(queries), scratch(static_cast<std::size_t>(LLSPEC_ATTENTION_SCRATCH(rows, shape.heads, shape.head_size, splits))), output(queries.size());
    LlspecAttention p{};
    p.rows_of = rows_of.data();
    p.ancestors = ancestors.data();
    p.queries = q.data();
    p.scratch = scratch.data();
    p.count = count;
    p.rows = rows;
    p.heads = shape.heads;
    p.kv_heads = shape.kv_heads;
    p.head_size = shape.head_size;
    p.query_stride = shape.heads * shape.head_size;
    p.layer = Layer;
    p.splits = splits;
    p.shared_lanes = p.private_lanes = lanes;
    p.scale = scale;
    int queries_per_block = LLSPEC_BLOCK_ROWS / (shape.heads / shape.kv_heads);
    int blocks = (rows + queries_per_block - 1) / queries_per_block * lanes + rows * lanes;
    launch(kernel_of(shape.head_size), p, {blocks, shape.kv_heads}, 128, LLSPEC_ATTENTION_SHARED(padded(shape.head_size)));
    LlspecAttentionMerge m{rows_of.data(), scratch.data(), output.data(), count, rows, shape.heads, shape.head_size, shape.heads * shape.head_size, splits, 0};
    launch("llspec_attention_merge", m, {rows, shape.heads}, 32);
    return output.read();
}

void compare(const Shape& shape, const Pass& pass, const std::vector<TestCache>& caches, const std::vector<float>& queries)
{
    float scale = 1 / std::sqrt(static_cast<float>(shape.head_size));
    std::vector<float> actual = run(shape, pass, caches, queries, scale);
    std::vector<double> expected(actual.size(), 0), allowed(actual.size(), 0);
    for (std::size_t r = 0; r < pass.rows.size(); r++)
    {
        const LlspecRow& row = pass.rows[r];
        const TestCache& cache = caches[pass.cache_of[r]];
        int keys = row.prefix + row.ancestor_count;
        for (int h = 0; h < shape.heads; h++)
        {
            int kv = h / (shape.heads / shape.kv_heads);
            std::size_t first = (r * shape.heads + h) * shape.head_size;
            std::vector<double> scores(keys);
            double largest = -1e300, magnitude = 0, sum = 0;
            auto cache_row = [&](int j) { return j < row.prefix ? j : pass.ancestors[row.ancestor_first + j - row.prefix]; };
            for (int j = 0; j < keys; j++)
            {
                double score = 0, size = 0;
                for (int d = 0; d < shape.head_size; d++)
                {
                    double product = static_cast<double>(queries[first + d]) * from_bf16(cache.keys[cache.at(Layer, kv, cache_row(j), d)]) * scale;
                    score += product;
                    size += std::fabs(product);
                }

                scores[j] = score;
                largest = std::max(largest, score);
                magnitude = std::max(magnitude, size);
            }

            for (double& score : scores)
            {
                score = std::exp(score - largest);
                sum += score;
            }

            // Scores: the query's two bf16, products summed in f32, scaled; doubled by the difference to the maximum, and once more for both sums. Probabilities: their two
            // bf16, exponentials within a few units, a rounding per tile and split.
            double relative = 4 * magnitude * (1.0 / (1 << 18) + Unit * (shape.head_size / 16 + 4)) + 1.0 / (1 << 17) + Unit * (keys / 8 + 24);
            for (int d = 0; d < shape.head_size; d++)
            {
                double mixed = 0, size = 0;
                for (int j = 0; j < keys; j++)
                {
                    double v = from_bf16(cache.values[cache.at(Layer, kv, cache_row(j), d)]) * scores[j] / sum;
                    mixed += v;
                    size += std::fabs(v);
                }

                expected[first + d] = mixed;
                allowed[first + d] = relative * size;
            }
        }
    }

    expect_close("attention", actual, expected, [&](std::size_t i) { return allowed[i]; });
}

std::vector<TestCache> make_caches(Random& random, const Shape& shape, int count, int capacity)
{
    std::vector<TestCache> caches;
    for (int i = 0; i < count; i++)
    {
        caches.emplace_back(random, 2, shape.kv_heads, shape.head_size, capacity);
    }

    return caches;
}
}

TEST("attention.tree_against_double")
{
    // A tree whose nodes lie scattered behind the prefix; the prefix ends inside a tile, at a tile's end, and beyond a split.
    for (Shape shape : {Shape{4, 2, 16}, Shape{3, 1, 42}, Shape{4, 1, 64}, Shape{2, 2, 128}})
    {
        for (int prefix : {0, 5, 64, 300})
        {
            std::vector<TestCache> caches = make_caches(random, shape, 1, prefix + 20);
            Pass pass;
            int p = prefix;
            pass.add(0, p, {p});
            pass.add(0, p, {p, p + 3});
            pass.add(0, p, {p, p + 2});
            pass.add(0, p, {p, p + 3, p + 9});
            pass.add(0, p, {});
            compare(shape, pass, caches, random.values(5 * shape.heads * shape.head_size, 3));
        }
    }
}

TEST("attention.ragged_against_double")
{
    Shape shape{4, 2, 64};
    std::vector<TestCache> caches = make_caches(random, shape, 2, 620);
    Pass pass;
    pass.add(0, 600, {});
    pass.add(1, 40, {50});
    pass.add(1, 0, {});
    pass.add(0, 530, {601, 610});
    compare(shape, pass, caches, random.values(4 * shape.heads * shape.head_size, 2));
}

TEST("attention.many_queries_against_double")
{
    // 64 causal rows: several blocks of queries, shared and private splits.
    Shape shape{4, 2, 32};
    std::vector<TestCache> caches = make_caches(random, shape, 1, 340);
    Pass pass;
    for (int i = 0; i < 64; i++)
    {
        pass.add(0, 270 + i, {});
    }

    compare(shape, pass, caches, random.values(64 * shape.heads * shape.head_size, 2));
}

TEST("attention.tree_equals_chain")
{
    // The same tokens as a prefix and as a scattered path give the same bits, alone and in company.
    for (int prefix : {250, 510})
    {
        Shape shape{4, 2, 64};
        std::vector<TestCache> caches = make_caches(random, shape, 1, prefix + 60);
        int path[] = {prefix, prefix + 7, prefix + 20, prefix + 55};
        std::vector<float> queries = random.values(5 * shape.heads * shape.head_size, 3);
        Pass tree;
        for (int i = 0; i < 4; i++)
        {
            tree.add(0, prefix, {path, path + i + 1});
        }

        tree.add(0, prefix, {prefix + 1});
        std::vector<float> together = run(shape, tree, caches, queries, 0.125f);

        // The chain: the path's rows moved to where plain decoding has them.
        std::vector<TestCache> chain = caches;
        for (int i = 0; i < 4; i++)
        {
            for (int h = 0; h < shape.kv_heads; h++)
            {
                for (int d = 0; d < shape.head_size; d++)
                {
                    chain[0].keys[chain[0].at(Layer, h, prefix + i, d)] = caches[0].keys[caches[0].at(Layer, h, path[i], d)];
                    chain[0].values[chain[0].at(Layer, h, prefix + i, d)] = caches[0].values[caches[0].at(Layer, h, path[i], d)];
                }
            }
        }

        int size = shape.heads * shape.head_size;
        for (int i = 0; i < 4; i++)
        {
            Pass plain;
            plain.add(0, prefix + i + 1, {});
            std::vector<float> alone = run(shape, plain, chain, {queries.begin() + i * size, queries.begin() + (i + 1) * size}, 0.125f, nullptr, 1);
            expect_bits("row " + std::to_string(i), alone, {together.begin() + i * size, together.begin() + (i + 1) * size});
        }
    }
}

TEST("attention.device_count")
{
    Shape shape{2, 1, 32};
    std::vector<TestCache> caches = make_caches(random, shape, 1, 80);
    Pass pass;
    pass.add(0, 70, {});
    pass.add(0, 71, {});
    Buffer<int> count(std::vector<int>{1});
    std::vector<float> output = run(shape, pass, caches, random.values(2 * 64), 0.2f, count.data());
    expect(std::isfinite(output[63]) && std::isnan(output[64]), "only counted rows are written");
}
