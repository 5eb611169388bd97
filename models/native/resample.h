// Resampling: kernels whose shape each pixel sets, and which pixels they reach.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common.h"

// SIMD evaluation of resampling kernels whose shape each pixel sets with hyper-parameters.

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

// Which pixels positions are resampled from, and how far away those are: the one owner for grids and for any positions.

constexpr int POINTS = 128;         // positions a thread takes at a time, few enough for its cache
constexpr int MOST_TAPS = 1 << 24;  // of a position; larger kernels are refused
constexpr const char *EMPTY = "the picture has no pixels";
constexpr const char *TOO_MANY_TAPS = "a resampling kernel covers more than 16777216 pixels; give smaller cells";

// An axis of n pixels and the kernel's radius; positions closer than `epsilon` to a pixel centre count as on it, as in
// utils.geometry.neighbours.tap_epsilon.
struct PointsAxis {
    int64_t n;
    float radius, epsilon;

    PointsAxis(int64_t n, float radius) : n(n), radius(radius), epsilon(float(1e-6 + 2e-7 * double(n))) {}

    int64_t clip(int64_t pixel) const { return std::clamp<int64_t>(pixel, 0, n - 1); }
    int64_t nearest(float center) const { return int64_t(std::min(std::max(0.f, std::rint(center)), float(n - 1))); }
};

// The taps of utils.geometry.neighbours.axis_taps, for up to POINTS positions along one axis.
struct PointTaps {
    alignas(VECTOR_BYTES) float center[POINTS] = {};  // in LR pixels
    alignas(VECTOR_BYTES) float stretch[POINTS];
    alignas(VECTOR_BYTES) float offset[POINTS];   // from the first tap to the position, in LR pixels
    alignas(VECTOR_BYTES) float unit[POINTS];     // an LR pixel in stretched pixels
    alignas(VECTOR_BYTES) int32_t first[POINTS];  // pixel of the first tap, not yet clipped to the picture
    alignas(VECTOR_BYTES) int32_t count[POINTS];  // taps inside the support

    void place(const PointsAxis &axis, const float *position, int points) {
        std::copy_n(position, points, center);
        for (int point = 0; point < points; point += LANES)
            store(center + point, ((load<Floats>(center + point) + 1) * float(axis.n) - 1) / 2);
    }

    void find(const PointsAxis &axis, int points) {
        constexpr float FAR = 1 << 30;
        Floats largest = {};
        for (int point = 0; point < points; point += LANES) {
            const Floats at = load<Floats>(center + point), wide = load<Floats>(stretch + point);
            const Floats reach = axis.radius * wide, start = ceiling(at - reach - axis.epsilon);
            largest = maximum(reach, largest);
            store(offset + point, at - start);
            store(unit + point, 1 / wide);
            const Floats bounded = minimum(maximum(start, Floats{} - FAR), Floats{} + FAR);
            store(first + point, __builtin_convertvector(bounded, Ints));
            store(count + point, Ints{});
        }
        float reaches[LANES];
        store(reaches, largest);
        const float most = std::ceil(2 * *std::max_element(reaches, reaches + LANES) - axis.epsilon);
        require(!(most > MOST_TAPS), TOO_MANY_TAPS);
        for (float number = 0; number < most; ++number)
            for (int point = 0; point < points; point += LANES) {
                const Floats reach = axis.radius * load<Floats>(stretch + point);
                const Floats distance = load<Floats>(offset + point) - number;
                const Floats own_most = ceiling(2 * reach - axis.epsilon);
                const Ints inside = (distance > axis.epsilon - reach) & (Floats{} + number < own_most);
                store(count + point, load<Ints>(count + point) - inside);  // a mask's lanes are -1 or 0
            }
    }
};

// The taps of all positions of a grid's axis, with a kernel stretched by one factor: pixel, distance in stretched pixels,
// and whether it is in the support, all (taps, positions).
struct AxisTaps {
    int64_t taps = 1, positions;
    std::vector<int32_t> index;
    std::vector<float> distance;
    std::vector<uint8_t> inside;

    AxisTaps(const PointsAxis &axis, const float *position, int64_t positions, float stretch) : positions(positions) {
        require(axis.n > 0, EMPTY);
        require(axis.n <= INT32_MAX && positions <= INT32_MAX, "a side is longer than 2147483647 pixels");
        bool finite = true;
        for (int64_t i = 0; i < positions; ++i) finite &= std::isfinite(position[i]);
        require(finite, "positions must be finite");
        require(stretch > 0, "a kernel's stretch must be above 0");
        PointTaps found;
        std::fill_n(found.stretch, POINTS, stretch);
        const auto blocks = [&](const auto &work) {
            for (int64_t start = 0; start < positions; start += POINTS) {
                const int count = int(std::min<int64_t>(POINTS, positions - start));
                found.place(axis, position + start, count);
                found.find(axis, count);
                for (int point = 0; point < count; ++point) work(start + point, point);
            }
        };
        blocks([&](int64_t, int point) { taps = std::max<int64_t>(taps, found.count[point]); });
        index.resize(taps * positions);
        distance.resize(taps * positions);
        inside.resize(taps * positions);
        blocks([&](int64_t i, int point) {
            for (int64_t tap = 0; tap < taps; ++tap) {
                const float pixel = float(found.first[point]) + float(tap);
                index[tap * positions + i] = int32_t(axis.clip(found.first[point] + tap));
                distance[tap * positions + i] = (found.center[point] - pixel) / stretch;
                inside[tap * positions + i] = tap < found.count[point];
            }
        });
    }

    // Pixels counted from `first` on, for a table that holds only `n` of the axis.
    void count_from(int64_t first, int64_t n) {
        for (size_t i = 0; i < index.size(); ++i) {
            const int64_t pixel = index[i] - first;
            require(!inside[i] || (pixel >= 0 && pixel < n), "the table lacks pixels that the positions are made of");
            index[i] = int32_t(std::clamp<int64_t>(pixel, 0, n - 1));
        }
    }
};
