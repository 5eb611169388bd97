// Which pixels positions are resampled from, and how far away those are: the one owner for grids and for any positions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "parallel.h"
#include "vectors.h"

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
