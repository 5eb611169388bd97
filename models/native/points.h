// Resampling at any positions. Consecutive positions mostly read the same pixels, so pixels are fetched once per span
// of such positions, into vectors that hold several taps of several channels side by side.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common.h"
#include "homography.h"
#include "resample.h"

constexpr int GROUP = 4;               // channels in a vector
constexpr int SPREAD = LANES / GROUP;  // taps in a vector

typedef float Group __attribute__((vector_size(GROUP * sizeof(float))));

// The input: per-pixel values and hyper-parameters `table` (B, h, w, PARTS * C), and the factor by which the kernel is
// stretched along y and x, (B, 2) or per pixel (B, 2, h, w).
struct Pictures {
    const float *table;
    int64_t batch, channels;
    PointsAxis y, x;
    const float *stretch;
    bool one_stretch;

    int64_t area() const { return y.n * x.n; }
};

template <class Kernel>
class BlockOfPoints {
  public:
    explicit BlockOfPoints(const Pictures &pictures)
        : pictures(pictures), y_axis(pictures.y), x_axis(pictures.x), channels(pictures.channels) {}

    // Up to POINTS positions with coordinates `y` and `x` in a picture: out[c] (count), `out_stride` apart.
    void operator()(int64_t picture, const float *y, const float *x, int count, float *out, int64_t out_stride) {
        const int64_t area = pictures.area(), floats = area * PARTS * channels;
        const float *table = pictures.table + picture * floats;
        const float *stretch = pictures.stretch + picture * 2 * (pictures.one_stretch ? 1 : area);
        y_taps.place(y_axis, y, count);
        x_taps.place(x_axis, x, count);
        const int whole = (count + LANES - 1) / LANES * LANES;  // vectors are computed with in full
        if (pictures.one_stretch) {
            std::fill_n(y_taps.stretch, whole, stretch[0]);
            std::fill_n(x_taps.stretch, whole, stretch[1]);
        } else
            for (int point = 0; point < whole; ++point) {
                const int64_t pixel =
                    y_axis.nearest(y_taps.center[point]) * x_axis.n + x_axis.nearest(x_taps.center[point]);
                y_taps.stretch[point] = stretch[pixel];
                x_taps.stretch[point] = stretch[pixel + area];
            }
        y_taps.find(y_axis, count);
        x_taps.find(x_axis, count);
        for (int point = 1; point < count; ++point)
            changes[point] = (y_taps.first[point] != y_taps.first[point - 1]) |
                             (x_taps.first[point] != x_taps.first[point - 1]) |
                             (y_taps.count[point] != y_taps.count[point - 1]) |
                             (x_taps.count[point] != x_taps.count[point - 1]);
        for (int64_t channel = 0; channel < channels; channel += GROUP) {
            blend(table + channel, table + floats, count);
            for (int64_t c = channel; c < std::min(channel + GROUP, channels); ++c)
                for (int point = 0; point < count; ++point)
                    out[c * out_stride + point] = means[GROUP * point + c - channel];
        }
    }

  private:
    static constexpr int PARTS = 1 + Kernel::HYPER;  // a value and its hyper-parameters

    // SPREAD taps of GROUP channels; every lane is one channel of one tap.
    struct Taps {
        Floats row, column;  // of the tap within its support, counted from 0
        Floats mask;         // 1, or 0 in lanes that repeat a tap
        Floats value, coefficient[Kernel::HYPER];
    };
    struct Parts {
        float lanes[PARTS][LANES];
    };

    // Weighted means of a group of channels, (count, GROUP). `table` points at the group's first value; the array ends
    // before `end`.
    void blend(const float *table, const float *end, int count) {
        fetch(table, end, 0);
        for (int start = 0, next; start < count; start = next) {
            for (next = start + 1; next < count && !changes[next];) ++next;
            prepare(start);
            // Prefetch here to avoid store-forwarding stalls.
            if (next < count) fetch(table, end, next);
            for (int point = start; point < next; ++point) {
                Floats total = {}, norm = {};
                for (const Taps &tap : taps) {
                    const Floats dy = (y_taps.offset[point] - tap.row) * y_taps.unit[point];
                    const Floats dx = (x_taps.offset[point] - tap.column) * x_taps.unit[point];
                    const Floats along_y = Kernel::along_y(tap.coefficient, dy);
                    const Floats weight = Kernel::weight(tap.coefficient, along_y, dx) * tap.mask;
                    total += weight * tap.value;
                    norm += weight;
                }
                store(totals[point], total);
                store(norms[point], norm);
            }
        }
        // A loop of its own, because sums over lanes are long dependency chains that would delay the next position.
        for (int point = 0; point < count; ++point)
            store(&means[GROUP * point], over_taps(totals[point]) / over_taps(norms[point]));
    }

