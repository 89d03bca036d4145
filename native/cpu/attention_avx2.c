/* Scores of keys and weighted sums of values, over AVX2 and F16C. Sums go as the C# kernels' do: see llspec_cpu.h. */
#include "llspec_cpu.h"

#include <immintrin.h>

#define ALWAYS static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define LINE 64
#define LANES 8
#define KEYS 4    /* a tile of scores: keys x queries */
#define QUERIES 3 /* of both tiles: twelve of sixteen registers hold sums */
#define PARTS 4   /* a tile of values: registers of a row x queries */
#define TOGETHER 64
#define KEYS_AHEAD 8

ALWAYS int64_t bytes_of(const int type) {
    return type == LLSPEC_SINGLES ? 4 : 2;
}

ALWAYS __m256 load(const int type, const uint8_t *p) {
    if (type == LLSPEC_SINGLES) {
        return _mm256_loadu_ps((const float *)p);
    }
    const __m128i stored = _mm_loadu_si128((const __m128i *)p);
    return type == LLSPEC_KV_HALVES ? _mm256_cvtph_ps(stored) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(stored), 16));
}

/* The four sums of eight lanes each: lane i and i + 4, i + 2, i + 1. */
ALWAYS __m128 sums_of(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    const __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
    /* a0 a1 c0 c1 b0 b1 d0 d1, and the like of 2 and 3. */
    const __m256 pairs = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    const __m128 ac = _mm256_castps256_ps128(pairs), bd = _mm256_extractf128_ps(pairs, 1);
    const __m128 even = _mm_shuffle_ps(ac, bd, 0x88), odd = _mm_shuffle_ps(ac, bd, 0xdd);
    const __m128 sums = _mm_add_ps(even, odd);
    return _mm_shuffle_ps(sums, sums, 0xd8);
}

/* Scores of four keys for some queries. The lower and the upper eight of sixteen lanes one after the other, so that the sums stay in registers. */
ALWAYS void score_tile(const int type, const int queries, const uint8_t *const k[KEYS], const float *q, int32_t row_size, __m128 scale, float *scores, int64_t stride) {
    __m256 lower[QUERIES][KEYS], sums[QUERIES][KEYS];
UNROLL
    for (int part = 0; part < 2; part++) {
UNROLL
        for (int r = 0; r < queries; r++) {
UNROLL
            for (int c = 0; c < KEYS; c++) {
                sums[r][c] = _mm256_setzero_ps();
            }
        }
        for (int32_t at = LANES * part; at < row_size; at += 2 * LANES) {
            __m256 y[QUERIES];
UNROLL
            for (int r = 0; r < queries; r++) {
                y[r] = _mm256_loadu_ps(q + (int64_t)r * row_size + at);
            }
UNROLL
            for (int c = 0; c < KEYS; c++) {
                const __m256 key = load(type, k[c] + at * bytes_of(type));
UNROLL
                for (int r = 0; r < queries; r++) {
                    sums[r][c] = _mm256_fmadd_ps(key, y[r], sums[r][c]);
                }
            }
        }
UNROLL
        for (int r = 0; r < queries && part == 0; r++) {
UNROLL
            for (int c = 0; c < KEYS; c++) {
                lower[r][c] = sums[r][c];
            }
        }
    }
UNROLL
    for (int r = 0; r < queries; r++) {
UNROLL
        for (int c = 0; c < KEYS; c++) {
            sums[r][c] = _mm256_add_ps(lower[r][c], sums[r][c]);
        }
        _mm_storeu_ps(scores + r * stride, _mm_mul_ps(sums_of(sums[r][0], sums[r][1], sums[r][2], sums[r][3]), scale));
    }
}

ALWAYS void all_scores(const int type, const uint8_t *keys, int32_t row_size, const int32_t *rows, int32_t count, const float *q, int32_t queries, float scale, float *scores, int64_t stride, const uint8_t *values) {
    const int64_t bytes = row_size * bytes_of(type);
    const __m128 scales = _mm_set1_ps(scale);
    for (int32_t j = 0; j < count; j += KEYS) {
        const uint8_t *k[KEYS];
        for (int32_t c = 0; c < KEYS; c++) {
            const int32_t key = j + c < count ? j + c : count - 1;
            k[c] = keys + (rows ? rows[key] : key) * bytes;
        }
        for (int64_t line = 0; values && line < KEYS * bytes; line += LINE) {
            _mm_prefetch((const char *)(k[0] + KEYS_AHEAD * bytes + line), _MM_HINT_T0);
            _mm_prefetch((const char *)(values + j * bytes + line), _MM_HINT_T0);
        }
        int32_t query = 0;
        for (; query + QUERIES <= queries; query += QUERIES) {
            score_tile(type, QUERIES, k, q + (int64_t)query * row_size, row_size, scales, scores + query * stride + j, stride);
        }
        for (; query < queries; query++) {
            score_tile(type, 1, k, q + (int64_t)query * row_size, row_size, scales, scores + query * stride + j, stride);
        }
    }
}

