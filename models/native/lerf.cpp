// LeRF's LUT stages for Python. Arrays as in lerf.py.

#include <cmath>
#include <cstdint>
#include <vector>

#include "common.h"
#include "lut.h"

// Bytes of a laid out LUT.
static int64_t bytes_of(int32_t values) {
    require(values == 1 || values == 3, "a LUT has 1 or 3 values");
    return values == 1 ? Entries<1>::LUT_BYTES : Entries<3>::LUT_BYTES;
}

// Lays out the LUTs of a stage for lookups: `entries` has `bytes` of each.
extern "C" const char *lerf_entries(const float *const *luts, int32_t count, int32_t values, uint8_t *entries,
                                    int64_t bytes, int32_t threads) {
    return completed([&] {
        require(count > 0 && count <= MOST_UNITS, "no such stage");
        require(bytes == bytes_of(values), "LUTs are laid out in another number of bytes");
        parallel(count, threads, [&] {
            return [&](int64_t number) {
                if (values == 1)
                    make_entries<1>(luts[number], entries + number * bytes);
                else
                    make_entries<3>(luts[number], entries + number * bytes);
            };
        });
    });
}

// `count` patterns, of which each LUT of `entries` serves as many, one after another.
extern "C" const char *lerf_stage(const uint8_t *entries, int64_t bytes, int32_t luts, const int32_t *offsets,
                                  int32_t count, int32_t values, const uint8_t *levels, int64_t planes,
                                  int64_t height, int64_t width, float divisor, float offset, uint8_t *out,
                                  int32_t threads) {
    return completed([&] {
        require(count > 0 && count <= MOST_UNITS, "no such stage");
        require(bytes == bytes_of(values), "LUTs are laid out in another number of bytes");
        require(luts > 0 && count % luts == 0, "no LUT for each pattern");
        require(height > 0 && width > 0, "the picture has no pixels");
        require(divisor > 0 && std::isfinite(offset), "the divisor or the offset is not possible");
        for (int i = 0; i < 2 * PIXELS * count; ++i)
            require(offsets[i] >= -FARTHEST && offsets[i] <= FARTHEST, "a pattern reaches too far");
        std::vector<Unit> units(count);
        for (int number = 0; number < count; ++number) {
            units[number].lut = entries + number / (count / luts) * bytes;
            for (int i = 0; i < PIXELS; ++i) {
                units[number].y[i] = offsets[(number * PIXELS + i) * 2];
                units[number].x[i] = offsets[(number * PIXELS + i) * 2 + 1];
            }
        }
        (values == 1 ? stage<1> : stage<3>)(units, levels, planes, height, width, divisor, offset, out, threads);
    });
}

// Converts `count` values in 0..1 to grey levels, and says in `nan` whether one is NaN. Too little work for threads.
extern "C" const char *lerf_levels(const float *values, int64_t count, uint8_t *levels, int32_t *nan) {
    int32_t found = 0;  // as wide as the values, so that the loop is vectorised
    for (int64_t i = 0; i < count; ++i) {
        found |= values[i] != values[i];
        levels[i] = to_level(values[i]);
    }
    *nan = found;
    return nullptr;
}

// Converts grey levels to values in 0..1.
extern "C" const char *lerf_values(const uint8_t *levels, int64_t count, float *values) {
    for (int64_t i = 0; i < count; ++i) values[i] = float(levels[i]) / 255.f;
    return nullptr;
}

// Adds to `to` by how much `values` in 0..1 are above their nearest grey level, as models.lerf.stages.between_levels.
extern "C" const char *lerf_add_rests(const float *values, int64_t count, float *to) {
    constexpr float SMALLEST = 1e-3f;  // of a level
    for (int64_t i = 0; i < count; ++i) {
        const float level = clipped(values[i], 0, 1) * 255.f, rest = level - std::rint(level);
        to[i] += std::abs(rest) < SMALLEST ? 0.f : rest / 255.f;
    }
    return nullptr;
}

extern "C" const char *native_interface() {
    static const std::string text = signature("lerf_entries", lerf_entries) + signature("lerf_stage", lerf_stage) +
                                    signature("lerf_levels", lerf_levels) + signature("lerf_values", lerf_values) +
                                    signature("lerf_add_rests", lerf_add_rests);
    return text.c_str();
}
