/* The bf16 matrix product over plain C: what llspec_bf16_gemm computes, element by element, in the same order of sums. */
#include <math.h>
#include <string.h>

#include "llspec_cpu.h"

static float flushed(float v) {
    return fpclassify(v) == FP_SUBNORMAL ? copysignf(0, v) : v;
}

/* Rounds to bf16, to nearest even; NaN stays one; subnormals are zeros. */
static float rounded(float v) {
    uint32_t bits;
    v = flushed(v);
    memcpy(&bits, &v, 4);
    bits = isnan(v) ? (bits & 0xffff0000u) | 0x00400000u : (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
    memcpy(&v, &bits, 4);
    return v;
}

void llspec_bf16_gemm(const llspec_gemm *g, uint32_t *scratch) {
    (void)scratch;
    for (int i = 0; i < g->rows; i++) {
        for (int j = 0; j < g->columns; j++) {
            float sum = g->add ? g->c[i * g->c_row + j] : 0;
            for (int k = 0; k < g->depth; k += 2) {
                const float *a = g->a + i * g->a_row + k * g->a_depth, *b = g->b + k * g->b_depth + j * g->b_column;
                const float odd_a = k + 1 < g->depth ? rounded(a[g->a_depth]) : 0, odd_b = k + 1 < g->depth ? rounded(b[g->b_depth]) : 0;
                sum = flushed(fmaf(odd_a, odd_b, flushed(sum)));
                sum = flushed(fmaf(rounded(*a), rounded(*b), sum));
            }
            g->c[i * g->c_row + j] = sum;
        }
    }
}
