// Warp-wide matrix instructions and asynchronous copies: PTX on a GPU, an emulated twin elsewhere. Every lane must come to each call.
#pragma once

#include "device.cuh"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

__device__ __forceinline__ unsigned shared_address(const void* pointer) { return static_cast<unsigned>(__cvta_generic_to_shared(pointer)); }

// c += a b; a [16 x 16] by rows, b [16 x 8] by columns, bf16; c [16 x 8] f32. Lane g*4+t holds a: rows g, g+8 at columns 2t, 2t+1 and 2t+8, 2t+9;
// b: column g at rows 2t, 2t+1 and 2t+8, 2t+9; c: rows g, g+8 at columns 2t, 2t+1.
__device__ __forceinline__ void multiply_accumulate(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of 16-bit elements; lane 8m+r gives the address of row r of matrix m (16 bytes, aligned); lane g*4+t gets elements 2t, 2t+1 of row g of each.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same with each matrix transposed: lane g*4+t gets elements g of rows 2t, 2t+1.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&to)[4], const void* row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// Copies 16 bytes to shared memory in the background: source_bytes from `global`, zeros for the rest.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, int source_bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(source_bytes) : "memory");
}

__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for this thread's copies but for the newest InFlight groups. Others see them after a barrier.
template <int InFlight>
__device__ __forceinline__ void copy_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(InFlight) : "memory");
}

// Reads past the first-level cache, which does not see what other processors wrote.
__device__ __forceinline__ float load_through(const float* address) { return __ldcg(address); }

#else

namespace llspec_emulated
{
struct ProductLane
{
    float* c;
    const unsigned* a;
    unsigned b[2];
};

struct LoadLane
{
    const unsigned char* row;
    unsigned* to;
};

// The element of a register that holds two bf16.
LLSPEC_UNWATCHED inline double half_of(unsigned pair, int which)
{
    return static_cast<double>(__uint_as_float(which == 0 ? pair << 16 : pair & 0xFFFF0000u));
}

// Sixteen exact products are summed in double and rounded once into c: closer than a tensor core, which truncates.
LLSPEC_UNWATCHED inline void apply_product(void* const* payloads)
{
    double a[16][16], b[8][16];
    for (int lane = 0; lane < 32; lane++)
    {
        const auto* from = static_cast<const ProductLane*>(payloads[lane]);
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++)
        {
            for (int j = 0; j < 2; j++)
            {
                a[g + 8 * (i & 1)][2 * t + j + 8 * (i >> 1)] = half_of(from->a[i], j);
                if (i < 2)
                {
                    b[g][2 * t + j + 8 * i] = half_of(from->b[i], j);
                }
            }
        }
    }

    for (int lane = 0; lane < 32; lane++)
    {
        auto* to = static_cast<ProductLane*>(payloads[lane]);
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++)
        {
            const double* row = a[g + 8 * (i >> 1)];
            const double* column = b[2 * t + (i & 1)];
            double sum = 0;
            for (int k = 0; k < 16; k++)
            {
                sum += row[k] * column[k];
            }

            to->c[i] = static_cast<float>(to->c[i] + sum);
        }
    }
}

template <bool Transposed>
LLSPEC_UNWATCHED void apply_load(void* const* payloads)
{
    for (int lane = 0; lane < 32; lane++)
    {
        auto* to = static_cast<LoadLane*>(payloads[lane])->to;
        int g = lane / 4, t = lane % 4;
        for (int m = 0; m < 4; m++)
        {
            unsigned short pair[2];
            for (int j = 0; j < 2; j++)
            {
                int row = Transposed ? 2 * t + j : g, column = Transposed ? g : 2 * t + j;
                std::memcpy(&pair[j], static_cast<const LoadLane*>(payloads[8 * m + row])->row + 2 * column, 2);
            }

            to[m] = pair[0] | (static_cast<unsigned>(pair[1]) << 16);
        }
    }
}
}

inline void multiply_accumulate(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    llspec_emulated::ProductLane lane{c, a, {b0, b1}};
    llspec_emulated::warp_collective(llspec_emulated::Collective::MultiplyAccumulate, &lane, llspec_emulated::apply_product);
}

inline void load_matrices(unsigned (&to)[4], const void* row)
{
    llspec_emulated::LoadLane lane{static_cast<const unsigned char*>(row), to};
    llspec_emulated::note_read(row, 16);
    llspec_emulated::warp_collective(llspec_emulated::Collective::LoadMatrix, &lane, llspec_emulated::apply_load<false>);
}

inline void load_matrices_transposed(unsigned (&to)[4], const void* row)
{
    llspec_emulated::LoadLane lane{static_cast<const unsigned char*>(row), to};
    llspec_emulated::note_read(row, 16);
    llspec_emulated::warp_collective(llspec_emulated::Collective::LoadMatrix, &lane, llspec_emulated::apply_load<true>);
}

inline void copy_async_16(void* shared, const void* global, int source_bytes) { llspec_emulated::copy_async_16(shared, global, source_bytes); }

inline void copy_async_commit() { llspec_emulated::copy_async_commit(); }

template <int InFlight>
void copy_async_wait()
{
    llspec_emulated::copy_async_wait(InFlight);
}

inline float load_through(const float* address) { return *address; }

#endif
