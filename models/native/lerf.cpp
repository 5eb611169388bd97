// LeRF's table stages: what all units of a stage say of all pixels, summed, in whole numbers. See lerf.py for the arrays.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel.h"
#include "vectors.h"

namespace {

typedef uint32_t Words __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

constexpr int PIXELS = 4;        // that a unit looks at
constexpr int LEVEL_BITS = 4;    // of the 8, between two samples
constexpr uint32_t INTERVAL = 1 << LEVEL_BITS;
constexpr int SAMPLES = 17;
constexpr int STEPS[PIXELS] = {SAMPLES * SAMPLES * SAMPLES, SAMPLES * SAMPLES, SAMPLES, 1};
constexpr int ENTRIES = SAMPLES * STEPS[0];
constexpr int BIAS = 128;        // makes table values whole numbers in 0..255
constexpr int BAND = 32;         // rows of a picture whose sums are kept at a time, few enough for the cache
constexpr int VALUE_BITS = 16;   // of a sum of at most 16 * 255 in half a word
constexpr uint32_t LOW_HALF = (1 << VALUE_BITS) - 1;

// A pattern in one direction, and in the opposite one: that sees the same four pixels from the last of them, in reverse
// order. So one walk through the simplex serves both, if a table's entry holds the values for both orders.
struct Unit {
    std::vector<uint32_t> words;  // (ENTRIES, words an entry)
    int y[PIXELS], x[PIXELS];     // of the pixels, from the first one
};

// Words of an entry: bytes 0 and 2 of the first are value 0 in order and in reverse, 1 and 3 are value 1; then value 2.
template <int VALUES>
constexpr int WORDS = (VALUES + 1) / 2;

template <int VALUES>
std::vector<uint32_t> pair_up(const float *table) {
    constexpr int words = WORDS<VALUES>;
    std::vector<uint32_t> single(ENTRIES * words), paired(ENTRIES * words);
    for (int i = 0; i < ENTRIES; ++i)
        for (int k = 0; k < VALUES; ++k) {
            const float value = std::rint(std::min(std::max(table[i * VALUES + k], -127.f), 127.f));
            single[i * words + k / 2] |= uint32_t(int(value) + BIAS) << (8 * (k % 2));
        }
    uint32_t *out = paired.data();
    for (int a = 0; a < SAMPLES; ++a)
        for (int b = 0; b < SAMPLES; ++b)
            for (int c = 0; c < SAMPLES; ++c) {
                const uint32_t *forward = &single[(a * STEPS[0] + b * STEPS[1] + c * STEPS[2]) * words];
                const uint32_t *reverse = &single[(c * STEPS[1] + b * STEPS[2] + a) * words];
                for (int d = 0; d < SAMPLES; ++d, reverse += STEPS[0] * words)
                    for (int word = 0; word < words; ++word)
                        *out++ = *forward++ | reverse[word] << VALUE_BITS;
            }
    return paired;
}

inline void sort_pair(Words &larger, Words &smaller) {
    const Words first = larger;
    larger = first > smaller ? first : smaller;
    smaller = first > smaller ? smaller : first;
}

// Sums of the five corners' values, in both orders, for `count` places in a row: sums[k] (count), a half word an order.
// `rows` are the levels of the four pixels of the first place.
template <int VALUES>
void walk(const uint32_t *words, const uint8_t *const *rows, int64_t count, uint32_t *const *sums) {
    for (int64_t x = 0; x < count; x += LANES) {
        Words corner = {}, key[PIXELS];
        for (int i = 0; i < PIXELS; ++i) {
            const Words level = __builtin_convertvector(load<Bytes>(rows[i] + x), Words);
            const uint32_t step = STEPS[i] * WORDS<VALUES>;
            corner += (level >> LEVEL_BITS) * step;
            key[i] = (level & (INTERVAL - 1)) << VALUE_BITS | step;
        }
        // Sorted by fraction, each with its step along, which is all that a walk needs to know.
        sort_pair(key[0], key[1]);
        sort_pair(key[2], key[3]);
        sort_pair(key[0], key[2]);
        sort_pair(key[1], key[3]);
        sort_pair(key[1], key[2]);
        Words total[VALUES] = {};
        Words above = Words{} + INTERVAL;
        for (int i = 0; i <= PIXELS; ++i) {
            const Words below = i < PIXELS ? key[i] >> VALUE_BITS : Words{};
            const Words weight = above - below;
            uint32_t places[LANES], found[WORDS<VALUES>][LANES];
            store(places, corner);
            for (int word = 0; word < WORDS<VALUES>; ++word)
                for (int lane = 0; lane < LANES; ++lane) found[word][lane] = words[places[lane] + word];
            for (int k = 0; k < VALUES; ++k) {
                const Words both = load<Words>(found[k / 2]) >> (8 * (k % 2));
                total[k] += weight * (VALUES == 1 ? both : both & 0x00ff00ffu);
            }
            if (i < PIXELS) corner += key[i] & LOW_HALF;
            above = below;
        }
        for (int k = 0; k < VALUES; ++k) store(sums[k] + x, total[k]);
    }
}

// Rows top..bottom-1 of one (h, w) plane: out[k] (h, w).
template <int VALUES>
class BandOfRows {
  public:
    BandOfRows(const std::vector<Unit> &units, int64_t height, int64_t width) : units(units), height(height), width(width) {
        for (const Unit &unit : units)
            for (int i = 0; i < PIXELS; ++i) reach = std::max({reach, std::abs(unit.y[i]), std::abs(unit.x[i])});
        stride = width + 3 * reach + LANES;  // the last vector of a row may begin anywhere in it
        levels.resize((BAND + 2 * reach) * stride);
        walked.resize(VALUES * stride);
        totals.resize(VALUES * BAND * width);
    }

