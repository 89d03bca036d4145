#include "llspec_cpu.h"

#if defined(__x86_64__) && !defined(LLSPEC_EMULATED)
#include <cpuid.h>

/* The operating system saves the 512-bit registers: bits XMM, YMM, opmask, ZMM low and high of XCR0. */
static int saves_zmm(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) {
        return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & 0xe6) == 0xe6;
}
#endif

int32_t llspec_cpu_version(void) {
    return LLSPEC_CPU_VERSION;
}

uint32_t llspec_cpu_features(void) {
#if defined(__x86_64__) && !defined(LLSPEC_EMULATED)
    uint32_t a, b, c, d, features = 0;
    if (!saves_zmm() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        return 0;
    }
    /* AVX-512 F, BW and VL. */
    if ((b & (1u << 16)) && (b & (1u << 30)) && (b & (1u << 31))) {
        features |= LLSPEC_HALF | (c & (1u << 11) ? LLSPEC_INT8 : 0);
        if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
            features |= a & (1u << 5) ? LLSPEC_BF16 : 0;
        }
    }
    return features;
#else
    return LLSPEC_INT8 | LLSPEC_BF16 | LLSPEC_HALF;
#endif
}
