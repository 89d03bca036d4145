// Device and pinned host memory, copies, fills.
#include "driver.h"

#include "block.h"
#include "sanitizers.h"

#include <cstdlib>
#include <cstring>

namespace llspec_emulated
{
namespace
{
constexpr std::size_t Alignment = 256;
constexpr unsigned char GuardByte = 0x5A;

// The address sanitizer has its own guard around exact sizes.
#if LLSPEC_ASAN
constexpr std::size_t Front = 0, Back = 0;
#else
constexpr std::size_t Front = Alignment, Back = 64;
#endif

bool is_intact(std::uint64_t address, std::size_t bytes)
{
    const auto* memory = reinterpret_cast<const unsigned char*>(address);
    for (std::size_t i = 0; i < (Front == 0 ? 0 : 64); i++)
    {
        if (memory[-1 - static_cast<std::ptrdiff_t>(i)] != GuardByte)
        {
            return false;
        }
    }

    for (std::size_t i = 0; i < Back; i++)
    {
        if (memory[bytes + i] != GuardByte)
        {
            return false;
        }
    }

    return true;
}

std::string describe(CUdeviceptr address, std::size_t bytes)
{
    return std::to_string(bytes) + " bytes at " + std::to_string(address) + " do not lie in one allocation of the device";
}

// Checks a copy's device sides when it is issued, as a driver does.
CUresult check_range(CUdeviceptr address, std::size_t bytes)
{
    return bytes == 0 || is_device_range(address, bytes) ? CUDA_SUCCESS : fail(CUDA_ERROR_INVALID_VALUE, describe(address, bytes));
}

CUresult copy(void* handle, void* to, const void* from, std::size_t bytes, CUresult checked, bool waits)
{
    Stream* stream = resolve_stream(handle);
    if (checked != CUDA_SUCCESS || stream == nullptr)
    {
        return checked != CUDA_SUCCESS ? checked : CUDA_ERROR_INVALID_HANDLE;
    }

    if (waits)
    {
        note_wait();
        CUresult status = drain_all();
        if (status != CUDA_SUCCESS)
        {
            return status;
        }

        std::memmove(to, from, bytes);
        return CUDA_SUCCESS;
    }

    return enqueue(stream, {[=] {
        std::memmove(to, from, bytes);
        return CUDA_SUCCESS;
    }});
}

template <class T>
CUresult fill(void* handle, CUdeviceptr address, T value, std::size_t count, bool waits)
{
    Call call;
    CUresult status = call.status != CUDA_SUCCESS ? call.status : check_range(address, count * sizeof(T));
    Stream* stream = resolve_stream(handle);
    if (status != CUDA_SUCCESS || stream == nullptr)
    {
        return status != CUDA_SUCCESS ? status : CUDA_ERROR_INVALID_HANDLE;
    }

    status = enqueue(stream, {[=] {
        auto* to = reinterpret_cast<T*>(address);
        for (std::size_t i = 0; i < count; i++)
        {
            to[i] = value;
        }

        return CUDA_SUCCESS;
    }});
    return status == CUDA_SUCCESS && waits ? drain_all() : status;
}

void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }
}

bool is_device_range(CUdeviceptr address, std::size_t bytes)
{
    auto& memory = driver().device_memory;
    auto after = memory.upper_bound(address);
    if (after == memory.begin())
    {
        return false;
    }

    const auto& [first, size] = *std::prev(after);
    return address - first <= size && bytes <= size - (address - first);
}

CUresult check_guards()
{
    for (const auto& [address, bytes] : driver().device_memory)
    {
        if (!is_intact(address, bytes))
        {
            return fail(CUDA_ERROR_LAUNCH_FAILED, "something was written beyond the allocation of " + std::to_string(bytes) + " bytes at " + std::to_string(address));
        }
    }

    return CUDA_SUCCESS;
}
}

using namespace llspec_emulated;

