// The few cuBLAS calls that src/Interop binds, on the host, in double: products of bf16 matrices for prefill. Names and signatures are NVIDIA's (cublas_v2.h).
#include "driver.h"

#include <cstring>

enum CublasStatus : int
{
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_NOT_SUPPORTED = 15
};

namespace llspec_emulated
{
namespace
{
constexpr int PlainOperation = 0, TransposedOperation = 1, RealF32 = 0, RealBF16 = 14, ComputeF32 = 68;

struct Cublas
{
    void* stream = nullptr;
};

Cublas* resolve_cublas(void* handle) { return driver().cublas.count(handle) != 0 ? static_cast<Cublas*>(handle) : nullptr; }

float widened(unsigned short bits)
{
    unsigned whole = static_cast<unsigned>(bits) << 16;
    float value;
    std::memcpy(&value, &whole, sizeof value);
    return value;
}

// Columns of `length` elements, one every `stride`: whether they lie in the device's memory.
bool are_columns(const void* first, int length, int columns, int stride, std::size_t size)
{
    return stride >= length && is_device_range(reinterpret_cast<CUdeviceptr>(first), (static_cast<std::size_t>(columns - 1) * stride + length) * size);
}

struct Product
{
    int m, n, k;
    float alpha, beta;
    const unsigned short* a;
    int a_stride;
    const unsigned short* b;
    int b_stride;
    float* c;
    int c_stride;
};

CUresult multiply(const Product& p)
{
    driver().counts.cublas_products++;
    for (int column = 0; column < p.n; column++)
    {
        for (int row = 0; row < p.m; row++)
        {
            const unsigned short* a = p.a + static_cast<std::size_t>(row) * p.a_stride;
            const unsigned short* b = p.b + static_cast<std::size_t>(column) * p.b_stride;
            double sum = 0;
            for (int i = 0; i < p.k; i++)
            {
                sum += static_cast<double>(widened(a[i])) * widened(b[i]);
            }

            // With beta = 0 the old value is not read, whatever it is.
            float& to = p.c[static_cast<std::size_t>(column) * p.c_stride + row];
            to = static_cast<float>(p.alpha * sum + (p.beta == 0 ? 0.0 : static_cast<double>(p.beta) * to));
        }
    }

    return check_guards();
}
}
}

using namespace llspec_emulated;

LLSPEC_EXPORT int cublasCreate_v2(void** handle)
{
    Call call;
    if (call.status != CUDA_SUCCESS)
    {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }

    *handle = new Cublas;
    driver().cublas.insert(*handle);
    return CUBLAS_STATUS_SUCCESS;
}

LLSPEC_EXPORT int cublasDestroy_v2(void* handle)
{
    Call call(false);
    if (driver().cublas.erase(handle) == 0)
    {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }

    delete static_cast<Cublas*>(handle);
    return CUBLAS_STATUS_SUCCESS;
}

LLSPEC_EXPORT int cublasSetStream_v2(void* handle, void* stream)
{
    Call call;
    Cublas* cublas = resolve_cublas(handle);
    if (cublas == nullptr || resolve_stream(stream) == nullptr)
    {
        return cublas == nullptr ? CUBLAS_STATUS_NOT_INITIALIZED : CUBLAS_STATUS_INVALID_VALUE;
    }

    cublas->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

LLSPEC_EXPORT int cublasSetWorkspace_v2(void* handle, void* workspace, std::size_t bytes)
{
    Call call;
    if (resolve_cublas(handle) == nullptr)
    {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }

    auto address = reinterpret_cast<CUdeviceptr>(workspace);
    return address % 256 == 0 && is_device_range(address, bytes) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

LLSPEC_EXPORT int cublasGemmEx(void* handle, int a_operation, int b_operation, int m, int n, int k, const void* alpha, const void* a, int a_type, int a_stride, const void* b,
                               int b_type, int b_stride, const void* beta, void* c, int c_type, int c_stride, int compute, int)
{
    Call call;
    Cublas* cublas = resolve_cublas(handle);
    Stream* stream = cublas == nullptr ? nullptr : resolve_stream(cublas->stream);
    if (call.status != CUDA_SUCCESS || stream == nullptr)
    {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }

    if (a_operation != TransposedOperation || b_operation != PlainOperation || a_type != RealBF16 || b_type != RealBF16 || c_type != RealF32 || compute != ComputeF32)
    {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }

    if (m <= 0 || n <= 0 || k <= 0 || !are_columns(a, k, m, a_stride, 2) || !are_columns(b, k, n, b_stride, 2) || !are_columns(c, m, n, c_stride, 4))
    {
        return CUBLAS_STATUS_INVALID_VALUE;
    }

    Product product{m, n, k, *static_cast<const float*>(alpha), *static_cast<const float*>(beta), static_cast<const unsigned short*>(a), a_stride,
                    static_cast<const unsigned short*>(b), b_stride, static_cast<float*>(c), c_stride};
    return enqueue(stream, {[=] { return multiply(product); }, true}) == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
