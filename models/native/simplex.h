// 4-simplex interpolation in LeRF's look-up tables (LUTs), laid out for vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "parallel.h"
#include "vectors.h"

constexpr int PIXELS = 4;      // that a unit reads
constexpr int LEVEL_BITS = 4;  // of a grey level's 8 bits lie between two samples
constexpr int INTERVAL = 1 << LEVEL_BITS;
constexpr int CELLS = 16, SAMPLES = CELLS + 1;  // along each pixel
constexpr int STEPS[PIXELS] = {SAMPLES * SAMPLES * SAMPLES, SAMPLES * SAMPLES, SAMPLES, 1};
constexpr int ENTRIES = SAMPLES * STEPS[0];
constexpr int CORNERS = 1 << PIXELS;  // of a cell, numbered in bits: 8 for the next sample of the first pixel
constexpr int BIAS = 128;             // added to LUT values, so that they are unsigned bytes
constexpr int BLOCK = 64;             // pixels of a row that are looked up at a time

// How a LUT of VALUES values per sample is laid out. An entry holds, for a sample and those next to it along the last
// INNER pixels, the values in order, then those in reverse (see Unit), each with the bytes of its HELD corners side by
// side. Four or two such entries are a cell. Samples are held several times so that a pixel needs few loads, all as
// wide as a vector and at constant distances.
template <int VALUES>
struct Entries {
    static_assert(VALUES == 1 || VALUES == 3, "entries are as wide as a vector for these");
    static constexpr int INNER = VALUES == 1 ? 3 : 2, HELD = 1 << INNER, LOADS = CORNERS / HELD;
    static constexpr int PADDED = VALUES == 1 ? 1 : 4;            // values
    static constexpr int HALF = PADDED * HELD, BYTES = 2 * HALF;  // of an entry
    static constexpr int PARTS = HELD / 2, SUMS = PADDED * PARTS;  // 16-bit sums of a value and of a pixel

    static constexpr int ALONG[PIXELS] = {SAMPLES, VALUES == 1 ? CELLS : SAMPLES, CELLS, CELLS};  // entries
    // Bytes from an entry to the next along each pixel. Powers of two would leave most of a cache's sets unused.
    static constexpr uint32_t PAGE = BYTES * CELLS * CELLS + 64;
    static constexpr uint32_t STEP[PIXELS] = {PAGE * ALONG[1], PAGE, BYTES * CELLS, BYTES};
    static constexpr int64_t LUT_BYTES = int64_t(SAMPLES) * STEP[0];

    // Bytes from a cell's first entry to another.
    static constexpr int64_t distance(int number) {
        return LOADS == 2 ? number * int64_t(STEP[0]) : number / 2 * int64_t(STEP[0]) + number % 2 * int64_t(STEP[1]);
    }
};

