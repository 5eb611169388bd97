// A picture of factor x factor colours per LR pixel, added to the bilinearly enlarged LR picture, read at a grid of
// positions by four taps along each axis. Arrays as in subpixel.py.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common.h"

namespace {

constexpr int TAPS = 4;
constexpr int64_t MOST = int64_t(1) << 15;  // factor

// Where the centres of the `factor` parts of a pixel lie: between it and the pixel before (or after) it, and the share
// of that one.
struct Part {
    int64_t other;  // -1 or 1
    float share;
};

Part part(int64_t index, int64_t factor) {
    const float offset = (index + 0.5f) / factor - 0.5f;
    return {offset < 0 ? -1 : 1, offset < 0 ? -offset : offset};
}

// One row of LR pixels of one channel as `factor` rows of the enlarged picture. `image` points to the row's first pixel
// in a picture with a pixel more on each side, of rows of `width` + 2; `blended` has room for such a row.
void enlarge(const float *details, int64_t plane, const float *image, int64_t width, int64_t factor, float *blended,
             float *out) {
    const int64_t stride = width + 2;
    for (int64_t i = 0; i < factor; ++i, out += factor * width) {
        const Part row = part(i, factor);
        const float *own = image - 1, *other = own + row.other * stride;
        for (int64_t x = 0; x < stride; ++x) blended[x] = own[x] + row.share * (other[x] - own[x]);
        for (int64_t j = 0; j < factor; ++j) {
            const Part column = part(j, factor);
            const float *detail = details + (i * factor + j) * plane;
            const float *here = blended + 1, *beside = here + column.other;
            for (int64_t x = 0; x < width; ++x)
                out[x * factor + j] = detail[x] + here[x] + column.share * (beside[x] - here[x]);
        }
    }
}

// Refuses taps that are not among `count` rows or columns.
void check(const int32_t *index, int64_t positions, int64_t count) {
    bool outside = false;
    for (int64_t i = 0; i < TAPS * positions; ++i) outside |= index[i] < 0 || index[i] >= count;
    require(!outside, "a tap is outside the picture; positions must be finite");
}

}  // namespace

extern "C" const char *subpixel_paint(const float *details, const float *image, int64_t batch, int64_t channels,
                                      int64_t height, int64_t width, int64_t factor, const int32_t *y_index,
                                      const float *y_weight, int64_t rows, const int32_t *x_index,
                                      const float *x_weight, int64_t columns, float *out, const int64_t *strides,
                                      int32_t threads) {
    return completed([&] {
        require(factor > 0 && factor <= MOST, "a factor that is not possible");
        check(y_index, rows, factor * height);
        check(x_index, columns, factor * width);
        const int64_t long_width = factor * width, long_plane = factor * height * long_width;
        const int64_t planes = batch * channels;
        std::vector<float> picture(planes * long_plane);
        parallel(planes * height, threads, [&] {
            return [&, blended = std::vector<float>(width + 2)](int64_t item) mutable {
                const int64_t plane = item / height, y = item % height;
                const float *from = image + (plane * (height + 2) + y + 1) * (width + 2) + 1;
                enlarge(details + (plane * factor * factor * height + y) * width, height * width, from, width, factor,
                        blended.data(), picture.data() + plane * long_plane + y * factor * long_width);
            };
        });
        parallel(planes * rows, threads, [&] {
            return [&, blended = std::vector<float>(long_width), line = std::vector<float>(columns)](
                       int64_t item) mutable {
                const int64_t plane = item / rows, row = item % rows;
                const float *from = picture.data() + plane * long_plane;
                const float *tap[TAPS];
                float weight[TAPS];
                for (int t = 0; t < TAPS; ++t) {
                    tap[t] = from + y_index[t * rows + row] * long_width;
                    weight[t] = y_weight[t * rows + row];
                }
                for (int64_t x = 0; x < long_width; ++x)
                    blended[x] =
                        weight[0] * tap[0][x] + weight[1] * tap[1][x] + weight[2] * tap[2][x] + weight[3] * tap[3][x];
                const float *read = blended.data();
                for (int64_t x = 0; x < columns; ++x) {
                    float sum = 0;
                    for (int t = 0; t < TAPS; ++t) sum += x_weight[t * columns + x] * read[x_index[t * columns + x]];
                    line[x] = sum;
                }
                float *to = out + plane / channels * strides[0] + plane % channels * strides[1] + row * strides[2];
                if (strides[3] == 1) std::copy(line.begin(), line.end(), to);
                else
                    for (int64_t x = 0; x < columns; ++x) to[x * strides[3]] = line[x];
            };
        });
    });
}

extern "C" const char *native_interface() {
    static const std::string text = signature("subpixel_paint", subpixel_paint);
    return text.c_str();
}
