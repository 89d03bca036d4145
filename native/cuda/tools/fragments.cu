// What the tensor core instructions give for known inputs, on a real GPU: one line per lane and instruction, registers in hexadecimal. The emulated device's layouts are
// checked against these lines. Built with nvcc alone (native/gpu-package/run.sh).
#include "../device/matrix.cuh"

#include <cstdio>

// A small integer as bf16, different for every place: products and sums are exact.
__device__ unsigned short small_number(int i) { return static_cast<unsigned short>(__float_as_uint(static_cast<float>(i * 7 % 23 - 11)) >> 16); }

__device__ unsigned pair_at(int i) { return small_number(i) | static_cast<unsigned>(small_number(i + 1)) << 16; }

// [3][32][4]: product, ldmatrix, ldmatrix transposed.
LLSPEC_KERNEL fragments(unsigned* output)
{
    __shared__ __align__(16) unsigned short rows[32 * 8];
    int lane = threadIdx.x;
    for (int i = lane; i < 32 * 8; i += WarpSize)
    {
        rows[i] = static_cast<unsigned short>(i);
    }

    __syncwarp();
    unsigned a[4] = {pair_at(8 * lane), pair_at(8 * lane + 2), pair_at(8 * lane + 4), pair_at(8 * lane + 6)}, matrices[4];
    float c[4] = {1, 2, 3, 4};
    multiply_accumulate(c, a, pair_at(4 * lane + 1000), pair_at(4 * lane + 1002));
    for (int i = 0; i < 4; i++)
    {
        output[lane * 4 + i] = __float_as_uint(c[i]);
    }

    load_matrices(matrices, rows + lane * 8);
    for (int i = 0; i < 4; i++)
    {
        output[128 + lane * 4 + i] = matrices[i];
    }

    load_matrices_transposed(matrices, rows + lane * 8);
    for (int i = 0; i < 4; i++)
    {
        output[256 + lane * 4 + i] = matrices[i];
    }
}

int main()
{
    unsigned host[384], *device = nullptr;
    if (cudaMalloc(&device, sizeof host) != cudaSuccess)
    {
        std::fprintf(stderr, "no device\n");
        return 1;
    }

    fragments<<<1, 32>>>(device);
    cudaError_t status = cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost);
    if (status != cudaSuccess)
    {
        std::fprintf(stderr, "%s\n", cudaGetErrorString(status));
        return 1;
    }

    const char* names[] = {"mma", "ldmatrix", "ldmatrix.trans"};
    for (int i = 0; i < 96; i++)
    {
        std::printf("%s %d %08x %08x %08x %08x\n", names[i / 32], i % 32, host[4 * i], host[4 * i + 1], host[4 * i + 2], host[4 * i + 3]);
    }

    return cudaFree(device) == cudaSuccess ? 0 : 1;
}