    void operator()(const uint8_t *plane, int64_t top, float divisor, float offset, uint8_t *out, int64_t out_stride) {
        bottom = std::min(top + BAND, height);
        pad(plane, top);
        std::fill(totals.begin(), totals.end(), 0);
        for (const Unit &unit : units) add(unit, top);
        const int bias = 2 * int(units.size()) * INTERVAL * BIAS;
        for (int k = 0; k < VALUES; ++k)
            for (int64_t i = 0; i < (bottom - top) * width; ++i) {
                const float mean = float(int(totals[k * BAND * width + i]) - bias) / divisor + offset;
                out[k * out_stride + top * width + i] = uint8_t(std::rint(std::min(std::max(mean, 0.f), 255.f)));
            }
    }

  private:
    // The band and what units see around it, border replicated.
    void pad(const uint8_t *plane, int64_t top) {
        for (int64_t y = top - reach; y < bottom + reach; ++y) {
            const uint8_t *from = plane + std::clamp<int64_t>(y, 0, height - 1) * width;
            uint8_t *to = &levels[(y - top + reach) * stride];
            std::fill(to, to + reach, from[0]);
            std::copy(from, from + width, to + reach);
            std::fill(to + reach + width, to + width + 2 * reach, from[width - 1]);
        }
    }

    void add(const Unit &unit, int64_t top) {
        const int last_y = unit.y[PIXELS - 1], last_x = unit.x[PIXELS - 1];
        const int64_t left = std::min(0, -last_x), count = width + std::abs(last_x);
        uint32_t *sums[VALUES];
        for (int k = 0; k < VALUES; ++k) sums[k] = &walked[k * stride];
        for (int64_t y = top + std::min(0, -last_y); y < bottom + std::max(0, -last_y); ++y) {
            const uint8_t *rows[PIXELS];
            for (int i = 0; i < PIXELS; ++i)
                rows[i] = &levels[(y + unit.y[i] - top + reach) * stride + left + unit.x[i] + reach];
            walk<VALUES>(unit.words.data(), rows, count, sums);
            for (int k = 0; k < VALUES; ++k) {
                uint32_t *plane = &totals[k * BAND * width];
                if (y >= top && y < bottom)
                    for (int64_t x = 0; x < width; ++x) plane[(y - top) * width + x] += sums[k][x - left] & LOW_HALF;
                if (y + last_y >= top && y + last_y < bottom)
                    for (int64_t x = 0; x < width; ++x)
                        plane[(y + last_y - top) * width + x] += sums[k][x - last_x - left] >> VALUE_BITS;
            }
        }
    }

    const std::vector<Unit> &units;
    const int64_t height, width;
    int64_t bottom = 0, stride = 0;
    int reach = 0;
    std::vector<uint8_t> levels;    // (BAND + 2 reach, stride)
    std::vector<uint32_t> walked;   // (VALUES, stride)
    std::vector<uint32_t> totals;   // (VALUES, BAND, width)
};

template <int VALUES>
void stage(const float *const *tables, const int32_t *offsets, int count, const uint8_t *levels, int64_t planes,
           int64_t height, int64_t width, float divisor, float offset, uint8_t *out, int threads) {
    std::vector<Unit> units(count);
    parallel(count, threads, [&] {
        return [&](int64_t number) {
            Unit &unit = units[number];
            unit.words = pair_up<VALUES>(tables[number]);
            for (int i = 0; i < PIXELS; ++i) {
                unit.y[i] = offsets[(number * PIXELS + i) * 2];
                unit.x[i] = offsets[(number * PIXELS + i) * 2 + 1];
            }
        };
    });
    const int64_t bands = (height + BAND - 1) / BAND, area = height * width;
    parallel(planes * bands, threads, [&] {
        return [&, band = BandOfRows<VALUES>(units, height, width)](int64_t item) mutable {
            const int64_t plane = item / bands * area;
            band(levels + plane, item % bands * BAND, divisor, offset, out + plane, planes * area);
        };
    });
}

}  // namespace

extern "C" void lerf_stage(const float *const *tables, const int32_t *offsets, int32_t count, int32_t values,
                           const uint8_t *levels, int64_t planes, int64_t height, int64_t width, float divisor,
                           float offset, uint8_t *out, int32_t threads) {
    (values == 1 ? stage<1> : stage<3>)(tables, offsets, count, levels, planes, height, width, divisor, offset, out,
                                        threads);
}
