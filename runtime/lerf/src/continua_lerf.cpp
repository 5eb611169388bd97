// The library of continua_lerf.h, of the native routines in models/native.

#include "continua_lerf.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common.h"
#include "grid.h"
#include "homography.h"
#include "lut.h"
#include "points.h"
#include "resample.h"
#include "safetensors.h"

namespace {

constexpr int MOST_CHANNELS = 64, MOST_THREADS = 1024, DIRECTIONS = 4;
constexpr int64_t MOST_PIXELS = int64_t(1) << 40;
constexpr float SMALLEST_REST = 1e-3f;  // of a grey level

// The patterns of models/lerf/patterns.py, (dy, dx) from the pixel itself.
struct Pattern {
    char mode;
    int y[PIXELS], x[PIXELS];
};
constexpr Pattern PATTERNS[] = {
    {'s', {0, 0, 1, 1}, {0, 1, 0, 1}}, {'c', {0, 0, 0, 0}, {0, 1, 2, 3}}, {'t', {0, 1, 2, 3}, {0, 1, 2, 3}}};

const Pattern &pattern_of(char mode) {
    for (const Pattern &pattern : PATTERNS)
        if (pattern.mode == mode) return pattern;
    throw Refusal{"modes are some of the letters s, c and t, each once"};
}

}  // namespace

// `units` of each stage read `entries`: of every mode, in its direction and in that turned by 90 degrees.
struct continua_lerf {
    int hyper;  // hyper-parameters of a kernel: 1 of a linear one, 3 of a Gaussian
    float radius;
    bool antialias;
    int modes;
    std::vector<uint8_t> entries;
    std::vector<Unit> units[2];
};

