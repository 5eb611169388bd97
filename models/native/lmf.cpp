// The render stage of LMF (He and Jin, CVPR 2024): a tiny MLP modulated by the LR pixels around each output pixel.
//
// The hidden units of one output pixel and one of its LR pixels are the lanes of a vector, so modulations are read as
// they lie in memory and nothing is wasted at any scale. PAIRS of output pixel and LR pixel are computed side by side:
// each column of a weight matrix is loaded once for all of them, and their sums are independent of each other.

#include <cmath>
#include <memory>

#include "parallel.h"
#include "vectors.h"

namespace {

constexpr int PAIRS = 16;
constexpr int COLUMN_RUNS = 64;  // of an item of work: small enough to share among threads, large enough to be cheap

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int REGISTERS = 32;
#else
constexpr int REGISTERS = 16;
#endif

typedef float Four __attribute__((vector_size(16)));
typedef float Eight __attribute__((vector_size(32)));
typedef int32_t EightInts __attribute__((vector_size(32)));

}  // namespace

extern "C" {

// `depth` modulated layers, `hidden` wide, then one that gives rgb. `parameters`: layer after layer the weight (out,
// in) and the bias. The first one reads `waves` Fourier features; when 0, `table` holds what the first layer gives but
// for the two offset columns, which are its weight (hidden, 2), and it has no bias.
struct Network {
    int64_t hidden, depth, waves, has_scale, has_shift;
    const float *parameters;
};

// (B, height, width) LR pixels: per pixel a row of `table`, hidden or 2.5 * waves floats, and of `modulation`: scales
// (depth, hidden), then shifts. Strides in floats. `skip` (B, 3, ..) is a picture to add, or null.
struct Field {
    int64_t height, width;
    const float *table;
    int64_t table_stride;
    const float *modulation;
    int64_t modulation_stride;
    const float *skip;
    int64_t skip_strides[4];  // batch, channel, row, column
};

// Positions along an axis in runs that look at the same LR pixels: `index` (K, runs), `offset` (K, runs, longest),
// `start` and `length` (runs). For `skip`, per position: the first of two pixels, the second one, how far in between.
struct Axis {
    int64_t runs, longest, positions;
    const int64_t *index;
    const float *offset;
    const int64_t *start;
    const int64_t *length;
    const int64_t *skip_index;  // (2, positions)
    const float *skip_fraction;
};

}  // extern "C"

namespace {

// Layers laid out for vectors: columns of weights, padded with zeros to whole vectors.
struct Layers {
    int hidden, depth, waves, padded;
    bool has_scale, has_shift;
    std::unique_ptr<float[]> values;

    explicit Layers(const Network &network)
        : hidden(network.hidden),
          depth(network.depth),
          waves(network.waves),
          padded((hidden + LANES - 1) / LANES * LANES),
          has_scale(network.has_scale),
          has_shift(network.has_shift),
          values(new float[size()]()) {
        const float *parameter = network.parameters;
        for (int layer = 0; layer <= depth; ++layer) {
            const int outputs = layer < depth ? hidden : 3, stride = layer < depth ? padded : 4;
            float *const columns = values.get() + at(layer);
            for (int j = 0; j < outputs; ++j)
                for (int k = 0; k < inputs(layer); ++k) columns[k * stride + j] = *parameter++;
            if (layer == 0 && waves == 0) continue;
            for (int j = 0; j < outputs; ++j) columns[inputs(layer) * stride + j] = *parameter++;
        }
    }

