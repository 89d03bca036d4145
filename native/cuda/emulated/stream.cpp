// Modules, kernels, streams, events.
#include "driver.h"

#include "block.h"

#include <cstring>
#include <utility>

namespace llspec_emulated
{
namespace
{
constexpr int PlainShared = 48 << 10;
constexpr int MostShared = 227 << 10;
constexpr int MaxDynamicSharedAttribute = 8;

CUresult launch(const Function& function, Index3 grid, Index3 block, unsigned shared, const std::vector<unsigned char>& argument)
{
    driver().counts.launches++;
    std::string problem = run({function.kernel->name, function.kernel->invoke, argument.data(), grid, block, shared});
    return problem.empty() ? check_guards() : fail(CUDA_ERROR_LAUNCH_FAILED, std::move(problem));
}
}

Stream* resolve_stream(void* handle)
{
    if (handle == nullptr)
    {
        return &driver().default_stream;
    }

    return driver().streams.count(handle) != 0 ? static_cast<Stream*>(handle) : nullptr;
}

CUresult enqueue(Stream* stream, Operation operation)
{
    if (stream->capture != nullptr)
    {
        stream->capture->nodes.push_back(std::move(operation));
        return CUDA_SUCCESS;
    }

    stream->queue.push_back(std::move(operation));
    stream->issued++;
    return CUDA_SUCCESS;
}

CUresult drain(Stream* stream, std::uint64_t until)
{
    while (!stream->queue.empty() && stream->done < until)
    {
        Operation operation = std::move(stream->queue.front());
        stream->queue.pop_front();
        stream->done++;
        CUresult status = operation.run();
        if (status != CUDA_SUCCESS)
        {
            stream->queue.clear();
            return status;
        }
    }

    return CUDA_SUCCESS;
}

CUresult drain_all()
{
    for (void* handle : driver().streams)
    {
        if (static_cast<Stream*>(handle)->capture != nullptr)
        {
            return fail(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "a call waits for the device while a stream captures");
        }
    }

    CUresult status = drain(&driver().default_stream);
    for (void* handle : driver().streams)
    {
        status = status == CUDA_SUCCESS ? drain(static_cast<Stream*>(handle)) : status;
    }

    return status;
}
}

using namespace llspec_emulated;

LLSPEC_EXPORT CUresult cuModuleLoadData(void** module, const void* image)
{
    Call call;
    if (call.status != CUDA_SUCCESS || image == nullptr)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_VALUE;
    }

    *module = new Module;
    driver().modules.insert(*module);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**) { return cuModuleLoadData(module, image); }

LLSPEC_EXPORT CUresult cuModuleLoadFatBinary(void** module, const void* image) { return cuModuleLoadData(module, image); }

