// Resampling with kernels that each LR pixel shapes for itself: weighted means of the pixels around a position.
// Arrays as in lerf.py.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "parallel.h"
#include "points.h"
#include "vectors.h"

namespace {

// What positions along one axis are resampled from, nearest pixels first: all (taps, positions).
struct Axis {
    const int64_t *index;
    const float *distance;
    const uint8_t *inside;
    int64_t taps, positions;
};

// The columns of a grid as lanes: lane i of step k is the k-th of a run of columns that share their pixels. Between two
// LR centres all columns do, so what depends on pixels is fetched once for all of them.
class Runs {
  public:
    explicit Runs(const Axis &x) : taps(x.taps) {
        std::vector<int64_t> starts;
        const auto same = [&](int64_t a, int64_t b) {
            for (int64_t t = 0; t < taps; ++t)
                if (x.index[t * x.positions + a] != x.index[t * x.positions + b]) return false;
            return true;
        };
        int64_t changes = 1;
        for (int64_t i = 1; i < x.positions; ++i) changes += !same(i - 1, i);
        steps = (x.positions + changes - 1) / changes;  // longer runs are cut, so that lanes are filled
        for (int64_t i = 0; i < x.positions; ++i)
            if (i == 0 || !same(i - 1, i) || i - starts.back() == steps) starts.push_back(i);
        lanes = (int64_t(starts.size()) + LANES - 1) / LANES * LANES;
        index.resize(taps * lanes);
        distance.resize(taps * steps * lanes);
        inside.resize(taps * steps * lanes);
        place.resize(x.positions);
        for (int64_t lane = 0; lane < lanes; ++lane) {
            // Lanes and steps without a column of their own repeat the last one, whose weights do not vanish.
            const int64_t run = std::min<int64_t>(lane, int64_t(starts.size()) - 1);
            const int64_t end = run + 1 < int64_t(starts.size()) ? starts[run + 1] : x.positions;
            for (int64_t step = 0; step < steps; ++step) {
                const int64_t column = std::min(starts[run] + step, end - 1);
                if (lane == run && column == starts[run] + step) place[column] = int32_t(step * lanes + lane);
                for (int64_t t = 0; t < taps; ++t) {
                    index[t * lanes + lane] = int32_t(x.index[t * x.positions + column]);
                    distance[(t * steps + step) * lanes + lane] = x.distance[t * x.positions + column];
                    inside[(t * steps + step) * lanes + lane] = x.inside[t * x.positions + column];
                }
            }
        }
    }

    int64_t taps, lanes, steps;
    std::vector<int32_t> index;   // (taps, lanes)
    std::vector<float> distance;  // (taps, steps, lanes)
    std::vector<float> inside;    // (taps, steps, lanes): 1 or 0
    std::vector<int32_t> place;   // of each column among (steps, lanes)
};

// One channel's plane and hyper-parameters on a grid, row by row from the top.
template <class Kernel>
class RowsOfGrid {
  public:
    RowsOfGrid(const Axis &y, const Runs &x, int64_t width) : y(y), x(x), width(width) {
        pixels.resize(PARTS * width);
        fetched.resize(y.taps * x.taps * PARTS * x.lanes);
        held.resize(y.taps);
        terms.resize(y.taps * x.taps);
        rendered.resize(x.steps * x.lanes);
    }

    // Another channel; `plane` (h, w), its hyper-parameters `hyper_stride` apart.
    void begin(const float *values, const float *hyper, int64_t stride) {
        plane = values, hyper_planes = hyper, hyper_stride = stride;
        std::fill(held.begin(), held.end(), -1);
    }

    void row(int64_t number, float *out) {
        std::vector<Floats>::size_type count = 0;
        for (int64_t t = 0; t < y.taps; ++t)
            if (y.inside[t * y.positions + number]) {
                active.resize(count + 1);
                active[count++] = {fetch(y.index[t * y.positions + number]), y.distance[t * y.positions + number]};
            }
        for (int64_t lane = 0; lane < x.lanes; lane += LANES)
            if (count == 2 && x.taps == 2)  // loops of known length are unrolled
                lanes(2, 2, lane);
            else
                lanes(count, x.taps, lane);
        for (int64_t column = 0; column < int64_t(x.place.size()); ++column) out[column] = rendered[x.place[column]];
    }

  private:
    static constexpr int PARTS = 1 + Kernel::HYPER;  // a value and its coefficients

    struct ActiveRow {
        const float *fetched;
        float distance;
    };
    struct Term {
        Floats y;
        const float *pixel;
    };

    // An LR row's values and coefficients for every tap and lane: (taps, PARTS, lanes). Rows of a support are held.
    const float *fetch(int64_t lr_row) {
        const int64_t slot = lr_row % y.taps;
        float *to = &fetched[slot * x.taps * PARTS * x.lanes];
        if (held[slot] == lr_row) return to;
        held[slot] = lr_row;
        for (int64_t column = 0; column < width; ++column) {
            float hyper[Kernel::HYPER], coefficient[Kernel::HYPER];
            for (int k = 0; k < Kernel::HYPER; ++k)
                hyper[k] = hyper_planes[k * hyper_stride + lr_row * width + column];
            Kernel::prepare(hyper, coefficient);
            pixels[column] = plane[lr_row * width + column];
            for (int k = 0; k < Kernel::HYPER; ++k) pixels[(1 + k) * width + column] = coefficient[k];
        }
        for (int64_t t = 0; t < x.taps; ++t)
            for (int part = 0; part < PARTS; ++part)
                for (int64_t lane = 0; lane < x.lanes; ++lane)
                    to[(t * PARTS + part) * x.lanes + lane] = pixels[part * width + x.index[t * x.lanes + lane]];
        return to;
    }

