// LeRF's LUT stages: the output of all units of a stage for every pixel, summed as integers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "common.h"

// 4-simplex interpolation in LeRF's look-up tables (LUTs), laid out for vectors.

#ifdef __AVX2__
#include <immintrin.h>
#endif

constexpr int PIXELS = 4;      // that a unit reads
constexpr int LEVEL_BITS = 4;  // of a grey level's 8 bits lie between two samples
constexpr int INTERVAL = 1 << LEVEL_BITS;
constexpr int CELLS = 16, SAMPLES = CELLS + 1;  // along each pixel
constexpr int STEPS[PIXELS] = {SAMPLES * SAMPLES * SAMPLES, SAMPLES * SAMPLES, SAMPLES, 1};
constexpr int ENTRIES = SAMPLES * STEPS[0];
constexpr int LARGEST = 127;  // of a LUT's values, which are signed bytes
constexpr int BLOCK = 128;    // pixels of a row that are looked up at a time
static_assert(BLOCK % LANES == 0, "pixels are looked up by whole vectors");

// How a LUT of VALUES values per sample is laid out. An entry holds the values in order, then those in reverse (see
// Unit), each as a pair of bytes: of a sample and of the next one along the last pixel. So a simplex, five samples, is
// read with four loads, each of a sample that goes one step farther along the first three pixels.
template <int VALUES>
struct Entries {
    static_assert(VALUES == 1 || VALUES == 3, "one or four pixels' entries are as wide as a vector for these");
    static constexpr int SUMS = VALUES == 1 ? 1 : 4;  // 16-bit sums of a pixel and order: of its values, padded
    static constexpr int BYTES = 2 * 2 * SUMS;        // of an entry
    // Bytes from an entry to the next along each pixel.
    static constexpr int32_t STEP[PIXELS] = {BYTES * CELLS * SAMPLES * SAMPLES, BYTES * CELLS * SAMPLES, BYTES * CELLS,
                                             BYTES};
    static constexpr int64_t LUT_BYTES = int64_t(SAMPLES) * STEP[0];
};