    // Copies the pixels of a position's taps to `fetched`.
    void fetch(const float *table, const float *end, int point) {
        const int64_t floats = PARTS * channels;  // of a pixel
        const int count_y = y_taps.count[point], count_x = x_taps.count[point];
        require(int64_t(count_y) * count_x <= MOST_TAPS, TOO_MANY_TAPS);
        fetched.resize((count_y * count_x + SPREAD - 1) / SPREAD);
        const auto copy = [&](int number, const float *pixel) {
            float *lanes = &fetched[number / SPREAD].lanes[0][number % SPREAD * GROUP];
            if (end - pixel >= floats + GROUP)
                for (int part = 0; part < PARTS; ++part)
                    std::memcpy(lanes + part * LANES, pixel + part * channels, GROUP * sizeof(float));
            else
                for (int part = 0; part < PARTS; ++part)
                    std::copy_n(pixel + part * channels, std::min<int64_t>(GROUP, end - pixel - part * channels),
                                lanes + part * LANES);
        };
        int number = 0;
        const float *pixel = table;
        for (int row = 0; row < count_y; ++row) {
            const float *start = table + y_axis.clip(y_taps.first[point] + row) * x_axis.n * floats;
            for (int column = 0; column < count_x; ++column) {
                pixel = start + x_axis.clip(x_taps.first[point] + column) * floats;
                copy(number++, pixel);
            }
        }
        // Lanes left over repeat a tap: any other pixel could hold NaN, which a mask of 0 does not remove.
        for (; number % SPREAD; ++number) copy(number, pixel);
    }

    // Turns the fetched pixels of a position into taps.
    void prepare(int point) {
        if (y_taps.count[point] != rows || x_taps.count[point] != columns)
            arrange(y_taps.count[point], x_taps.count[point]);
        for (size_t i = 0; i < taps.size(); ++i) {
            taps[i].value = load<Floats>(fetched[i].lanes[0]);
            Floats hyper[Kernel::HYPER];
            for (int k = 0; k < Kernel::HYPER; ++k) hyper[k] = load<Floats>(fetched[i].lanes[1 + k]);
            Kernel::prepare(hyper, taps[i].coefficient);
        }
    }

    // Sets up the taps for another size of the support.
    void arrange(int new_rows, int new_columns) {
        rows = new_rows, columns = new_columns;
        taps.resize((rows * columns + SPREAD - 1) / SPREAD);
        for (int lane = 0; lane < int(taps.size()) * LANES; ++lane) {  // at most GROUP * (MOST_TAPS + SPREAD)
            const int number = lane / GROUP, place = lane % LANES;
            Taps &tap = taps[lane / LANES];
            tap.row[place] = float(number / columns);
            tap.column[place] = float(number % columns);
            tap.mask[place] = number < rows * columns;
        }
    }

    static Group over_taps(const float *lanes) {
        Group sum = load<Group>(lanes);
        for (int lane = GROUP; lane < LANES; lane += GROUP) sum += load<Group>(lanes + lane);
        return sum;
    }

    const Pictures pictures;
    const PointsAxis y_axis, x_axis;
    const int64_t channels;
    PointTaps y_taps, x_taps;
    int rows = 0, columns = 0;
    std::vector<Taps> taps;      // (rows * columns / SPREAD), rounded up
    std::vector<Parts> fetched;  // pixels of the next span's taps, as many
    uint8_t changes[POINTS];     // whether a position begins a span: its taps differ from those of the one before
    alignas(VECTOR_BYTES) float totals[POINTS][LANES];
    alignas(VECTOR_BYTES) float norms[POINTS][LANES];
    float means[GROUP * POINTS];
};

// Resamples every picture at its positions `coord` (B, 2, Q): (B, C, Q).
template <class Kernel>
void points(const Pictures &pictures, const float *coord, int64_t queries, float *out, int threads) {
    const int64_t blocks = (queries + POINTS - 1) / POINTS;
    require(pictures.area() > 0, EMPTY);
    parallel(pictures.batch * blocks, threads, [&] {
        return [&, block = BlockOfPoints<Kernel>(pictures)](int64_t item) mutable {
            const int64_t picture = item / blocks, start = item % blocks * POINTS;
            const float *own = coord + 2 * picture * queries + start;
            const int count = int(std::min<int64_t>(POINTS, queries - start));
            block(picture, own, own + queries, count, out + picture * pictures.channels * queries + start, queries);
        };
    });
}

// Resamples pictures under a homography where an output pixel lies inside them: in every row consecutive pixels. Each
// thread gets a `paint` of its own from `make_paint`: paint(picture, row, column, count, compute) calls
// compute(to, stride) for the values of `count` pixels, a channel's values `stride` after those of the one before.
template <class Kernel, class MakePaint>
void warped(const Pictures &pictures, const Warp &warp, int64_t rows, int64_t columns, const MakePaint &make_paint,
            int threads) {
    require(pictures.area() > 0, EMPTY);
    parallel((rows + WARPED_ROWS - 1) / WARPED_ROWS, threads, [&] {
        return [&, paint = make_paint(), block = BlockOfPoints<Kernel>(pictures)](int64_t item) mutable {
            float y[POINTS], x[POINTS];
            uint8_t inside[POINTS];
            const int64_t top = item * WARPED_ROWS;
            for (int64_t row = top; row < std::min(top + WARPED_ROWS, rows); ++row)
                for (int64_t column = 0; column < columns; column += POINTS) {
                    const int64_t count = std::min<int64_t>(POINTS, columns - column);
                    warp.positions(row, column, count, y, x, inside);
                    int64_t start = 0, end = count;
                    while (start < end && !inside[start]) ++start;
                    while (start < end && !inside[end - 1]) --end;
                    if (start == end) continue;
                    for (int64_t picture = 0; picture < pictures.batch; ++picture)
                        paint(picture, row, column + start, end - start, [&](float *to, int64_t stride) {
                            block(picture, y + start, x + start, int(end - start), to, stride);
                        });
                }
        };
    });
}
