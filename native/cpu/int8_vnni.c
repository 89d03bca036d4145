/* The integer tile over AVX-512 VNNI. */
#include <immintrin.h>
#include <stddef.h>
#include <string.h>

typedef __m512i ints;
typedef __m512 floats;

static inline int load_int(const void *p) {
    int value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline float load_float(const void *p) {
    float value;
    memcpy(&value, p, sizeof value);
    return value;
}

#define TILE_NAME llspec_int8_tile
#define LANES 16
#define LOAD(p) _mm512_loadu_si512(p)
#define BROADCAST(p) _mm512_set1_epi32(load_int(p))
#define ZERO() _mm512_setzero_si512()
#define START(p) BROADCAST(p)
#define DOT(layout, sums, a, b) _mm512_dpbusd_epi32(sums, a, b)
#define TOTAL(layout, sums, p) ((void)(p), (sums))
#define CHAINS 2
#define MOST_GROUPS(rows) ((rows) > 1 ? 2 : 1)
#define PARTS_AT_ONCE(layout, rows) 1
#define STREAMS 0
#define LOW(v) _mm512_and_si512(v, _mm512_set1_epi8(15))
#define HIGH(v) _mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi8(15))
#define ADD(a, b) _mm512_add_epi32(a, b)
#define FZERO() _mm512_setzero_ps()
#define FLOATS(v) _mm512_cvtepi32_ps(v)
#define HALVES(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define SBYTES(p) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(p))))
#define FBROADCAST(p) _mm512_set1_ps(load_float(p))
#define MULTIPLY(a, b) _mm512_mul_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define NEGATE(v) _mm512_mul_ps(v, _mm512_set1_ps(-1.0f))
#define SHIFT(v, right) ((right) >= 0 ? _mm512_srli_epi16(v, (right) >= 0 ? (right) : 0) : _mm512_slli_epi16(v, (right) < 0 ? -(right) : 0))
#define OR_BITS(v, bits, right, mask) _mm512_or_si512(v, _mm512_and_si512(SHIFT(bits, right), _mm512_set1_epi8(mask)))
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define HOLD(v) (void)(v)
#define UNROLL _Pragma("GCC unroll 8")
#define QUADS _Pragma("GCC unroll 8")

#include "int8_tile.inc"
