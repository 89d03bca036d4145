// Largest entries, log-probabilities and draws.
#include "harness.h"

#include <algorithm>
#include <numeric>

namespace
{
struct Top
{
    std::vector<int> tokens, status;
    std::vector<float> log_probabilities;
};

Top run_top(const std::vector<float>& logits, int rows, int top)
{
    int columns = static_cast<int>(logits.size()) / rows, chunks = (columns + LLSPEC_TOP_CHUNK - 1) / LLSPEC_TOP_CHUNK;
    Buffer<float> x(logits), sums(static_cast<std::size_t>(rows) * chunks * 2), log_probabilities(static_cast<std::size_t>(rows) * top);
    Buffer<unsigned long long> keys(static_cast<std::size_t>(rows) * chunks * top);
    Buffer<int> chunk_status(static_cast<std::size_t>(rows) * chunks), tokens(static_cast<std::size_t>(rows) * top), status(rows);
    LlspecTop p{x.data(), keys.data(), sums.data(), chunk_status.data(), tokens.data(), log_probabilities.data(), status.data(), nullptr, rows, columns, columns, top};
    launch("llspec_top_partial", p, {chunks, rows}, 256, LLSPEC_TOP_SHARED);
    launch("llspec_top_merge", p, {rows}, 256, LLSPEC_TOP_SHARED);
    return {tokens.read(), status.read(), log_probabilities.read()};
}

// Indices in descending order of value, ties to the lower index.
std::vector<int> order_of(const float* values, int count)
{
    std::vector<int> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return values[a] > values[b]; });
    return order;
}
}

TEST("top.against_double")
{
    for (int columns : {40, 2048, 4500})
    {
        for (int top : {1, 8, 32})
        {
            int rows = 2;
            std::vector<float> logits = random.values(static_cast<std::size_t>(rows) * columns, 8);

            // Ties, within a block and across.
            logits[3] = logits[columns - 1] = logits[17] = 7.5f;
            Top found = run_top(logits, rows, top);
            for (int r = 0; r < rows; r++)
            {
                const float* row = logits.data() + r * columns;
                std::vector<int> order = order_of(row, columns);
                double sum = 0;
                for (int i = 0; i < columns; i++)
                {
                    sum += std::exp(static_cast<double>(row[i]));
                }

                std::vector<double> expected;
                std::vector<int> tokens;
                for (int i = 0; i < top; i++)
                {
                    tokens.push_back(order[i]);
                    expected.push_back(row[order[i]] - std::log(sum));
                }

                expect_equal("tokens", {found.tokens.begin() + r * top, found.tokens.begin() + (r + 1) * top}, tokens);
                expect_close("log-probabilities", {found.log_probabilities.begin() + r * top, found.log_probabilities.begin() + (r + 1) * top}, expected,
                             [&](std::size_t i) { return Unit * (114 + std::fabs(expected[i])); });
                expect(found.status[r] == 0, "finite logits have status 0");
            }
        }
    }
}

TEST("top.status")
{
    std::vector<float> logits = random.values(4 * 2500);
    logits[2400] = -INFINITY;
    logits[2500 + 2300] = NAN;
    logits[5000 + 7] = INFINITY;
    std::fill(logits.begin() + 7500, logits.end(), -INFINITY);
    Top found = run_top(logits, 4, 1);
    expect_equal("status", found.status, {LLSPEC_HAS_NEGATIVE_INFINITY, LLSPEC_HAS_NAN, LLSPEC_HAS_POSITIVE_INFINITY, LLSPEC_HAS_NEGATIVE_INFINITY | LLSPEC_HAS_NOTHING});
    expect(found.tokens[0] == order_of(logits.data(), 2500)[0], "the largest entry is found beside -infinity");
}

TEST("top.row_count_invariance")
{
    std::vector<float> logits = random.values(3 * 3000, 5);
    Top all = run_top(logits, 3, 4), alone = run_top({logits.begin() + 3000, logits.begin() + 6000}, 1, 4);
    expect_bits("log-probabilities", alone.log_probabilities, {all.log_probabilities.begin() + 4, all.log_probabilities.begin() + 8});
}

