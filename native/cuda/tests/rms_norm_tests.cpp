#include "harness.h"

namespace
{
constexpr float Epsilon = 1e-5f;

std::vector<float> run(const std::vector<float>& input, const std::vector<float>* residual, const std::vector<float>& gain, int rows, int columns, const int* count,
                       std::vector<float>* sum)
{
    Buffer<float> x(input), g(gain), r(residual == nullptr ? std::vector<float>(1) : *residual), output(input.size());
    LlspecRmsNorm p{};
    p.input = x.data();
    p.residual = residual == nullptr ? nullptr : r.data();
    p.gain = g.data();
    p.output = output.data();
    p.count = count;
    p.rows = rows;
    p.columns = p.input_stride = p.residual_stride = p.output_stride = columns;
    p.epsilon = Epsilon;
    launch("llspec_rms_norm", p, {rows}, 256, 32);
    if (sum != nullptr)
    {
        *sum = x.read();
    }

    return output.read();
}
}

TEST("rms_norm.against_double")
{
    for (int columns : {1, 31, 64, 300, 1000})
    {
        for (bool with_residual : {false, true})
        {
            int rows = 3;
            std::vector<float> input = random.values(rows * columns, 4), residual = random.values(rows * columns), gain = random.values(columns);
            std::vector<float> sum, actual = run(input, with_residual ? &residual : nullptr, gain, rows, columns, nullptr, &sum);
            std::vector<double> expected(input.size());
            for (int r = 0; r < rows; r++)
            {
                double squares = 0;
                for (int i = 0; i < columns; i++)
                {
                    std::size_t at = r * columns + i;
                    float x = with_residual ? input[at] + residual[at] : input[at];
                    expect(sum[at] == x, "the residual sum is written back");
                    squares += static_cast<double>(x) * x;
                }

                for (int i = 0; i < columns; i++)
                {
                    std::size_t at = r * columns + i;
                    expected[at] = sum[at] / std::sqrt(squares / columns + static_cast<double>(Epsilon)) * gain[i];
                }
            }

            // Roundings of the mean (a chain of columns/256 sums and two trees) halved by the root; root, quotient, two products.
            expect_close("rms_norm", actual, expected, [&](std::size_t i) { return Unit * ((columns / 256 + 15) / 2.0 + 5) * std::fabs(expected[i]); });
        }
    }
}

TEST("rms_norm.row_count_invariance")
{
    int columns = 200;
    std::vector<float> input = random.values(5 * columns), gain = random.values(columns);
    std::vector<float> all = run(input, nullptr, gain, 5, columns, nullptr, nullptr);
    std::vector<float> third(input.begin() + 2 * columns, input.begin() + 3 * columns);
    expect_bits("row 2 alone", run(third, nullptr, gain, 1, columns, nullptr, nullptr), {all.begin() + 2 * columns, all.begin() + 3 * columns});
}

TEST("rms_norm.device_count")
{
    int columns = 64;
    std::vector<float> input = random.values(4 * columns), gain = random.values(columns);
    Buffer<int> count(std::vector<int>{2});
    std::vector<float> all = run(input, nullptr, gain, 4, columns, nullptr, nullptr), some = run(input, nullptr, gain, 4, columns, count.data(), nullptr);
    expect_bits("counted rows", {some.begin(), some.begin() + 2 * columns}, {all.begin(), all.begin() + 2 * columns});
    for (int i = 2 * columns; i < 4 * columns; i++)
    {
        expect(std::isnan(some[i]), "rows beyond the count are not written");
    }
}
