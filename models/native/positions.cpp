// Positions of output pixels in a picture under a homography. Arrays as in positions.py.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "parallel.h"

namespace {

constexpr int64_t ROWS = 8;  // that a thread takes at a time

// a * column + b * row + c.
struct Form {
    double a, b, c;
};

void row_of_positions(const Form *forms, double row, int64_t columns, double smallest, float *y, float *x,
                      uint8_t *inside) {
    const double y_start = forms[0].b * row + forms[0].c, x_start = forms[1].b * row + forms[1].c;
    const double depth_start = forms[2].b * row + forms[2].c;
    for (int64_t column = 0; column < columns; ++column) {
        const double depth = forms[2].a * double(column) + depth_start;
        const double scale = 1 / std::max(depth, smallest);
        const double at_y = (forms[0].a * double(column) + y_start) * scale;
        const double at_x = (forms[1].a * double(column) + x_start) * scale;
        inside[column] = (depth > smallest) & (std::abs(at_y) <= 1) & (std::abs(at_x) <= 1);
        y[column] = float(std::min(std::max(at_y, -1.), 1.));
        x[column] = float(std::min(std::max(at_x, -1.), 1.));
    }
}

}  // namespace

extern "C" void warped_positions(const double *forms, int64_t first_row, int64_t rows, int64_t columns,
                                 double smallest, float *coord, uint8_t *inside, int32_t threads) {
    parallel((rows + ROWS - 1) / ROWS, threads, [&] {
        return [&](int64_t item) {
            for (int64_t row = item * ROWS; row < std::min((item + 1) * ROWS, rows); ++row)
                row_of_positions(reinterpret_cast<const Form *>(forms), double(first_row + row), columns, smallest,
                                 coord + row * columns, coord + (rows + row) * columns, inside + row * columns);
        };
    });
}
