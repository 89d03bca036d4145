#include "harness.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

std::vector<Test>& tests()
{
    static std::vector<Test> all;
    return all;
}

void expect_close(const std::string& what, const std::vector<float>& actual, const std::vector<double>& expected, const std::function<double(std::size_t)>& tolerance)
{
    expect(actual.size() == expected.size(), what + ": sizes differ");
    for (std::size_t i = 0; i < actual.size(); i++)
    {
        double difference = std::fabs(actual[i] - expected[i]);
        if (!std::isfinite(actual[i]) || !std::isfinite(expected[i]) || !(difference <= tolerance(i)))
        {
            char text[200];
            std::snprintf(text, sizeof text, "[%zu]: found %.9g, expected %.9g, difference %.3g, allowed %.3g", i, actual[i], expected[i], difference, tolerance(i));
            throw Failure(what + text);
        }
    }
}

void expect_bits(const std::string& what, const std::vector<float>& actual, const std::vector<float>& expected)
{
    expect(actual.size() == expected.size(), what + ": sizes differ");
    for (std::size_t i = 0; i < actual.size(); i++)
    {
        if (std::memcmp(&actual[i], &expected[i], sizeof(float)) != 0)
        {
            char text[120];
            std::snprintf(text, sizeof text, "[%zu]: found %.9g, expected the bits of %.9g", i, actual[i], expected[i]);
            throw Failure(what + text);
        }
    }
}

void expect(bool holds, const std::string& what)
{
    if (!holds)
    {
        throw Failure(what);
    }
}

unsigned short to_bf16(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<unsigned short>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float from_bf16(unsigned short bits)
{
    unsigned wide = static_cast<unsigned>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

std::vector<unsigned short> to_bf16(const std::vector<float>& values)
{
    std::vector<unsigned short> all;
    all.reserve(values.size());
    for (float value : values)
    {
        all.push_back(to_bf16(value));
    }

    return all;
}

namespace
{
struct Arguments
{
    std::string filter, without, driver, module;
    std::uint64_t seed = 1;
    int orders = 3;
    bool list = false;
};

bool parse(int count, char** values, Arguments& arguments)
{
    for (int i = 1; i < count; i++)
    {
        std::string name = values[i];
        if (name == "--list")
        {
            arguments.list = true;
            continue;
        }

        if (i + 1 == count)
        {
            return false;
        }

        std::string value = values[++i];
        if (name == "--filter")
        {
            arguments.filter = value;
        }
        else if (name == "--without")
        {
            arguments.without = value;
        }
        else if (name == "--driver")
        {
            arguments.driver = value;
        }
        else if (name == "--module")
        {
            arguments.module = value;
        }
        else if (name == "--seed")
        {
            arguments.seed = std::strtoull(value.c_str(), nullptr, 10);
        }
        else if (name == "--orders")
        {
            arguments.orders = std::atoi(value.c_str());
        }
        else
        {
            return false;
        }
    }

    return arguments.orders > 0;
}

// "rms_norm" selects rms_norm.*; "rms_norm.rows" that test.
bool matches(const std::string& name, const std::string& filter) { return filter.empty() || name == filter || name.rfind(filter + ".", 0) == 0; }

// Runs of a kernel with a bug in it, for a sanitizer to object to; only by name.
bool is_bug(const std::string& name) { return name.rfind("bug.", 0) == 0; }
}

int main(int count, char** values)
{
    Arguments arguments;
    if (!parse(count, values, arguments))
    {
        std::fprintf(stderr, "usage: %s [--filter KERNEL[.TEST]] [--without KERNEL] [--seed S] [--orders N] [--driver LIBRARY --module FILE] [--list]\n", values[0]);
        return 2;
    }

    int passed = 0, failed = 0, skipped = 0;
    try
    {
        Device::open(arguments.driver, arguments.module);
    }
    catch (const DeviceError& e)
    {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }

    // The inputs stay the same from order to order: what differs is when each thread runs.
    int orders = Device::is_emulated() ? arguments.orders : 1;
    for (const Test& test : tests())
    {
        bool wanted = arguments.filter.empty() ? !is_bug(test.name) : matches(test.name, arguments.filter);
        if (!wanted || (!arguments.without.empty() && matches(test.name, arguments.without)))
        {
            continue;
        }

        if (arguments.list)
        {
            std::printf("%s\n", test.name);
            passed++;
            continue;
        }

        for (int order = 0; order < orders; order++)
        {
            Random random(arguments.seed);
            Device::order(arguments.seed * 1000 + static_cast<std::uint64_t>(order) + 1);
            try
            {
                test.body(random);
                passed++;
            }
            catch (const Skip& reason)
            {
                std::printf("skipped %s: %s\n", test.name, reason.what());
                skipped++;
                break;
            }
            catch (const std::exception& e)
            {
                // The buffers' memory is given back by then; a failed launch must not fail the next test too.
                if (Device::is_emulated())
                {
                    Device::recover();
                }

                std::printf("failed %s, seed %llu, order %d: %s\n", test.name, static_cast<unsigned long long>(arguments.seed), order, e.what());
                failed++;
            }
        }

        std::fflush(stdout);
    }

    if (passed + failed + skipped == 0)
    {
        std::fprintf(stderr, "there is no test %s; --list shows all\n", arguments.filter.c_str());
        return 2;
    }

    if (!arguments.list)
    {
        std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    }

    return failed == 0 ? 0 : 1;
}
