// LeRF's LUT stages: the output of all units of a stage for every pixel, summed as integers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "parallel.h"

constexpr int PIXELS = 4;      // that a unit reads
constexpr int LEVEL_BITS = 4;  // of a grey level's 8 bits lie between two samples
constexpr uint32_t INTERVAL = 1 << LEVEL_BITS;
constexpr int SAMPLES = 17;
constexpr int STEPS[PIXELS] = {SAMPLES * SAMPLES * SAMPLES, SAMPLES * SAMPLES, SAMPLES, 1};
constexpr int ENTRIES = SAMPLES * STEPS[0];
constexpr int BIAS = 128;  // added to LUT values, so that they are unsigned bytes
constexpr int CHUNK = 32;  // rows whose sums are kept at a time, few enough for the cache
constexpr int BLOCK = 64;  // pixels of a row that are looked up at a time
constexpr int MOST_UNITS = 64, FARTHEST = 64;  // units of a stage, and steps from a pixel to those it is looked up with
constexpr int HALF = 16;   // bits of a word, enough for 16 times a byte
constexpr uint32_t LOW_HALF = (1 << HALF) - 1, LOW_BYTES = 0x00ff00ff;

// A pattern in one direction and in the opposite one. In the opposite direction the four pixels are the same, seen from
// the last of them and in reverse order. Every LUT entry holds the values for both orders, so one simplex lookup serves
// both directions.
struct Unit {
    const uint32_t *lut;  // (ENTRIES, words of an entry)
    int y[PIXELS], x[PIXELS];
};

// Words of an entry: the first holds values 0 and 1 as bytes, its lower half those in order and its upper half those in
// reverse; the second word holds value 2.
template <int VALUES>
constexpr int WORDS = (VALUES + 1) / 2;
template <int VALUES>
constexpr int64_t ENTRY_WORDS = int64_t(ENTRIES) * WORDS<VALUES>;  // of a LUT

