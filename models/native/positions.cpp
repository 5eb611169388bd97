// Positions of all output pixels of some rows under a homography. Arrays as in positions.py.

#include "positions.h"

#include "parallel.h"

extern "C" int32_t warped_positions(const double *forms, double smallest, int64_t first_row, int64_t rows,
                                    int64_t columns, float *coord, uint8_t *inside, int32_t threads) {
    const Warp warp(forms, smallest);
    return completed([&] {
        parallel((rows + WARPED_ROWS - 1) / WARPED_ROWS, threads, [&] {
            return [&](int64_t item) {
                const int64_t top = item * WARPED_ROWS;
                for (int64_t row = top; row < std::min(top + WARPED_ROWS, rows); ++row)
                    warp.positions(first_row + row, 0, columns, coord + row * columns, coord + (rows + row) * columns,
                                   inside + row * columns);
            };
        });
    });
}
