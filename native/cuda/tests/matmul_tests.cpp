#include "harness.h"

#include <cstring>

namespace
{
constexpr float Epsilon = 1e-5f;

// A weight as the kernel reads it, and as exact numbers.
struct TestWeight
{
    int type, outputs, columns, stride;
    std::vector<unsigned char> stored;
    std::vector<float> scales, offsets;
    std::vector<double> exact; // [outputs, columns]
};

TestWeight make_weight(Random& random, int type, int outputs, int columns, bool with_offsets)
{
    bool quantised = type == LLSPEC_Q8 || type == LLSPEC_Q4;
    int unit = quantised ? LLSPEC_QUANT_BLOCK : 8, stride = (columns + unit - 1) / unit * unit;
    TestWeight w{type, outputs, columns, stride, {}, {}, {}, {}};
    std::size_t count = static_cast<std::size_t>(outputs) * stride;
    w.stored.resize(type == LLSPEC_BF16 ? count * 2 : type == LLSPEC_F32 ? count * 4 : type == LLSPEC_Q8 ? count : count / 2);
    if (quantised)
    {
        w.scales = random.values(count / LLSPEC_QUANT_BLOCK, 0.1f);
        w.offsets = with_offsets ? random.values(count / LLSPEC_QUANT_BLOCK, 0.5f) : std::vector<float>{};
    }

    for (int o = 0; o < outputs; o++)
    {
        for (int i = 0; i < stride; i++)
        {
            std::size_t at = static_cast<std::size_t>(o) * stride + i;
            double value = 0;
            if (quantised)
            {
                int code = type == LLSPEC_Q8 ? random.below(256) - 128 : random.below(16);
                std::size_t block = at / LLSPEC_QUANT_BLOCK;
                if (type == LLSPEC_Q8)
                {
                    w.stored[at] = static_cast<unsigned char>(code);
                }
                else
                {
                    w.stored[at / 2] |= static_cast<unsigned char>(code << (4 * (at & 1)));
                }

                value = w.scales[block] * static_cast<double>(type == LLSPEC_Q4 && !with_offsets ? code - 8 : code) + (with_offsets ? w.offsets[block] : 0.0);
            }
            else if (i < columns)
            {
                float x = random.value();
                if (type == LLSPEC_BF16)
                {
                    unsigned short bits = to_bf16(x);
                    std::memcpy(&w.stored[at * 2], &bits, 2);
                    value = from_bf16(bits);
                }
                else
                {
                    std::memcpy(&w.stored[at * 4], &x, 4);
                    value = x;
                }
            }

            if (i < columns)
            {
                w.exact.push_back(value);
            }
        }
    }

    return w;
}

struct Extras
{
    std::vector<float> bias, residual, gain, cosines, sines;
    std::vector<int> positions;
    int head_size = 0;
};

const char* kernel_of(int type)
{
    const char* names[] = {"llspec_matmul_bf16", "llspec_matmul_f32", "llspec_matmul_q8", "llspec_matmul_q4"};
    return names[type];
}

// [rows, outputs]; `repeats` launches one after another, as arrivals must be left as they were found.
std::vector<float> run(const TestWeight& w, const std::vector<float>& input, int rows, const Extras& extras, int repeats = 1)
{
    int parts = LLSPEC_MATMUL_PARTS(w.outputs, w.columns);
    std::size_t size = static_cast<std::size_t>(rows) * w.outputs;
    Buffer<unsigned char> weight(w.stored);
    Buffer<float> scales(w.scales), offsets(w.offsets), x(input), bias(extras.bias), gain(extras.gain), cosines(extras.cosines), sines(extras.sines);
    Buffer<float> scratch(static_cast<std::size_t>(LLSPEC_MATMUL_SCRATCH(rows, w.outputs, parts)));
    Buffer<int> arrivals(std::vector<int>(static_cast<std::size_t>(LLSPEC_MATMUL_ARRIVALS(rows, w.outputs)), 0));
    std::vector<LlspecRow> row_list;
    for (int position : extras.positions)
    {
        LlspecRow row{};
        row.position = position;
        row_list.push_back(row);
    }

    Buffer<LlspecRow> rows_of(row_list);
    std::vector<float> result;
    for (int i = 0; i < repeats; i++)
    {
        Buffer<float> output(size);
        if (!extras.residual.empty())
        {
            output.write(extras.residual);
        }

        LlspecMatMul p{};
        p.weight = weight.data();
        p.scales = w.scales.empty() ? nullptr : scales.data();
        p.offsets = w.offsets.empty() ? nullptr : offsets.data();
        p.input = x.data();
        p.bias = extras.bias.empty() ? nullptr : bias.data();
        p.output = output.data();
        p.scratch = scratch.data();
        p.arrivals = arrivals.data();
        p.gain = extras.gain.empty() ? nullptr : gain.data();
        p.cos = extras.cosines.empty() ? nullptr : cosines.data();
        p.sin = sines.data();
        p.rows_of = rows_of.data();
        p.rows = rows;
        p.outputs = w.outputs;
        p.columns = p.input_stride = w.columns;
        p.weight_stride = w.stride;
        p.output_stride = w.outputs;
        p.parts = parts;
        p.accumulate = extras.residual.empty() ? 0 : 1;
        p.head_size = extras.head_size;
        p.table_rows = extras.head_size == 0 ? 0 : static_cast<int>(extras.cosines.size()) / (extras.head_size / 2);
        p.epsilon = Epsilon;
        launch(kernel_of(w.type), p, {LLSPEC_MATMUL_TILES(w.outputs), parts, LLSPEC_MATMUL_BLOCKS(rows)}, 128, LLSPEC_MATMUL_SHARED);
        std::vector<float> again = output.read();
        if (i > 0)
        {
            expect_bits("the same launch again", again, result);
        }

        result = again;
    }

    return result;
}

// Relative error that the operands' two bf16 leave, per product: x always, f32 weights too, and then the product of the two rests is left out.
double split_error(int type) { return type == LLSPEC_F32 ? 3.0 / (1 << 18) : 1.0 / (1 << 18); }

void compare(const TestWeight& w, const std::vector<float>& input, int rows, const Extras& extras)
{
    std::vector<float> actual = run(w, input, rows, extras, 2);
    std::vector<double> expected(actual.size()), allowed(actual.size());
    for (int r = 0; r < rows; r++)
    {
        double squares = 0;
        for (int i = 0; i < w.columns; i++)
        {
            double x = input[static_cast<std::size_t>(r) * w.columns + i];
            squares += x * x;
        }

        double inverse = 1 / std::sqrt(squares / w.columns + static_cast<double>(Epsilon));
        for (int o = 0; o < w.outputs; o++)
        {
            double sum = 0, magnitude = 0;
            for (int i = 0; i < w.columns; i++)
            {
                double x = input[static_cast<std::size_t>(r) * w.columns + i];
                x *= extras.gain.empty() ? 1 : inverse * extras.gain[i];
                double product = w.exact[static_cast<std::size_t>(o) * w.columns + i] * x;
                sum += product;
                magnitude += std::fabs(product);
            }

            // Quantised products are exact in f32 only block by block, and offsets are summed apart: the codes' own magnitude counts.
            double blowup = w.type == LLSPEC_Q8 || w.type == LLSPEC_Q4 ? 8 : 1;
            std::size_t at = static_cast<std::size_t>(r) * w.outputs + o;
            double bias = extras.bias.empty() ? 0 : extras.bias[o], residual = extras.residual.empty() ? 0 : extras.residual[at];
            expected[at] = sum + bias;
            allowed[at] = blowup * magnitude * (split_error(w.type) + Unit * (w.columns / 16 + 20)) + 2 * Unit * (std::fabs(bias) + std::fabs(residual)) + 1e-30;
            expected[at] += residual;
        }
    }

    if (extras.head_size > 0)
    {
        int half = extras.head_size / 2;
        for (std::size_t at = 0; at < expected.size(); at++)
        {
            int o = static_cast<int>(at % static_cast<std::size_t>(w.outputs)), d = o % extras.head_size;
            if (d < half)
            {
                std::size_t table = static_cast<std::size_t>(extras.positions[at / static_cast<std::size_t>(w.outputs)]) * half + d;
                double a = expected[at], b = expected[at + half], c = extras.cosines[table], s = extras.sines[table];
                expected[at] = a * c - b * s;
                expected[at + half] = b * c + a * s;
                allowed[at] = allowed[at + half] = 2 * (allowed[at] + allowed[at + half]);
            }
        }
    }

    expect_close(kernel_of(w.type), actual, expected, [&](std::size_t i) { return allowed[i]; });
}
}