/* Some registers of some queries' sums, over consecutive or listed keys. */
ALWAYS void value_tile(const int type, const int queries, const int parts, const float *p, int64_t p_stride, const uint8_t *v, int64_t bytes, const int32_t *rows, int32_t count, float *sums, int32_t row_size) {
    __m256 a[QUERIES][PARTS];
UNROLL
    for (int r = 0; r < queries; r++) {
UNROLL
        for (int c = 0; c < parts; c++) {
            a[r][c] = _mm256_loadu_ps(sums + (int64_t)r * row_size + LANES * c);
        }
    }
    for (int32_t j = 0; j < count; j++) {
        const uint8_t *row = v + (rows ? rows[j] : j) * bytes;
        __m256 w[QUERIES];
UNROLL
        for (int r = 0; r < queries; r++) {
            w[r] = _mm256_broadcast_ss(p + r * p_stride + j);
        }
UNROLL
        for (int c = 0; c < parts; c++) {
            const __m256 value = load(type, row + LANES * c * bytes_of(type));
UNROLL
            for (int r = 0; r < queries; r++) {
                a[r][c] = _mm256_fmadd_ps(w[r], value, a[r][c]);
            }
        }
    }
UNROLL
    for (int r = 0; r < queries; r++) {
UNROLL
        for (int c = 0; c < parts; c++) {
            _mm256_storeu_ps(sums + (int64_t)r * row_size + LANES * c, a[r][c]);
        }
    }
}

ALWAYS void value_queries(const int type, const int parts, const float *p, int64_t p_stride, const uint8_t *v, int64_t bytes, const int32_t *rows, int32_t count, float *sums, int32_t row_size, int32_t queries) {
    int32_t query = 0;
    for (; query + QUERIES <= queries; query += QUERIES) {
        value_tile(type, QUERIES, parts, p + query * p_stride, p_stride, v, bytes, rows, count, sums + (int64_t)query * row_size, row_size);
    }
    for (; query < queries; query++) {
        value_tile(type, 1, parts, p + query * p_stride, p_stride, v, bytes, rows, count, sums + (int64_t)query * row_size, row_size);
    }
}

/* A few keys' rows stay in the first-level cache while all queries pass by. */
ALWAYS void all_values(const int type, const float *p, int64_t p_stride, const uint8_t *v, int32_t row_size, const int32_t *rows, int32_t count, float *sums, int32_t queries) {
    const int64_t bytes = row_size * bytes_of(type);
    for (int32_t from = 0; from < count; from += TOGETHER) {
        const int32_t some = count - from < TOGETHER ? count - from : TOGETHER;
        const uint8_t *first = rows ? v : v + from * bytes;
        int32_t at = 0;
        for (; at + PARTS * LANES <= row_size; at += PARTS * LANES) {
            value_queries(type, PARTS, p + from, p_stride, first + at * bytes_of(type), bytes, rows ? rows + from : rows, some, sums + at, row_size, queries);
        }
        for (; at < row_size; at += 2 * LANES) {
            value_queries(type, 2, p + from, p_stride, first + at * bytes_of(type), bytes, rows ? rows + from : rows, some, sums + at, row_size, queries);
        }
    }
}

void llspec_scores_256(
    int32_t type, const uint8_t *keys, int32_t row_size, const int32_t *rows, int32_t count, const float *q, int32_t queries, float scale, float *scores, int64_t stride, const uint8_t *values) {
    switch (type) {
        case LLSPEC_SINGLES: all_scores(LLSPEC_SINGLES, keys, row_size, rows, count, q, queries, scale, scores, stride, values); break;
        case LLSPEC_KV_HALVES: all_scores(LLSPEC_KV_HALVES, keys, row_size, rows, count, q, queries, scale, scores, stride, values); break;
        default: all_scores(LLSPEC_KV_BHALVES, keys, row_size, rows, count, q, queries, scale, scores, stride, values); break;
    }
}

void llspec_values_256(
    int32_t type, const float *p, int64_t p_stride, const uint8_t *values, int32_t row_size, const int32_t *rows, int32_t count, float *sums, int32_t queries) {
    switch (type) {
        case LLSPEC_SINGLES: all_values(LLSPEC_SINGLES, p, p_stride, values, row_size, rows, count, sums, queries); break;
        case LLSPEC_KV_HALVES: all_values(LLSPEC_KV_HALVES, p, p_stride, values, row_size, rows, count, sums, queries); break;
        default: all_values(LLSPEC_KV_BHALVES, p, p_stride, values, row_size, rows, count, sums, queries); break;
    }
}