// `value` within low..high; NaN becomes `low`, so that the result can always be converted to an integer.
inline float clipped(float value, float low, float high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

// Two bytes as the 16-bit word that arithmetic on words takes apart again.
inline uint16_t pair(int first, int second) { return uint16_t((first & 255) | (second & 255) << 8); }

// Lays out a LUT (ENTRIES, VALUES), float or int8_t, whose values are rounded to integers in -LARGEST..LARGEST.
template <int VALUES, class Value>
void make_entries(const Value *lut, uint8_t *entries) {
    using Layout = Entries<VALUES>;
    std::vector<int8_t> bytes(ENTRIES * VALUES);
    int32_t nan = 0;  // as wide as the values, so that the loop is vectorised
    for (int i = 0; i < ENTRIES * VALUES; ++i) {
        nan |= lut[i] != lut[i];
        bytes[i] = int8_t(std::rint(clipped(float(lut[i]), -LARGEST, LARGEST)));
    }
    require(!nan, "a look-up table holds NaN");
    for (int a = 0; a < SAMPLES; ++a)
        for (int b = 0; b < SAMPLES; ++b)
            for (int c = 0; c < SAMPLES; ++c)
                for (int d = 0; d < CELLS; ++d, entries += Layout::BYTES) {
                    const int8_t *forward = &bytes[(a * STEPS[0] + b * STEPS[1] + c * STEPS[2] + d) * VALUES];
                    const int8_t *reverse = &bytes[(d * STEPS[0] + c * STEPS[1] + b * STEPS[2] + a) * VALUES];
                    uint16_t pairs[2][Layout::SUMS] = {};
                    for (int k = 0; k < VALUES; ++k) {
                        pairs[0][k] = pair(forward[k], forward[STEPS[3] * VALUES + k]);
                        pairs[1][k] = pair(reverse[k], reverse[STEPS[0] * VALUES + k]);
                    }
                    std::memcpy(entries, pairs, sizeof pairs);
                }
}

// The simplices and weights of up to BLOCK consecutive pixels.
//
// Vertices follow from the cell's first sample by a step along each pixel, in descending order of the fractions; the
// weight of a vertex is by how much the fraction before it is above the one after it, from INTERVAL down to 0. The first
// three pixels are sorted, which gives four nodes. The fourth pixel's fraction divides the weight of a node between the
// two bytes of each pair. Weights of a pixel have the sum INTERVAL.
template <int VALUES>
class Block {
  public:
    // `rows` are the grey levels of the four pixels, which can be read up to a multiple of LANES.
    void find(const uint8_t *const *rows, int64_t count) {
        // A fraction, and below it the step that belongs to it, are sorted as one number.
        constexpr int SHIFT = 20, STEP_MASK = (1 << SHIFT) - 1;
        static_assert(Layout::STEP[0] <= STEP_MASK, "a step does not fit below a fraction");
        for (int64_t x = 0; x < count; x += LANES) {
            Ints start = {}, fraction[PIXELS];
            for (int i = 0; i < PIXELS; ++i) {
                const Ints level = widened(rows[i] + x);
                start += (level >> LEVEL_BITS) * Layout::STEP[i];
                fraction[i] = level & (INTERVAL - 1);
            }
            const Ints a = fraction[0] << SHIFT | Layout::STEP[0], b = fraction[1] << SHIFT | Layout::STEP[1];
            const Ints c = fraction[2] << SHIFT | Layout::STEP[2];
            const Ints higher = larger(a, b), lower = smaller(a, b);
            const Ints first = larger(higher, c), second = smaller(higher, larger(lower, c)), third = smaller(lower, c);
            store(node[0] + x, start);
            store(node[1] + x, start + (first & STEP_MASK));
            store(node[2] + x, start + (first & STEP_MASK) + (second & STEP_MASK));
            const Ints edges[] = {Ints{} + INTERVAL, first >> SHIFT, second >> SHIFT, third >> SHIFT, Ints{}};
            for (int number = 0; number < NODES; ++number) {
                const Ints high = edges[number], low = edges[number + 1];
                const Ints between = larger(low, smaller(high, fraction[3]));
                store(weights[number] + x, ((high - between) | (between - low) << 8) * BOTH);
            }
        }
        for (int64_t x = count; x % LANES; ++x)  // those that are added with the last ones
            for (int number = 0; number < NODES; ++number) weights[number][x] = 0;
    }

    // Adds INTERVAL times the interpolated values of the first `count` pixels: those in order to `first`, those in
    // reverse to `last`, (count, SUMS) each. Up to TOGETHER - 1 pixels after them are written, but not changed.
    void add(const uint8_t *lut, int64_t count, int16_t *first, int16_t *last) const {
        for (int64_t x = 0; x < count; x += TOGETHER, first += HALF, last += HALF) {
            Sums sum = {};
#pragma GCC unroll 4
            for (int number = 0; number < NODES; ++number) {
                const uint8_t *from = lut + (number == NODES - 1 ? TO_LAST : 0);
                const auto entry = [&](int64_t i) { return from + node[number % (NODES - 1)][i]; };
                if constexpr (TOGETHER == 1)
                    sum += products(Quarters{} + weights[number][x], load<Quarters>(entry(x)));
                else
                    sum += products(load<Quarters>(&weights[number][x]),
                                    Quarters{load<int32_t>(entry(x)), load<int32_t>(entry(x + 1)),
                                             load<int32_t>(entry(x + 2)), load<int32_t>(entry(x + 3))});
            }
            if constexpr (TOGETHER != 1) sum = by_order(sum);
            Halves halves[2];
            std::memcpy(halves, &sum, sizeof halves);
            store(first, load<Halves>(first) + halves[0]);
            store(last, load<Halves>(last) + halves[1]);
        }
    }

  private:
    using Layout = Entries<VALUES>;
    typedef int32_t Quarters __attribute__((vector_size(16)));
    typedef int16_t Sums __attribute__((vector_size(16)));
    typedef int16_t Halves __attribute__((vector_size(8)));

    static constexpr int NODES = 4, HALF = 4;
    static constexpr int TOGETHER = HALF / Layout::SUMS;  // pixels whose sums fill a vector
    static constexpr int BOTH = 0x00010001;               // times a pair: it twice
    static constexpr int TO_LAST = Layout::STEP[0] + Layout::STEP[1] + Layout::STEP[2];  // from a first node

    static Ints larger(Ints a, Ints b) { return a > b ? a : b; }
    static Ints smaller(Ints a, Ints b) { return a < b ? a : b; }

    static Ints widened(const uint8_t *from) {
        int32_t wide[LANES];
        for (int i = 0; i < LANES; ++i) wide[i] = from[i];
        return load<Ints>(wide);
    }

    // Weights, at most INTERVAL, times bytes, of which the two of a pair are added.
    static Sums products(Quarters weights, Quarters pairs) {
#ifdef __AVX2__
        return Sums(_mm_maddubs_epi16(__m128i(weights), __m128i(pairs)));
#else
        const Sums weight = Sums(weights), pair = Sums(pairs);
        return (weight & 255) * (pair << 8 >> 8) + (weight >> 8) * (pair >> 8);
#endif
    }

    // Sums of pixels in order and in reverse by turns: those in order, then those in reverse.
    static Sums by_order(Sums sums) {
#ifdef __AVX2__
        return Sums(_mm_shuffle_epi8(__m128i(sums), _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)));
#else
        return Sums{sums[0], sums[2], sums[4], sums[6], sums[1], sums[3], sums[5], sums[7]};
#endif
    }

    int32_t node[NODES - 1][BLOCK];  // bytes from the LUT's begin to the entry; the last node follows from the first
    int32_t weights[NODES][BLOCK];   // of a pair, twice
};

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
