#include "block.h"

#include "context.h"
#include "sanitizers.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <sys/mman.h>
#include <vector>

namespace llspec_emulated
{
Index3 thread_index, block_index, block_size, grid_size;

namespace
{
#if LLSPEC_ASAN || LLSPEC_TSAN
constexpr std::size_t StackBytes = 256 << 10;
#else
constexpr std::size_t StackBytes = 64 << 10;
#endif
constexpr std::size_t MostThreads = 1024;
constexpr std::size_t SharedGuard = 64;
constexpr unsigned char GuardByte = 0xA5;

enum class State
{
    Ready,
    AtBarrier,
    AtCollective,
    Done
};

struct PendingCopy
{
    void* shared;
    const void* global;
    int source_bytes;
    int group;
};

struct Fiber
{
    Context context = nullptr;
    State state = State::Done;
    Index3 thread{};
    Collective collective{};
    void* payload = nullptr;
    int group = 0; // of copies, counted by commits
    std::vector<PendingCopy> copies;
    SanitizerFiber sanitizer;
};

struct Random
{
    std::uint64_t state;

    std::uint32_t below(std::uint32_t bound)
    {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<std::uint32_t>(((state >> 32) * bound) >> 32);
    }
};

struct Warp
{
    int arrived = 0;
    void (*apply)(void* const*) = nullptr;
    int round = 0;
    char sync[2]{}; // addresses that the thread sanitizer knows this warp's synchronisation by; see Machine::barrier_sync
};

// One launch at a time: the driver holds its lock around run().
struct Machine
{
    unsigned char* stacks = nullptr;
    std::vector<Fiber> fibers{MostThreads};
    std::vector<Warp> warps{MostThreads / 32};
    std::vector<int> ready;
    Context scheduler = nullptr;
    SanitizerFiber scheduler_sanitizer;
    int current = -1;
    int threads = 0, at_barrier = 0, done = 0;
    Random random{1};
    bool shuffle = false;
    unsigned char* shared = nullptr;
    const Launch* launch = nullptr;
    std::string error;

