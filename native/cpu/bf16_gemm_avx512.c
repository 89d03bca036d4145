/* Blocks of a matrix product over AVX-512 BF16: both operands are rounded and packed into the caller's scratch memory, then multiplied. */
#include <immintrin.h>

#include "llspec_cpu.h"

#define INLINE static inline __attribute__((always_inline))

enum { PANEL = 32, ROWS = 8, DEPTH = 2 * LLSPEC_GEMM_PAIRS };

/* Lanes [0, count) of 16. */
INLINE __mmask16 lanes(int count) {
    return (__mmask16)(count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1);
}

/* Pair i of 16: elements 2i and 2i + 1 of a run of floats; those from count on are zeros. */
INLINE __m512i pairs_along(const float *from, int count) {
    const __m512 low = _mm512_maskz_loadu_ps(lanes(count), from), high = _mm512_maskz_loadu_ps(lanes(count - 16), from + (count > 16 ? 16 : 0));
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* Pair i of 16: element i of a row of floats and of the row below it, if there is one. */
INLINE __m512i pairs_across(const float *from, int64_t below, __mmask16 mask) {
    const __m256i even = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from));
    const __m512i low = _mm512_cvtepu16_epi32(even);
    if (below == 0) {
        return low;
    }
    const __m256i odd = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + below));
    return _mm512_or_si512(low, _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

/* Transposes 16 x 16 pairs in registers. */
INLINE void transpose(__m512i *r) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* Columns [column, column + 32) of B from depth k on: pair p of column j at to[p * 32 + j]; what B lacks is zero. */
static void pack_panel(const llspec_gemm *g, int k, int depth, int column, uint32_t *to) {
    const int columns = g->columns - column, pairs = (depth + 1) / 2;
    if (g->b_column == 1) {
        const float *from = g->b + k * g->b_depth + column;
        for (int p = 0; p < pairs; p++, from += 2 * g->b_depth) {
            const int64_t below = 2 * p + 1 < depth ? g->b_depth : 0;
            _mm512_store_si512(to + PANEL * p, pairs_across(from, below, lanes(columns)));
            _mm512_store_si512(to + PANEL * p + 16, pairs_across(from + (columns > 16 ? 16 : 0), below, lanes(columns - 16)));
        }
        return;
    }
    for (int half = 0; half < PANEL; half += 16) {
        for (int p = 0; p < pairs; p += 16) {
            __m512i r[16];
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++) {
                r[j] = half + j < columns ? pairs_along(g->b + (column + half + j) * g->b_column + k + 2 * p, depth - 2 * p) : _mm512_setzero_si512();
            }
            transpose(r);
            const int count = pairs - p < 16 ? pairs - p : 16;
            for (int i = 0; i < count; i++) {
                _mm512_store_si512(to + PANEL * (p + i) + half, r[i]);
            }
        }
    }
}

/* All rows of A from depth k on; pair p of row i at to[i * *row + p * *pair]. */
static void pack_rows(const llspec_gemm *g, int k, int depth, uint32_t *to, int64_t *row, int64_t *pair) {
    const int pairs = (depth + 1) / 2;
    if (g->a_depth == 1) {
        *row = LLSPEC_GEMM_PAIRS;
        *pair = 1;
        for (int i = 0; i < g->rows; i++) {
            const float *from = g->a + i * g->a_row + k;
            for (int p = 0; p < pairs; p += 16) {
                _mm512_store_si512(to + (int64_t)i * LLSPEC_GEMM_PAIRS + p, pairs_along(from + 2 * p, depth - 2 * p));
            }
        }
        return;
    }
    *row = 1;
    *pair = (g->rows + 15) / 16 * 16;
    for (int p = 0; p < pairs; p++) {
        const float *from = g->a + (k + 2 * p) * g->a_depth;
        for (int i = 0; i < g->rows; i += 16) {
            _mm512_store_si512(to + p * *pair + i, pairs_across(from + i, 2 * p + 1 < depth ? g->a_depth : 0, lanes(g->rows - i)));
        }
    }
}

INLINE void block(const int rows, const uint32_t *a, int64_t row, int64_t pair, const uint32_t *panel, int pairs, float *c, int64_t c_row, int columns, int add) {
    const __mmask16 left = lanes(columns), right = lanes(columns - 16);
    float *c1 = c + (columns > 16 ? 16 : 0);
    __m512 sums[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        sums[r][0] = add ? _mm512_maskz_loadu_ps(left, c + r * c_row) : _mm512_setzero_ps();
        sums[r][1] = add ? _mm512_maskz_loadu_ps(right, c1 + r * c_row) : _mm512_setzero_ps();
    }
    for (int p = 0; p < pairs; p++, panel += PANEL, a += pair) {
        const __m512bh b0 = (__m512bh)_mm512_load_si512(panel), b1 = (__m512bh)_mm512_load_si512(panel + 16);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[r * row]);
            sums[r][0] = _mm512_dpbf16_ps(sums[r][0], x, b0);
            sums[r][1] = _mm512_dpbf16_ps(sums[r][1], x, b1);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        _mm512_mask_storeu_ps(c + r * c_row, left, sums[r][0]);
        _mm512_mask_storeu_ps(c1 + r * c_row, right, sums[r][1]);
    }
}

void llspec_bf16_gemm(const llspec_gemm *g, uint32_t *scratch) {
    uint32_t *a = scratch, *panel = scratch + LLSPEC_GEMM_ROWS * LLSPEC_GEMM_PAIRS;
    for (int k = 0; k < g->depth; k += DEPTH) {
        const int depth = g->depth - k < DEPTH ? g->depth - k : DEPTH, pairs = (depth + 1) / 2, add = g->add || k > 0;
        int64_t row, pair;
        pack_rows(g, k, depth, a, &row, &pair);
        for (int j = 0; j < g->columns; j += PANEL) {
            const int columns = g->columns - j;
            pack_panel(g, k, depth, j, panel);
            int i = 0;
            for (; i + ROWS <= g->rows; i += ROWS) {
                block(ROWS, a + i * row, row, pair, panel, pairs, g->c + i * g->c_row + j, g->c_row, columns, add);
            }
            for (; i < g->rows; i++) {
                block(1, a + i * row, row, pair, panel, pairs, g->c + i * g->c_row + j, g->c_row, columns, add);
            }
        }
    }
}
