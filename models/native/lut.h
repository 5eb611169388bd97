// LeRF's LUT stages: the output of all units of a stage for every pixel, summed as integers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "parallel.h"
#include "simplex.h"

constexpr int CHUNK = 32;  // rows whose sums are kept at a time, few enough for the cache
constexpr int MOST_UNITS = 8, FARTHEST = 64;  // units of a stage, and steps from a pixel to those it is looked up with
static_assert(2 * MOST_UNITS * INTERVAL * LARGEST <= INT16_MAX, "sums of all units must fit 16 bits");

// A pattern in one direction and in the opposite one. In the opposite direction the four pixels are the same, seen from
// the last of them and in reverse order. Every LUT entry holds the values for both orders, so one simplex lookup serves
// both directions.
struct Unit {
    const uint8_t *lut;  // from make_entries
    int y[PIXELS], x[PIXELS];
};

// Computes CHUNK rows at a time of one plane (h, w) of grey levels: out[k] (h, w).
template <int VALUES>
class RowChunk {
  public:
    RowChunk(const std::vector<Unit> &units, int64_t height, int64_t width)
        : units(units), height(height), width(width) {
        for (const Unit &unit : units)
            for (int i = 0; i < PIXELS; ++i) reach = std::max({reach, std::abs(unit.y[i]), std::abs(unit.x[i])});
        stride = width + 2 * reach;
        levels.resize((CHUNK + 2 * reach) * stride + reach + BLOCK);  // the last block may begin at the last pixel
        totals.resize(((CHUNK + 2 * reach) * stride + LANES) * Layout::SUMS);  // some beyond the last pixel are written
    }

    // Computes rows `top` and following; the planes of `out` are `out_stride` apart.
    void operator()(const uint8_t *plane, int64_t top, float divisor, float offset, uint8_t *out, int64_t out_stride) {
        const int64_t rows = std::min<int64_t>(CHUNK, height - top);
        pad(plane, top, rows);
        std::fill(totals.begin(), totals.end(), 0);
        for (const Unit &unit : units) add(unit, rows);
        for (int64_t y = 0; y < rows; ++y)
            for (int k = 0; k < VALUES; ++k)
                mean(&totals[place(y, 0) * Layout::SUMS + k], width, divisor, offset,
                     out + k * out_stride + (top + y) * width);
    }

  private:
    using Layout = Entries<VALUES>;

    // A pixel of the chunk or beside it, as an index of `levels` and `totals`.
    int64_t place(int64_t y, int64_t x) const { return (y + reach) * stride + x + reach; }

    // Copies the chunk and the pixels that units read around it; the border is replicated.
    void pad(const uint8_t *plane, int64_t top, int64_t rows) {
        for (int64_t y = -reach; y < rows + reach; ++y) {
            const uint8_t *from = plane + std::clamp<int64_t>(top + y, 0, height - 1) * width;
            uint8_t *to = &levels[place(y, -reach)];
            std::fill(to, to + reach, from[0]);
            std::copy(from, from + width, to + reach);
            std::fill(to + reach + width, to + width + 2 * reach, from[width - 1]);
        }
    }

    // The levels of a row from one value's sums.
    static void mean(const int16_t *__restrict total, int64_t count, float divisor, float offset,
                     uint8_t *__restrict level) {
        for (int64_t x = 0; x < count; ++x) {
            const float value = float(total[x * Layout::SUMS]) / divisor + offset;
            level[x] = uint8_t(int(std::rint(std::clamp(value, 0.f, 255.f))));
        }
    }

    // Adds the output of a unit: in order at its first pixel, in reverse at its last one. What belongs to pixels beside
    // the chunk is added there, where nobody reads it.
    void add(const Unit &unit, int64_t rows) {
        const int last_y = unit.y[PIXELS - 1], last_x = unit.x[PIXELS - 1];
        const int64_t left = std::min(0, -last_x), right = width + std::max(0, -last_x);
        const int64_t to_last = last_y * stride + last_x;
        Block<VALUES> block;
        for (int64_t y = std::min(0, -last_y); y < rows + std::max(0, -last_y); ++y)
            for (int64_t x = left; x < right; x += BLOCK) {
                const uint8_t *pixels[PIXELS];
                for (int i = 0; i < PIXELS; ++i) pixels[i] = &levels[place(y + unit.y[i], x + unit.x[i])];
                const int64_t count = std::min<int64_t>(BLOCK, right - x);
                block.find(pixels, count);
                int16_t *first = &totals[place(y, x) * Layout::SUMS];
                block.add(unit.lut, count, first, first + to_last * Layout::SUMS);
            }
    }

    const std::vector<Unit> &units;
    const int64_t height, width;
    int64_t stride = 0;
    int reach = 0;
    std::vector<uint8_t> levels;   // (CHUNK + 2 reach, stride)
    std::vector<int16_t> totals;   // (CHUNK + 2 reach, stride, SUMS)
};

// Output of a stage for planes (planes, height, width) of grey levels: out[k] (planes, height, width), the sum of all
// units / divisor + offset.
template <int VALUES>
void stage(const std::vector<Unit> &units, const uint8_t *levels, int64_t planes, int64_t height, int64_t width,
           float divisor, float offset, uint8_t *out, int threads) {
    const int64_t chunks = (height + CHUNK - 1) / CHUNK, area = height * width;
    parallel(planes * chunks, threads, [&] {
        return [&, rows = RowChunk<VALUES>(units, height, width)](int64_t item) mutable {
            const int64_t plane = item / chunks * area;
            rows(levels + plane, item % chunks * CHUNK, divisor, offset, out + plane, planes * area);
        };
    });
}

// A value in 0..1 as a grey level, rounded half to even, NaN as 0.
inline uint8_t to_level(float value) { return uint8_t(std::rint(clipped(value * 255.f, 0, 255))); }