    __attribute__((always_inline)) void lanes(int64_t count, int64_t taps, int64_t lane) {
        for (int64_t row = 0; row < count; ++row)
            for (int64_t t = 0; t < taps; ++t) {
                const float *pixel = active[row].fetched + t * PARTS * x.lanes + lane;
                Floats coefficient[Kernel::HYPER];
                for (int k = 0; k < Kernel::HYPER; ++k) coefficient[k] = load<Floats>(pixel + (1 + k) * x.lanes);
                terms[row * taps + t] = {Kernel::along_y(coefficient, Floats{} + active[row].distance), pixel};
            }
        for (int64_t step = 0; step < x.steps; ++step) {
            Floats total = {}, norm = {};
            for (int64_t row = 0; row < count; ++row)
                for (int64_t t = 0; t < taps; ++t) {
                    const Term &term = terms[row * taps + t];
                    Floats coefficient[Kernel::HYPER];
                    for (int k = 0; k < Kernel::HYPER; ++k)
                        coefficient[k] = load<Floats>(term.pixel + (1 + k) * x.lanes);
                    const int64_t place = (t * x.steps + step) * x.lanes + lane;
                    const Floats weight = Kernel::weight(coefficient, term.y, load<Floats>(&x.distance[place])) *
                                          load<Floats>(&x.inside[place]);
                    total += weight * load<Floats>(term.pixel);
                    norm += weight;
                }
            store(&rendered[step * x.lanes + lane], total / norm);
        }
    }

    const Axis &y;
    const Runs &x;
    const int64_t width;
    const float *plane = nullptr, *hyper_planes = nullptr;
    int64_t hyper_stride = 0;
    std::vector<float> pixels;    // (PARTS, w)
    std::vector<float> fetched;   // (y taps, x taps, PARTS, lanes)
    std::vector<int64_t> held;    // which LR row is in each of its slots
    std::vector<ActiveRow> active;
    std::vector<Term> terms;      // (y taps, x taps)
    std::vector<float> rendered;  // (steps, lanes)
};

template <class Kernel>
void grid(const float *planes, int64_t channels, int64_t height, int64_t width, const Axis &y, const Axis &x,
          float *out, int threads) {
    const Runs runs(x);
    // The first row of a band fetches LR pixels that the band above held already, so bands are not too low.
    const int64_t band = std::max<int64_t>(16, (y.positions + 15) / 16), bands = (y.positions + band - 1) / band;
    const int64_t area = height * width;
    parallel(channels * bands, threads, [&] {
        return [&, rows = RowsOfGrid<Kernel>(y, runs, width)](int64_t item) mutable {
            const int64_t channel = item / bands, top = item % bands * band;
            rows.begin(planes + channel * area, planes + (channels + channel) * area, channels * area);
            for (int64_t row = top; row < std::min(top + band, y.positions); ++row)
                rows.row(row, out + (channel * y.positions + row) * x.positions);
        };
    });
}

}  // namespace

extern "C" int32_t resample_grid(int32_t gauss, const float *planes, int64_t channels, int64_t height, int64_t width,
                                 const int64_t *y_index, const float *y_distance, const uint8_t *y_inside,
                                 int64_t y_taps, int64_t rows, const int64_t *x_index, const float *x_distance,
                                 const uint8_t *x_inside, int64_t x_taps, int64_t columns, float *out,
                                 int32_t threads) {
    const Axis y{y_index, y_distance, y_inside, y_taps, rows}, x{x_index, x_distance, x_inside, x_taps, columns};
    return completed(
        [&] { (gauss ? grid<Gauss> : grid<Linear>)(planes, channels, height, width, y, x, out, threads); });
}

extern "C" int32_t resample_points(int32_t gauss, const float *table, int64_t batch, int64_t height, int64_t width,
                                   int64_t channels, const float *stretch, int32_t one_stretch, float radius,
                                   float y_epsilon, float x_epsilon, const float *coord, int64_t queries, float *out,
                                   int32_t threads) {
    const PointsAxis y{height, radius, y_epsilon}, x{width, radius, x_epsilon};
    const Pictures pictures{table, batch, channels, y, x, stretch, one_stretch != 0};
    return completed([&] { (gauss ? points<Gauss> : points<Linear>)(pictures, coord, queries, out, threads); });
}

extern "C" int32_t resample_warped(int32_t gauss, const float *table, int64_t batch, int64_t height, int64_t width,
                                   int64_t channels, const float *stretch, int32_t one_stretch, float radius,
                                   float y_epsilon, float x_epsilon, const double *forms, double smallest, int64_t rows,
                                   int64_t columns, float *out, int32_t threads) {
    const PointsAxis y{height, radius, y_epsilon}, x{width, radius, x_epsilon};
    const Pictures pictures{table, batch, channels, y, x, stretch, one_stretch != 0};
    const Warp warp(forms, smallest);
    return completed(
        [&] { (gauss ? warped<Gauss> : warped<Linear>)(pictures, warp, rows, columns, out, threads); });
}