namespace {

using Tables = continua_lerf;

// Hyper-parameters of a kernel.
int hyper_of(const std::string &kernel) {
    require(kernel == "linear" || kernel == "gauss", "the kernel is neither linear nor gauss");
    return kernel == "linear" ? 1 : 3;
}

// Lays out LUTs, in the order of continua_lerf_make.
std::unique_ptr<Tables> make(const std::string &kernel, const std::string &modes, int support, bool antialias,
                             const int8_t *const *luts) {
    require(support == 2 || support == 4, "the support is neither 2 nor 4 pixels");
    require(!modes.empty() && modes.size() <= std::size(PATTERNS), "modes are some of s, c and t, each once");
    for (size_t i = 0; i < modes.size(); ++i)
        require(modes.find(modes[i]) == i, "modes are some of the letters s, c and t, each once");
    auto tables = std::make_unique<Tables>();
    tables->hyper = hyper_of(kernel);
    tables->radius = float(support) / 2;
    tables->antialias = antialias;
    tables->modes = int(modes.size());
    const int64_t large = tables->hyper == 1 ? Entries<1>::LUT_BYTES : Entries<3>::LUT_BYTES, count = tables->modes;
    tables->entries.resize(size_t(count * (Entries<1>::LUT_BYTES + 2 * large)));
    uint8_t *entries = tables->entries.data();
    for (int number = 0; number < 3 * int(count); ++number) {
        const bool first_stage = number < int(count);
        require(luts[number] != nullptr, "a look-up table is missing");
        if (first_stage || tables->hyper == 1)
            make_entries<1>(luts[number], entries);
        else
            make_entries<3>(luts[number], entries);
        const Pattern &pattern = pattern_of(modes[size_t(first_stage ? number : (number - int(count)) / 2)]);
        for (int turn = 0; turn < 2; ++turn) {
            if (!first_stage && turn != (number - int(count)) % 2) continue;
            Unit unit{entries, {}, {}};
            for (int i = 0; i < PIXELS; ++i) {
                unit.y[i] = turn ? pattern.x[i] : pattern.y[i];
                unit.x[i] = turn ? -pattern.y[i] : pattern.x[i];
            }
            tables->units[first_stage ? 0 : 1].push_back(unit);
        }
        entries += first_stage ? Entries<1>::LUT_BYTES : large;
    }
    return tables;
}

std::unique_ptr<Tables> open(const char *path) {
    const safetensors::File file = safetensors::read(path);
    std::map<std::string, std::string> arguments{{"kernel", "gauss"}, {"modes", "sct"}, {"support", "2"},
                                                 {"antialias", "true"}};
    for (const auto &[name, value] : safetensors::arguments_of(file)) {
        require(arguments.count(name), "its metadata name an argument that look-up tables do not have");
        arguments[name] = value;
    }
    const std::string &kernel = arguments["kernel"], &modes = arguments["modes"], &support = arguments["support"];
    const std::string &antialias = arguments["antialias"];
    const int hyper = hyper_of(kernel);
    require(support == "2" || support == "4", "the support is neither 2 nor 4 pixels");
    require(antialias == "true" || antialias == "false", "antialias is neither true nor false");
    require(modes.size() <= std::size(PATTERNS), "modes are some of s, c and t, each once");
    std::vector<const int8_t *> luts;
    for (const char mode : modes) luts.push_back(file.values(std::string("s1_") + mode + "r0", ENTRIES, 1));
    for (const char mode : modes)
        for (const char *direction : {"r0", "r1"})
            luts.push_back(file.values(std::string("s2_") + mode + direction, ENTRIES, uint64_t(hyper)));
    return make(kernel, modes, support[0] - '0', antialias == "true", luts.data());
}

void check(const continua_picture *picture) {
    require(picture && picture->data, "there is no picture");
    require(picture->height > 0 && picture->width > 0, EMPTY);
    require(picture->height <= INT32_MAX && picture->width <= INT32_MAX &&
                picture->height * picture->width <= MOST_PIXELS,
            "the picture is too large");
    require(picture->channels > 0 && picture->channels <= MOST_CHANNELS, "a picture has 1 to 64 channels");
    require(picture->bits == 8 || picture->bits == 16, "a picture has 8 or 16 bits a channel");
}

void check(const Tables *tables, const continua_picture *picture, const continua_picture *output, int32_t threads) {
    require(tables != nullptr, "there are no look-up tables");
    check(picture);
    check(output);
    require(picture->channels == output->channels, "the picture and the output differ in channels");
    require(threads >= 1 && threads <= MOST_THREADS, "threads are 1 to 1024");
}

char *place(const continua_picture &picture, int64_t channel, int64_t row, int64_t column) {
    return static_cast<char *>(picture.data) + row * picture.row_stride + column * picture.pixel_stride +
           channel * picture.channel_stride;
}

// `count` values of a row of a picture as grey levels.
template <class Value>
void read_levels(const char *from, int64_t stride, int64_t count, uint8_t *levels) {
    constexpr float PEAK = float(Value(~0));
    for (int64_t i = 0; i < count; ++i, from += stride) {
        Value value;
        std::memcpy(&value, from, sizeof value);
        levels[i] = to_level(float(value) / PEAK);
    }
}

// Adds to at(channel, pixel) by how much a picture's values are above or under their grey levels: what 16 bits hold
// more than 8. See models/lerf/stages.py.
template <class At>
void add_between_levels(const continua_picture &picture, const At &at) {
    if (picture.bits == 8) return;
    for (int64_t channel = 0; channel < picture.channels; ++channel)
        for (int64_t row = 0; row < picture.height; ++row) {
            const char *from = place(picture, channel, row, 0);
            for (int64_t column = 0; column < picture.width; ++column, from += picture.pixel_stride) {
                uint16_t value;
                std::memcpy(&value, from, sizeof value);
                const float in_unit = float(value) / 65535.f, rest = in_unit * 255.f - float(to_level(in_unit));
                if (std::abs(rest) >= SMALLEST_REST) at(channel, row * picture.width + column) += rest / 255.f;
            }
        }
}

// `count` values as those of a row of a picture, rounded half to even.
template <class Value>
void write_values(const float *values, int64_t count, char *to, int64_t stride) {
    constexpr float PEAK = float(Value(~0));
    for (int64_t i = 0; i < count; ++i, to += stride) {
        const Value value = Value(std::rint(clipped(values[i], 0, 1) * PEAK));
        std::memcpy(to, &value, sizeof value);
    }
}

void write(const continua_picture &picture, int64_t channel, int64_t row, int64_t column, int64_t count,
           const float *values) {
    char *to = place(picture, channel, row, column);
    (picture.bits == 8 ? write_values<uint8_t> : write_values<uint16_t>)(values, count, to, picture.pixel_stride);
}

// Calls work(Kernel()).
template <class Work>
void with_kernel(const Tables &tables, const Work &work) {
    if (tables.hyper == 1)
        work(Linear());
    else
        work(Gauss());
}

// A picture through both stages: its channels, then those of each hyper-parameter, as grey levels.
std::vector<uint8_t> encode(const Tables &tables, const continua_picture &picture, int threads) {
    const int64_t height = picture.height, width = picture.width, area = height * width, channels = picture.channels;
    std::vector<uint8_t> levels(size_t(channels * area)), planes(size_t((1 + tables.hyper) * channels * area));
    for (int64_t channel = 0; channel < channels; ++channel)
        for (int64_t row = 0; row < height; ++row)
            (picture.bits == 8 ? read_levels<uint8_t> : read_levels<uint16_t>)(
                place(picture, channel, row, 0), picture.pixel_stride, width,
                &levels[size_t((channel * height + row) * width)]);
    const float first = float(INTERVAL * tables.modes), second = first * DIRECTIONS;
    uint8_t *hyper = planes.data() + channels * area;
    stage<1>(tables.units[0], levels.data(), channels, height, width, first, 0, planes.data(), threads);
    (tables.hyper == 1 ? stage<1> : stage<3>)(tables.units[1], planes.data(), channels, height, width, second, 127,
                                              hyper, threads);
    return planes;
}

// The taps of `count` pixels, from `first` on, of an axis of n pixels that is painted with `full`.
AxisTaps taps_of(const Tables &tables, int64_t n, int64_t full, int64_t first, int64_t count) {
    std::vector<float> positions{};
    positions.resize(size_t(count));
    for (int64_t i = 0; i < count; ++i) positions[size_t(i)] = pixel_center(first + i, full);
    const float output_pixel = float(2 / double(full)) * float(n) / 2;
    const float stretch = tables.antialias ? std::max(output_pixel, 1.f) : 1.f;
    return AxisTaps(PointsAxis(n, tables.radius), positions.data(), count, stretch);
}

// How far from a pixel both stages read.
int reach_of(const Tables &tables) {
    int reaches[2] = {};
    for (int number = 0; number < 2; ++number)
        for (const Unit &unit : tables.units[number])
            for (int i = 0; i < PIXELS; ++i)
                reaches[number] = std::max({reaches[number], std::abs(unit.y[i]), std::abs(unit.x[i])});
    return reaches[0] + reaches[1];
}

// Some pixels of an axis.
struct Part {
    int64_t first, count;
};

// Those of an axis of n pixels that `taps` are made of, from whose first one they count then.
Part part_of(AxisTaps &taps, int64_t n, int reach) {
    int64_t first = n - 1, last = 0;
    for (size_t i = 0; i < taps.index.size(); ++i)
        if (taps.inside[i]) {
            first = std::min<int64_t>(first, taps.index[i]);
            last = std::max<int64_t>(last, taps.index[i]);
        }
    first = std::max<int64_t>(first - reach, 0);
    const int64_t count = std::min(last + reach + 1, n) - first;
    taps.count_from(first, count);
    return {first, count};
}

void upscale(const Tables &tables, const continua_picture &picture, int64_t height, int64_t width, int64_t top,
             int64_t left, const continua_picture &output, int threads) {
    require(top >= 0 && left >= 0 && height <= INT32_MAX && width <= INT32_MAX && top <= height - output.height &&
                left <= width - output.width,
            "the output is not a part of the whole");
    AxisTaps y = taps_of(tables, picture.height, height, top, output.height);
    AxisTaps x = taps_of(tables, picture.width, width, left, output.width);
    const int reach = reach_of(tables);
    const Part rows = part_of(y, picture.height, reach), columns = part_of(x, picture.width, reach);
    continua_picture part = picture;
    part.data = place(picture, 0, rows.first, columns.first);
    part.height = rows.count, part.width = columns.count;
    const std::vector<uint8_t> planes = encode(tables, part, threads);
    const auto make_paint = [&] {
        return [&, values = std::vector<float>(size_t(output.width))](int64_t channel, int64_t row,
                                                                      const auto &compute) mutable {
            compute(values.data());
            write(output, channel, row, 0, output.width, values.data());
        };
    };
    const auto paint = [&](const auto *values) {
        with_kernel(tables, [&](auto kernel) {
            grid<decltype(kernel)>(values, output.channels, part.height, part.width, y, x, make_paint, threads);
        });
    };
    if (part.bits == 8) return paint(planes.data());
    std::vector<float> values(planes.size());
    std::transform(planes.begin(), planes.end(), values.begin(), [](uint8_t level) { return in_range(level); });
    add_between_levels(part, [&](int64_t channel, int64_t pixel) -> float & {
        return values[size_t(channel * part.height * part.width + pixel)];
    });
    paint(values.data());
}

void warp(const Tables &tables, const continua_picture &picture, const double *matrix, const continua_picture &output,
          uint8_t *inside, int64_t inside_stride, int threads) {
    const int64_t height = picture.height, width = picture.width, area = height * width, channels = picture.channels;
    const Homography homography(matrix, height, width);
    std::vector<float> stretch{1, 1};
    if (tables.antialias) {
        std::vector<float> sizes = homography.pixel_sizes();
        for (float &size : sizes) size = std::max(size, 1.f);
        if (*std::max_element(sizes.begin(), sizes.end()) > 1) stretch = std::move(sizes);
    }
    const int64_t parts = (1 + tables.hyper) * channels;
    std::vector<float> table(size_t(parts * area));  // of pixels, as points are resampled from
    {
        const std::vector<uint8_t> planes = encode(tables, picture, threads);
        for (int64_t part = 0; part < parts; ++part)
            for (int64_t i = 0; i < area; ++i)
                table[size_t(i * parts + part)] = in_range(planes[size_t(part * area + i)]);
    }
    add_between_levels(picture, [&](int64_t channel, int64_t pixel) -> float & {
        return table[size_t(pixel * parts + channel)];
    });
    if (inside)
        for (int64_t row = 0; row < output.height; ++row)
            std::memset(inside + row * inside_stride, 0, size_t(output.width));
    const PointsAxis y(height, tables.radius), x(width, tables.radius);
    const Pictures pictures{table.data(), 1, channels, y, x, stretch.data(), stretch.size() == 2};
    const Warp positions(homography.forms().data(), SMALLEST_DEPTH);
    const auto make_paint = [&] {
        return [&, values = std::vector<float>(size_t(channels * POINTS))](
                   int64_t, int64_t row, int64_t column, int64_t count, const auto &compute) mutable {
            compute(values.data(), POINTS);
            for (int64_t channel = 0; channel < channels; ++channel)
                write(output, channel, row, column, count, &values[size_t(channel * POINTS)]);
            if (inside) std::memset(inside + row * inside_stride + column, 1, size_t(count));
        };
    };
    with_kernel(tables, [&](auto kernel) {
        warped<decltype(kernel)>(pictures, positions, output.height, output.width, make_paint, threads);
    });
}

// Makes tables and hands them over; none on failure.
template <class Make>
const char *hand_over(continua_lerf **tables, const Make &make) {
    return completed([&] {
        require(tables != nullptr, "there is no place for the look-up tables");
        *tables = nullptr;
        *tables = make().release();
    });
}

}  // namespace

