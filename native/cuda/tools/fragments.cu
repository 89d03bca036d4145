// Prints what the tensor core instructions give for known inputs on a real GPU: one line per instruction and lane, registers in hexadecimal. Stored as
// tests/vectors/fragments.txt, the lines check the emulated device. Built with nvcc alone (native/gpu-package/run.sh).
#include "../tests/kernels/fragments.cu"

#include <cstdio>

int main()
{
    unsigned host[384], *device = nullptr;
    if (cudaMalloc(&device, sizeof host) != cudaSuccess)
    {
        std::fprintf(stderr, "no device\n");
        return 1;
    }

    llspec_fragments<<<1, 32, 512>>>(FragmentsArgument{device});
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
