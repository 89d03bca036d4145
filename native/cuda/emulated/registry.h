// The kernels that are linked in, by name.
#pragma once

namespace llspec_emulated
{
struct Kernel
{
    const char* name;
    void (*invoke)(const void* argument);
    int argument_bytes;
};

// Null where there is none of that name.
const Kernel* find_kernel(const char* name);

// Adds one kernel: for tests that bring their own. The entry must stay alive.
void add_kernel(const Kernel* kernel);
}
