// The CUDA C++ dialect of the kernels, for a CPU: a fiber per CUDA thread, barriers and warp collectives with real semantics. Kernel sources include this in
// place of the compiler's built-ins (device/device.cuh chooses). What it does to make mistakes show is in docs/cuda.md.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

// Collectives read and write other lanes' registers, which lie on their stacks: no race, but a thread sanitizer would say so.
#define LLSPEC_UNWATCHED __attribute__((no_sanitize("thread")))

namespace llspec_emulated
{
struct Index3
{
    unsigned x, y, z;
};

// Set before a fiber runs; kernels read them through the macros below.
extern Index3 thread_index, block_index, block_size, grid_size;

// What a warp collective waits for; lanes of one warp that meet in different collectives are a mistake that ends the launch.
enum class Collective
{
    SyncWarp,
    Shuffle,
    Vote,
    LoadMatrix,
    MultiplyAccumulate
};

void barrier();

// Waits until all 32 lanes have come with a payload, runs `apply` once over them in lane order, then goes on. Payloads lie on the lanes' stacks.
void warp_collective(Collective kind, void* payload, void (*apply)(void* const* payloads));

unsigned char* dynamic_shared();

// The copy is performed as late as the program allows; until then the destination holds NaN. Bytes from source_bytes to 16 become zero.
void copy_async_16(void* shared, const void* global, int source_bytes);
void copy_async_commit();
void copy_async_wait(int groups_in_flight);

// Tells the thread sanitizer that this thread reads memory inside a collective, where the reading itself is the runtime's.
void note_read(const void* address, std::size_t bytes);

[[noreturn]] void trap(const char* what);

template <class T>
struct ShuffleLane
{
    T value;
    int source;
    T result;
};

template <class T>
LLSPEC_UNWATCHED void apply_shuffle(void* const* lanes)
{
    for (int i = 0; i < 32; i++)
    {
        auto* to = static_cast<ShuffleLane<T>*>(lanes[i]);
        to->result = static_cast<ShuffleLane<T>*>(lanes[to->source & 31])->value;
    }
}

template <class T>
T shuffle(T value, int source_lane)
{
    ShuffleLane<T> lane{value, source_lane, value};
    warp_collective(Collective::Shuffle, &lane, apply_shuffle<T>);
    return lane.result;
}
}

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

#define threadIdx (::llspec_emulated::thread_index)
#define blockIdx (::llspec_emulated::block_index)
#define blockDim (::llspec_emulated::block_size)
#define gridDim (::llspec_emulated::grid_size)

#define LLSPEC_DYNAMIC_SHARED(name) unsigned char* const name = ::llspec_emulated::dynamic_shared()

inline void __syncthreads() { llspec_emulated::barrier(); }

// Lanes must all take part: kernels use full masks only.
inline void require_full_mask(unsigned mask)
{
    if (mask != 0xffffffffu)
    {
        llspec_emulated::trap("a warp collective with a partial mask");
    }
}

inline int emulated_lane()
{
    unsigned linear = threadIdx.x + (blockDim.x * (threadIdx.y + (blockDim.y * threadIdx.z)));
    return static_cast<int>(linear & 31);
}

inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    require_full_mask(mask);
    llspec_emulated::warp_collective(llspec_emulated::Collective::SyncWarp, nullptr, [](void* const*) {});
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane)
{
    require_full_mask(mask);
    return llspec_emulated::shuffle(value, lane);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes)
{
    require_full_mask(mask);
    return llspec_emulated::shuffle(value, emulated_lane() ^ lanes);
}

// Lanes that would read beyond the warp keep their own value.
template <class T>
T __shfl_up_sync(unsigned mask, T value, int lanes)
{
    require_full_mask(mask);
    int lane = emulated_lane();
    return llspec_emulated::shuffle(value, lane >= lanes ? lane - lanes : lane);
}

inline int atomicAdd(int* address, int value) { return __atomic_fetch_add(address, value, __ATOMIC_RELAXED); }

inline unsigned atomicAdd(unsigned* address, unsigned value) { return __atomic_fetch_add(address, value, __ATOMIC_RELAXED); }

inline unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) { return __atomic_fetch_add(address, value, __ATOMIC_RELAXED); }

inline int atomicOr(int* address, int value) { return __atomic_fetch_or(address, value, __ATOMIC_RELAXED); }

inline void __threadfence() {}

inline float __uint_as_float(unsigned bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline long long __double_as_longlong(double value)
{
    long long bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline double __longlong_as_double(long long bits)
{
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64); }

inline int __ffsll(unsigned long long value) { return __builtin_ffsll(static_cast<long long>(value)); }

inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

struct uint2
{
    unsigned x, y;
};

struct alignas(16) uint4
{
    unsigned x, y, z, w;
};

struct alignas(16) float4
{
    float x, y, z, w;
};

inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
