/* The bf16 tile over AVX-512 BF16. */
#include <immintrin.h>

typedef __m512 floats;

#define PAIRS(p) ((__m512bh)_mm512_loadu_si512(p))
#define PAIR(p) ((__m512bh)_mm512_set1_epi32((int)*(p)))
#define DOT(sums, a, b) _mm512_dpbf16_ps(sums, a, b)
#define LOADF(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define UNROLL _Pragma("GCC unroll 8")

#include "bf16_tile.inc"
