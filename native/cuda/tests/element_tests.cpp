// Embedding, SwiGLU, copies, and the operations over groups of rows.
#include "harness.h"

#include <algorithm>
#include <cmath>
#include <cstring>

TEST("embed.rows")
{
    int vocabulary = 7, columns = 300;
    std::vector<float> table = random.values(vocabulary * columns);
    std::vector<unsigned short> narrow = to_bf16(table);
    Buffer<float> wide(table);
    Buffer<unsigned short> bits(narrow);
    std::vector<int> tokens = {6, 0, 7, -1};
    Buffer<int> ids(tokens);
    for (int type : {LLSPEC_BF16, LLSPEC_F32})
    {
        Buffer<float> output(tokens.size() * columns);
        LlspecEmbed p{};
        p.table = type == LLSPEC_F32 ? static_cast<const void*>(wide.data()) : bits.data();
        p.tokens = ids.data();
        p.output = output.data();
        p.rows = 4;
        p.columns = p.stride = columns;
        p.vocabulary = vocabulary;
        p.table_type = type;
        launch("llspec_embed", p, {4}, 256);
        std::vector<float> expected;
        for (int token : tokens)
        {
            for (int i = 0; i < columns; i++)
            {
                int at = token * columns + i;
                expected.push_back(token < 0 || token >= vocabulary ? 0 : type == LLSPEC_F32 ? table[at] : from_bf16(narrow[at]));
            }
        }

        expect_bits("embedding", output.read(), expected);
    }
}

TEST("swiglu.against_double")
{
    int rows = 2, columns = 300;
    std::vector<float> gate = random.values(rows * columns, 20), up = random.values(rows * columns);
    gate[0] = -200;
    gate[1] = 200;
    Buffer<float> g(gate), u(up);
    LlspecSwiGlu p{g.data(), u.data(), g.data(), nullptr, rows, columns, columns, columns, columns, 0};
    launch("llspec_swiglu", p, {rows, 2}, 256);
    std::vector<double> expected;
    for (int i = 0; i < rows * columns; i++)
    {
        expected.push_back(gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i]);
    }

    expect_close("swiglu", g.read(), expected, [&](std::size_t i) { return 8 * Unit * std::fabs(expected[i]) + 1e-38; });
}

TEST("copy_rows.compacts_in_place")
{
    int columns = 270;
    std::vector<float> values = random.values(6 * columns);
    std::vector<int> sources = {1, 3, 5};
    Buffer<float> matrix(values);
    Buffer<int> list(sources);
    LlspecCopyRows p{matrix.data(), list.data(), matrix.data(), nullptr, 3, columns, columns, columns};
    launch("llspec_copy_rows", p, {2}, 256);
    for (int i = 0; i < 3; i++)
    {
        std::copy_n(values.begin() + sources[i] * columns, columns, values.begin() + i * columns);
    }

    expect_bits("copied", matrix.read(), values);

    Buffer<float> copy(3 * columns);
    p.sources = nullptr;
    p.output = copy.data();
    launch("llspec_copy_rows", p, {2}, 256);
    values.resize(3 * columns);
    expect_bits("copied in order", copy.read(), values);
}

TEST("split_rows.adds_up")
{
    int rows = 3, columns = 270, stride = columns + 7, padded = 272;
    std::vector<float> values = random.values(rows * stride);
    Buffer<float> in(values);
    Buffer<unsigned short> high(static_cast<std::size_t>(rows) * padded), low(static_cast<std::size_t>(rows) * padded);
    LlspecSplitRows p{in.data(), high.data(), low.data(), rows, columns, stride, padded};
    launch("llspec_split_rows", p, {rows, 2}, 256);
    std::vector<unsigned short> h = high.read(), l = low.read();
    auto widened = [](unsigned short bits) {
        unsigned whole = static_cast<unsigned>(bits) << 16;
        float value;
        std::memcpy(&value, &whole, sizeof value);
        return static_cast<double>(value);
    };
    for (int row = 0; row < rows; row++)
    {
        for (int i = 0; i < columns; i++)
        {
            double x = values[row * stride + i], parts[] = {widened(h[row * padded + i]), widened(l[row * padded + i])};

            // 8 bits each: a half of the last place is 2^-8 of the least value of a binade, and the rest lies a binade below that: 2^-17.
            expect(std::fabs(parts[0] - x) <= std::fabs(x) / 256 && std::fabs(parts[0] + parts[1] - x) <= std::fabs(x) / 131072, "a value is the sum of its parts");
        }
    }
}

