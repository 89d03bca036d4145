#include "device.h"

#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <map>

namespace
{
struct Api
{
    int (*init)(unsigned);
    int (*device_get)(int*, int);
    int (*retain)(void**, int);
    int (*set_current)(void*);
    int (*load)(void**, const void*);
    int (*function)(void**, void*, const char*);
    int (*set_attribute)(void*, int, int);
    int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
    int (*synchronize)();
    int (*allocate)(std::uint64_t*, std::size_t);
    int (*release)(std::uint64_t);
    int (*to_device)(std::uint64_t, const void*, std::size_t);
    int (*to_host)(void*, std::uint64_t, std::size_t);
    int (*fill)(std::uint64_t, unsigned char, std::size_t);
    int (*error_text)(int, const char**);
    int (*release_context)(int);
    void (*configure)(unsigned long long, int); // emulated device only
    const char* (*emulated_error)();
};

Api api;
void* module_handle;
std::map<std::string, void*> functions;

constexpr int MaxDynamicShared = 8;
constexpr unsigned PlainShared = 48 << 10;

template <class T>
void bind(T*& function, void* library, const char* name, bool optional = false)
{
    function = reinterpret_cast<T*>(dlsym(library, name));
    if (function == nullptr && !optional)
    {
        throw DeviceError(std::string("the driver library lacks ") + name);
    }
}

void check(int status, const std::string& what)
{
    if (status != 0)
    {
        const char* text = nullptr;
        api.error_text(status, &text);
        throw DeviceError(what + ": error " + std::to_string(status) + ", " + (text == nullptr ? "unknown" : text));
    }
}
}

void Device::open(const std::string& driver_library, const std::string& module_file)
{
    void* library = dlopen(driver_library.empty() ? nullptr : driver_library.c_str(), RTLD_NOW);
    if (library == nullptr)
    {
        throw DeviceError(driver_library + " can't be loaded: is a CUDA driver installed?");
    }

    bind(api.init, library, "cuInit");
    bind(api.device_get, library, "cuDeviceGet");
    bind(api.retain, library, "cuDevicePrimaryCtxRetain");
    bind(api.set_current, library, "cuCtxSetCurrent");
    bind(api.load, library, "cuModuleLoadData");
    bind(api.function, library, "cuModuleGetFunction");
    bind(api.set_attribute, library, "cuFuncSetAttribute");
    bind(api.launch, library, "cuLaunchKernel");
    bind(api.synchronize, library, "cuCtxSynchronize");
    bind(api.allocate, library, "cuMemAlloc_v2");
    bind(api.release, library, "cuMemFree_v2");
    bind(api.to_device, library, "cuMemcpyHtoD_v2");
    bind(api.to_host, library, "cuMemcpyDtoH_v2");
    bind(api.fill, library, "cuMemsetD8_v2");
    bind(api.error_text, library, "cuGetErrorString");
    bind(api.release_context, library, "cuDevicePrimaryCtxRelease_v2");
    bind(api.configure, library, "llspec_emulated_configure", true);
    bind(api.emulated_error, library, "llspec_emulated_error", true);

    std::string image = "emulated";
    if (!module_file.empty())
    {
        std::ifstream file(module_file, std::ios::binary);
        image.assign(std::istreambuf_iterator<char>(file), {});
    }

    int device = 0;
    void* context = nullptr;
    check(api.init(0), "cuInit");
    check(api.device_get(&device, 0), "cuDeviceGet");
    check(api.retain(&context, device), "cuDevicePrimaryCtxRetain");
    check(api.set_current(context), "cuCtxSetCurrent");
    check(api.load(&module_handle, image.c_str()), "cuModuleLoadData");
}

bool Device::is_emulated() { return api.configure != nullptr; }

std::uint64_t Device::allocate(std::size_t bytes)
{
    std::uint64_t address = 0;
    check(api.allocate(&address, bytes == 0 ? 1 : bytes), "cuMemAlloc");
    return address;
}

// After a failed launch nothing can be freed; the next test sees that failure, not this one.
void Device::release(std::uint64_t address) { api.release(address); }

void Device::write(std::uint64_t address, const void* from, std::size_t bytes) { check(bytes == 0 ? 0 : api.to_device(address, from, bytes), "cuMemcpyHtoD"); }

void Device::read(void* to, std::uint64_t address, std::size_t bytes) { check(bytes == 0 ? 0 : api.to_host(to, address, bytes), "cuMemcpyDtoH"); }

void Device::fill(std::uint64_t address, unsigned char value, std::size_t bytes) { check(bytes == 0 ? 0 : api.fill(address, value, bytes), "cuMemsetD8"); }

void Device::launch_bytes(const char* name, const void* argument, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block, unsigned shared)
{
    void*& function = functions[name];
    if (function == nullptr)
    {
        check(api.function(&function, module_handle, name), name);
    }

    if (shared > PlainShared)
    {
        check(api.set_attribute(function, MaxDynamicShared, static_cast<int>(shared)), name);
    }

    void* arguments[] = {const_cast<void*>(argument)};
    check(api.launch(function, grid_x, grid_y, grid_z, block, 1, 1, shared, nullptr, arguments, nullptr), name);
    check(api.synchronize(), name);
}

void Device::recover()
{
    void* context = nullptr;
    check(api.release_context(0), "cuDevicePrimaryCtxRelease");
    check(api.retain(&context, 0), "cuDevicePrimaryCtxRetain");
    check(api.set_current(context), "cuCtxSetCurrent");
}

std::string Device::error() { return api.emulated_error == nullptr ? "" : api.emulated_error(); }

void Device::order(std::uint64_t seed)
{
    if (api.configure != nullptr)
    {
        api.configure(seed, 1);
    }
}
