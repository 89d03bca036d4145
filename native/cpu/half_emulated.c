/* The tile over weights of 16 bits, over plain C. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct { float lane[16]; } floats;

#define EACH for (int i = 0; i < 16; i++)

static floats zero(void) {
    floats v = {{0}};
    return v;
}

static floats load(const float *p) {
    floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

static floats everywhere(float value) {
    floats v;
    EACH v.lane[i] = value;
    return v;
}

static floats fused(floats a, floats b, floats c) {
    EACH c.lane[i] = fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return c;
}

/* vcvtph2ps, subnormals, infinities and NaN included. */
static floats halves(const uint8_t *p) {
    floats v;
    EACH {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        const int exponent = h >> 10 & 31, mantissa = h & 1023;
        const float magnitude = exponent == 31 ? (mantissa ? NAN : INFINITY)
            : exponent == 0 ? ldexpf((float)mantissa, -24) : ldexpf((float)(mantissa + 1024), exponent - 25);
        v.lane[i] = h & 0x8000 ? -magnitude : magnitude;
    }
    return v;
}

static floats upper_halves(const uint8_t *p) {
    floats v;
    EACH {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        const uint32_t bits = (uint32_t)h << 16;
        memcpy(&v.lane[i], &bits, 4);
    }
    return v;
}

#define TILE_NAME llspec_half_tile
#define LANES 16
#define GROUPS_AT_ONCE(rows) 1
#define GROUPS_HELD(groups, rows) 1
#define PARTS_AT_ONCE(rows) 2
#define WEIGHTS_FIRST(rows) 0
#define FZERO() zero()
#define LOADF(p) load(p)
#define BROADCAST(p) everywhere(*(p))
#define STORE(p, v) memcpy(p, (v).lane, sizeof (v).lane)
#define FMA(a, b, c) fused(a, b, c)
#define HALVES(p) halves(p)
#define BHALVES(p) upper_halves(p)
#define PREFETCH(p) (void)(p)
#define UNROLL

#include "half_tile.inc"
