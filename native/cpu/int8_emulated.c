/* The integer tile over plain C, with the semantics of the AVX-512 instructions. */
#include <math.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>

typedef struct { int32_t lane[16]; } ints;
typedef struct { float lane[16]; } floats;

#define EACH for (int i = 0; i < 16; i++)

static ints load(const void *p) {
    ints v;
    memcpy(&v, p, sizeof v);
    return v;
}

static ints broadcast(const void *p) {
    ints v;
    EACH memcpy(&v.lane[i], p, 4);
    return v;
}

static ints zero(void) {
    ints v = {{0}};
    return v;
}

/* vpdpbusd: four products of an unsigned and a signed byte, summed without saturation. */
static ints dot(ints sums, ints a, ints b) {
    EACH {
        for (int byte = 0; byte < 32; byte += 8) {
            sums.lane[i] += (int32_t)((uint32_t)a.lane[i] >> byte & 255) * (int8_t)((uint32_t)b.lane[i] >> byte & 255);
        }
    }
    return sums;
}

static ints nibbles(ints v, int shift) {
    EACH v.lane[i] = (int32_t)((uint32_t)v.lane[i] >> shift & 0x0f0f0f0f);
    return v;
}

static ints add(ints a, ints b) {
    EACH a.lane[i] += b.lane[i];
    return a;
}

static floats fzero(void) {
    floats v = {{0}};
    return v;
}

static floats to_floats(ints a) {
    floats v;
    EACH v.lane[i] = (float)a.lane[i];
    return v;
}

/* vcvtph2ps, subnormals, infinities and NaN included. */
static floats halves(const void *p) {
    floats v;
    EACH {
        uint16_t h;
        memcpy(&h, (const uint8_t *)p + 2 * i, 2);
        const int exponent = h >> 10 & 31, mantissa = h & 1023;
        const float magnitude = exponent == 31 ? (mantissa ? NAN : INFINITY)
            : exponent == 0 ? ldexpf((float)mantissa, -24) : ldexpf((float)(mantissa + 1024), exponent - 25);
        v.lane[i] = h & 0x8000 ? -magnitude : magnitude;
    }
    return v;
}

static floats sbytes(const int8_t *p) {
    floats v;
    EACH v.lane[i] = p[i];
    return v;
}

static ints or_bits(ints v, ints bits, int right, uint32_t mask) {
    EACH {
        const uint32_t low = (uint32_t)bits.lane[i] & 0xffff, high = (uint32_t)bits.lane[i] >> 16;
        const uint32_t moved = right >= 0 ? (low >> right) | (high >> right) << 16 : ((low << -right) & 0xffff) | (high << -right) << 16;
        v.lane[i] |= (int32_t)(moved & mask * 0x01010101u);
    }
    return v;
}

static floats fbroadcast(const void *p) {
    floats v;
    EACH memcpy(&v.lane[i], p, 4);
    return v;
}

static floats multiply(floats a, floats b) {
    EACH a.lane[i] *= b.lane[i];
    return a;
}

static floats negate(floats v) {
    EACH v.lane[i] = v.lane[i] * -1.0f;
    return v;
}

static floats fused(floats a, floats b, floats c) {
    EACH c.lane[i] = fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return c;
}

#define TILE_NAME llspec_int8_tile
#define LANES 16
#define LOAD(p) load(p)
#define BROADCAST(p) broadcast(p)
#define ZERO() zero()
#define START(p) BROADCAST(p)
#define DOT(layout, sums, a, b) dot(sums, a, b)
#define TOTAL(layout, sums, p) ((void)(p), (sums))
#define CHAINS 2
#define MOST_GROUPS(rows) ((rows) > 1 ? 2 : 1)
#define PARTS_AT_ONCE(layout, rows) 1
#define STREAMS 0
#define LOW(v) nibbles(v, 0)
#define HIGH(v) nibbles(v, 4)
#define ADD(a, b) add(a, b)
#define FZERO() fzero()
#define FLOATS(v) to_floats(v)
#define HALVES(p) halves(p)
#define SBYTES(p) sbytes((const int8_t *)(p))
#define FBROADCAST(p) fbroadcast(p)
#define MULTIPLY(a, b) multiply(a, b)
#define FMA(a, b, c) fused(a, b, c)
#define NEGATE(v) negate(v)
#define OR_BITS(v, bits, right, mask) or_bits(v, bits, right, mask)
#define STORE(p, v) memcpy(p, (v).lane, sizeof (v).lane)
#define PREFETCH(p) (void)(p)
#define HOLD(v) (void)(v)
#define UNROLL
#define QUADS

#include "int8_tile.inc"
