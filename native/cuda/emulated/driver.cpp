// Initialisation, devices, contexts, errors.
#include "driver.h"

#include "block.h"

#include <cstdlib>
#include <cstring>
#include <utility>

namespace llspec_emulated
{
Driver& driver()
{
    static Driver instance;
    return instance;
}

Context*& current_context()
{
    thread_local Context* current = nullptr;
    return current;
}

Call::Call(bool needs_context) : status(CUDA_SUCCESS), _hold(driver().lock)
{
    if (!driver().initialised)
    {
        status = CUDA_ERROR_NOT_INITIALIZED;
    }
    else if (needs_context && (current_context() == nullptr || driver().contexts.count(current_context()) == 0))
    {
        status = CUDA_ERROR_INVALID_CONTEXT;
    }
    else if (needs_context)
    {
        status = driver().sticky;
    }
}

CUresult fail(CUresult status, std::string what)
{
    driver().error = std::move(what);
    if (status == CUDA_ERROR_LAUNCH_FAILED)
    {
        driver().sticky = status;
    }

    return status;
}

void note_wait() { driver().counts.host_synchronisations++; }

namespace
{
thread_local std::vector<Context*> context_stack;

struct Attribute
{
    int id, value;
};

// An H100's figures where a caller might plan by them.
constexpr Attribute Attributes[] = {
    {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647}, {6, 65535}, {7, 65535}, {8, 49152}, {10, 32}, {12, 65536}, {13, 1980000},
    {16, 132}, {31, 1}, {32, 1}, {36, 2619000}, {37, 5120}, {38, 52428800}, {39, 2048}, {40, 3}, {41, 1}, {75, 9}, {76, 0}, {81, 233472}, {97, 232448}};

constexpr std::pair<CUresult, const char*> Names[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED"},
    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"}};

CUresult retain(Context* context, void** handle)
{
    if (context->references++ == 0)
    {
        driver().contexts.insert(context);
        driver().sticky = CUDA_SUCCESS;
    }

    *handle = context;
    return CUDA_SUCCESS;
}

// Memory, streams and the rest die with the last context, as on a device.
void forget(Context* context)
{
    driver().contexts.erase(context);
    if (driver().contexts.empty())
    {
        driver().sticky = CUDA_SUCCESS;
    }
}
}
}

using namespace llspec_emulated;

LLSPEC_EXPORT CUresult cuInit(unsigned flags)
{
    std::lock_guard<std::recursive_mutex> hold(driver().lock);
    if (flags != 0)
    {
        return CUDA_ERROR_INVALID_VALUE;
    }

    if (!driver().initialised)
    {
        const char* bytes = std::getenv("LLSPEC_EMULATED_MEMORY");
        driver().capacity = bytes == nullptr ? std::size_t{8} << 30 : std::strtoull(bytes, nullptr, 10);
        driver().initialised = true;
    }

    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuDriverGetVersion(int* version)
{
    *version = 12000;
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuGetErrorName(CUresult status, const char** text)
{
    for (const auto& [value, name] : Names)
    {
        if (value == status)
        {
            *text = name;
            return CUDA_SUCCESS;
        }
    }

    *text = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

LLSPEC_EXPORT CUresult cuGetErrorString(CUresult status, const char** text)
{
    // What the emulated device knows says more than a fixed text; a real driver knows no more than the code.
    CUresult known = cuGetErrorName(status, text);
    if (known == CUDA_SUCCESS && status != CUDA_SUCCESS && !driver().error.empty())
    {
        thread_local std::string copy;
        std::lock_guard<std::recursive_mutex> hold(driver().lock);
        copy = driver().error;
        *text = copy.c_str();
    }

    return known;
}

LLSPEC_EXPORT CUresult cuDeviceGetCount(int* count)
{
    Call call(false);
    *count = 1;
    return call.status;
}

LLSPEC_EXPORT CUresult cuDeviceGet(CUdevice* device, int ordinal)
{
    Call call(false);
    *device = ordinal;
    return call.status != CUDA_SUCCESS || ordinal == 0 ? call.status : CUDA_ERROR_INVALID_DEVICE;
}

LLSPEC_EXPORT CUresult cuDeviceGetName(char* name, int length, CUdevice)
{
    Call call(false);
    if (call.status == CUDA_SUCCESS && length > 0)
    {
        std::strncpy(name, "emulated device", static_cast<std::size_t>(length));
        name[length - 1] = 0;
    }

    return call.status;
}

LLSPEC_EXPORT CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice)
{
    Call call(false);
    *bytes = driver().capacity;
    return call.status;
}

LLSPEC_EXPORT CUresult cuDeviceGetUuid(unsigned char* uuid, CUdevice)
{
    Call call(false);
    std::memset(uuid, 0xEE, 16);
    return call.status;
}

LLSPEC_EXPORT CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice)
{
    Call call(false);
    *value = 0;
    for (const Attribute& known : Attributes)
    {
        *value = known.id == attribute ? known.value : *value;
    }

    return call.status;
}

LLSPEC_EXPORT CUresult cuDevicePrimaryCtxRetain(void** context, CUdevice)
{
    Call call(false);
    return call.status != CUDA_SUCCESS ? call.status : retain(&driver().primary, context);
}

LLSPEC_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice)
{
    Call call(false);
    if (call.status != CUDA_SUCCESS || driver().primary.references == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_CONTEXT;
    }

    if (--driver().primary.references == 0)
    {
        forget(&driver().primary);
    }

    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice, unsigned) { return Call(false).status; }

LLSPEC_EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active)
{
    Call call(false);
    *flags = 0;
    *active = driver().primary.references > 0 ? 1 : 0;
    return call.status;
}