TEST("group_mean.against_double")
{
    int groups = 2, rows = 5, columns = 300;
    std::vector<float> input = random.values(groups * rows * columns);
    Buffer<float> in(input), out(static_cast<std::size_t>(groups) * columns);
    LlspecGroupMean p{in.data(), out.data(), nullptr, groups, rows, columns, columns, columns, 0};
    launch("llspec_group_mean", p, {groups, 2}, 256);
    std::vector<double> expected, size;
    for (int g = 0; g < groups; g++)
    {
        for (int i = 0; i < columns; i++)
        {
            double sum = 0, magnitude = 0;
            for (int r = 0; r < rows; r++)
            {
                sum += input[(g * rows + r) * columns + i];
                magnitude += std::fabs(input[(g * rows + r) * columns + i]);
            }

            expected.push_back(sum / rows);
            size.push_back(magnitude / rows);
        }
    }

    expect_close("mean", out.read(), expected, [&](std::size_t i) { return Unit * (rows + 1) * size[i]; });
}

TEST("group_attention.against_double")
{
    struct Shape
    {
        int groups, rows, heads, kv_heads, head_size;
    };

    for (Shape s : {Shape{2, 3, 4, 2, 8}, Shape{1, 40, 3, 1, 42}})
    {
        int n = s.groups * s.rows, width = s.heads * s.head_size, kv_width = s.kv_heads * s.head_size;
        float scale = 1 / std::sqrt(static_cast<float>(s.head_size));
        std::vector<float> q = random.values(n * width, 2), k = random.values(n * kv_width, 2), v = random.values(n * kv_width);
        Buffer<float> qb(q), kb(k), vb(v);
        LlspecGroupAttention p{qb.data(), kb.data(), vb.data(), qb.data(), nullptr, s.groups, s.rows, s.heads, s.kv_heads, s.head_size, width, kv_width, kv_width, width, scale};
        launch("llspec_group_attention", p, {n, s.heads}, 32, 4 * s.rows);
        std::vector<double> expected(q.size()), allowed(q.size());
        for (int r = 0; r < n; r++)
        {
            for (int h = 0; h < s.heads; h++)
            {
                int first = r / s.rows * s.rows, kv = h / (s.heads / s.kv_heads) * s.head_size;
                std::vector<double> scores(s.rows);
                double largest = -1e300, magnitude = 0, sum = 0;
                for (int j = 0; j < s.rows; j++)
                {
                    double size = 0;
                    for (int d = 0; d < s.head_size; d++)
                    {
                        double product = static_cast<double>(q[r * width + h * s.head_size + d]) * k[(first + j) * kv_width + kv + d] * scale;
                        scores[j] += product;
                        size += std::fabs(product);
                    }

                    largest = std::max(largest, scores[j]);
                    magnitude = std::max(magnitude, size);
                }

                for (double& score : scores)
                {
                    score = std::exp(score - largest);
                    sum += score;
                }

                for (int d = 0; d < s.head_size; d++)
                {
                    double size = 0;
                    for (int j = 0; j < s.rows; j++)
                    {
                        double mixed = scores[j] / sum * v[(first + j) * kv_width + kv + d];
                        expected[r * width + h * s.head_size + d] += mixed;
                        size += std::fabs(mixed);
                    }

                    allowed[r * width + h * s.head_size + d] = Unit * (4 * magnitude * (s.head_size + 3) + 12 + 2 * s.rows) * size;
                }
            }
        }

        expect_close("group attention", qb.read(), expected, [&](std::size_t i) { return allowed[i]; });
    }
}
