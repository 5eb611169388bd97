// SIMD evaluation of resampling kernels whose shape each pixel sets with hyper-parameters.
#pragma once

#include <cmath>
#include <cstdint>

#include "vectors.h"

typedef uint32_t Words __attribute__((vector_size(VECTOR_BYTES)));

// Both return `b` if either is NaN: give the bound as `a` where NaN must be passed on, as `b` where it must not.
inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
inline Floats magnitude(Floats a) { return a > 0 ? a : -a; }

inline Floats ceiling(Floats a) {
    float values[LANES];
    store(values, a);
    for (float &value : values) value = std::ceil(value);
    return load<Floats>(values);
}

template <class To, class From>
inline To bits_of(From from) {
    return load<To>(reinterpret_cast<const char *>(&from));
}

// 2^x for x <= 127 with a relative error below 3e-7, and NaN for NaN. Below -126 the result is 2^-126, which is
// negligible beside a kernel's other weights.
inline Floats exp2(Floats x) {
    // 1.5 * 2^23 + 127: a float this large has no fraction bits, so its last bits are round(x) + 127, the exponent.
    constexpr float ROUNDER = 12582912 + 127;
    x = maximum(Floats{} - 126, x);
    const Floats rounded = x + ROUNDER;
    const Floats f = x - (rounded - ROUNDER);  // -1/2..1/2
    // Taylor series of exp(f * ln 2) up to the sixth power; the remainder is below 2e-7 on this interval.
    Floats power = Floats{} + 1.5403530e-4f;
    power = power * f + 1.3333558e-3f;
    power = power * f + 9.6181291e-3f;
    power = power * f + 5.5504109e-2f;
    power = power * f + 2.4022651e-1f;
    power = power * f + 6.9314718e-1f;
    power = power * f + 1;
    return power * bits_of<Floats>(bits_of<Words>(rounded) << 23);
}

// A kernel has HYPER hyper-parameters. `prepare` turns them into as many coefficients, once per pixel; `along_y`
// computes the part of a weight that depends on y alone, and `weight` the weight.

// Amplified linear: max(0, 1 - a |dy|) * max(0, 1 - a |dx|).
struct Linear {
    static constexpr int HYPER = 1;
    template <class T>
    static void prepare(const T *hyper, T *coefficient) {
        coefficient[0] = 2 * hyper[0] - 1;
    }
    static Floats along_y(const Floats *coefficient, Floats dy) {
        return maximum(Floats{}, 1 - coefficient[0] * magnitude(dy));
    }
    static Floats weight(const Floats *coefficient, Floats y, Floats dx) {
        return y * maximum(Floats{}, 1 - coefficient[0] * magnitude(dx));
    }
};

// Steerable Gaussian: exp(-1/2 (y^2 - 2 r y x + x^2)) for y = 10 sigma_x dy and x = 10 sigma_y dx, computed as
// 2^-((y - r x)^2 + (1 - r^2) x^2): no cancellation where r is near 1, and the constant factor is part of y and x.
struct Gauss {
    static constexpr int HYPER = 3;
    template <class T>
    static void prepare(const T *hyper, T *coefficient) {
        constexpr float SCALE = 8.4932180f;  // 10 * sqrt(log2(e) / 2)
        const T r = 2 * hyper[0] - 1, x = SCALE * hyper[2];
        coefficient[0] = SCALE * hyper[1];
        coefficient[1] = r * x;
        coefficient[2] = (1 - r) * (1 + r) * x * x;
    }
    static Floats along_y(const Floats *coefficient, Floats dy) { return coefficient[0] * dy; }
    static Floats weight(const Floats *coefficient, Floats y, Floats dx) {
        const Floats skewed = y - coefficient[1] * dx;
        return exp2(-(coefficient[2] * dx * dx) - skewed * skewed);
    }
};
