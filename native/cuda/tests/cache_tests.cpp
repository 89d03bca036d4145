// Rotation, append, compaction, gathering: movement of rows between activations and caches.
#include "cache.h"

namespace
{
constexpr int Layers = 2, KvHeads = 2, Heads = 4, Capacity = 24;

struct Table
{
    explicit Table(Random& random, int head_size) : half(head_size / 2), cosines(random.values(Capacity * half)), sines(random.values(Capacity * half)) {}

    int half;
    std::vector<float> cosines, sines;
};

void rotate(std::vector<double>& expected, std::vector<double>& allowed, const std::vector<float>& values, int heads, const std::vector<int>& positions, const Table& table)
{
    expected.resize(values.size());
    allowed.resize(values.size());
    std::size_t row_size = static_cast<std::size_t>(heads) * 2 * table.half;
    for (std::size_t at = 0; at < values.size(); at++)
    {
        int d = static_cast<int>(at % static_cast<std::size_t>(2 * table.half));
        if (d < table.half)
        {
            std::size_t angle = static_cast<std::size_t>(positions[at / row_size]) * table.half + d;
            double a = values[at], b = values[at + table.half], c = table.cosines[angle], s = table.sines[angle];
            expected[at] = a * c - b * s;
            expected[at + table.half] = b * c + a * s;
            allowed[at] = 2 * Unit * (std::fabs(a * c) + std::fabs(b * s));
            allowed[at + table.half] = 2 * Unit * (std::fabs(b * c) + std::fabs(a * s));
        }
    }
}
}

TEST("rope_append.rotates_and_stores")
{
    for (int head_size : {16, 42})
    {
        TestCache cache(random, Layers, KvHeads, head_size, Capacity);
        Table table(random, head_size);
        std::vector<int> positions = {5, 0, 23};
        std::vector<float> q = random.values(3 * Heads * head_size), k = random.values(3 * KvHeads * head_size), v = random.values(3 * KvHeads * head_size);
        Buffer<unsigned short> keys(cache.keys), values(cache.values);
        std::vector<LlspecRow> rows;
        int cache_rows[] = {7, -1, 20};
        for (int i = 0; i < 3; i++)
        {
            rows.push_back(make_row(keys, values, Capacity, positions[i], cache_rows[i], 0));
        }

        Buffer<LlspecRow> rows_of(rows);
        Buffer<float> qb(q), kb(k), vb(v), cosines(table.cosines), sines(table.sines);
        LlspecRopeAppend p{};
        p.rows_of = rows_of.data();
        p.q = qb.data();
        p.k = kb.data();
        p.v = vb.data();
        p.cos = cosines.data();
        p.sin = sines.data();
        p.rows = 3;
        p.heads = Heads;
        p.kv_heads = KvHeads;
        p.head_size = head_size;
        p.q_stride = Heads * head_size;
        p.k_stride = p.v_stride = KvHeads * head_size;
        p.layer = 1;
        p.store = 1;
        p.table_rows = Capacity;
        launch("llspec_rope_append", p, {3}, 256);
        std::vector<double> expected, allowed;
        rotate(expected, allowed, q, Heads, positions, table);
        expect_close("q", qb.read(), expected, [&](std::size_t i) { return allowed[i]; });
        rotate(expected, allowed, k, KvHeads, positions, table);
        std::vector<float> rotated = kb.read();
        expect_close("k", rotated, expected, [&](std::size_t i) { return allowed[i]; });
        for (int i : {0, 2})
        {
            for (int h = 0; h < KvHeads; h++)
            {
                for (int d = 0; d < head_size; d++)
                {
                    std::size_t from = static_cast<std::size_t>(i) * KvHeads * head_size + h * head_size + d, to = cache.at(1, h, cache_rows[i], d);
                    cache.keys[to] = to_bf16(rotated[from]);
                    cache.values[to] = to_bf16(v[from]);
                }
            }
        }

        expect_equal("stored keys", keys.read(), cache.keys);
        expect_equal("stored values", values.read(), cache.values);
    }
}

TEST("rope_append.by_positions")
{
    Table table(random, 16);
    std::vector<int> positions = {1, 2};
    std::vector<float> q = random.values(2 * Heads * 16);
    Buffer<float> qb(q), cosines(table.cosines), sines(table.sines);
    Buffer<int> where(positions);
    LlspecRopeAppend p{};
    p.positions = where.data();
    p.q = qb.data();
    p.cos = cosines.data();
    p.sin = sines.data();
    p.rows = 2;
    p.heads = Heads;
    p.kv_heads = KvHeads;
    p.head_size = 16;
    p.q_stride = Heads * 16;
    p.table_rows = Capacity;
    launch("llspec_rope_append", p, {2}, 256);
    std::vector<double> expected, allowed;
    rotate(expected, allowed, q, Heads, positions, table);
    expect_close("q", qb.read(), expected, [&](std::size_t i) { return allowed[i]; });
}

TEST("keep_rows.compacts")
{
    TestCache cache(random, Layers, KvHeads, 10, Capacity);
    Buffer<unsigned short> keys(cache.keys), values(cache.values);
    std::vector<int> sources = {8, 10, 11, 17};
    Buffer<int> list(sources), count(std::vector<int>{3}), base(std::vector<int>{5});
    LlspecKeepRows p{keys.data(), values.data(), list.data(), count.data(), base.data(), 4, Layers, KvHeads, 10, Capacity, 3};
    launch("llspec_keep_rows", p, {Layers * KvHeads, 2}, 128);
    for (int i = 0; i < 3; i++)
    {
        for (int head = 0; head < Layers * KvHeads; head++)
        {
            for (int d = 0; d < 10; d++)
            {
                std::size_t to = cache.at(0, head, 8 + i, d), from = cache.at(0, head, sources[i], d);
                cache.keys[to] = cache.keys[from];
                cache.values[to] = cache.values[from];
            }
        }
    }

    expect_equal("keys", keys.read(), cache.keys);
    expect_equal("values", values.read(), cache.values);
}

TEST("gather_layers.interleaves")
{
    int head_size = 10, width = 2 * KvHeads * head_size;
    TestCache cache(random, Layers, KvHeads, head_size, Capacity);
    Buffer<unsigned short> keys(cache.keys), values(cache.values);
    Buffer<int> first(std::vector<int>{4});
    Buffer<float> output(static_cast<std::size_t>(3) * Layers * width);
    LlspecGatherLayers p{keys.data(), values.data(), output.data(), nullptr, first.data(), 3, Layers, KvHeads, head_size, Capacity, -2, width, 0};
    launch("llspec_gather_layers", p, {3, Layers}, 256);
    std::vector<float> expected;
    for (int t = 0; t < 3; t++)
    {
        for (int l = 0; l < Layers; l++)
        {
            for (int i = 0; i < width; i++)
            {
                int h = i / (2 * head_size), d = i % (2 * head_size);
                expected.push_back(from_bf16((d < head_size ? cache.keys : cache.values)[cache.at(l, h, 2 + t, d % head_size)]));
            }
        }
    }

    expect_bits("gathered", output.read(), expected);
}