LLSPEC_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes)
{
    Call call;
    if (call.status != CUDA_SUCCESS || bytes == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_VALUE;
    }

    void* memory = nullptr;
    if (bytes > driver().capacity - driver().device_bytes || posix_memalign(&memory, Alignment, Front + bytes + Back) != 0)
    {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }

    auto* first = static_cast<unsigned char*>(memory);
    std::memset(first, GuardByte, Front);
    std::memset(first + Front + bytes, GuardByte, Back);
    if (options().poison)
    {
        std::memset(first + Front, 0xFF, bytes);
    }

    *address = reinterpret_cast<CUdeviceptr>(first + Front);
    driver().device_memory.emplace(*address, bytes);
    driver().device_bytes += bytes;
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuMemFree_v2(CUdeviceptr address)
{
    Call call;
    auto found = driver().device_memory.find(address);
    if (address == 0 || found == driver().device_memory.end())
    {
        return address == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }

    // Memory is given back after a failed launch too, or a test of one would look like a leak.
    CUresult status = call.status == CUDA_SUCCESS ? drain_all() : call.status;
    if (status == CUDA_SUCCESS && !is_intact(address, found->second))
    {
        status = check_guards();
    }

    driver().device_bytes -= found->second;
    driver().device_memory.erase(found);
    std::free(reinterpret_cast<unsigned char*>(address) - Front);
    return status;
}

LLSPEC_EXPORT CUresult cuMemGetInfo_v2(std::size_t* free_bytes, std::size_t* total)
{
    Call call;
    *total = driver().capacity;
    *free_bytes = driver().capacity - driver().device_bytes;
    return call.status;
}

LLSPEC_EXPORT CUresult cuMemHostAlloc(void** memory, std::size_t bytes, unsigned)
{
    Call call;
    if (call.status != CUDA_SUCCESS)
    {
        return call.status;
    }

    *memory = std::malloc(bytes);
    if (*memory == nullptr)
    {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }

    std::memset(*memory, 0xFF, bytes);
    driver().host_memory.emplace(reinterpret_cast<std::uint64_t>(*memory), bytes);
    driver().host_bytes += bytes;
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuMemFreeHost(void* memory)
{
    Call call;
    auto found = driver().host_memory.find(reinterpret_cast<std::uint64_t>(memory));
    if (found == driver().host_memory.end())
    {
        return CUDA_ERROR_INVALID_VALUE;
    }

    CUresult status = call.status == CUDA_SUCCESS ? drain_all() : call.status;
    driver().host_bytes -= found->second;
    driver().host_memory.erase(found);
    std::free(memory);
    return status;
}

LLSPEC_EXPORT CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* address, void* memory, unsigned)
{
    *address = reinterpret_cast<CUdeviceptr>(memory);
    return Call().status;
}

LLSPEC_EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes)
{
    Call call;
    return call.status != CUDA_SUCCESS ? call.status : copy(nullptr, pointer(to), from, bytes, check_range(to, bytes), true);
}

LLSPEC_EXPORT CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes)
{
    Call call;
    return call.status != CUDA_SUCCESS ? call.status : copy(nullptr, to, pointer(from), bytes, check_range(from, bytes), true);
}

LLSPEC_EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes)
{
    Call call;
    CUresult checked = check_range(to, bytes);
    return call.status != CUDA_SUCCESS ? call.status : copy(nullptr, pointer(to), pointer(from), bytes, checked != CUDA_SUCCESS ? checked : check_range(from, bytes), true);
}

LLSPEC_EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, void* stream)
{
    Call call;
    if (call.status != CUDA_SUCCESS)
    {
        return call.status;
    }

    // Pageable memory is staged before the call returns; only pinned memory is read later.
    if (driver().host_memory.empty() || !is_device_range(to, bytes) || [&] {
            auto after = driver().host_memory.upper_bound(reinterpret_cast<std::uint64_t>(from));
            return after == driver().host_memory.begin() || reinterpret_cast<std::uint64_t>(from) >= std::prev(after)->first + std::prev(after)->second;
        }())
    {
        Stream* target = resolve_stream(stream);
        CUresult checked = target == nullptr ? CUDA_ERROR_INVALID_HANDLE : check_range(to, bytes);
        if (checked != CUDA_SUCCESS)
        {
            return checked;
        }

        std::vector<unsigned char> staged(static_cast<const unsigned char*>(from), static_cast<const unsigned char*>(from) + bytes);
        return enqueue(target, {[to, staged = std::move(staged)] {
            std::memcpy(pointer(to), staged.data(), staged.size());
            return CUDA_SUCCESS;
        }});
    }

    return copy(stream, pointer(to), from, bytes, check_range(to, bytes), false);
}

LLSPEC_EXPORT CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, void* stream)
{
    Call call;
    return call.status != CUDA_SUCCESS ? call.status : copy(stream, to, pointer(from), bytes, check_range(from, bytes), false);
}

LLSPEC_EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, void* stream)
{
    Call call;
    CUresult checked = check_range(to, bytes);
    return call.status != CUDA_SUCCESS ? call.status : copy(stream, pointer(to), pointer(from), bytes, checked != CUDA_SUCCESS ? checked : check_range(from, bytes), false);
}

LLSPEC_EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, std::size_t count) { return fill(nullptr, to, value, count, true); }

LLSPEC_EXPORT CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, std::size_t count) { return fill(nullptr, to, value, count, true); }

LLSPEC_EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, std::size_t count, void* stream) { return fill(stream, to, value, count, false); }

LLSPEC_EXPORT CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, std::size_t count, void* stream) { return fill(stream, to, value, count, false); }
