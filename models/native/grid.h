// Resampling on grids: columns between two LR centres are computed together, from pixels that are fetched once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common.h"
#include "resample.h"

// What a plane holds as a value in 0..1: itself, or a grey level of 8 bits.
inline float in_range(float value) { return value; }
inline float in_range(uint8_t level) { return float(level) / 255.f; }

// The columns of a grid as lanes: each lane is a span of columns that read the same pixels, and step k its k-th column.
// All columns between two LR centres read the same pixels, so those are fetched once per span.
class Spans {
  public:
    explicit Spans(const AxisTaps &x) : taps(x.taps) {
        std::vector<int64_t> starts;
        const auto same = [&](int64_t a, int64_t b) {
            for (int64_t t = 0; t < taps; ++t)
                if (x.index[t * x.positions + a] != x.index[t * x.positions + b]) return false;
            return true;
        };
        int64_t changes = 1;
        for (int64_t i = 1; i < x.positions; ++i) changes += !same(i - 1, i);
        steps = (x.positions + changes - 1) / changes;  // longer spans are cut, so that lanes are filled
        for (int64_t i = 0; i < x.positions; ++i)
            if (i == 0 || !same(i - 1, i) || i - starts.back() == steps) starts.push_back(i);
        lanes = (int64_t(starts.size()) + LANES - 1) / LANES * LANES;
        require(steps * lanes <= INT32_MAX, "the output has too many columns");
        std::vector<int32_t> index(taps * lanes);
        distance.resize(taps * steps * lanes);
        inside.resize(taps * steps * lanes);
        place.resize(x.positions);
        for (int64_t lane = 0; lane < lanes; ++lane) {
            // Lanes and steps left over repeat a column, because its weights have a sum other than 0.
            const int64_t span = std::min<int64_t>(lane, int64_t(starts.size()) - 1);
            const int64_t end = span + 1 < int64_t(starts.size()) ? starts[span + 1] : x.positions;
            for (int64_t step = 0; step < steps; ++step) {
                const int64_t column = std::min(starts[span] + step, end - 1);
                if (lane == span && column == starts[span] + step) place[column] = int32_t(step * lanes + lane);
                for (int64_t t = 0; t < taps; ++t) {
                    if (step == 0) index[t * lanes + lane] = x.index[t * x.positions + column];
                    distance[(t * steps + step) * lanes + lane] = x.distance[t * x.positions + column];
                    inside[(t * steps + step) * lanes + lane] = x.inside[t * x.positions + column];
                }
            }
        }
        for (int64_t i = 0; i < taps * lanes; ++i)
            if (i % lanes && index[i] == index[i - 1] + 1)
                ++runs.back().length;
            else
                runs.push_back({i / lanes, i % lanes, index[i], 1});
        find_even(starts);
    }

    // Neighbouring lanes whose tap number `tap` reads neighbouring pixels: all of them between two borders of a picture
    // that is enlarged.
    struct Run {
        int64_t tap, lane, pixel, length;
    };

    int64_t taps, lanes, steps;
    std::vector<Run> runs;
    std::vector<float> distance;  // (taps, steps, lanes)
    std::vector<float> inside;    // (taps, steps, lanes): 1 or 0
    std::vector<int32_t> place;   // index of each column in (steps, lanes)
    int64_t even_lane = 0, even_lanes = 0;  // the first lanes in a row of which all have all steps
    int64_t even_column = 0;                // the first of their columns

  private:
    void find_even(const std::vector<int64_t> &starts) {
        const int64_t spans = int64_t(starts.size());
        const auto full = [&](int64_t i) {
            return (i + 1 < spans ? starts[i + 1] : int64_t(place.size())) - starts[i] == steps;
        };
        while (even_lane < spans && !full(even_lane)) ++even_lane;
        while (even_lane + even_lanes < spans && full(even_lane + even_lanes)) ++even_lanes;
        even_column = even_lanes ? starts[even_lane] : 0;
    }
};

// Resamples one channel on a grid, row by row from the top.
template <class Kernel, class Value>
class RowsOfGrid {
  public:
    RowsOfGrid(const AxisTaps &y, const Spans &x, int64_t width)
        : y(y), x(x), width(width), padded((width + LANES - 1) / LANES * LANES) {
        pixels.resize(PARTS * padded);
        fetched.resize(y.taps * x.taps * PARTS * x.lanes);
        held.resize(y.taps);
        terms.resize(y.taps * x.taps);
        rendered.resize(x.steps * x.lanes);
    }

