// The device the tests run on, through the driver API: the emulated one that is linked in, or any driver library (--driver libcuda.so.1 --module FILE).
#pragma once

#include "../include/llspec_emulated.h"
#include "../include/llspec_kernels.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

// A driver call that failed.
struct DeviceError : std::runtime_error
{
    using std::runtime_error::runtime_error;
};

class Device
{
public:
    // Opens the device; empty strings mean the emulated one.
    static void open(const std::string& driver_library, const std::string& module_file);

    static bool is_emulated();

    static std::uint64_t allocate(std::size_t bytes);
    static void release(std::uint64_t address);
    static void write(std::uint64_t address, const void* from, std::size_t bytes);
    static void read(void* to, std::uint64_t address, std::size_t bytes);
    static void fill(std::uint64_t address, unsigned char value, std::size_t bytes);

    // Runs a kernel to its end. Throws DeviceError.
    static void launch_bytes(const char* name, const void* argument, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block, unsigned shared);

    // After a failed launch: gives the context back and opens a new one. Emulated device only; memory stays.
    static void recover();

    // What the emulated device says of the last failed launch.
    static std::string error();

    // Seed of the emulated device's order of threads, poison on; on a real device nothing.
    static void order(std::uint64_t seed);
};

struct Grid
{
    int x, y = 1, z = 1;
};

template <class Argument>
void launch(const char* name, const Argument& argument, Grid grid, int block, int shared = 0)
{
    Device::launch_bytes(name, &argument, static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z), static_cast<unsigned>(block),
                         static_cast<unsigned>(shared));
}

// Device memory of exactly the size asked for; without values it holds NaN (0xFF bytes).
template <class T>
class Buffer
{
public:
    explicit Buffer(std::size_t length) : _length(length), _address(Device::allocate(length * sizeof(T))) { Device::fill(_address, 0xFF, length * sizeof(T)); }

    explicit Buffer(const std::vector<T>& values) : _length(values.size()), _address(Device::allocate(values.size() * sizeof(T))) { write(values); }

    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    ~Buffer() { Device::release(_address); }

    T* data() const { return reinterpret_cast<T*>(_address); }

    std::size_t length() const { return _length; }

    void write(const std::vector<T>& values) { Device::write(_address, values.data(), values.size() * sizeof(T)); }

    std::vector<T> read() const
    {
        std::vector<T> values(_length);
        Device::read(values.data(), _address, _length * sizeof(T));
        return values;
    }

private:
    std::size_t _length;
    std::uint64_t _address;
};
