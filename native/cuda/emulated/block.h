// Runs kernels: every block of a grid, one after another in seeded random order, its threads as fibers.
#pragma once

#include "emulated_device.h"

#include <cstddef>
#include <string>

namespace llspec_emulated
{
struct Options
{
    std::uint64_t seed = 1; // of the order of blocks and fibers; 0: ascending order
    bool poison = true;     // fresh device memory, shared memory and destinations of pending copies hold NaN
};

Options& options();

struct Launch
{
    const char* name;
    void (*invoke)(const void* argument); // calls the kernel with the struct that argument points to
    const void* argument;
    Index3 grid, block;
    std::size_t shared_bytes;
};

// Runs the launch to its end. Returns an empty string, or what the kernel did that a GPU would not survive.
std::string run(const Launch& launch);
}
