// Resampling with kernels whose shape each LR pixel sets: weighted means of the pixels around a position.
// Arrays as in resampler.py.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common.h"
#include "grid.h"
#include "points.h"
#include "resample.h"

namespace {

// Calls work(Kernel()) for a resampling kernel, numbered as in resampler.py, and refuses a number of planes or channels
// of pixels that does not go with it.
template <class Work>
void with_kernel(int32_t number, int64_t planes, int64_t channels, const Work &work) {
    const auto checked = [&](auto kernel) {
        const int64_t expected = (1 + decltype(kernel)::HYPER) * channels;
        require(planes == expected, "planes and channels do not fit the resampling kernel");
        work(kernel);
    };
    switch (number) {
        case 0: return checked(Linear());
        case 1: return checked(Gauss());
        default: throw Refusal{"unknown resampling kernel"};
    }
}

}  // namespace

extern "C" const char *resample_grid(int32_t kernel, const float *table, int64_t planes, int64_t height, int64_t width,
                                     int64_t full_height, int64_t full_width, int64_t first_row, int64_t first_column,
                                     const float *y_position, int64_t rows, float y_stretch, const float *x_position,
                                     int64_t columns, float x_stretch, float radius, int64_t channels, float *out,
                                     int32_t threads) {
    return completed([&] {
        with_kernel(kernel, planes, channels, [&](auto kind) {
            AxisTaps y(PointsAxis(full_height, radius), y_position, rows, y_stretch);
            y.count_from(first_row, height);
            AxisTaps x(PointsAxis(full_width, radius), x_position, columns, x_stretch);
            x.count_from(first_column, width);
            const auto make_paint = [&] {
                return [&](int64_t channel, int64_t row, const auto &compute) {
                    compute(out + (channel * rows + row) * columns);
                };
            };
            grid<decltype(kind)>(table, channels, height, width, y, x, make_paint, threads);
        });
    });
}

extern "C" const char *resample_points(int32_t kernel, const float *table, int64_t batch, int64_t height, int64_t width,
                                       int64_t planes, const float *stretch, int32_t one_stretch, float radius,
                                       const float *coord, int64_t channels, int64_t queries, float *out,
                                       int32_t threads) {
    const PointsAxis y{height, radius}, x{width, radius};
    const Pictures pictures{table, batch, channels, y, x, stretch, one_stretch != 0};
    return completed([&] {
        with_kernel(kernel, planes, channels,
                    [&](auto kind) { points<decltype(kind)>(pictures, coord, queries, out, threads); });
    });
}

extern "C" const char *resample_warped(int32_t kernel, const float *table, int64_t batch, int64_t height, int64_t width,
                                       int64_t planes, const float *stretch, int32_t one_stretch, float radius,
                                       const double *forms, double smallest, int64_t channels, int64_t rows,
                                       int64_t columns, float *out, int32_t threads) {
    const PointsAxis y{height, radius}, x{width, radius};
    const Pictures pictures{table, batch, channels, y, x, stretch, one_stretch != 0};
    const Warp warp(forms, smallest);
    return completed([&] {
        with_kernel(kernel, planes, channels, [&](auto kind) {
            const auto make_paint = [&] {
                return [&](int64_t picture, int64_t row, int64_t column, int64_t, const auto &compute) {
                    compute(out + (picture * channels * rows + row) * columns + column, rows * columns);
                };
            };
            warped<decltype(kind)>(pictures, warp, rows, columns, make_paint, threads);
        });
    });
}

extern "C" const char *native_interface() {
    static const std::string text = signature("resample_grid", resample_grid) +
                                    signature("resample_points", resample_points) +
                                    signature("resample_warped", resample_warped);
    return text.c_str();
}
