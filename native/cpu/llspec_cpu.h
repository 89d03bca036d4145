/* Kernels of the CPU backend for instructions that .NET has no class for. Little-endian. Nothing here allocates or keeps state. */
#ifndef LLSPEC_CPU_H
#define LLSPEC_CPU_H

#include <stdint.h>

#define LLSPEC_EXPORT __attribute__((visibility("default")))

/* Changes with every change of a signature or layout below. */
#define LLSPEC_CPU_VERSION 7

/* Bits of llspec_cpu_features. */
#define LLSPEC_INT8 1 /* llspec_int8_tile may be called on this processor */
#define LLSPEC_BF16 2 /* llspec_bf16_tile and llspec_bf16_gemm may be called on this processor */
#define LLSPEC_HALF 4 /* llspec_half_tile may be called on this processor */
#define LLSPEC_AVX2 8 /* what ends in _256 is there and may be called on this processor */

/* Weight layouts of llspec_int8_tile. A group of 16 outputs: the halves of all its blocks, rounded up to 64 bytes, then the quads of all its blocks. */
#define LLSPEC_BYTES 0           /* Q8_0: 16 scales, 8 quads of bytes (128 added) x 16 outputs */
#define LLSPEC_OFFSET_NIBBLES 1  /* Q4_0: 16 scales, 4 quads of nibbles (8 added), low ones first, x 16 outputs */
#define LLSPEC_MINIMUM_NIBBLES 2 /* Q4_1: 16 scales, 16 minima, nibbles likewise */

/*
 * K types, whose groups are super-blocks one after the other: 16 halves d and, but for Q6_K, 16 halves m; then eight blocks: two signed bytes for each of 16 outputs, 16 and 16
 * (scale and minimum; Q6_K: scales of the lower and upper 16 inputs), four quads of nibbles, low ones first, and the upper bits: Q5_K a word per output whose byte i has in bit j that of
 * element 4j + i; Q6_K two words, of the lower and the upper 16 inputs, whose byte i has those of element 4j + i in bits 2j and 2j + 1.
 */
#define LLSPEC_FOUR_BITS 3 /* Q4_K */
#define LLSPEC_FIVE_BITS 4 /* Q5_K */
#define LLSPEC_SIX_BITS 5  /* Q6_K */

LLSPEC_EXPORT int32_t llspec_cpu_version(void);

LLSPEC_EXPORT uint32_t llspec_cpu_features(void);

/*
 * sums[(group * 4 + row) * 16 + output] for groups of 16 outputs, group_bytes apart, and 1 to 4 rows. Per block and row, inputs hold 32 signed
 * bytes, a scale (f32) and 4 bytes: -128 or -8 times the sum of the bytes (int), or scale times that sum (f32) for nibbles with a minimum; the rows of a
 * block lie side by side. Per block: sum = fma((float)integers, scale_w * scale_x, sum), then for minima sum = fma(minimum, scale_x * inputs, sum).
 * K types (blocks: a multiple of 8) have one such step for the lower and one for the upper 16 inputs, with scale_w = d s, then, but for Q6_K, sum = fma(-(m t), scale_x * inputs, sum);
 * for Q6_K a row's 44 bytes end in two ints, -32 times the sums of either half.
 * Meanwhile lines * blocks cache lines per group are asked for, wherever they lie: those of group i from ahead + i * s on, s being their bytes, but group_bytes at most.
 */
LLSPEC_EXPORT void llspec_int8_tile(
    int32_t layout, const uint8_t *weights, int64_t group_bytes, int32_t groups, const uint8_t *inputs, int32_t blocks, int32_t rows, const uint8_t *ahead, int32_t lines, float *sums);

/* The same over AVX2; on x86-64 only. */
LLSPEC_EXPORT void llspec_int8_tile_256(
    int32_t layout, const uint8_t *weights, int64_t group_bytes, int32_t groups, const uint8_t *inputs, int32_t blocks, int32_t rows, const uint8_t *ahead, int32_t lines, float *sums);