LLSPEC_EXPORT CUresult cuCtxCreate_v2(void** context, unsigned, CUdevice)
{
    Call call(false);
    if (call.status != CUDA_SUCCESS)
    {
        return call.status;
    }

    auto* fresh = new Context;
    context_stack.push_back(current_context());
    current_context() = fresh;
    return retain(fresh, context);
}

LLSPEC_EXPORT CUresult cuCtxDestroy_v2(void* context)
{
    Call call(false);
    auto* old = static_cast<Context*>(context);
    if (driver().contexts.count(old) == 0 || old->primary)
    {
        return CUDA_ERROR_INVALID_CONTEXT;
    }

    forget(old);
    if (current_context() == old)
    {
        current_context() = nullptr;
    }

    delete old;
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuCtxSetCurrent(void* context)
{
    Call call(false);
    if (context != nullptr && driver().contexts.count(context) == 0)
    {
        return CUDA_ERROR_INVALID_CONTEXT;
    }

    current_context() = static_cast<Context*>(context);
    return call.status;
}

LLSPEC_EXPORT CUresult cuCtxGetCurrent(void** context)
{
    Call call(false);
    *context = current_context();
    return call.status;
}

LLSPEC_EXPORT CUresult cuCtxPushCurrent_v2(void* context)
{
    Call call(false);
    if (driver().contexts.count(context) == 0)
    {
        return CUDA_ERROR_INVALID_CONTEXT;
    }

    context_stack.push_back(current_context());
    current_context() = static_cast<Context*>(context);
    return call.status;
}

LLSPEC_EXPORT CUresult cuCtxPopCurrent_v2(void** context)
{
    Call call(false);
    if (context_stack.empty())
    {
        return CUDA_ERROR_INVALID_CONTEXT;
    }

    if (context != nullptr)
    {
        *context = current_context();
    }

    current_context() = context_stack.back();
    context_stack.pop_back();
    return call.status;
}

LLSPEC_EXPORT CUresult cuCtxGetDevice(CUdevice* device)
{
    *device = 0;
    return Call().status;
}

LLSPEC_EXPORT CUresult cuCtxSynchronize()
{
    Call call;
    note_wait();
    return call.status != CUDA_SUCCESS ? call.status : drain_all();
}

LLSPEC_EXPORT void llspec_emulated_counts(LlspecEmulatedCounts* counts)
{
    std::lock_guard<std::recursive_mutex> hold(driver().lock);
    Driver& d = driver();
    d.counts.device_allocations = static_cast<long long>(d.device_memory.size());
    d.counts.device_bytes = static_cast<long long>(d.device_bytes);
    d.counts.host_allocations = static_cast<long long>(d.host_memory.size());
    d.counts.host_bytes = static_cast<long long>(d.host_bytes);
    d.counts.streams = static_cast<long long>(d.streams.size());
    d.counts.events = static_cast<long long>(d.events.size());
    d.counts.graphs = static_cast<long long>(d.graphs.size());
    d.counts.graph_execs = static_cast<long long>(d.execs.size());
    d.counts.modules = static_cast<long long>(d.modules.size());
    d.counts.contexts = static_cast<long long>(d.contexts.size());
    d.counts.cublas_handles = static_cast<long long>(d.cublas.size());
    *counts = d.counts;
}

LLSPEC_EXPORT void llspec_emulated_configure(unsigned long long seed, int poison)
{
    std::lock_guard<std::recursive_mutex> hold(driver().lock);
    options() = {seed, poison != 0};
}

LLSPEC_EXPORT const char* llspec_emulated_error()
{
    std::lock_guard<std::recursive_mutex> hold(driver().lock);
    return driver().error.c_str();
}
