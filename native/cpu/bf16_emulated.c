/* The bf16 tile over plain C, with the semantics of vdpbf16ps: per lane the odd product is added first, then the even one, each fused, rounded to nearest even, subnormals as zeros. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct { float lane[16]; } floats;
typedef struct { uint32_t lane[16]; } pairs16;

#define EACH for (int i = 0; i < 16; i++)

static float flush(float v) {
    return fpclassify(v) == FP_SUBNORMAL ? copysignf(0, v) : v;
}

static float half_of(uint32_t pair, int odd) {
    const uint32_t bits = odd ? pair & 0xffff0000u : pair << 16;
    float v;
    memcpy(&v, &bits, 4);
    return flush(v);
}

static pairs16 load_pairs(const uint32_t *p) {
    pairs16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static pairs16 broadcast_pair(const uint32_t *p) {
    pairs16 v;
    EACH v.lane[i] = *p;
    return v;
}

static floats load_floats(const float *p) {
    floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

static floats dot(floats sums, pairs16 a, pairs16 b) {
    EACH {
        float sum = flush(sums.lane[i]);
        sum = flush(fmaf(half_of(a.lane[i], 1), half_of(b.lane[i], 1), sum));
        sums.lane[i] = flush(fmaf(half_of(a.lane[i], 0), half_of(b.lane[i], 0), sum));
    }
    return sums;
}

#define PAIRS(p) load_pairs(p)
#define PAIR(p) broadcast_pair(p)
#define DOT(sums, a, b) dot(sums, a, b)
#define LOADF(p) load_floats(p)
#define STORE(p, v) memcpy(p, (v).lane, sizeof (v).lane)
#define UNROLL

#include "bf16_tile.inc"
