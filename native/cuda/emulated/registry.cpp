#include "registry.h"

#include "../include/llspec_kernels.h"

#include <cstring>

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

    return nullptr;
}
}