namespace
{
struct Sampling
{
    double temperature, top_p, min_p;
    int top_k;
};

// Philox4x32-10, written from the paper, word by word.
double uniform(std::uint64_t seed, std::uint64_t index)
{
    std::uint32_t c[4] = {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 0};
    std::uint32_t k[2] = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
    for (int round = 0; round < 10; round++)
    {
        std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0], p1 = std::uint64_t{0xCD9E8D57} * c[2];
        std::uint32_t next[4] = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(p1), static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k[1],
                                 static_cast<std::uint32_t>(p0)};
        std::copy_n(next, 4, c);
        k[0] += 0x9E3779B9;
        k[1] += 0xBB67AE85;
    }

    return static_cast<double>(((static_cast<std::uint64_t>(c[1]) << 32) | c[0]) >> 11) / 9007199254740992.0;
}

std::vector<int> run_sample(const std::vector<float>& logits, int rows, const Sampling& options, std::uint64_t seed, std::vector<int>* status)
{
    int columns = static_cast<int>(logits.size()) / rows;
    Buffer<float> x(logits);
    Buffer<unsigned long long> weights(logits.size());
    Buffer<int> tokens(rows), states(rows);
    LlspecSample p{};
    p.logits = x.data();
    p.weights = weights.data();
    p.tokens = tokens.data();
    p.status = states.data();
    p.seed = seed;
    p.first_draw = 100;
    p.temperature = options.temperature;
    p.top_p = options.top_p;
    p.min_p = options.min_p;
    p.top_k = options.top_k;
    p.rows = rows;
    p.columns = p.stride = columns;
    launch("llspec_sample", p, {rows}, 256, LLSPEC_SAMPLE_SHARED);
    if (status != nullptr)
    {
        *status = states.read();
    }

    return tokens.read();
}
}

TEST("sample.known_stream")
{
    // Random123's known answer for counter 0 and key 0: 6627e8d5 e169c58d ...
    expect(uniform(0, 0) == static_cast<double>(0xe169c58d6627e8d5ull >> 11) / 9007199254740992.0, "the reference stream is Philox4x32-10");
}

TEST("sample.against_double")
{
    const Sampling all[] = {{1, 1, 0, 0}, {0.7, 1, 0, 5}, {1.3, 0.8, 0, 0}, {1, 0.9, 0.05, 20}, {2, 1, 0.2, 0}};
    for (const Sampling& options : all)
    {
        int rows = 6, columns = 700;
        std::uint64_t seed = random.next();
        std::vector<float> logits = random.values(static_cast<std::size_t>(rows) * columns, 6);
        for (int i = 0; i < rows * columns; i += 7)
        {
            logits[i] = 4; // many ties, also at the boundaries of top-k and top-p
        }

        std::vector<int> tokens = run_sample(logits, rows, options, seed, nullptr);
        for (int r = 0; r < rows; r++)
        {
            const float* row = logits.data() + r * columns;
            std::vector<int> order = order_of(row, columns);
            std::vector<double> weights(columns, 0);
            double kept = 0, total = 0;
            int count = options.top_k > 0 ? options.top_k : columns;
            for (int i = 0; i < count; i++)
            {
                total += std::exp((row[order[i]] - static_cast<double>(row[order[0]])) / options.temperature);
            }

            for (int i = 0; i < count && kept < options.top_p * total * (1 - 1e-12); i++)
            {
                weights[order[i]] = std::exp((row[order[i]] - static_cast<double>(row[order[0]])) / options.temperature);
                kept += weights[order[i]];
            }

            for (double& weight : weights)
            {
                weight = weight < options.min_p ? 0 : weight;
            }

            total = std::accumulate(weights.begin(), weights.end(), 0.0);
            double before = std::accumulate(weights.begin(), weights.begin() + tokens[r], 0.0) / total, mine = weights[tokens[r]] / total;
            double u = uniform(seed, 100 + static_cast<std::uint64_t>(r));

            // Each of 700 weights is rounded to 2^-41 of the largest.
            double slack = 700 * 1e-12;
            expect(mine > 0 && u > before - slack && u < before + mine + slack, "row " + std::to_string(r) + ": token " + std::to_string(tokens[r]) + " is not where the draw falls");
        }
    }
}

TEST("sample.status")
{
    std::vector<float> logits = random.values(3 * 300);
    logits[5] = -INFINITY;
    logits[305] = NAN;
    std::fill(logits.begin() + 600, logits.end(), -INFINITY);
    std::vector<int> status;
    run_sample(logits, 3, {1, 1, 0, 0}, 1, &status);
    expect_equal("status", status, {LLSPEC_HAS_NEGATIVE_INFINITY, LLSPEC_HAS_NAN, LLSPEC_HAS_NEGATIVE_INFINITY | LLSPEC_HAS_NOTHING});
}
