// Winograd's minimal filtering F(4x4, 3x3): 4x4 outputs of a 3x3 convolution from 36 products instead of 144 (Lavin and
// Gray, CVPR 2016). With a tile d of 6x6 inputs and weights g they are A^T ((G g G^T) * (B^T d B)) A, * by element.
//
// The matrices follow from five points at which polynomials are evaluated, and infinity (Cook and Toom). The points here
// are 0, +-sqrt(1/2) and +-sqrt(2): with them rounding errors are a third of those with the usual 0, +-1 and +-2.
#pragma once

#include "common.h"

// The number formats in which matrix products are computed; sums are float32.
//
// A format holds LANES numbers in a Vector, made by `rounded`. `add_products` adds, lane by lane, the products of SUMMED
// numbers of a Column, which `column` makes of as many vectors of weights, with the SUMMED numbers at `values`.

struct Single {
    typedef float Element;
    typedef Floats Vector;
    typedef Floats Column;
    static constexpr int SUMMED = 1;
    static Vector rounded(Floats numbers) { return numbers; }
    static Column column(const Floats *weights) { return weights[0]; }
    static void add_products(Floats &sums, Column column, const float *values) { sums += column * values[0]; }
};

#ifdef __AVX512BF16__
#include <immintrin.h>

// bfloat16, whose products the processor sums in pairs.
struct Brief {
    typedef uint16_t Element;
    typedef uint16_t Vector __attribute__((vector_size(VECTOR_BYTES / 2)));
    typedef Ints Column;
    static constexpr int SUMMED = 2;
    static Vector rounded(Floats numbers) { return (Vector)_mm512_cvtneps_pbh((__m512)numbers); }
    static Column column(const Floats *weights) {
        const auto widened = [](Vector numbers) { return __builtin_convertvector(numbers, Ints); };
        return widened(rounded(weights[0])) | widened(rounded(weights[1])) << 16;
    }
    static void add_products(Floats &sums, Column column, const uint16_t *values) {
        int32_t pair;
        std::memcpy(&pair, values, sizeof pair);
        const auto pairs = (__m512bh)_mm512_set1_epi32(pair);
        sums = (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)column, pairs);
    }
};
#endif

namespace winograd {

constexpr int TILE = 4;               // outputs along an axis
constexpr int TAPS = TILE + 2;       // inputs along an axis
constexpr int PLACES = TAPS * TAPS;  // at which there are products
constexpr float NEAR = 0.70710678f, FAR = 1.41421356f;  // the points, beside 0 and infinity

// B^T d along an axis.
inline void transform_input(const Floats *d, Floats *to, int step) {
    const Floats even_near = d[4] - 2 * d[2], odd_near = d[3] - 2 * d[1];
    const Floats even_far = d[4] - 0.5f * d[2], odd_far = d[3] - 0.5f * d[1];
    to[0] = d[0] - 2.5f * d[2] + d[4];
    to[step] = even_near + NEAR * odd_near;
    to[2 * step] = even_near - NEAR * odd_near;
    to[3 * step] = even_far + FAR * odd_far;
    to[4 * step] = even_far - FAR * odd_far;
    to[5 * step] = d[1] - 2.5f * d[3] + d[5];
}

// A^T m along an axis.
inline void transform_output(const Floats *m, Floats *to, int step) {
    const Floats even_near = m[1] + m[2], odd_near = m[1] - m[2];
    const Floats even_far = m[3] + m[4], odd_far = m[3] - m[4];
    to[0] = m[0] + even_near + even_far;
    to[step] = NEAR * odd_near + FAR * odd_far;
    to[2 * step] = 0.5f * even_near + 2 * even_far;
    to[3 * step] = 0.5f * NEAR * odd_near + 2 * FAR * odd_far + m[5];
}

// G g along an axis; the three numbers are `step` apart, and so are the results.
inline void transform_weights(const Floats *g, Floats *to, int step) {
    const Floats even_near = g[0] + 0.5f * g[2 * step], odd_near = NEAR * g[step];
    const Floats even_far = g[0] + 2 * g[2 * step], odd_far = FAR * g[step];
    to[0] = g[0];
    to[step] = (even_near + odd_near) * (-1 / 1.5f);
    to[2 * step] = (even_near - odd_near) * (-1 / 1.5f);
    to[3 * step] = (even_far + odd_far) * (1 / 6.f);
    to[4 * step] = (even_far - odd_far) * (1 / 6.f);
    to[5 * step] = g[2 * step];
}

}  // namespace winograd
