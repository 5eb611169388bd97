// Resampling with kernels that each LR pixel shapes for itself: weighted means of the pixels around a position. See
// resampler.py for the arrays.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "parallel.h"
#include "vectors.h"

namespace {

typedef uint32_t Words __attribute__((vector_size(VECTOR_BYTES)));

constexpr int POINTS = 4096;  // arbitrary positions a thread takes at a time

inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats magnitude(Floats a) { return a > 0 ? a : -a; }

template <class To, class From>
inline To bits_of(From from) {
    return load<To>(reinterpret_cast<const char *>(&from));
}

// 2^x for x <= 127, relative error below 3e-7; below 2^-126 it stays there.
inline Floats exp2(Floats x) {
    constexpr float ROUNDER = 12582912;  // 1.5 * 2^23: a float this large has no digits behind the point
    x = maximum(x, Floats{} - 126);
    const Floats rounded = x + ROUNDER;
    const Floats f = x - (rounded - ROUNDER);  // -1/2..1/2
    // Taylor's series of exp(f * ln 2) to the sixth power: its remainder is below 2e-7 there.
    Floats power = Floats{} + 1.5403530e-4f;
    power = power * f + 1.3333558e-3f;
    power = power * f + 9.6181291e-3f;
    power = power * f + 5.5504109e-2f;
    power = power * f + 2.4022651e-1f;
    power = power * f + 6.9314718e-1f;
    power = power * f + 1;
    return bits_of<Floats>(bits_of<Words>(power) + (bits_of<Words>(rounded) << 23));
}

// A kernel turns a pixel's hyper-parameters into coefficients once, those into terms of a row of positions, and these
// into weights. `HYPER` hyper-parameters, as many coefficients.

// Amplified linear: max(0, 1 - a |dy|) * max(0, 1 - a |dx|).
struct Linear {
    static constexpr int HYPER = 1;
    template <class T>
    static void prepare(const T *hyper, T *coefficient) {
        coefficient[0] = 2 * hyper[0] - 1;
    }
    static Floats along_y(const Floats *coefficient, Floats dy) {
        return maximum(1 - coefficient[0] * magnitude(dy), Floats{});
    }
    static Floats weight(const Floats *coefficient, Floats y, Floats dx) {
        return y * maximum(1 - coefficient[0] * magnitude(dx), Floats{});
    }
};

// Steerable Gaussian: exp(-1/2 (y^2 - 2 r y x + x^2)) for y = 10 sigma_x dy and x = 10 sigma_y dx, computed as
// 2^-((y - r x)^2 + (1 - r^2) x^2), which does not cancel where r is near 1, with the factor within y and x.
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
        for (int64_t lane = 0; lane < x.lanes; lane += LANES) lanes(count, lane);
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

    void lanes(int64_t count, int64_t lane) {
        for (int64_t row = 0; row < count; ++row)
            for (int64_t t = 0; t < x.taps; ++t) {
                const float *pixel = active[row].fetched + t * PARTS * x.lanes + lane;
                Floats coefficient[Kernel::HYPER];
                for (int k = 0; k < Kernel::HYPER; ++k) coefficient[k] = load<Floats>(pixel + (1 + k) * x.lanes);
                terms[row * x.taps + t] = {Kernel::along_y(coefficient, Floats{} + active[row].distance), pixel};
            }
        for (int64_t step = 0; step < x.steps; ++step) {
            Floats total = {}, norm = {};
            for (int64_t row = 0; row < count; ++row)
                for (int64_t t = 0; t < x.taps; ++t) {
                    const Term &term = terms[row * x.taps + t];
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
void grid(const float *planes, int64_t channels, int64_t height, int64_t width, const Axis &y, const Axis &x, float *out,
          int threads) {
    const Runs runs(x);
    // Bands of about as many rows as there are LR pixels in a few: the first rows of a band fetch what others hold.
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

extern "C" void resample_grid(int32_t gauss, const float *planes, int64_t channels, int64_t height, int64_t width,
                              const int64_t *y_index, const float *y_distance, const uint8_t *y_inside, int64_t y_taps,
                              int64_t rows, const int64_t *x_index, const float *x_distance, const uint8_t *x_inside,
                              int64_t x_taps, int64_t columns, float *out, int32_t threads) {
    const Axis y{y_index, y_distance, y_inside, y_taps, rows}, x{x_index, x_distance, x_inside, x_taps, columns};
    (gauss ? grid<Gauss> : grid<Linear>)(planes, channels, height, width, y, x, out, threads);
}
