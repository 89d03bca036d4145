/* The tile over weights of 16 bits, over AVX-512: .NET has no class for vcvtph2ps. */
#include <immintrin.h>

typedef __m512 floats;

#define TILE_NAME llspec_half_tile
#define LANES 16
#define GROUPS_AT_ONCE(rows) 1
#define GROUPS_HELD(groups, rows) 1
#define PARTS_AT_ONCE(rows) 2
#define WEIGHTS_FIRST(rows) 0
#define FZERO() _mm512_setzero_ps()
#define LOADF(p) _mm512_loadu_ps(p)
#define BROADCAST(p) _mm512_set1_ps(*(p))
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define HALVES(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define BHALVES(p) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))), 16))
#define PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define UNROLL _Pragma("GCC unroll 8")

#include "half_tile.inc"
