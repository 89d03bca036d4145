// Sizes of the shared structs as this module was compiled with, for a check by whoever fills them in.
#include "../device/device.cuh"

LLSPEC_KERNEL llspec_abi(LlspecAbi p)
{
    if (threadIdx.x != 0)
    {
        return;
    }

    int i = 0;
#define WRITE_SIZE(name)                            \
    if (i < p.capacity)                             \
    {                                               \
        p.sizes[i] = static_cast<int>(sizeof(name)); \
    }                                               \
    i++;
    LLSPEC_STRUCTS(WRITE_SIZE)
#undef WRITE_SIZE
}
