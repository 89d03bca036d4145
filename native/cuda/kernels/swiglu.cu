// silu(gate) * up. Grid (rows, ceil(F / 256)), block 256.
#include "../device/device.cuh"

LLSPEC_KERNEL __launch_bounds__(256) llspec_swiglu(LlspecSwiGlu p)
{
    long long row = blockIdx.x;
    int i = blockIdx.y * blockDim.x + threadIdx.x;
    if (row < row_count(p.count, p.rows) && i < p.columns)
    {
        float gate = p.gate[row * p.gate_stride + i];
        p.output[row * p.output_stride + i] = gate / (1.0f + expf(-gate)) * p.up[row * p.up_stride + i];
    }
}