/*
 * sums[row * 16 + output] += a[row] . b[output] for 1 to 4 rows: a holds rows of pairs of bf16, aStride pairs apart; b holds pairs x 16 outputs
 * (pair p of output o at b[p * 16 + o]). Pairs are added in order as vdpbf16ps does: products and sums of f32, subnormals as zeros.
 */
LLSPEC_EXPORT void llspec_bf16_tile(const uint32_t *a, int64_t a_stride, const uint32_t *b, int32_t pairs, int32_t rows, float *sums);

/* Most rows of A of one call of llspec_bf16_gemm, and pairs of its depth that it packs at a time. */
#define LLSPEC_GEMM_ROWS 240
#define LLSPEC_GEMM_PAIRS 256

/* Words of scratch memory, aligned to 64 bytes: A's rows and one panel of 32 columns. */
#define LLSPEC_GEMM_SCRATCH ((LLSPEC_GEMM_ROWS + 32) * LLSPEC_GEMM_PAIRS)

/* c [rows, columns] = a [rows, depth] b [depth, columns], or added to c: strides in floats, one of each operand's is 1. */
typedef struct {
    const float *a;
    const float *b;
    float *c;
    int64_t a_row, a_depth;
    int64_t b_depth, b_column;
    int64_t c_row;
    int32_t rows, columns, depth, add;
} llspec_gemm;

/* Rounds a and b to bf16 (nearest even, subnormals as zeros), sums in f32 as vdpbf16ps does, pairs in ascending order: the same bits however c is cut. */
LLSPEC_EXPORT void llspec_bf16_gemm(const llspec_gemm *job, uint32_t *scratch);

/* Weight layouts of llspec_half_tile. */
#define LLSPEC_HALVES 0  /* IEEE halves */
#define LLSPEC_BHALVES 1 /* bfloat16 */

/*
 * sums[(group * rows + row) * 32 + output] for groups of 32 outputs, one after the other, and 1 to 6 rows: a group holds, input by input, the halves of its 32 outputs, a cache
 * line; x holds rows of f32, stride apart. Each sum is one chain, sum = fma(weight, x, sum), over the inputs in ascending order. Meanwhile lines cache lines
 * per 8 inputs and group from ahead on are asked for, wherever they lie, 8 of them a group's bytes apart.
 */
LLSPEC_EXPORT void llspec_half_tile(
    int32_t layout, const uint8_t *weights, int32_t groups, const float *x, int64_t stride, int32_t inputs, int32_t rows, const uint8_t *ahead, int32_t lines, float *sums);

/* The same over AVX2 and F16C; on x86-64 only. */
LLSPEC_EXPORT void llspec_half_tile_256(
    int32_t layout, const uint8_t *weights, int32_t groups, const float *x, int64_t stride, int32_t inputs, int32_t rows, const uint8_t *ahead, int32_t lines, float *sums);

/* Elements of keys and values. */
#define LLSPEC_SINGLES 0    /* f32 */
#define LLSPEC_KV_HALVES 1  /* IEEE halves */
#define LLSPEC_KV_BHALVES 2 /* bfloat16 */

/*
 * scores[query * stride + j] = scale * (q[query] . key j), j < count; up to 3 more are written. Rows of q (f32) and keys have row_size elements, a multiple of 16; key j is row j, or
 * rows[j] where rows is given. Lane i of sixteen adds the products of elements i, i + 16, .. in this order, each product and sum fused; then lanes i and i + 8 are added, i + 4, i + 2,
 * i + 1. Where values is given, its rows and the keys to come are asked for meanwhile. On x86-64 only.
 */
LLSPEC_EXPORT void llspec_scores_256(
    int32_t type, const uint8_t *keys, int32_t row_size, const int32_t *rows, int32_t count, const float *q, int32_t queries, float scale, float *scores, int64_t stride, const uint8_t *values);

/* sums[query * row_size + d] = fma(p[query * p_stride + j], value j [d], sums[..]) for j = 0, 1, .. count - 1; rows likewise. On x86-64 only. */
LLSPEC_EXPORT void llspec_values_256(
    int32_t type, const float *p, int64_t p_stride, const uint8_t *values, int32_t row_size, const int32_t *rows, int32_t count, float *sums, int32_t queries);

#endif