// `value` within low..high; NaN becomes `low`, so that the result can always be converted to an integer.
inline float clipped(float value, float low, float high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

// Lays out a LUT (ENTRIES, VALUES), float or int8_t, whose values are rounded to integers in -127..127.
template <int VALUES, class Value>
void make_entries(const Value *lut, uint8_t *entries) {
    using Layout = Entries<VALUES>;
    std::vector<uint8_t> bytes(ENTRIES * VALUES);
    int32_t nan = 0;  // as wide as the values, so that the loop is vectorised
    for (int i = 0; i < ENTRIES * VALUES; ++i) {
        nan |= lut[i] != lut[i];
        bytes[i] = uint8_t(std::rint(clipped(float(lut[i]), -127, 127)) + BIAS);
    }
    require(!nan, "a look-up table holds NaN");
    int in_order[Layout::HELD] = {}, in_reverse[Layout::HELD] = {};  // of each corner, from the sample
    for (int corner = 0; corner < Layout::HELD; ++corner)
        for (int bit = 0; bit < Layout::INNER; ++bit)
            if (corner >> bit & 1) {
                in_order[corner] += STEPS[PIXELS - 1 - bit] * VALUES;
                in_reverse[corner] += STEPS[bit] * VALUES;
            }
    std::fill(entries, entries + Layout::LUT_BYTES, uint8_t(0));
    for (int a = 0; a < Layout::ALONG[0]; ++a)
        for (int b = 0; b < Layout::ALONG[1]; ++b)
            for (int c = 0; c < Layout::ALONG[2]; ++c)
                for (int d = 0; d < Layout::ALONG[3]; ++d) {
                    const uint8_t *forward = &bytes[(a * STEPS[0] + b * STEPS[1] + c * STEPS[2] + d) * VALUES];
                    const uint8_t *reverse = &bytes[(d * STEPS[0] + c * STEPS[1] + b * STEPS[2] + a) * VALUES];
                    uint8_t *entry = entries + a * Layout::STEP[0] + b * Layout::STEP[1] + c * Layout::STEP[2] +
                                     d * Layout::STEP[3];
                    for (int k = 0; k < VALUES; ++k)
                        for (int corner = 0; corner < Layout::HELD; ++corner, ++entry) {
                            entry[0] = forward[in_order[corner] + k];
                            entry[Layout::HALF] = reverse[in_reverse[corner] + k];
                        }
                }
}

// The cells and weights of BLOCK consecutive pixels. Loops are short and plain, so that compilers vectorise each.
//
// The weight of a corner is by how much the smallest fraction of the pixels that go to their next sample is above the
// largest fraction of the others. That is 0 for all corners but the vertices of the simplex, and the sum over all
// corners is 16. Weights are bytes; those of four corners are computed as one word, in which each byte stands for a
// corner of the square of the third and the fourth pixel.
template <int VALUES>
class Block {
  public:
    // `rows` are the grey levels of the four pixels.
    void find(const uint8_t *const *rows) {
        const uint8_t *__restrict first = rows[0], *__restrict second = rows[1];
        const uint8_t *__restrict third = rows[2], *__restrict fourth = rows[3];
        for (int x = 0; x < BLOCK; ++x)
            cell[x] = (first[x] >> LEVEL_BITS) * Layout::STEP[0] + (second[x] >> LEVEL_BITS) * Layout::STEP[1] +
                      (third[x] >> LEVEL_BITS) * Layout::STEP[2] + (fourth[x] >> LEVEL_BITS) * Layout::STEP[3];
        // The bounds of a weight by the first two pixels, for each corner of their square, and by the last two.
        uint32_t high[4][BLOCK], low[4][BLOCK], last_high[BLOCK], last_low[BLOCK];
        for (int x = 0; x < BLOCK; ++x) {
            const uint32_t a = first[x] % INTERVAL, b = second[x] % INTERVAL;
            high[0][x] = EACH * INTERVAL;
            high[1][x] = low[2][x] = EACH * b;
            high[2][x] = low[1][x] = EACH * a;
            high[3][x] = EACH * std::min(a, b);
            low[0][x] = EACH * std::max(a, b);
            low[3][x] = 0;
        }
        for (int x = 0; x < BLOCK; ++x) {
            const uint32_t c = third[x] % INTERVAL, d = fourth[x] % INTERVAL;
            last_high[x] = word(INTERVAL, d, c, std::min(c, d));
            last_low[x] = word(std::max(c, d), c, d, 0);
        }
        uint32_t groups[4][BLOCK];
        for (int number = 0; number < 4; ++number)
            weigh(high[number], last_high, low[number], last_low, groups[number]);
        constexpr int WORDS = Layout::HELD / 4;
        for (int number = 0; number < Layout::LOADS; ++number)
            for (int x = 0; x < BLOCK; ++x)
                for (int i = 0; i < WORDS; ++i) weights[number][x][i] = groups[number * WORDS + i][x];
    }

    // Adds sixteen times the interpolated values of the first `count` pixels: those in order to `first`, those in
    // reverse to `last`, (count, SUMS) each.
    void add(const uint8_t *lut, int64_t count, uint16_t *first, uint16_t *last) const {
        for (int64_t x = 0; x < count; ++x, first += Layout::SUMS, last += Layout::SUMS) {
            Part sums[Layout::BYTES / WIDTH] = {};
#pragma GCC unroll 4
            for (int number = 0; number < Layout::LOADS; ++number) {
                const uint8_t *entry = lut + cell[x] + Layout::distance(number);
                Group group;
                std::memcpy(&group, weights[number][x], sizeof group);
                const Groups groups = Groups{} + group;
                for (int part = 0; part < Layout::BYTES / WIDTH; ++part)
                    accumulate(sums[part], entry + part * WIDTH, groups);
            }
            Half halves[2];
            std::memcpy(halves, sums, sizeof halves);
            add_to(first, halves[0]);
            add_to(last, halves[1]);
        }
    }

  private:
    using Layout = Entries<VALUES>;
    using Group = std::conditional_t<Layout::HELD == 4, uint32_t, uint64_t>;  // the weights of an entry's corners
#ifdef __AVX2__
    static constexpr int WIDTH = Layout::BYTES;
#else
    static constexpr int WIDTH = 16;
#endif
    typedef Group Groups __attribute__((vector_size(WIDTH)));
    typedef uint16_t Part __attribute__((vector_size(WIDTH)));
    typedef uint16_t Half __attribute__((vector_size(Layout::HALF)));

    static constexpr uint32_t EACH = 0x01010101;  // times a byte: a word of that byte alone

    // A word with these bytes, in memory's order.
    static uint32_t word(uint32_t first, uint32_t second, uint32_t third, uint32_t fourth) {
        return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? first | second << 8 | third << 16 | fourth << 24
                                                         : first << 24 | second << 16 | third << 8 | fourth;
    }

    static const uint8_t *bytes(const uint32_t *words) { return reinterpret_cast<const uint8_t *>(words); }

    // Byte by byte, the weights of which the bounds are the smaller high one and the larger low one.
    static void weigh(const uint32_t *high, const uint32_t *last_high, const uint32_t *low, const uint32_t *last_low,
                      uint32_t *groups) {
        uint8_t *__restrict weight = reinterpret_cast<uint8_t *>(groups);
        for (int i = 0; i < 4 * BLOCK; ++i) {
            const uint8_t above = std::min(bytes(high)[i], bytes(last_high)[i]);
            const uint8_t below = std::max(bytes(low)[i], bytes(last_low)[i]);
            weight[i] = uint8_t(std::max(above, below) - below);
        }
    }

    // Adds bytes times weights, of which two and two are added.
    static void accumulate(Part &sum, const uint8_t *from, const Groups &groups) {
#ifdef __AVX2__
        if constexpr (WIDTH == 32)
            sum += Part(_mm256_maddubs_epi16(load<__m256i>(from), __m256i(groups)));
        else
            sum += Part(_mm_maddubs_epi16(load<__m128i>(from), __m128i(groups)));
#else
        Part bytes, weights;
        std::memcpy(&bytes, from, sizeof bytes);
        std::memcpy(&weights, &groups, sizeof weights);
        sum += (bytes & 255) * (weights & 255) + (bytes >> 8) * (weights >> 8);
#endif
    }

    static void add_to(uint16_t *to, const Half &half) {
        Half sum;
        std::memcpy(&sum, to, sizeof sum);
        sum += half;
        std::memcpy(to, &sum, sizeof sum);
    }

    uint32_t cell[BLOCK];  // where the first entry begins
    uint32_t weights[Layout::LOADS][BLOCK][Layout::HELD / 4];
};
