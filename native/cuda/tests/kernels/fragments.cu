// What the tensor core instructions give for known inputs. Run on a real GPU by tools/fragments.cu and on the emulated device by fragments_tests.cpp.
#include "fragments.h"

#include "../../device/matrix.cuh"

namespace fragments
{
// A small integer as bf16, different for every place: products and sums are exact.
__device__ __forceinline__ unsigned short small_number(int i) { return static_cast<unsigned short>(__float_as_uint(static_cast<float>(i * 7 % 23 - 11)) >> 16); }

__device__ __forceinline__ unsigned pair_at(int i) { return small_number(i) | static_cast<unsigned>(small_number(i + 1)) << 16; }
}

LLSPEC_KERNEL llspec_fragments(FragmentsArgument p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* rows = reinterpret_cast<unsigned short*>(shared);
    int lane = threadIdx.x;
    for (int i = lane; i < 32 * 8; i += WarpSize)
    {
        rows[i] = static_cast<unsigned short>(i);
    }

    __syncwarp();
    unsigned a[4] = {fragments::pair_at(8 * lane), fragments::pair_at(8 * lane + 2), fragments::pair_at(8 * lane + 4), fragments::pair_at(8 * lane + 6)}, matrices[4];
    float c[4] = {1, 2, 3, 4};
    multiply_accumulate(c, a, fragments::pair_at(4 * lane + 1000), fragments::pair_at(4 * lane + 1002));
    for (int i = 0; i < 4; i++)
    {
        p.output[lane * 4 + i] = __float_as_uint(c[i]);
    }

    load_matrices(matrices, rows + lane * 8);
    for (int i = 0; i < 4; i++)
    {
        p.output[128 + lane * 4 + i] = matrices[i];
    }

    load_matrices_transposed(matrices, rows + lane * 8);
    for (int i = 0; i < 4; i++)
    {
        p.output[256 + lane * 4 + i] = matrices[i];
    }
}
