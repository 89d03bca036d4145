#include "registry.h"

#include "../include/llspec_kernels.h"

#include <cstring>
#include <vector>

#define DECLARE(name, argument) extern "C" void name(argument p);
LLSPEC_KERNELS(DECLARE)
#undef DECLARE

namespace llspec_emulated
{
namespace
{
template <class Argument, void (*Body)(Argument)>
void invoke(const void* argument)
{
    Body(*static_cast<const Argument*>(argument));
}

#define ENTRY(name, argument) {#name, invoke<argument, name>, sizeof(argument)},
const Kernel Kernels[] = {LLSPEC_KERNELS(ENTRY)};
#undef ENTRY

std::vector<const Kernel*>& added()
{
    static std::vector<const Kernel*> all;
    return all;
}
}

const Kernel* find_kernel(const char* name)
{
    for (const Kernel& kernel : Kernels)
    {
        if (std::strcmp(kernel.name, name) == 0)
        {
            return &kernel;
        }
    }

    for (const Kernel* kernel : added())
    {
        if (std::strcmp(kernel->name, name) == 0)
        {
            return kernel;
        }
    }

    return nullptr;
}

void add_kernel(const Kernel* kernel) { added().push_back(kernel); }
}
