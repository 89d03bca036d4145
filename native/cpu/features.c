#include "llspec_cpu.h"

#if defined(__x86_64__) && !defined(LLSPEC_EMULATED)
#include <cpuid.h>

/* Bits of XCR0, the registers that the operating system saves. */
#define YMM 0x06 /* XMM, YMM */
#define ZMM 0xe6 /* and opmask, ZMM low and high */

static uint32_t saved_registers(void) {
    uint32_t a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a;
}
#endif

int32_t llspec_cpu_version(void) {
    return LLSPEC_CPU_VERSION;
}

uint32_t llspec_cpu_features(void) {
#if defined(__x86_64__) && !defined(LLSPEC_EMULATED)
    uint32_t a, b, c, d, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) {
        return 0;
    }
    const uint32_t saved = saved_registers(), fused_and_halves = bit_FMA | bit_F16C;
    const int has_fused_and_halves = (c & fused_and_halves) == fused_and_halves;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        return 0;
    }
    if ((saved & YMM) == YMM && has_fused_and_halves && (b & bit_AVX2)) {
        features |= LLSPEC_AVX2;
    }
    /* AVX-512 F, BW and VL. */
    if ((saved & ZMM) == ZMM && (b & (1u << 16)) && (b & (1u << 30)) && (b & (1u << 31))) {
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
