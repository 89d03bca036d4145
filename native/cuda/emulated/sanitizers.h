// What fibers must tell the address and the thread sanitizer. The runtime itself is compiled without either and told by a define which one the kernels run under;
// without them everything here is empty.
#pragma once

#include <cstddef>

#if defined(LLSPEC_WITH_ADDRESS_SANITIZER)
#define LLSPEC_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(LLSPEC_WITH_THREAD_SANITIZER)
#define LLSPEC_TSAN 1
extern "C"
{
    void* __tsan_get_current_fiber();
    void* __tsan_create_fiber(unsigned flags);
    void __tsan_switch_to_fiber(void* fiber, unsigned flags);
    void __tsan_acquire(void* address);
    void __tsan_release(void* address);
    void __tsan_read_range(void* address, unsigned long bytes);
    void __tsan_write_range(void* address, unsigned long bytes);
}
#endif

namespace llspec_emulated
{
struct SanitizerFiber
{
    const void* stack = nullptr;
    std::size_t bytes = 0;
    void* fake_stack = nullptr;
    void* thread = nullptr;
};

inline void adopt_thread([[maybe_unused]] SanitizerFiber& fiber)
{
#if LLSPEC_TSAN
    fiber.thread = __tsan_get_current_fiber();
#endif
}

inline void create_sanitizer_fiber([[maybe_unused]] SanitizerFiber& fiber, [[maybe_unused]] const void* stack, [[maybe_unused]] std::size_t bytes)
{
#if LLSPEC_ASAN
    // A fiber that was abandoned leaves marks of its frames.
    __asan_unpoison_memory_region(stack, bytes);
    fiber = {stack, bytes, nullptr, nullptr};
#endif
#if LLSPEC_TSAN
    // Kept from launch to launch: making one is dear.
    fiber.thread = fiber.thread == nullptr ? __tsan_create_fiber(0) : fiber.thread;
#endif
}

// Called on the stack that is left.
inline void before_switch([[maybe_unused]] SanitizerFiber& from, [[maybe_unused]] SanitizerFiber& to)
{
#if LLSPEC_ASAN
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.bytes);
#endif
#if LLSPEC_TSAN
    // Flag 1: the switch itself orders nothing; only barriers do.
    __tsan_switch_to_fiber(to.thread, 1);
#endif
}

// Called on the stack that was come to; learns where the other one lies.
inline void after_switch([[maybe_unused]] SanitizerFiber& here, [[maybe_unused]] SanitizerFiber& from)
{
#if LLSPEC_ASAN
    __sanitizer_finish_switch_fiber(here.fake_stack, &from.stack, &from.bytes);
#endif
}

inline void acquire([[maybe_unused]] void* address)
{
#if LLSPEC_TSAN
    __tsan_acquire(address);
#endif
}

inline void release([[maybe_unused]] void* address)
{
#if LLSPEC_TSAN
    __tsan_release(address);
#endif
}

inline void note_write([[maybe_unused]] void* address, [[maybe_unused]] std::size_t bytes)
{
#if LLSPEC_TSAN
    __tsan_write_range(address, bytes);
#endif
}

inline void hide([[maybe_unused]] void* address, [[maybe_unused]] std::size_t bytes)
{
#if LLSPEC_ASAN
    __asan_poison_memory_region(address, bytes);
#endif
}

inline void show([[maybe_unused]] void* address, [[maybe_unused]] std::size_t bytes)
{
#if LLSPEC_ASAN
    __asan_unpoison_memory_region(address, bytes);
#endif
}
}
