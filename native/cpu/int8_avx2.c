/*
 * The integer tile over AVX2. Nibbles and five bits: vpmaddubsw, and shorts hold the sum of a block's products, at most 8 * 2 * 15 * 127, or of half a
 * block's, 4 * 2 * 31 * 127. Six bits overflow them after two steps, so each widens. Bytes: their magnitude by inputs with their sign, whose pairs are at most
 * 2 * 128 * 127: the offset of 128 is gone before the product.
 */
#include "llspec_cpu.h"

#include <immintrin.h>
#include <stddef.h>
#include <string.h>

typedef __m256i ints;
typedef __m256 floats;

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS int load_int(const void *p) {
    int value;
    memcpy(&value, p, sizeof value);
    return value;
}

ALWAYS float load_float(const void *p) {
    float value;
    memcpy(&value, p, sizeof value);
    return value;
}

ALWAYS ints widen(ints shorts) {
    return _mm256_madd_epi16(shorts, _mm256_set1_epi16(1));
}

ALWAYS ints dot(const int layout, ints sums, ints w, ints x) {
    if (layout == LLSPEC_BYTES) {
        const ints v = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        return _mm256_add_epi32(sums, widen(_mm256_maddubs_epi16(_mm256_abs_epi8(v), _mm256_sign_epi8(x, v))));
    }
    const ints pairs = _mm256_maddubs_epi16(w, x);
    return layout == LLSPEC_SIX_BITS ? _mm256_add_epi32(sums, widen(pairs)) : _mm256_add_epi16(sums, pairs);
}

ALWAYS ints total(const int layout, ints sums, const uint8_t *p) {
    if (layout == LLSPEC_BYTES) {
        return sums;
    }
    if (layout != LLSPEC_SIX_BITS) {
        sums = widen(sums);
    }
    return p == NULL ? sums : _mm256_add_epi32(sums, _mm256_set1_epi32(load_int(p)));
}

#define TILE_NAME llspec_int8_tile_256
#define LANES 8
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define BROADCAST(p) _mm256_set1_epi32(load_int(p))
#define ZERO() _mm256_setzero_si256()
#define START(p) ZERO()
#define DOT(layout, sums, a, b) dot(layout, sums, a, b)
#define TOTAL(layout, sums, p) total(layout, sums, p)
#define CHAINS 1
/* Half a group's sums with four rows fill the registers; one row reads two long streams, which come faster than one. */
#define MOST_GROUPS(rows) ((rows) <= 2 ? 2 : 1)
#define PARTS_AT_ONCE(layout, rows) ((rows) <= 2 || (layout) < LLSPEC_FOUR_BITS ? 2 : 1)
#define STREAMS 1
#define LOW(v) _mm256_and_si256(v, _mm256_set1_epi8(15))
#define HIGH(v) _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15))
#define ADD(a, b) _mm256_add_epi32(a, b)
#define FZERO() _mm256_setzero_ps()
#define FLOATS(v) _mm256_cvtepi32_ps(v)
#define HALVES(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
#define SBYTES(p) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p))))
#define FBROADCAST(p) _mm256_set1_ps(load_float(p))
#define MULTIPLY(a, b) _mm256_mul_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define NEGATE(v) _mm256_mul_ps(v, _mm256_set1_ps(-1.0f))
#define SHIFT(v, right) ((right) >= 0 ? _mm256_srli_epi16(v, (right) >= 0 ? (right) : 0) : _mm256_slli_epi16(v, (right) < 0 ? -(right) : 0))
#define OR_BITS(v, bits, right, mask) _mm256_or_si256(v, _mm256_and_si256(SHIFT(bits, right), _mm256_set1_epi8(mask)))
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define UNROLL _Pragma("GCC unroll 8")
/* Unrolled without being held, more is loaded early than sixteen registers keep: half the speed. */
#define QUADS _Pragma("GCC unroll 8")
#define HOLD(v) __asm__ volatile("" : "+x"(v) : : "memory")

#include "int8_tile.inc"
