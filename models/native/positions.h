// Positions of output pixels in a picture, on its own grid and under a homography: what utils/geometry computes, for
// routines that do not get positions from Python.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

constexpr int64_t WARPED_ROWS = 8;  // output rows that a thread takes at a time

// For an output pixel (column, row): y times depth, x times depth, and depth, each a * column + b * row + c. A pixel is
// in front of the horizon where its depth exceeds `smallest`.
struct Warp {
    struct Form {
        double a, b, c;
    };
    Form y, x, depth;
    double smallest;

    Warp(const double *forms, double smallest)
        : y{forms[0], forms[1], forms[2]},
          x{forms[3], forms[4], forms[5]},
          depth{forms[6], forms[7], forms[8]},
          smallest(smallest) {}

    // For `columns` pixels of a row: positions clipped to -1..1, and whether they lie within -1..1 and in front of the
    // horizon.
    void positions(int64_t row, int64_t first_column, int64_t columns, float *to_y, float *to_x,
                   uint8_t *inside) const {
        const double y_start = y.b * double(row) + y.c, x_start = x.b * double(row) + x.c;
        const double depth_start = depth.b * double(row) + depth.c;
        for (int64_t i = 0; i < columns; ++i) {
            const double column = double(first_column + i), own_depth = depth.a * column + depth_start;
            const double scale = 1 / std::max(own_depth, smallest);
            const double at_y = (y.a * column + y_start) * scale, at_x = (x.a * column + x_start) * scale;
            inside[i] = (own_depth > smallest) & (std::abs(at_y) <= 1) & (std::abs(at_x) <= 1);
            to_y[i] = float(std::min(std::max(at_y, -1.), 1.));
            to_x[i] = float(std::min(std::max(at_x, -1.), 1.));
        }
    }
};

// The centre of pixel i of n, rounded as utils.geometry.grids.pixel_centers rounds it.
inline float pixel_center(int64_t i, int64_t n) {
    return float(i) * float(2 / double(n)) + float(-1 + 1 / double(n));
}
