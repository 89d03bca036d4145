/* The tile over weights of 16 bits, over AVX2 and F16C. */
#include <immintrin.h>

typedef __m256 floats;

#define TILE_NAME llspec_half_tile_256
#define LANES 8
/* Few rows wait for memory, and two long streams come faster than one; more wait for products. */
#define GROUPS_AT_ONCE(rows) ((rows) <= 5 ? 2 : 1)
#define GROUPS_HELD(groups, rows) ((rows) <= 3 ? (groups) : 1)
/* Of sixteen registers twelve hold sums at most; with three rows the others are their inputs and one weight. */
#define PARTS_AT_ONCE(rows) ((rows) <= 3 ? 4 : 2)
#define WEIGHTS_FIRST(rows) ((rows) <= 3)
#define FZERO() _mm256_setzero_ps()
#define LOADF(p) _mm256_loadu_ps(p)
#define BROADCAST(p) _mm256_broadcast_ss(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define HALVES(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
#define BHALVES(p) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p))), 16))
#define PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define UNROLL _Pragma("GCC unroll 8")

#include "half_tile.inc"