    int inputs(int layer) const { return layer ? hidden : waves ? waves : 2; }
    const float *weight(int layer) const { return values.get() + at(layer); }
    const float *bias(int layer) const { return weight(layer) + inputs(layer) * (layer < depth ? padded : 4); }

private:
    // Each layer: a column per input, then the bias.
    int64_t at(int layer) const {
        return layer ? (inputs(0) + 1 + int64_t(layer - 1) * (hidden + 1)) * padded : 0;
    }
    int64_t size() const { return at(depth) + 4 * (hidden + 1); }
};

// The first `count` floats at `from`, at most a vector of them; zeros behind.
template <class Vector = Floats>
inline Vector load_some(const float *from, int count) {
    if (count * sizeof(float) >= sizeof(Vector)) return load<Vector>(from);
    Vector vector = {};
    std::memcpy(&vector, from, count * sizeof(float));
    return vector;
}

// Its counterpart.
template <class Vector>
inline void store_some(float *to, Vector vector, int count) {
    if (count * sizeof(float) >= sizeof(Vector)) store(to, vector);
    else std::memcpy(to, &vector, count * sizeof(float));
}

// cosine and sine of pi * turns, by their Taylor series around the nearest whole number: exact to 1e-7 for |turns| <
// 2^22.
inline void cosine_sine(Eight turns, Eight &cosine, Eight &sine) {
    constexpr float LARGE = 12582912;  // 1.5 * 2^23: floats of that size are whole numbers, the last bit says which
    const Eight shifted = turns + LARGE;
    const Eight x = (turns - (shifted - LARGE)) * 3.14159265358979f;
    const Eight square = x * x;
    const EightInts sign = (EightInts)shifted << 31;
    Eight s = square * (-1.f / 39916800) + 1.f / 362880;
    for (const float coefficient : {-1.f / 5040, 1.f / 120, -1.f / 6, 1.f}) s = s * square + coefficient;
    s *= x;
    Eight c = square * (1.f / 479001600) - 1.f / 3628800;
    for (const float coefficient : {1.f / 40320, -1.f / 720, 1.f / 24, -.5f, 1.f}) c = c * square + coefficient;
    cosine = (Eight)((EightInts)c ^ sign);
    sine = (Eight)((EightInts)s ^ sign);
}

// Collects output pixels and paints them, PAIRS / CORNERS at a time. WIDTH is the number of hidden units, 0: any.
template <int WIDTH, int CORNERS>
class Painter {
public:
    Painter(const Layers &layers, const Field &field, int64_t plane)
        : layers(layers),
          field(field),
          plane(plane),
          stride(std::max(layers.padded, layers.waves)),
          buffers(new float[2 * PAIRS * stride + LANES]) {
        void *start = buffers.get();
        size_t space = (2 * PAIRS * stride + LANES) * sizeof(float);
        hidden = static_cast<float *>(std::align(VECTOR_BYTES, space - VECTOR_BYTES, start, space));
        other = hidden + PAIRS * stride;
    }

    // An output pixel whose three values are to be at target[0], target[plane], ..: the LR pixels it looks at,
    // (y outer), and its offsets from the rows and the columns of those.
    void add(const int64_t (&pixels)[CORNERS], const float *offset_y, int64_t step_y, const float *offset_x,
             int64_t step_x, const float (&skip)[3], float *target) {
        constexpr int SIDE = CORNERS == 4 ? 2 : 1;
        const int first = points * CORNERS;
        float areas[CORNERS], sum = 0;
        for (int corner = 0; corner < CORNERS; ++corner) {
            const float y = offset_y[corner / SIDE * step_y], x = offset_x[corner % SIDE * step_x];
            pixel[first + corner] = pixels[corner];
            y_of[first + corner] = y;
            x_of[first + corner] = x;
            areas[corner] = std::fabs(y * x) + 1e-9f;
            sum += areas[corner];
        }
        for (int corner = 0; corner < CORNERS; ++corner)
            weight[first + corner] = areas[CORNERS - 1 - corner] / sum;
        added[points] = Four{skip[0], skip[1], skip[2], 0};
        targets[points] = target;
        if (++points == POINTS) flush();
    }