// `value` within low..high; NaN becomes `low`, so that the result can always be converted to an integer.
inline float clipped(float value, float low, float high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

// The entries of a LUT (ENTRIES, VALUES), float or int8_t, whose values are rounded to integers in -127..127.
template <int VALUES, class Value>
void make_entries(const Value *lut, uint32_t *entries) {
    std::vector<uint8_t> bytes(ENTRIES * VALUES);
    int32_t nan = 0;  // as wide as the values, so that the loop is vectorised
    for (int i = 0; i < ENTRIES * VALUES; ++i) {
        nan |= lut[i] != lut[i];
        bytes[i] = uint8_t(std::rint(clipped(float(lut[i]), -127, 127)) + BIAS);
    }
    require(!nan, "a look-up table holds NaN");
    for (int a = 0; a < SAMPLES; ++a)
        for (int b = 0; b < SAMPLES; ++b)
            for (int c = 0; c < SAMPLES; ++c) {
                const uint8_t *forward = &bytes[(a * STEPS[0] + b * STEPS[1] + c * STEPS[2]) * VALUES];
                const uint8_t *reverse = &bytes[(c * STEPS[1] + b * STEPS[2] + a) * VALUES];
                for (int d = 0; d < SAMPLES; ++d, forward += VALUES, reverse += STEPS[0] * VALUES)
                    for (int k = 0; k < VALUES; k += 2) {
                        *entries = forward[k] | reverse[k] << HALF;
                        if (k + 1 < VALUES) *entries |= forward[k + 1] << 8 | uint32_t(reverse[k + 1]) << (HALF + 8);
                        ++entries;
                    }
            }
}

inline void sort_pair(uint32_t &larger, uint32_t &smaller) {
    const uint32_t first = larger;
    larger = std::max(first, smaller);
    smaller = std::min(first, smaller);
}

// Sixteen times the interpolated values of BLOCK consecutive pixels: sums[k] (BLOCK), the lower half of a word in order
// and the upper half in reverse. `rows` are the grey levels of the four pixels. The lookups are a pass of their own, so
// that compilers vectorise the passes before and after.
template <int VALUES>
void interpolate(const uint32_t *lut, const uint8_t *const *rows, uint32_t *const *sums) {
    constexpr int words = WORDS<VALUES>;
    uint32_t vertex[PIXELS + 1][BLOCK], weight[PIXELS + 1][BLOCK], found[PIXELS + 1][words][BLOCK];
    for (int x = 0; x < BLOCK; ++x) {
        uint32_t key[PIXELS], place = 0;
        for (int i = 0; i < PIXELS; ++i) {
            const uint32_t level = rows[i][x], step = STEPS[i] * words;
            place += (level >> LEVEL_BITS) * step;
            key[i] = (level % INTERVAL) << HALF | step;
        }
        // The simplex is walked in the order of the fractions; the steps through the LUT are sorted with them.
        sort_pair(key[0], key[1]);
        sort_pair(key[2], key[3]);
        sort_pair(key[0], key[2]);
        sort_pair(key[1], key[3]);
        sort_pair(key[1], key[2]);
        uint32_t above = INTERVAL;
        for (int i = 0; i < PIXELS; ++i) {
            vertex[i][x] = place;
            place += key[i] & LOW_HALF;
            weight[i][x] = above - (key[i] >> HALF);
            above = key[i] >> HALF;
        }
        vertex[PIXELS][x] = place;
        weight[PIXELS][x] = above;
    }
    for (int i = 0; i <= PIXELS; ++i)
        for (int word = 0; word < words; ++word)
            for (int x = 0; x < BLOCK; ++x) found[i][word][x] = lut[vertex[i][x] + word];
    for (int k = 0; k < VALUES; ++k)
        for (int x = 0; x < BLOCK; ++x) {
            uint32_t sum = 0;
            for (int i = 0; i <= PIXELS; ++i) sum += weight[i][x] * (found[i][k / 2][x] >> 8 * (k % 2) & LOW_BYTES);
            sums[k][x] = sum;
        }
}

// Computes CHUNK rows at a time of one plane (h, w) of grey levels: out[k] (h, w).
template <int VALUES>
class RowChunk {
  public:
    RowChunk(const std::vector<Unit> &units, int64_t height, int64_t width)
        : units(units), height(height), width(width) {
        for (const Unit &unit : units)
            for (int i = 0; i < PIXELS; ++i) reach = std::max({reach, std::abs(unit.y[i]), std::abs(unit.x[i])});
        stride = width + 3 * reach + BLOCK;  // the last block of a row may begin at its last pixel
        levels.resize((CHUNK + 2 * reach) * stride);
        sums.resize(VALUES * stride);
        totals.resize(VALUES * CHUNK * width);
    }

    // Computes rows `top` and following; the planes of `out` are `out_stride` apart.
    void operator()(const uint8_t *plane, int64_t top, float divisor, float offset, uint8_t *out, int64_t out_stride) {
        const int64_t rows = std::min<int64_t>(CHUNK, height - top);
        pad(plane, top, rows);
        std::fill(totals.begin(), totals.end(), 0);
        for (const Unit &unit : units) add(unit, rows);
        const int bias = 2 * int(units.size()) * int(INTERVAL) * BIAS;
        for (int k = 0; k < VALUES; ++k) {
            const uint32_t *total = &totals[k * CHUNK * width];
            uint8_t *level = out + k * out_stride + top * width;
            for (int64_t i = 0; i < rows * width; ++i) {
                const float mean = float(int(total[i]) - bias) / divisor + offset;
                level[i] = uint8_t(std::rint(std::clamp(mean, 0.f, 255.f)));
            }
        }
    }

  private:
    // Copies the chunk and the pixels that units read around it; the border is replicated.
    void pad(const uint8_t *plane, int64_t top, int64_t rows) {
        for (int64_t y = -reach; y < rows + reach; ++y) {
            const uint8_t *from = plane + std::clamp<int64_t>(top + y, 0, height - 1) * width;
            uint8_t *to = &levels[(y + reach) * stride];
            std::fill(to, to + reach, from[0]);
            std::copy(from, from + width, to + reach);
            std::fill(to + reach + width, to + width + 2 * reach, from[width - 1]);
        }
    }

    // Adds the output of a unit: in order at its first pixel, in reverse at its last one.
    void add(const Unit &unit, int64_t rows) {
        const int last_y = unit.y[PIXELS - 1], last_x = unit.x[PIXELS - 1];
        const int64_t left = std::min(0, -last_x), count = width + std::abs(last_x);
        for (int64_t y = std::min(0, -last_y); y < rows + std::max(0, -last_y); ++y) {
            for (int64_t x = 0; x < count; x += BLOCK) {
                const uint8_t *pixels[PIXELS];
                uint32_t *block[VALUES];
                for (int i = 0; i < PIXELS; ++i)
                    pixels[i] = &levels[(y + unit.y[i] + reach) * stride + left + unit.x[i] + reach + x];
                for (int k = 0; k < VALUES; ++k) block[k] = &sums[k * stride + x];
                interpolate<VALUES>(unit.lut, pixels, block);
            }
            for (int k = 0; k < VALUES; ++k) {
                const uint32_t *first = &sums[k * stride] - left, *last = first - last_x;
                uint32_t *total = &totals[k * CHUNK * width];
                if (y >= 0 && y < rows)
                    for (int64_t x = 0; x < width; ++x) total[y * width + x] += first[x] & LOW_HALF;
                if (y + last_y >= 0 && y + last_y < rows)
                    for (int64_t x = 0; x < width; ++x) total[(y + last_y) * width + x] += last[x] >> HALF;
            }
        }
    }

    const std::vector<Unit> &units;
    const int64_t height, width;
    int64_t stride = 0;
    int reach = 0;
    std::vector<uint8_t> levels;   // (CHUNK + 2 reach, stride)
    std::vector<uint32_t> sums;    // (VALUES, stride)
    std::vector<uint32_t> totals;  // (VALUES, CHUNK, width)
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
