// Capture and replay.
#include "driver.h"

#include <utility>

namespace llspec_emulated
{
namespace
{
CUresult end_capture(Stream* stream, Graph** graph)
{
    *graph = stream->capture;
    for (void* handle : driver().streams)
    {
        auto* other = static_cast<Stream*>(handle);
        other->capture = other->capture == *graph ? nullptr : other->capture;
    }

    stream->captures_first = false;
    return CUDA_SUCCESS;
}
}
}

using namespace llspec_emulated;

LLSPEC_EXPORT CUresult cuStreamBeginCapture_v2(void* handle, int)
{
    Call call;
    Stream* stream = handle == nullptr ? nullptr : resolve_stream(handle);
    if (call.status != CUDA_SUCCESS || stream == nullptr)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }

    if (stream->capture != nullptr)
    {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }

    stream->capture = new Graph;
    stream->captures_first = true;
    driver().graphs.insert(stream->capture);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuStreamEndCapture(void* handle, void** graph)
{
    Call call;
    Stream* stream = resolve_stream(handle);
    if (call.status != CUDA_SUCCESS || stream == nullptr)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    if (!stream->captures_first)
    {
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }

    return end_capture(stream, reinterpret_cast<Graph**>(graph));
}

LLSPEC_EXPORT CUresult cuStreamIsCapturing(void* handle, int* status)
{
    Call call;
    Stream* stream = resolve_stream(handle);
    *status = stream != nullptr && stream->capture != nullptr ? 1 : 0;
    return call.status;
}

LLSPEC_EXPORT CUresult cuGraphCreate(void** graph, unsigned)
{
    Call call;
    *graph = new Graph;
    driver().graphs.insert(*graph);
    return call.status;
}

LLSPEC_EXPORT CUresult cuGraphDestroy(void* graph)
{
    Call call(false);
    if (driver().graphs.erase(graph) == 0)
    {
        return CUDA_ERROR_INVALID_HANDLE;
    }

    delete static_cast<Graph*>(graph);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuGraphGetNodes(void* graph, void** nodes, std::size_t* count)
{
    Call call;
    if (call.status != CUDA_SUCCESS || driver().graphs.count(graph) == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    auto& all = static_cast<Graph*>(graph)->nodes;
    for (std::size_t i = 0; nodes != nullptr && i < *count && i < all.size(); i++)
    {
        nodes[i] = &all[i];
    }

    *count = nodes == nullptr || *count > all.size() ? all.size() : *count;
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long)
{
    Call call;
    if (call.status != CUDA_SUCCESS || driver().graphs.count(graph) == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    *exec = new GraphExec{std::make_shared<const std::vector<Operation>>(static_cast<Graph*>(graph)->nodes)};
    driver().execs.insert(*exec);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuGraphInstantiate_v2(void** exec, void* graph, void**, char*, std::size_t) { return cuGraphInstantiateWithFlags(exec, graph, 0); }

LLSPEC_EXPORT CUresult cuGraphExecDestroy(void* exec)
{
    Call call(false);
    if (driver().execs.count(exec) == 0)
    {
        return CUDA_ERROR_INVALID_HANDLE;
    }

    // A launch that is still queued holds what it needs itself.
    driver().execs.erase(exec);
    delete static_cast<GraphExec*>(exec);
    return CUDA_SUCCESS;
}

LLSPEC_EXPORT CUresult cuGraphUpload(void* exec, void*)
{
    Call call;
    return call.status != CUDA_SUCCESS || driver().execs.count(exec) != 0 ? call.status : CUDA_ERROR_INVALID_HANDLE;
}

LLSPEC_EXPORT CUresult cuGraphLaunch(void* exec, void* handle)
{
    Call call;
    Stream* stream = resolve_stream(handle);
    if (call.status != CUDA_SUCCESS || stream == nullptr || driver().execs.count(exec) == 0)
    {
        return call.status != CUDA_SUCCESS ? call.status : CUDA_ERROR_INVALID_HANDLE;
    }

    driver().counts.graph_launches++;
    return enqueue(stream, {[nodes = static_cast<GraphExec*>(exec)->nodes] {
        for (const Operation& node : *nodes)
        {
            CUresult status = node.run();
            if (status != CUDA_SUCCESS)
            {
                return status;
            }
        }

        return CUDA_SUCCESS;
    }});
}
