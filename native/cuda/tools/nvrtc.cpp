// Compiles a CUDA source with NVRTC, which needs no host compiler, no headers and no GPU: llspec-nvrtc SOURCE ARCHITECTURE OUTPUT (compute_90: PTX; sm_90: cubin).
// What the assembler says of registers, spills and shared memory goes to standard output.
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace
{
// NVRTC's interface, as far as it is used here; names and signatures are NVIDIA's.
struct Nvrtc
{
    int (*create)(void**, const char*, const char*, int, const char* const*, const char* const*);
    int (*compile)(void*, int, const char* const*);
    int (*log_size)(void*, std::size_t*);
    int (*log)(void*, char*);
    int (*ptx_size)(void*, std::size_t*);
    int (*ptx)(void*, char*);
    int (*cubin_size)(void*, std::size_t*);
    int (*cubin)(void*, char*);
};

template <class T>
bool bind(T*& function, void* library, const char* name)
{
    function = reinterpret_cast<T*>(dlsym(library, name));
    return function != nullptr;
}

bool open(Nvrtc& nvrtc)
{
    void* library = nullptr;
    for (const char* name : {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"})
    {
        library = library != nullptr ? library : dlopen(name, RTLD_NOW);
    }

    return library != nullptr && bind(nvrtc.create, library, "nvrtcCreateProgram") && bind(nvrtc.compile, library, "nvrtcCompileProgram") &&
           bind(nvrtc.log_size, library, "nvrtcGetProgramLogSize") && bind(nvrtc.log, library, "nvrtcGetProgramLog") &&
           bind(nvrtc.ptx_size, library, "nvrtcGetPTXSize") && bind(nvrtc.ptx, library, "nvrtcGetPTX") && bind(nvrtc.cubin_size, library, "nvrtcGetCUBINSize") &&
           bind(nvrtc.cubin, library, "nvrtcGetCUBIN");
}

int fail(const std::string& what)
{
    std::fprintf(stderr, "llspec-nvrtc: %s\n", what.c_str());
    return 1;
}
}

int main(int count, char** values)
{
    if (count != 4)
    {
        return fail("usage: llspec-nvrtc SOURCE ARCHITECTURE OUTPUT");
    }

    Nvrtc nvrtc{};
    if (!open(nvrtc))
    {
        return fail("NVRTC is not installed (Debian: libnvrtc11.2 and libnvrtc-builtins11.8, component non-free)");
    }

    std::string source = values[1], architecture = values[2];
    std::ifstream file(source);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text.empty())
    {
        return fail(source + " can't be read");
    }

    auto slash = source.rfind('/');
    std::string include = "--include-path=" + (slash == std::string::npos ? "." : source.substr(0, slash)), arch = "--gpu-architecture=" + architecture;
    const char* options[] = {arch.c_str(), include.c_str(), "--std=c++17", "--generate-line-info", "--ptxas-options=-v", "--device-as-default-execution-space"};
    void* program = nullptr;
    if (nvrtc.create(&program, text.c_str(), source.c_str(), 0, nullptr, nullptr) != 0)
    {
        return fail("NVRTC refuses " + source);
    }

    int status = nvrtc.compile(program, sizeof options / sizeof *options, options);
    std::size_t size = 0;
    nvrtc.log_size(program, &size);
    std::string log(size, ' ');
    nvrtc.log(program, log.data());
    std::printf("%s\n", log.c_str());
    if (status != 0)
    {
        return fail(source + " does not compile for " + architecture);
    }

    bool is_cubin = architecture.rfind("sm_", 0) == 0;
    (is_cubin ? nvrtc.cubin_size : nvrtc.ptx_size)(program, &size);
    std::vector<char> code(size);
    (is_cubin ? nvrtc.cubin : nvrtc.ptx)(program, code.data());
    std::ofstream output(values[3], std::ios::binary);
    output.write(code.data(), static_cast<std::streamsize>(code.size() - (is_cubin ? 0 : 1)));
    output.close();
    return output ? 0 : fail(std::string(values[3]) + " can't be written");
}
