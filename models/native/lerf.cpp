// LeRF's LUT stages for Python. Arrays as in lerf.py.

#include <cmath>
#include <cstdint>
#include <vector>

#include "interface.h"
#include "lut.h"
#include "parallel.h"

// Lays out the LUTs of a stage for lookups: `entries` gets ENTRIES * WORDS words of each.
extern "C" const char *lerf_entries(const float *const *luts, int32_t count, int32_t values, int32_t *entries,
                                    int32_t threads) {
    return completed([&] {
        require(count > 0 && count <= MOST_UNITS && (values == 1 || values == 3), "no such stage");
        uint32_t *words = reinterpret_cast<uint32_t *>(entries);
        parallel(count, threads, [&] {
            return [&](int64_t number) {
                if (values == 1)
                    make_entries<1>(luts[number], words + number * ENTRY_WORDS<1>);
                else
                    make_entries<3>(luts[number], words + number * ENTRY_WORDS<3>);
            };
        });
    });
}

extern "C" const char *lerf_stage(const int32_t *entries, const int32_t *offsets, int32_t count, int32_t values,
                                  const uint8_t *levels, int64_t planes, int64_t height, int64_t width, float divisor,
                                  float offset, uint8_t *out, int32_t threads) {
    return completed([&] {
        require(count > 0 && count <= MOST_UNITS && (values == 1 || values == 3), "no such stage");
        require(height > 0 && width > 0, "the picture has no pixels");
        require(divisor > 0 && std::isfinite(offset), "the divisor or the offset is not possible");
        for (int i = 0; i < 2 * PIXELS * count; ++i)
            require(offsets[i] >= -FARTHEST && offsets[i] <= FARTHEST, "a pattern reaches too far");
        std::vector<Unit> units(count);
        for (int number = 0; number < count; ++number) {
            const int64_t words = values == 1 ? ENTRY_WORDS<1> : ENTRY_WORDS<3>;
            units[number].lut = reinterpret_cast<const uint32_t *>(entries) + number * words;
            for (int i = 0; i < PIXELS; ++i) {
                units[number].y[i] = offsets[(number * PIXELS + i) * 2];
                units[number].x[i] = offsets[(number * PIXELS + i) * 2 + 1];
            }
        }
        (values == 1 ? stage<1> : stage<3>)(units, levels, planes, height, width, divisor, offset, out, threads);
    });
}

// Converts `count` values in 0..1 to grey levels. Too little work for threads.
extern "C" const char *lerf_levels(const float *values, int64_t count, uint8_t *levels) {
    for (int64_t i = 0; i < count; ++i) levels[i] = to_level(values[i]);
    return nullptr;
}

// Converts grey levels to values in 0..1.
extern "C" const char *lerf_values(const uint8_t *levels, int64_t count, float *values) {
    for (int64_t i = 0; i < count; ++i) values[i] = float(levels[i]) / 255.f;
    return nullptr;
}

extern "C" const char *native_interface() {
    static const std::string text = signature("lerf_entries", lerf_entries) + signature("lerf_stage", lerf_stage) +
                                    signature("lerf_levels", lerf_levels) + signature("lerf_values", lerf_values);
    return text.c_str();
}