int32_t continua_lerf_version(void) { return CONTINUA_LERF_VERSION; }

const char *continua_lerf_open(const char *path, continua_lerf **tables) {
    return hand_over(tables, [&] {
        require(path != nullptr, "there is no path");
        return open(path);
    });
}

const char *continua_lerf_make(const char *kernel, const char *modes, int32_t support, int32_t antialias,
                               const int8_t *const *luts, continua_lerf **tables) {
    return hand_over(tables, [&] {
        require(kernel && modes && luts, "the kernel, the modes or the look-up tables are missing");
        return make(kernel, modes, support, antialias != 0, luts);
    });
}

void continua_lerf_close(continua_lerf *tables) { delete tables; }

const char *continua_lerf_upscale(const continua_lerf *tables, const continua_picture *picture,
                                  continua_picture *output, int32_t threads) {
    return completed([&] {
        check(tables, picture, output, threads);
        upscale(*tables, *picture, output->height, output->width, 0, 0, *output, threads);
    });
}

const char *continua_lerf_upscale_part(const continua_lerf *tables, const continua_picture *picture, int64_t height,
                                       int64_t width, int64_t top, int64_t left, continua_picture *output,
                                       int32_t threads) {
    return completed([&] {
        check(tables, picture, output, threads);
        upscale(*tables, *picture, height, width, top, left, *output, threads);
    });
}

const char *continua_lerf_warp(const continua_lerf *tables, const continua_picture *picture, const double *homography,
                               continua_picture *output, uint8_t *inside, int64_t inside_stride, int32_t threads) {
    return completed([&] {
        check(tables, picture, output, threads);
        require(homography != nullptr, "there is no homography");
        warp(*tables, *picture, homography, *output, inside, inside_stride, threads);
    });
}
