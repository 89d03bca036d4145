// A small test runner: tests by name, each run in several orders of threads; values are compared with double precision, NaN never passes.
#pragma once

#include "device.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

// A test that failed; the message says which element, found and expected.
struct Failure : std::runtime_error
{
    using std::runtime_error::runtime_error;
};

// A test that cannot run here; the message says why.
struct Skip : std::runtime_error
{
    using std::runtime_error::runtime_error;
};

// Reproducible numbers.
class Random
{
public:
    explicit Random(std::uint64_t seed) : _state(seed * 0x9E3779B97F4A7C15ull + 0xD1B54A32D192ED03ull) {}

    std::uint64_t next()
    {
        // splitmix64.
        std::uint64_t z = _state += 0x9E3779B97F4A7C15ull;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return z ^ (z >> 31);
    }

    int below(int bound) { return static_cast<int>(next() % static_cast<std::uint64_t>(bound)); }

    // In [-1, 1).
    float value() { return static_cast<float>(static_cast<double>(next() >> 11) * (2.0 / 9007199254740992.0) - 1.0); }

    std::vector<float> values(std::size_t length, float scale = 1)
    {
        std::vector<float> all(length);
        for (float& x : all)
        {
            x = value() * scale;
        }

        return all;
    }

private:
    std::uint64_t _state;
};

struct Test
{
    const char* name;      // kernel, a dot, what is tested
    void (*body)(Random& random);
};

std::vector<Test>& tests();

struct Registration
{
    Registration(const char* name, void (*body)(Random&)) { tests().push_back({name, body}); }
};

// TEST("rms_norm.rows") { ... uses `random` ... }
#define LLSPEC_TEST_NAME(line) test_##line
#define LLSPEC_TEST_AT(name, line)                                              \
    static void LLSPEC_TEST_NAME(line)(Random & random);                        \
    static const Registration registration_##line(name, LLSPEC_TEST_NAME(line)); \
    static void LLSPEC_TEST_NAME(line)([[maybe_unused]] Random & random)
#define LLSPEC_TEST_LINE(name, line) LLSPEC_TEST_AT(name, line)
#define TEST(name) LLSPEC_TEST_LINE(name, __LINE__)

// Fails unless every |actual - expected| <= tolerance of its element; NaN and infinity in either fail.
void expect_close(const std::string& what, const std::vector<float>& actual, const std::vector<double>& expected, const std::function<double(std::size_t)>& tolerance);

// Fails unless all bits are equal.
void expect_bits(const std::string& what, const std::vector<float>& actual, const std::vector<float>& expected);

template <class T>
void expect_equal(const std::string& what, const std::vector<T>& actual, const std::vector<T>& expected)
{
    if (actual.size() != expected.size())
    {
        throw Failure(what + ": " + std::to_string(actual.size()) + " elements, expected " + std::to_string(expected.size()));
    }

    for (std::size_t i = 0; i < actual.size(); i++)
    {
        if (actual[i] != expected[i])
        {
            throw Failure(what + "[" + std::to_string(i) + "]: found " + std::to_string(actual[i]) + ", expected " + std::to_string(expected[i]));
        }
    }
}

void expect(bool holds, const std::string& what);

// Unit roundoff of f32.
constexpr double Unit = 1.0 / (1 << 24);

unsigned short to_bf16(float value);

float from_bf16(unsigned short bits);

std::vector<unsigned short> to_bf16(const std::vector<float>& values);