    // Paint what has been added.
    void flush() {
        if (points == 0) return;
        for (int pair = points * CORNERS; pair < PAIRS; ++pair) {  // numbers that are computed but not used
            pixel[pair] = pixel[0];
            y_of[pair] = x_of[pair] = weight[pair] = 0;
        }
        for (int point = points; point < POINTS; ++point) added[point] = Four{};
        if (layers.waves) {
            for (int pair = 0; pair < PAIRS; ++pair) read_waves(pair);
            multiply(0);
        } else {
            for (int pair = 0; pair < PAIRS; ++pair) read_table(pair);
        }
        for (int layer = 1; layer < layers.depth; ++layer) multiply(layer);
        finish();
        points = 0;
    }

private:
    static constexpr int POINTS = PAIRS / CORNERS;
    static constexpr int VECTORS = WIDTH ? WIDTH / LANES : 1;
    static constexpr int GROUP = REGISTERS / 2 / VECTORS < PAIRS ? REGISTERS / 2 / VECTORS : PAIRS;

    int width() const { return WIDTH ? WIDTH : layers.hidden; }
    int padded() const { return WIDTH ? WIDTH : layers.padded; }

    // First layer from its table: only the offset columns are missing.
    void read_table(int pair) {
        const float *const row = field.table + pixel[pair] * field.table_stride;
        const float *const columns = layers.weight(0);
        for (int j = 0; j < padded(); j += LANES) {
            const Floats sum = load_some(row + j, width() - j) + load<Floats>(columns + j) * y_of[pair] +
                load<Floats>(columns + padded() + j) * x_of[pair];
            store(hidden + pair * stride + j, modulated(sum, pair, 0, j));
        }
    }

    // Fourier features: amplitudes of cosines and of sines, frequencies along y and along x, phases.
    void read_waves(int pair) {
        const int half = layers.waves / 2;
        const float *const row = field.table + pixel[pair] * field.table_stride;
        float *const features = hidden + pair * stride;
        for (int j = 0; j < half; j += 8) {
            const auto part = [&](int which) { return load_some<Eight>(row + which * half + j, half - j); };
            Eight cosine, sine;
            cosine_sine(part(2) * y_of[pair] + part(3) * x_of[pair] + part(4), cosine, sine);
            cosine *= part(0);
            sine *= part(1);
            store_some(features + j, cosine, half - j);
            store_some(features + half + j, sine, half - j);
        }
    }

    // A layer on the numbers in `hidden`, modulated, with ReLU.
    void multiply(int layer) {
        const int inputs = layer == 0 || !WIDTH ? layers.inputs(layer) : WIDTH;
        const float *const columns = layers.weight(layer);
        for (int j = 0; j < padded(); j += VECTORS * LANES) {
            for (int group = 0; group < PAIRS; group += GROUP) {
                const float *const input = hidden + group * stride;
                Floats sums[GROUP][VECTORS];
                for (int pair = 0; pair < GROUP; ++pair)
                    for (int v = 0; v < VECTORS; ++v)
                        sums[pair][v] = load<Floats>(columns + inputs * padded() + j + v * LANES);
                for (int k = 0; k < inputs; ++k) {
                    for (int v = 0; v < VECTORS; ++v) {
                        const Floats column = load<Floats>(columns + k * padded() + j + v * LANES);
                        for (int pair = 0; pair < GROUP; ++pair) sums[pair][v] += column * input[pair * stride + k];
                    }
                }
                for (int pair = 0; pair < GROUP; ++pair)
                    for (int v = 0; v < VECTORS; ++v)
                        store(other + (group + pair) * stride + j + v * LANES,
                              modulated(sums[pair][v], group + pair, layer, j + v * LANES));
            }
        }
        std::swap(hidden, other);
    }

    // relu(x * (1 + scale) + shift) for the units from `j` on.
    Floats modulated(Floats x, int pair, int layer, int j) const {
        const float *scale = field.modulation + pixel[pair] * field.modulation_stride + layer * width() + j;
        const float *shift = layers.has_scale ? scale + layers.depth * width() : scale;
        if (layers.has_scale) x += x * load_some(scale, width() - j);
        if (layers.has_shift) x += load_some(shift, width() - j);
        return x > 0 ? x : Floats{};
    }

