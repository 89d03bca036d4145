// What the emulated device offers beyond the driver API: for tests.
#ifndef LLSPEC_EMULATED_H
#define LLSPEC_EMULATED_H

#ifdef __cplusplus
extern "C" {
#endif

// What is alive, and what has happened since the library was loaded.
typedef struct
{
    long long device_allocations;
    long long device_bytes;
    long long host_allocations;
    long long host_bytes;
    long long streams;
    long long events;
    long long graphs;
    long long graph_execs;
    long long modules;
    long long contexts;
    long long launches;             // kernels run, those of graphs included
    long long graph_launches;
    long long host_synchronisations; // calls in which a host waits for the device
    long long cublas_handles;
    long long cublas_products;      // run
} LlspecEmulatedCounts;

void llspec_emulated_counts(LlspecEmulatedCounts* counts);

// Order of blocks and threads: seed 0 is ascending, any other a random order of its own. poison: fresh memory holds NaN.
// Before the first call the environment decides: LLSPEC_EMULATED_SEED (1), LLSPEC_EMULATED_POISON (1; 0 is off), LLSPEC_EMULATED_MEMORY (bytes).
void llspec_emulated_configure(unsigned long long seed, int poison);

// What the last failed launch did, "" where none failed. Valid until the next call of this library.
const char* llspec_emulated_error(void);

#ifdef __cplusplus
}
#endif

#endif