LLSPEC_EXPORT CUresult cuModuleUnload(void* module)
{
    Call call(false);
    if (driver().modules.erase(module) == 0)
    {
        return CUDA_ERROR_INVALID_HANDLE;
    }

    delete static_cast<Module*>(module);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuModuleGetFunction(void** function, void* module, const char* name)
{
    Call call;
    if (call.status != CUDA_SUCCESS || driver().modules.count(module) == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    const Kernel* kernel = find_kernel(name);
    if (kernel == nullptr)
    {
        return fail(CUDA_ERROR_NOT_FOUND, std::string("there is no kernel ") + name);
    }

    *function = &driver().functions.emplace(name, Function{kernel, PlainShared}).first->second;
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuModuleGetGlobal_v2(CUdeviceptr*, std::size_t*, void*, const char* name)
{
    Call call;
    return call.status != CUDA_SUCCESS ? call.status : fail(CUDA_ERROR_NOT_FOUND, std::string("there is no variable ") + name);
}

LLSPEC_EXPORT CUresult cuFuncSetAttribute(void* function, int attribute, int value)
{
    Call call;
    if (attribute == MaxDynamicSharedAttribute)
    {
        if (value < 0 || value > MostShared)
        {
            return CUDA_ERROR_INVALID_VALUE;
        }

        static_cast<Function*>(function)->shared_limit = value > PlainShared ? value : PlainShared;
    }

    return call.status;
}

LLSPEC_EXPORT CUresult cuFuncGetAttribute(int* value, int attribute, void* function)
{
    *value = attribute == MaxDynamicSharedAttribute ? static_cast<Function*>(function)->shared_limit : attribute == 0 ? 1024 : 0;
    return Call().status;
}

LLSPEC_EXPORT CUresult cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                                      unsigned shared, void* stream_handle, void** arguments, void** extra)
{
    Call call;
    Stream* stream = resolve_stream(stream_handle);
    if (call.status != CUDA_SUCCESS)
    {
        return call.status;
    }

    const auto& function = *static_cast<Function*>(handle);
    if (handle == nullptr || stream == nullptr)
    {
        return CUDA_ERROR_INVALID_HANDLE;
    }

    if (arguments == nullptr || extra != nullptr || shared > static_cast<unsigned>(function.shared_limit) || grid_x == 0 || grid_y == 0 || grid_z == 0 ||
        grid_y > 65535 || grid_z > 65535 || block_x * block_y * block_z == 0 || block_x * block_y * block_z > 1024)
    {
        return fail(CUDA_ERROR_INVALID_VALUE, std::string(function.kernel->name) + ": a launch with " + std::to_string(grid_x) + " x " + std::to_string(grid_y) + " x " +
                                                  std::to_string(grid_z) + " blocks of " + std::to_string(block_x * block_y * block_z) + " threads and " +
                                                  std::to_string(shared) + " bytes of shared memory (limit " + std::to_string(function.shared_limit) + ")");
    }

    const auto* bytes = static_cast<const unsigned char*>(arguments[0]);
    std::vector<unsigned char> argument(bytes, bytes + function.kernel->argument_bytes);
    Index3 grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
    return enqueue(stream, {[=, argument = std::move(argument)] { return launch(function, grid, block, shared, argument); }, true});
}

LLSPEC_EXPORT CUresult cuLaunchHostFunc(void* handle, void (*body)(void*), void* data)
{
    Call call;
    Stream* stream = resolve_stream(handle);
    if (call.status != CUDA_SUCCESS || stream == nullptr)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    return enqueue(stream, {[=] {
        body(data);
        return CUDA_SUCCESS;
    }});
}

LLSPEC_EXPORT CUresult cuStreamCreate(void** handle, unsigned)
{
    Call call;
    if (call.status != CUDA_SUCCESS)
    {
        return call.status;
    }

    *handle = new Stream;
    driver().streams.insert(*handle);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuStreamCreateWithPriority(void** handle, unsigned flags, int) { return cuStreamCreate(handle, flags); }

LLSPEC_EXPORT CUresult cuStreamDestroy_v2(void* handle)
{
    Call call(false);
    if (driver().streams.count(handle) == 0)
    {
        return CUDA_ERROR_INVALID_HANDLE;
    }

    auto* stream = static_cast<Stream*>(handle);
    CUresult status = driver().sticky != CUDA_SUCCESS ? driver().sticky : drain(stream);
    for (void* event : driver().events)
    {
        // The stream's work is done, so whoever waits for its events has nothing to wait for.
        auto* recorded = static_cast<Event*>(event);
        recorded->stream = recorded->stream == stream ? nullptr : recorded->stream;
    }

    driver().streams.erase(handle);
    delete stream;
    return status;
}

LLSPEC_EXPORT CUresult cuStreamSynchronize(void* handle)
{
    Call call;
    Stream* stream = resolve_stream(handle);
    note_wait();
    if (call.status != CUDA_SUCCESS || stream == nullptr)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    return stream->capture != nullptr ? fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "a stream that captures is waited for") : drain(stream);
}

// Work that was asked about is done: a device that is never late would hide nothing here, and a host that polls would never end.
LLSPEC_EXPORT CUresult cuStreamQuery(void* handle) { return cuStreamSynchronize(handle); }

LLSPEC_EXPORT CUresult cuEventCreate(void** handle, unsigned)
{
    Call call;
    if (call.status != CUDA_SUCCESS)
    {
        return call.status;
    }

    *handle = new Event;
    driver().events.insert(*handle);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuEventDestroy_v2(void* handle)
{
    Call call(false);
    if (driver().events.erase(handle) == 0)
    {
        return CUDA_ERROR_INVALID_HANDLE;
    }

    delete static_cast<Event*>(handle);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuEventRecord(void* handle, void* stream_handle)
{
    Call call;
    Stream* stream = resolve_stream(stream_handle);
    if (call.status != CUDA_SUCCESS || stream == nullptr || driver().events.count(handle) == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    *static_cast<Event*>(handle) = {stream, stream->issued, stream->capture};
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuEventSynchronize(void* handle)
{
    Call call;
    note_wait();
    if (call.status != CUDA_SUCCESS || driver().events.count(handle) == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    const auto* event = static_cast<Event*>(handle);
    if (event->capture != nullptr)
    {
        return fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "an event recorded in a capture is waited for");
    }

    return event->stream == nullptr ? CUDA_SUCCESS : drain(event->stream, event->position);
}

LLSPEC_EXPORT CUresult cuEventQuery(void* handle) { return cuEventSynchronize(handle); }

LLSPEC_EXPORT CUresult cuEventElapsedTime(float* milliseconds, void* first, void* second)
{
    // There is no time on a device that stands still until it is waited for.
    *milliseconds = 0;
    CUresult status = cuEventSynchronize(first);
    return status == CUDA_SUCCESS ? cuEventSynchronize(second) : status;
}

LLSPEC_EXPORT CUresult cuStreamWaitEvent(void* stream_handle, void* handle, unsigned)
{
    Call call;
    Stream* stream = resolve_stream(stream_handle);
    if (call.status != CUDA_SUCCESS || stream == nullptr || driver().events.count(handle) == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    const Event event = *static_cast<Event*>(handle);
    if (event.capture != nullptr)
    {
        // The stream joins the capture; nodes run in the order of their calls, which respects every such edge.
        stream->capture = event.capture;
        return CUDA_SUCCESS;
    }

    if (event.stream == nullptr)
    {
        return CUDA_SUCCESS;
    }

    return enqueue(stream, {[=] { return driver().streams.count(event.stream) == 0 && event.stream != &driver().default_stream ? CUDA_SUCCESS : drain(event.stream, event.position); }});
}