    // The last layer is linear and the weights of the corners sum to 1, so the corners are blended before it.
    void finish() {
        for (int point = 0; point < POINTS; ++point) {
            for (int j = 0; j < padded(); j += LANES) {
                Floats sum = {};
                for (int pair = point * CORNERS; pair < (point + 1) * CORNERS; ++pair)
                    sum += load<Floats>(hidden + pair * stride + j) * weight[pair];
                store(other + point * stride + j, sum);
            }
        }
        const float *const columns = layers.weight(layers.depth);
        const Four bias = load<Four>(layers.bias(layers.depth));
        Four rgb[POINTS];
        for (int point = 0; point < POINTS; ++point) rgb[point] = added[point] + bias;
        for (int k = 0; k < width(); ++k) {
            const Four column = load<Four>(columns + 4 * k);
            for (int point = 0; point < POINTS; ++point) rgb[point] += column * other[point * stride + k];
        }
        for (int point = 0; point < points; ++point)
            for (int channel = 0; channel < 3; ++channel) targets[point][channel * plane] = rgb[point][channel];
    }

    const Layers &layers;
    const Field &field;
    const int64_t plane, stride;
    std::unique_ptr<float[]> buffers;
    float *hidden, *other;  // (PAIRS, stride) numbers that a layer reads, and those that it makes
    int points = 0;
    int64_t pixel[PAIRS];
    float y_of[PAIRS], x_of[PAIRS], weight[PAIRS];
    Four added[POINTS];
    float *targets[POINTS];
};

// The bilinear value of a field's skip picture between pixels (top, left), .., (bottom, right).
inline void read_skip(const Field &field, int64_t picture, const Axis &y, int64_t row, const Axis &x, int64_t column,
                      float (&skip)[3]) {
    if (!field.skip) return;
    const float down = y.skip_fraction[row], right = x.skip_fraction[column];
    const float *const base = field.skip + picture * field.skip_strides[0];
    const float *const top = base + y.skip_index[row] * field.skip_strides[2];
    const float *const bottom = base + y.skip_index[y.positions + row] * field.skip_strides[2];
    const int64_t first = x.skip_index[column] * field.skip_strides[3];
    const int64_t second = x.skip_index[x.positions + column] * field.skip_strides[3];
    for (int channel = 0; channel < 3; ++channel) {
        const int64_t plane = channel * field.skip_strides[1];
        const float above = top[plane + first] * (1 - right) + top[plane + second] * right;
        const float below = bottom[plane + first] * (1 - right) + bottom[plane + second] * right;
        skip[channel] = above * (1 - down) + below * down;
    }
}

// The LR pixels that a run of y and a run of x look at.
template <int CORNERS>
inline void find_pixels(const Field &field, int64_t picture, const Axis &y, int64_t run_y, const Axis &x, int64_t run_x,
                        int64_t (&pixels)[CORNERS]) {
    constexpr int SIDE = CORNERS == 4 ? 2 : 1;
    for (int corner = 0; corner < CORNERS; ++corner) {
        const int64_t row = y.index[corner / SIDE * y.runs + run_y];
        pixels[corner] = (picture * field.height + row) * field.width + x.index[corner % SIDE * x.runs + run_x];
    }
}

template <int WIDTH, int CORNERS>
void render_grid(const Layers &layers, const Field &field, int64_t batch, const Axis &y, const Axis &x,
                 const uint8_t *chosen, float *output, const int64_t *strides, int threads) {
    const int64_t blocks = (x.runs + COLUMN_RUNS - 1) / COLUMN_RUNS;
    parallel(batch * y.runs * blocks, threads, [&] {
        return [&, painter = Painter<WIDTH, CORNERS>(layers, field, strides[1])](int64_t item) mutable {
            const int64_t picture = item / blocks / y.runs, run_y = item / blocks % y.runs;
            const int64_t first = item % blocks * COLUMN_RUNS, last = std::min(first + COLUMN_RUNS, x.runs);
            for (int64_t run_x = first; run_x < last; ++run_x) {
                if (chosen && !chosen[(picture * y.runs + run_y) * x.runs + run_x]) continue;
                int64_t pixels[CORNERS];
                find_pixels<CORNERS>(field, picture, y, run_y, x, run_x, pixels);
                for (int64_t i = 0; i < y.length[run_y]; ++i) {
                    const int64_t row = y.start[run_y] + i;
                    float *const line = output + picture * strides[0] + row * strides[2];
                    for (int64_t j = 0; j < x.length[run_x]; ++j) {
                        const int64_t column = x.start[run_x] + j;
                        float skip[3] = {};
                        read_skip(field, picture, y, row, x, column, skip);
                        painter.add(pixels, y.offset + run_y * y.longest + i, y.runs * y.longest,
                                    x.offset + run_x * x.longest + j, x.runs * x.longest, skip,
                                    line + column * strides[3]);
                    }
                }
            }
            painter.flush();
        };
    });
}

template <int WIDTH, int CORNERS>
void sample_points(const Layers &layers, const Field &field, int64_t batch, const Axis &y, const Axis &x, float *output,
                   int threads) {
    constexpr int64_t BLOCK = 1024;
    parallel((y.runs + BLOCK - 1) / BLOCK, threads, [&] {
        return [&, painter = Painter<WIDTH, CORNERS>(layers, field, 1)](int64_t item) mutable {
            for (int64_t point = item * BLOCK; point < std::min((item + 1) * BLOCK, y.runs); ++point) {
                const int64_t picture = point / (y.runs / batch);
                int64_t pixels[CORNERS];
                find_pixels<CORNERS>(field, picture, y, point, x, point, pixels);
                float skip[3] = {};
                read_skip(field, picture, y, point, x, point, skip);
                painter.add(pixels, y.offset + point, y.runs, x.offset + point, x.runs, skip, output + 3 * point);
            }
            painter.flush();
        };
    });
}

// Calls work(WIDTH, CORNERS) with the two as types' values.
template <class Work>
void dispatch(const Layers &layers, int64_t corners, const Work &work) {
    using std::integral_constant;
    const bool usual = layers.hidden == 16;
    if (usual && corners == 4) work(integral_constant<int, 16>(), integral_constant<int, 4>());
    else if (usual) work(integral_constant<int, 16>(), integral_constant<int, 1>());
    else if (corners == 4) work(integral_constant<int, 0>(), integral_constant<int, 4>());
    else work(integral_constant<int, 0>(), integral_constant<int, 1>());
}

}  // namespace

extern "C" {

// Paint the grid of rows `y` and columns `x` of `batch` pictures; `corners` LR pixels (4 or 1) around each position.
// Where `chosen` (B, runs of y, runs of x) is given and 0 the output stays as it is. Its strides: batch, channel, row,
// column.
int32_t lmf_render(const Network *network, const Field *field, int64_t batch, int64_t corners, const Axis *y,
                   const Axis *x, const uint8_t *chosen, float *output, const int64_t *strides, int threads) {
    return completed([&] {
        const Layers layers(*network);
        dispatch(layers, corners, [&](auto width, auto number) {
            render_grid<width(), number()>(layers, *field, batch, *y, *x, chosen, output, strides, threads);
        });
    });
}

// Values at single positions: runs of one position each, the same number for every picture; output (B, Q, 3).
int32_t lmf_sample(const Network *network, const Field *field, int64_t batch, int64_t corners, const Axis *y,
                   const Axis *x, float *output, int threads) {
    return completed([&] {
        const Layers layers(*network);
        dispatch(layers, corners, [&](auto width, auto number) {
            sample_points<width(), number()>(layers, *field, batch, *y, *x, output, threads);
        });
    });
}

}  // extern "C"