    // Starts on another channel: its values (h, w), and its hyper-parameters, planes that are `stride` floats apart.
    void begin(const Value *values, const Value *hyper, int64_t stride) {
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
        put_columns(out);
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

    // Values and coefficients of an LR row for every tap and lane, (taps, PARTS, lanes). The rows of one support are
    // kept for the next output row.
    const float *fetch(int64_t lr_row) {
        const int64_t slot = lr_row % y.taps;
        float *to = &fetched[slot * x.taps * PARTS * x.lanes];
        if (held[slot] == lr_row) return to;
        held[slot] = lr_row;
        float *row = pixels.data();
        read(plane + lr_row * width, row);
        for (int k = 0; k < Kernel::HYPER; ++k)
            read(hyper_planes + k * hyper_stride + lr_row * width, row + (1 + k) * padded);
        for (int64_t column = padded; column < 2 * padded; column += LANES) {
            Floats hyper[Kernel::HYPER], coefficient[Kernel::HYPER];
            for (int k = 0; k < Kernel::HYPER; ++k) hyper[k] = load<Floats>(row + k * padded + column);
            Kernel::prepare(hyper, coefficient);
            for (int k = 0; k < Kernel::HYPER; ++k) store(row + k * padded + column, coefficient[k]);
        }
        for (const Spans::Run &run : x.runs)
            for (int part = 0; part < PARTS; ++part)
                std::copy_n(&pixels[part * padded + run.pixel], run.length,
                            to + (run.tap * PARTS + part) * x.lanes + run.lane);
        return to;
    }

    void read(const Value *from, float *to) const {
        for (int64_t column = 0; column < width; ++column) to[column] = in_range(from[column]);
    }

    // Puts what is rendered in the order of columns.
    void put_columns(float *out) const {
        const int64_t columns = int64_t(x.place.size()), end = x.even_column + x.even_lanes * x.steps;
        const auto one_by_one = [&](int64_t from, int64_t to) {
            for (int64_t column = from; column < to; ++column) out[column] = rendered[x.place[column]];
        };
        // Compilers vectorise loops over a known number of steps.
        switch (x.steps) {
            case 1: put_even<1>(out); break;
            case 2: put_even<2>(out); break;
            case 3: put_even<3>(out); break;
            case 4: put_even<4>(out); break;
            case 8: put_even<8>(out); break;
            default: return one_by_one(0, columns);
        }
        one_by_one(0, x.even_column);
        one_by_one(end, columns);
    }

    template <int STEPS>
    void put_even(float *__restrict out) const {
        const float *from = rendered.data() + x.even_lane;
        out += x.even_column;
        for (int64_t lane = 0; lane < x.even_lanes; ++lane)
            for (int step = 0; step < STEPS; ++step) out[lane * STEPS + step] = from[step * x.lanes + lane];
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

    const AxisTaps &y;
    const Spans &x;
    const int64_t width, padded;
    const Value *plane = nullptr, *hyper_planes = nullptr;
    int64_t hyper_stride = 0;
    std::vector<float> pixels;    // (PARTS, padded w)
    std::vector<float> fetched;   // (y taps, x taps, PARTS, lanes)
    std::vector<int64_t> held;    // the LR row in each slot of `fetched`
    std::vector<ActiveRow> active;
    std::vector<Term> terms;      // (y taps, x taps)
    std::vector<float> rendered;  // (steps, lanes)
};

// Resamples planes (PARTS * channels, height, width). Each thread gets a `paint` of its own from `make_paint`:
// paint(channel, row, compute) calls compute(to) for the values of an output row.
template <class Kernel, class Value, class MakePaint>
void grid(const Value *planes, int64_t channels, int64_t height, int64_t width, const AxisTaps &y, const AxisTaps &x,
          const MakePaint &make_paint, int threads) {
    if (y.positions == 0 || x.positions == 0) return;
    const Spans spans(x);
    // The first row of a chunk fetches LR rows that the chunk above has fetched, too, so chunks must not be too low.
    const int64_t chunk = std::max<int64_t>(16, (y.positions + 15) / 16), chunks = (y.positions + chunk - 1) / chunk;
    const int64_t area = height * width;
    parallel(channels * chunks, threads, [&] {
        return [&, paint = make_paint(), rows = RowsOfGrid<Kernel, Value>(y, spans, width)](int64_t item) mutable {
            const int64_t channel = item / chunks, top = item % chunks * chunk;
            rows.begin(planes + channel * area, planes + (channels + channel) * area, channels * area);
            for (int64_t row = top; row < std::min(top + chunk, y.positions); ++row)
                paint(channel, row, [&](float *to) { rows.row(row, to); });
        };
    });
}
