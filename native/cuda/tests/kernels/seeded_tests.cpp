// The emulated device must catch each seeded bug, and must find nothing in the same kernels without it.
#include "../harness.h"
#include "../../emulated/registry.h"
#include "seeded.h"

extern "C" void seeded_reverse(SeededArgument p);
extern "C" void seeded_pipeline(SeededArgument p);

namespace
{
constexpr int Length = 512, Chunk = 128;

template <void (*Body)(SeededArgument)>
void invoke(const void* argument)
{
    Body(*static_cast<const SeededArgument*>(argument));
}

void add_kernels()
{
    static const llspec_emulated::Kernel all[] = {{"seeded_reverse", invoke<seeded_reverse>, sizeof(SeededArgument)},
                                                  {"seeded_pipeline", invoke<seeded_pipeline>, sizeof(SeededArgument)}};
    static bool done = false;
    for (const auto& kernel : all)
    {
        if (!done)
        {
            llspec_emulated::add_kernel(&kernel);
        }
    }

    done = true;
}

std::vector<float> run(const char* kernel, const std::vector<float>& input, Seeded bug)
{
    if (!Device::is_emulated())
    {
        throw Skip("the seeded bugs are for the emulated device");
    }

    add_kernels();
    Buffer<float> in(input), out(input.size());
    SeededArgument p{in.data(), out.data(), Length, bug};
    bool reverses = std::string(kernel) == "seeded_reverse";
    launch(kernel, p, {reverses ? Length / Chunk : 1}, Chunk, Chunk * static_cast<int>(sizeof(float)));
    return out.read();
}

std::vector<float> expected_of(const char* kernel, const std::vector<float>& input)
{
    std::vector<float> expected;
    for (int at = 0; at < Length; at++)
    {
        int first = at / Chunk * Chunk, i = at % Chunk;
        expected.push_back(std::string(kernel) == "seeded_reverse" ? input[first + Chunk - 1 - i] : input[at] + input[first + (i + 1) % Chunk]);
    }

    return expected;
}

// The bug shows as a wrong value: NaN of the poison, or what another thread left there.
void expect_wrong_values(const char* kernel, Random& random, Seeded bug)
{
    std::vector<float> input = random.values(Length), expected = expected_of(kernel, input);
    expect_bits("the kernel without the bug", run(kernel, input, Seeded::Right), expected);
    int wrong = 0;
    std::vector<float> actual = run(kernel, input, bug);
    for (int i = 0; i < Length; i++)
    {
        wrong += actual[i] == expected[i] ? 0 : 1;
    }

    expect(wrong > 0, "the seeded bug went unnoticed");
}

// The bug ends the launch with a message.
void expect_message(const char* kernel, Random& random, Seeded bug, const std::string& message)
{
    std::vector<float> input = random.values(Length);
    expect_bits("the kernel without the bug", run(kernel, input, Seeded::Right), expected_of(kernel, input));
    try
    {
        run(kernel, input, bug);
    }
    catch (const DeviceError&)
    {
        std::string error = Device::error();
        Device::recover();
        expect(error.find(message) != std::string::npos, "the device says '" + error + "'");
        return;
    }

    throw Failure("the seeded bug went unnoticed");
}
}

// Under a sanitizer its report would end the program: those programs are given the bug.* tests one by one.
TEST("seeded.missing_barrier") { expect_wrong_values("seeded_reverse", random, Seeded::MissingBarrier); }

TEST("seeded.missing_wait") { expect_wrong_values("seeded_pipeline", random, Seeded::MissingWait); }

TEST("seeded.buffer_reuse") { expect_wrong_values("seeded_pipeline", random, Seeded::BufferReuse); }

TEST("seeded.out_of_bounds") { expect_message("seeded_reverse", random, Seeded::OutOfBounds, "beyond the allocation"); }

TEST("seeded.shared_out_of_bounds") { expect_message("seeded_reverse", random, Seeded::SharedOutOfBounds, "beyond its 512 bytes of shared memory"); }

TEST("seeded.early_return") { expect_message("seeded_reverse", random, Seeded::EarlyReturn, "stands still"); }

TEST("bug.none")
{
    run("seeded_reverse", random.values(Length), Seeded::Right);
    run("seeded_pipeline", random.values(Length), Seeded::Right);
}

TEST("bug.missing_barrier") { run("seeded_reverse", random.values(Length), Seeded::MissingBarrier); }

TEST("bug.buffer_reuse") { run("seeded_pipeline", random.values(Length), Seeded::BufferReuse); }

TEST("bug.out_of_bounds") { run("seeded_reverse", random.values(Length), Seeded::OutOfBounds); }

TEST("bug.shared_out_of_bounds") { run("seeded_reverse", random.values(Length), Seeded::SharedOutOfBounds); }
