// The emulated driver's objects. The exported functions carry the CUDA driver API's names and signatures; the subset is what src/Interop binds.
//
// Streams are lazy: work is queued and runs when somebody waits for it (a synchronisation, a synchronous copy, freed memory). That is as late as a device may
// be, so a host that reads a result too early, or changes a source too early, meets the mistake in every run.
#pragma once

#include "../include/llspec_emulated.h"
#include "registry.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define LLSPEC_EXPORT extern "C" __attribute__((visibility("default")))

enum CUresult : int
{
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_LAUNCH_FAILED = 719,
    CUDA_ERROR_NOT_SUPPORTED = 801,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903,
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906
};

using CUdeviceptr = std::uint64_t;
using CUdevice = int;

namespace llspec_emulated
{
struct Graph;

// Work on a stream, or a node of a graph.
struct Operation
{
    std::function<CUresult()> run;
    bool is_kernel = false;
};

struct Context
{
    int references = 0;
    bool primary = false;
};

struct Module
{
};

struct Function
{
    const Kernel* kernel;
    int shared_limit; // dynamic shared memory a launch may ask for
};

struct Stream
{
    std::deque<Operation> queue;
    std::uint64_t issued = 0, done = 0;
    Graph* capture = nullptr;
    bool captures_first = false; // began the capture that others joined
};

struct Event
{
    Stream* stream = nullptr; // of the last record; null: never recorded
    std::uint64_t position = 0;
    Graph* capture = nullptr;
};

struct Graph
{
    std::vector<Operation> nodes;
};

struct GraphExec
{
    std::shared_ptr<const std::vector<Operation>> nodes; // shared with launches under way
};

struct Driver
{
    std::recursive_mutex lock;
    bool initialised = false;
    CUresult sticky = CUDA_SUCCESS;
    std::string error;
    Context primary{0, true};
    Stream default_stream;
    std::set<void*> contexts, modules, streams, events, graphs, execs, cublas;
    std::map<std::string, Function> functions;
    std::map<std::uint64_t, std::size_t> device_memory, host_memory;
    std::size_t device_bytes = 0, host_bytes = 0, capacity = 0;
    LlspecEmulatedCounts counts{};
};

Driver& driver();

// Holds the driver's lock; `status` is why the call cannot go on (not initialised, no context, an earlier launch failed).
class Call
{
public:
    explicit Call(bool needs_context = true);
    CUresult status;

private:
    std::lock_guard<std::recursive_mutex> _hold;
};

Context*& current_context();

// The stream a handle means; null is the default stream. Null pointer where the handle is dead.
Stream* resolve_stream(void* handle);

// Queues work, or records it where the stream captures.
CUresult enqueue(Stream* stream, Operation operation);

// Runs a stream's work up to a position, or all of it.
CUresult drain(Stream* stream, std::uint64_t until = ~std::uint64_t{0});

// Runs everything. Fails where a stream captures: a wait inside a capture is a mistake.
CUresult drain_all();

// Counts a call in which the host waits.
void note_wait();

// Whether [address, address + bytes) lies in one allocation of the device.
bool is_device_range(CUdeviceptr address, std::size_t bytes);

// Finds writes beyond an allocation; names the allocation in the driver's error.
CUresult check_guards();

CUresult fail(CUresult status, std::string what);
}
