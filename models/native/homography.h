// Homographies, as utils/geometry/homographies.py has them: for routines that get a matrix and not positions.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "common.h"

// Positions of output pixels in a picture, on its own grid and under a homography: what utils/geometry computes, for
// routines that do not get positions from Python.

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

constexpr double SINGULAR = 1e-12;
constexpr double SMALLEST_DEPTH = 1e-12;  // in front of the horizon, relative to the depth of the picture's centre
constexpr double LARGEST_CELL = 8;        // no output pixel counts as larger than this many input pixels

using Row = std::array<double, 3>;
using Matrix = std::array<Row, 3>;

inline double determinant(const Matrix &m) {
    return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
           m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

// By elimination with the largest pivots.
inline Matrix inverse_of(Matrix m) {
    Matrix inverse{Row{1, 0, 0}, Row{0, 1, 0}, Row{0, 0, 1}};
    for (int column = 0; column < 3; ++column) {
        int pivot = column;
        for (int row = column + 1; row < 3; ++row)
            if (std::abs(m[row][column]) > std::abs(m[pivot][column])) pivot = row;
        std::swap(m[column], m[pivot]);
        std::swap(inverse[column], inverse[pivot]);
        require(m[column][column] != 0, "the homography is singular");
        for (int row = column + 1; row < 3; ++row) {
            const double factor = m[row][column] / m[column][column];
            for (int k = 0; k < 3; ++k) {
                m[row][k] -= factor * m[column][k];
                inverse[row][k] -= factor * inverse[column][k];
            }
        }
    }
    for (int row = 2; row >= 0; --row)
        for (int k = 0; k < 3; ++k) {
            for (int below = row + 1; below < 3; ++below) inverse[row][k] -= m[row][below] * inverse[below][k];
            inverse[row][k] /= m[row][row];
        }
    return inverse;
}

// A map of input pixels (x, y, 1), of a picture of height x width, to output pixels; pixel centres are whole numbers.
class Homography {
  public:
    Homography(const double *values, int64_t height, int64_t width) : height(height), width(width) {
        double largest = 0;
        for (int i = 0; i < 9; ++i) {
            require(std::isfinite(values[i]), "a homography is 3x3 finite numbers");
            matrix[i / 3][i % 3] = values[i];
            largest = std::max(largest, std::abs(values[i]));
        }
        // Rows and columns have different units, so their lengths are divided out before the determinant is judged.
        Matrix balanced = matrix;
        for (Row &row : balanced) {
            const double length = std::hypot(row[0], row[1], row[2]);
            for (double &value : row) value /= std::max(length, 1e-300);
        }
        for (int k = 0; k < 3; ++k) {
            const double length = std::hypot(balanced[0][k], balanced[1][k], balanced[2][k]);
            for (Row &row : balanced) row[k] /= std::max(length, 1e-300);
        }
        require(std::abs(determinant(balanced)) >= SINGULAR, "the homography is singular");
        // The factor that makes the third coordinate 1 at the picture's centre
        for (Row &row : matrix)
            for (double &value : row) value /= largest;
        const Row &depths = matrix[2];
        const double depth = depths[0] * (double(width - 1) / 2) + depths[1] * (double(height - 1) / 2) + depths[2];
        if (std::abs(depth) >= SINGULAR)
            for (Row &row : matrix)
                for (double &value : row) value /= depth;
        inverse = inverse_of(matrix);
    }

    // What Warp takes: times an output's (column, row, 1) it gives y and x times depth, and depth.
    std::array<double, 9> forms() const {
        std::array<double, 9> forms;
        const auto &[x, y, w] = inverse;
        for (int k = 0; k < 3; ++k) {
            forms[k] = y[k] * (2 / double(height)) + w[k] * (1 / double(height) - 1);
            forms[3 + k] = x[k] * (2 / double(width)) + w[k] * (1 / double(width) - 1);
            forms[6 + k] = w[k];
        }
        return forms;
    }

    // Size of an output pixel in input pixels at each of them, (2, height, width), y first: per axis the longest step
    // that one output pixel in any direction makes, at most LARGEST_CELL.
    std::vector<float> pixel_sizes() const {
        std::vector<float> sizes(2 * height * width);
        const Row &depths = matrix[2];
        for (int64_t y = 0; y < height; ++y)
            for (int64_t x = 0; x < width; ++x) {
                const double w =
                    std::max(depths[0] * double(x) + (depths[1] * double(y) + depths[2]), 1e-9);
                // The third coordinate of the inverse is 1 / w where that of the map is w: the quotient rule.
                const auto step = [&](int row, int64_t position, int64_t n) {
                    const double a = inverse[row][0] - double(position) * inverse[2][0];
                    const double b = inverse[row][1] - double(position) * inverse[2][1];
                    const double cell = std::min(std::max(std::sqrt(a * a + b * b) * w, 0.), LARGEST_CELL);
                    return float(cell * 2 / double(n)) * float(n) / 2;  // rounded as a cell in positions
                };
                sizes[y * width + x] = step(1, y, height);
                sizes[(height + y) * width + x] = step(0, x, width);
            }
        return sizes;
    }

  private:
    Matrix matrix, inverse;
    int64_t height, width;
};