    // Addresses that the thread sanitizer knows orderings by. Barriers take turns between two: a thread that leaves one late must not learn what others did on
    // their way to the next, or that would look ordered.
    int barrier_round = 0;
    char barrier_sync[2]{}, start_sync = 0, end_sync = 0;
};

Machine machine;
std::uint64_t launches;

std::string where()
{
    return std::string(machine.launch->name) + ", block (" + std::to_string(block_index.x) + ", " + std::to_string(block_index.y) + ", " +
           std::to_string(block_index.z) + ")";
}

void leave(State state)
{
    Fiber& fiber = machine.fibers[machine.current];
    fiber.state = state;
    before_switch(fiber.sanitizer, machine.scheduler_sanitizer);
    switch_context(&fiber.context, machine.scheduler);
    after_switch(fiber.sanitizer, machine.scheduler_sanitizer);
}

void fiber_entry()
{
    Fiber& fiber = machine.fibers[machine.current];
    after_switch(fiber.sanitizer, machine.scheduler_sanitizer);

    // A fiber serves one thread of each block of the launch in turn.
    while (true)
    {
        acquire(&machine.start_sync);
        machine.launch->invoke(machine.launch->argument);
        release(&machine.end_sync);
        if (!fiber.copies.empty())
        {
            machine.error = "a thread of " + where() + " ends with an asynchronous copy under way";
        }

        machine.done++;
        leave(State::Done);
    }
}

void make_ready(int fiber)
{
    machine.fibers[fiber].state = State::Ready;
    machine.ready.push_back(fiber);
}

// Takes the next fiber to run: any ready one, or the longest ready one.
int take_ready()
{
    auto at = machine.shuffle ? machine.random.below(static_cast<std::uint32_t>(machine.ready.size())) : 0;
    int fiber = machine.ready[at];
    if (machine.shuffle)
    {
        machine.ready[at] = machine.ready.back();
        machine.ready.pop_back();
    }
    else
    {
        machine.ready.erase(machine.ready.begin());
    }

    return fiber;
}

void start_threads()
{
    machine.ready.clear();
    machine.at_barrier = machine.done = 0;
    for (int i = 0; i < machine.threads; i++)
    {
        Fiber& fiber = machine.fibers[i];
        auto linear = static_cast<unsigned>(i);
        fiber.thread = {linear % block_size.x, linear / block_size.x % block_size.y, linear / block_size.x / block_size.y};
        fiber.group = 0;
        fiber.copies.clear();
        make_ready(i);
    }

    for (int i = 0; i < machine.threads / 32; i++)
    {
        machine.warps[i].arrived = 0;
    }
}

std::string describe_deadlock()
{
    int collective = 0;
    for (int i = 0; i < machine.threads; i++)
    {
        collective += machine.fibers[i].state == State::AtCollective ? 1 : 0;
    }

    return where() + " stands still: " + std::to_string(machine.at_barrier) + " threads wait at a barrier, " + std::to_string(collective) +
           " in a warp collective, " + std::to_string(machine.done) + " have ended";
}

void run_block()
{
    start_threads();
    while (machine.done < machine.threads && machine.error.empty())
    {
        if (machine.ready.empty())
        {
            machine.error = describe_deadlock();
            return;
        }

        machine.current = take_ready();
        Fiber& fiber = machine.fibers[machine.current];
        thread_index = fiber.thread;
        before_switch(machine.scheduler_sanitizer, fiber.sanitizer);
        switch_context(&machine.scheduler, fiber.context);
        after_switch(machine.scheduler_sanitizer, fiber.sanitizer);
    }
}

void create_fibers()
{
    if (machine.stacks == nullptr)
    {
        // Touched lazily; stays for the process's life.
        void* memory = mmap(nullptr, StackBytes * MostThreads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
        {
            machine.error = "no memory for the threads' stacks";
            return;
        }

        machine.stacks = static_cast<unsigned char*>(memory);
    }

    adopt_thread(machine.scheduler_sanitizer);

    for (int i = 0; i < machine.threads; i++)
    {
        Fiber& fiber = machine.fibers[i];
        free_context(fiber.context);
        unsigned char* stack = machine.stacks + (static_cast<std::size_t>(i) * StackBytes);
        create_sanitizer_fiber(fiber.sanitizer, stack, StackBytes);
        fiber.context = make_context(stack, StackBytes, fiber_entry);
    }
}

std::string check(const Launch& launch)
{
    std::size_t threads = static_cast<std::size_t>(launch.block.x) * launch.block.y * launch.block.z;
    bool empty = launch.grid.x == 0 || launch.grid.y == 0 || launch.grid.z == 0;
    if (threads == 0 || threads > MostThreads || threads % 32 != 0 || empty)
    {
        return std::string(launch.name) + ": a block needs 32..1024 threads, a multiple of 32, and a grid at least one block";
    }

    return {};
}
}

Options& options()
{
    static Options instance = [] {
        Options fresh;
        if (const char* seed = std::getenv("LLSPEC_EMULATED_SEED"))
        {
            fresh.seed = std::strtoull(seed, nullptr, 10);
        }

        if (const char* poison = std::getenv("LLSPEC_EMULATED_POISON"))
        {
            fresh.poison = std::strcmp(poison, "0") != 0;
        }

        return fresh;
    }();
    return instance;
}

std::string run(const Launch& launch)
{
    if (std::string problem = check(launch); !problem.empty())
    {
        return problem;
    }

    machine.launch = &launch;
    machine.error.clear();
    machine.threads = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
    machine.shuffle = options().seed != 0;
    machine.random.state = (options().seed * 0x9E3779B97F4A7C15ull) ^ (++launches * 0xD1B54A32D192ED03ull) ^ 1;
    grid_size = launch.grid;
    block_size = launch.block;
    create_fibers();

    // Exactly as large as asked for, so that the address sanitizer sees a step beyond; without it the guard does.
    std::vector<unsigned char> shared(launch.shared_bytes + SharedGuard + 16);
    machine.shared = reinterpret_cast<unsigned char*>((reinterpret_cast<std::uintptr_t>(shared.data()) + 15) & ~std::uintptr_t{15});
    unsigned char* guard = machine.shared + launch.shared_bytes;
    std::size_t guard_bytes = static_cast<std::size_t>(shared.data() + shared.size() - guard);
    std::memset(guard, GuardByte, guard_bytes);

    std::vector<std::uint64_t> order(static_cast<std::size_t>(launch.grid.x) * launch.grid.y * launch.grid.z);
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); machine.shuffle && i > 1; i--)
    {
        std::swap(order[i - 1], order[machine.random.below(static_cast<std::uint32_t>(i))]);
    }

