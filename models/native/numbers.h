// The number formats in which matrix products are computed; sums are float32.
//
// A format holds LANES numbers in a Vector, made by `rounded`. `add_products` adds, lane by lane, the products of SUMMED
// numbers of a Column, which `column` makes of as many vectors of weights, with the SUMMED numbers at `values`.
#pragma once

#include "vectors.h"

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