TEST("matmul.against_double")
{
    struct Shape
    {
        int outputs, columns, rows;
    };

    for (int type : {LLSPEC_BF16, LLSPEC_F32, LLSPEC_Q8, LLSPEC_Q4})
    {
        // A head size that is no multiple of eight (SmolLM2's LSA), more outputs than a block, parts, more rows than a block.
        for (Shape shape : {Shape{40, 42, 1}, Shape{130, 64, 3}, Shape{16, 600, 9}, Shape{24, 72, 66}})
        {
            bool with_offsets = type >= LLSPEC_Q8 && shape.outputs > 100;
            TestWeight w = make_weight(random, type, shape.outputs, shape.columns, with_offsets);
            compare(w, random.values(static_cast<std::size_t>(shape.rows) * shape.columns), shape.rows, {});
        }
    }
}

TEST("matmul.bias_residual_norm")
{
    for (int type : {LLSPEC_BF16, LLSPEC_Q4})
    {
        TestWeight w = make_weight(random, type, 48, 544, false);
        Extras extras;
        extras.bias = random.values(48);
        extras.residual = random.values(3 * 48);
        compare(w, random.values(3 * 544), 3, extras);
        extras.gain = random.values(544);
        compare(w, random.values(3 * 544, 5), 3, extras);
    }
}

TEST("matmul.rotated_query")
{
    for (int parts_columns : {96, 512})
    {
        TestWeight w = make_weight(random, LLSPEC_BF16, 160, parts_columns, false);
        Extras extras;
        extras.head_size = 32;
        extras.gain = random.values(parts_columns);
        extras.cosines = random.values(20 * 16);
        extras.sines = random.values(20 * 16);
        extras.positions = {3, 19, 0};
        compare(w, random.values(3 * parts_columns, 2), 3, extras);
    }
}

TEST("matmul.row_count_invariance")
{
    for (int type : {LLSPEC_BF16, LLSPEC_F32, LLSPEC_Q8, LLSPEC_Q4})
    {
        int outputs = 20, columns = 530, rows = 11;
        TestWeight w = make_weight(random, type, outputs, columns, false);
        std::vector<float> input = random.values(static_cast<std::size_t>(rows) * columns), all = run(w, input, rows, {});
        for (int r : {0, 6, 10})
        {
            std::vector<float> alone(input.begin() + r * columns, input.begin() + (r + 1) * columns);
            expect_bits("row alone", run(w, alone, 1, {}), {all.begin() + r * outputs, all.begin() + (r + 1) * outputs});
        }
    }
}