    for (std::size_t i = 0; i < order.size() && machine.error.empty(); i++)
    {
        block_index = {static_cast<unsigned>(order[i] % launch.grid.x), static_cast<unsigned>(order[i] / launch.grid.x % launch.grid.y),
                       static_cast<unsigned>(order[i] / launch.grid.x / launch.grid.y)};
        if (options().poison)
        {
            std::memset(machine.shared, 0xFF, launch.shared_bytes);
        }

        // Blocks are not raced against each other: what one writes the next may read, as it happens to run later.
        release(&machine.start_sync);
        hide(guard, guard_bytes);
        run_block();
        show(guard, guard_bytes);
        acquire(&machine.end_sync);
        if (machine.error.empty() && !std::all_of(guard, guard + guard_bytes, [](unsigned char byte) { return byte == GuardByte; }))
        {
            machine.error = where() + " wrote beyond its " + std::to_string(launch.shared_bytes) + " bytes of shared memory";
        }
    }

    machine.shared = nullptr;
    return machine.error;
}

unsigned char* dynamic_shared() { return machine.shared; }

void barrier()
{
    char* sync = &machine.barrier_sync[machine.barrier_round & 1];
    release(sync);
    if (++machine.at_barrier < machine.threads)
    {
        leave(State::AtBarrier);
    }
    else
    {
        // The last one to come lets all others go and queues up itself, so that it has no head start.
        machine.at_barrier = 0;
        machine.barrier_round++;
        for (int i = 0; i < machine.threads; i++)
        {
            make_ready(i);
        }

        leave(State::Ready);
    }

    acquire(sync);
}

void warp_collective(Collective kind, void* payload, void (*apply)(void* const*))
{
    Fiber& fiber = machine.fibers[machine.current];
    int first = machine.current & ~31;
    Warp& warp = machine.warps[machine.current / 32];
    fiber.collective = kind;
    fiber.payload = payload;

    // Shuffles and matrix products exchange registers; only __syncwarp orders memory.
    char* sync = &warp.sync[warp.round & 1];
    if (kind == Collective::SyncWarp)
    {
        release(sync);
    }

    if (++warp.arrived < 32)
    {
        warp.apply = apply;
        leave(State::AtCollective);
    }
    else
    {
        void* payloads[32];
        for (int i = 0; i < 32; i++)
        {
            Fiber& other = machine.fibers[first + i];
            if (other.collective != kind || (i > 0 && warp.apply != apply))
            {
                trap("lanes of one warp meet in different collectives");
            }

            payloads[i] = other.payload;
        }

        apply(payloads);
        warp.arrived = 0;
        warp.round++;
        for (int i = 0; i < 32; i++)
        {
            make_ready(first + i);
        }

        leave(State::Ready);
    }

    if (kind == Collective::SyncWarp)
    {
        acquire(sync);
    }
}

void copy_async_16(void* shared, const void* global, int source_bytes)
{
    auto* to = static_cast<unsigned char*>(shared);
    if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 || (source_bytes > 0 && reinterpret_cast<std::uintptr_t>(global) % 16 != 0))
    {
        trap("an asynchronous copy of 16 bytes is not aligned to 16");
    }

    note_write(shared, 16);
    if (options().poison)
    {
        std::memset(to, 0xFF, 16);
    }

    Fiber& fiber = machine.fibers[machine.current];
    fiber.copies.push_back({shared, global, source_bytes, fiber.group});
}

void copy_async_commit() { machine.fibers[machine.current].group++; }

void copy_async_wait(int groups_in_flight)
{
    Fiber& fiber = machine.fibers[machine.current];
    std::size_t kept = 0;
    for (PendingCopy& copy : fiber.copies)
    {
        if (copy.group >= fiber.group - groups_in_flight)
        {
            fiber.copies[kept++] = copy;
            continue;
        }

        note_write(copy.shared, 16);
        std::memset(copy.shared, 0, 16);
        std::memcpy(copy.shared, copy.global, static_cast<std::size_t>(copy.source_bytes));
    }

    fiber.copies.resize(kept);
}

void note_read([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t bytes)
{
#if LLSPEC_TSAN
    __tsan_read_range(const_cast<void*>(address), bytes);
#endif
}

void trap(const char* what)
{
    machine.error = where() + ": " + what;
    leave(State::Done);

    // The scheduler ends the launch and never comes back here.
    std::abort();
}
}
