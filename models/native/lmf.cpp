// The render stage of LMF (He and Jin, CVPR 2024): a tiny MLP modulated by the LR pixels around each output pixel.
//
// A *pair* is an output pixel and one of its neighbours, the LR pixels around it. The hidden units of a pair are the
// lanes of a vector, so modulations are loaded in the order in which they lie in memory, without gaps at any scale.
// PAIRS of them are computed together: each column of a weight matrix is loaded once for all, and their sums do not
// depend on each other.

#include <cmath>
#include <memory>

#include "common.h"

namespace {

constexpr int PAIRS = 16;
constexpr int COLUMN_SPANS = 64;    // of an item of work: few enough to share among threads, enough to be cheap
constexpr int MOST_UNITS = 1 << 15;  // in a layer, Fourier features and layers: products of two of them fit an int

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

// A render MLP: `depth` modulated layers of `hidden` units, then a layer that gives rgb. `parameters` holds for each
// layer the weight (out, in) and the bias, `floats` in all. The first layer reads `waves` Fourier features. Without
// any, the field's `table` holds the first layer's output except for the two offset columns; these are its only
// parameters (hidden, 2).
struct Network {
    static constexpr char NAME[] = "Network";
    int64_t hidden, depth, waves, has_scale, has_shift, floats;
    const float *parameters;
};

// (B, height, width) LR pixels. Each has a row of `table`, hidden or 2.5 * waves floats, and a row of `modulation`:
// scales (depth, hidden), then shifts. Strides are in floats. `skip` (B, 3, ..) is a picture to add, or null.
struct Field {
    static constexpr char NAME[] = "Field";
    int64_t height, width;
    const float *table;
    int64_t table_stride;
    const float *modulation;
    int64_t modulation_stride;
    const float *skip;
    int64_t skip_size[2];     // height, width
    int64_t skip_strides[4];  // batch, channel, row, column
};

// Positions along an axis in spans that read the same LR pixels: `index` (K, spans), `offset` (K, spans, longest),
// `start` and `length` (spans). For `skip`, each position has two pixels and its fraction of the way between them.
struct Axis {
    static constexpr char NAME[] = "Axis";
    int64_t spans, longest, positions;
    const int64_t *index;
    const float *offset;
    const int64_t *start;
    const int64_t *length;
    const int64_t *skip_index;  // (2, positions)
    const float *skip_fraction;
};

}  // extern "C"

namespace {

// Refuses networks whose arrays have other sizes than it says, or sizes whose products overflow.
void check(const Network &network) {
    const int64_t hidden = network.hidden, depth = network.depth, waves = network.waves;
    require(hidden > 0 && hidden <= MOST_UNITS && depth > 0 && depth <= MOST_UNITS && waves >= 0 &&
                waves <= MOST_UNITS && waves % 2 == 0,
            "the render MLP has a size that is not possible");
    const int64_t first = waves ? (waves + 1) * hidden : 2 * hidden;
    require(network.floats == first + (depth - 1) * (hidden + 1) * hidden + 3 * (hidden + 1),
            "the render MLP has another number of parameters than its sizes say");
}

// Refuses positions of an axis that are not on its `pixels` or, for the skip picture, `skip_pixels`; K of `index` is
// `side`.
void check(const Axis &axis, int64_t side, int64_t pixels, int64_t skip_pixels) {
    bool outside = false, scattered = false;
    for (int64_t i = 0; i < side * axis.spans; ++i) outside |= axis.index[i] < 0 || axis.index[i] >= pixels;
    for (int64_t i = 0; i < axis.spans; ++i) {
        const int64_t start = axis.start[i], length = axis.length[i];
        scattered |= start < 0 || length < 1 || length > axis.longest || length > axis.positions - start;
    }
    if (axis.skip_index)
        for (int64_t i = 0; i < 2 * axis.positions; ++i)
            outside |= axis.skip_index[i] < 0 || axis.skip_index[i] >= skip_pixels;
    require(!outside, "a neighbour is outside the picture; positions must be finite");
    require(!scattered, "a span is not within its axis");
}

// Both axes and what they are positions of. `neighbours` is 4 or 1.
void check(const Field &field, int64_t neighbours, const Axis &y, const Axis &x) {
    require(neighbours == 1 || neighbours == 4, "a position has 1 or 4 neighbours");
    const int64_t side = neighbours == 4 ? 2 : 1;
    check(y, side, field.height, field.skip_size[0]);
    check(x, side, field.width, field.skip_size[1]);
    for (const Axis *axis : {&y, &x})
        require(!field.skip || axis->skip_index || axis->positions == 0, "the skip picture has no positions");
}

// The layers arranged for vectors: columns of weights, padded with zeros to whole vectors.
struct Layers {
    int hidden, depth, waves, padded;
    bool has_scale, has_shift;
    std::unique_ptr<float[]> values;

    // `network` has been checked.
    explicit Layers(const Network &network)
        : hidden(int(network.hidden)),
          depth(int(network.depth)),
          waves(int(network.waves)),
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
    // Where a layer begins: one column per input, then the bias.
    int64_t at(int layer) const {
        return layer ? (inputs(0) + 1 + int64_t(layer - 1) * (hidden + 1)) * padded : 0;
    }
    int64_t size() const { return at(depth) + 4 * (hidden + 1); }
};

// Cosine and sine of pi * turns by Taylor series around the nearest integer; error below 1e-7 for |turns| < 2^22.
inline void cosine_sine(Eight turns, Eight &cosine, Eight &sine) {
    constexpr float LARGE = 12582912;  // 1.5 * 2^23: floats this large are integers, and the last bit is their parity
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

// Collects output pixels and paints PAIRS / NEIGHBOURS of them at a time. WIDTH is the number of hidden units, 0: any.
template <int WIDTH, int NEIGHBOURS>
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

    // Adds an output pixel, to be written to target[0], target[plane], target[2 * plane]: its neighbours (y outer), and
    // its offsets from their rows and columns.
    void add(const int64_t (&pixels)[NEIGHBOURS], const float *offset_y, int64_t step_y, const float *offset_x,
             int64_t step_x, const float (&skip)[3], float *target) {
        constexpr int SIDE = NEIGHBOURS == 4 ? 2 : 1;
        const int first = points * NEIGHBOURS;
        float areas[NEIGHBOURS], sum = 0;
        for (int neighbour = 0; neighbour < NEIGHBOURS; ++neighbour) {
            const float y = offset_y[neighbour / SIDE * step_y], x = offset_x[neighbour % SIDE * step_x];
            pixel[first + neighbour] = pixels[neighbour];
            y_of[first + neighbour] = y;
            x_of[first + neighbour] = x;
            areas[neighbour] = std::fabs(y * x) + 1e-9f;
            sum += areas[neighbour];
        }
        for (int neighbour = 0; neighbour < NEIGHBOURS; ++neighbour)
            weight[first + neighbour] = areas[NEIGHBOURS - 1 - neighbour] / sum;
        added[points] = Four{skip[0], skip[1], skip[2], 0};
        targets[points] = target;
        if (++points == POINTS) flush();
    }

    // Paints the pixels added so far.
    void flush() {
        if (points == 0) return;
        for (int pair = points * NEIGHBOURS; pair < PAIRS; ++pair) {  // unused results, of finite numbers
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
    static constexpr int POINTS = PAIRS / NEIGHBOURS;
    static constexpr int VECTORS = WIDTH ? WIDTH / LANES : 1;
    static constexpr int GROUP = REGISTERS / 2 / VECTORS < PAIRS ? REGISTERS / 2 / VECTORS : PAIRS;

    int width() const { return WIDTH ? WIDTH : layers.hidden; }
    int padded() const { return WIDTH ? WIDTH : layers.padded; }

    // The first layer from `table`, which lacks only the offset columns.
    void read_table(int pair) {
        const float *const row = field.table + pixel[pair] * field.table_stride;
        const float *const columns = layers.weight(0);
        for (int j = 0; j < padded(); j += LANES) {
            const Floats sum = load_some(row + j, width() - j) + load<Floats>(columns + j) * y_of[pair] +
                load<Floats>(columns + padded() + j) * x_of[pair];
            store(hidden + pair * stride + j, modulated(sum, pair, 0, j));
        }
    }

    // Fourier features. A row of `table` holds amplitudes of cosines and of sines, frequencies along y and x, and
    // phases.
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

    // Applies a layer to `hidden`, with modulation and ReLU.
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

    // relu(x * (1 + scale) + shift) for the units from `j` on; NaN stays NaN.
    Floats modulated(Floats x, int pair, int layer, int j) const {
        const float *scale = field.modulation + pixel[pair] * field.modulation_stride + layer * width() + j;
        const float *shift = layers.has_scale ? scale + layers.depth * width() : scale;
        if (layers.has_scale) x += x * load_some(scale, width() - j);
        if (layers.has_shift) x += load_some(shift, width() - j);
        return x < 0 ? Floats{} : x;
    }

    // The last layer is linear and the weights of the neighbours sum to 1, so they are blended before it.
    void finish() {
        for (int point = 0; point < POINTS; ++point) {
            for (int j = 0; j < padded(); j += LANES) {
                Floats sum = {};
                for (int pair = point * NEIGHBOURS; pair < (point + 1) * NEIGHBOURS; ++pair)
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
    float *hidden, *other;  // (PAIRS, stride) input and output of a layer
    int points = 0;
    int64_t pixel[PAIRS];
    float y_of[PAIRS], x_of[PAIRS], weight[PAIRS];
    Four added[POINTS];
    float *targets[POINTS];
};

// The skip picture at a position, by bilinear interpolation.
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

// The LR pixels that a span of rows and a span of columns read.
template <int NEIGHBOURS>
inline void find_pixels(const Field &field, int64_t picture, const Axis &y, int64_t span_y, const Axis &x,
                        int64_t span_x, int64_t (&pixels)[NEIGHBOURS]) {
    constexpr int SIDE = NEIGHBOURS == 4 ? 2 : 1;
    for (int neighbour = 0; neighbour < NEIGHBOURS; ++neighbour) {
        const int64_t row = y.index[neighbour / SIDE * y.spans + span_y];
        pixels[neighbour] = (picture * field.height + row) * field.width + x.index[neighbour % SIDE * x.spans + span_x];
    }
}

template <int WIDTH, int NEIGHBOURS>
void render_grid(const Layers &layers, const Field &field, int64_t batch, const Axis &y, const Axis &x,
                 const uint8_t *chosen, float *output, const int64_t *strides, int threads) {
    const int64_t blocks = (x.spans + COLUMN_SPANS - 1) / COLUMN_SPANS;
    parallel(batch * y.spans * blocks, threads, [&] {
        return [&, painter = Painter<WIDTH, NEIGHBOURS>(layers, field, strides[1])](int64_t item) mutable {
            const int64_t picture = item / blocks / y.spans, span_y = item / blocks % y.spans;
            const int64_t first = item % blocks * COLUMN_SPANS, last = std::min(first + COLUMN_SPANS, x.spans);
            for (int64_t span_x = first; span_x < last; ++span_x) {
                if (chosen && !chosen[(picture * y.spans + span_y) * x.spans + span_x]) continue;
                int64_t pixels[NEIGHBOURS];
                find_pixels<NEIGHBOURS>(field, picture, y, span_y, x, span_x, pixels);
                for (int64_t i = 0; i < y.length[span_y]; ++i) {
                    const int64_t row = y.start[span_y] + i;
                    float *const line = output + picture * strides[0] + row * strides[2];
                    for (int64_t j = 0; j < x.length[span_x]; ++j) {
                        const int64_t column = x.start[span_x] + j;
                        float skip[3] = {};
                        read_skip(field, picture, y, row, x, column, skip);
                        painter.add(pixels, y.offset + span_y * y.longest + i, y.spans * y.longest,
                                    x.offset + span_x * x.longest + j, x.spans * x.longest, skip,
                                    line + column * strides[3]);
                    }
                }
            }
            painter.flush();
        };
    });
}

template <int WIDTH, int NEIGHBOURS>
void sample_points(const Layers &layers, const Field &field, int64_t batch, const Axis &y, const Axis &x, float *output,
                   int threads) {
    constexpr int64_t BLOCK = 1024;
    parallel((y.spans + BLOCK - 1) / BLOCK, threads, [&] {
        return [&, painter = Painter<WIDTH, NEIGHBOURS>(layers, field, 1)](int64_t item) mutable {
            for (int64_t point = item * BLOCK; point < std::min((item + 1) * BLOCK, y.spans); ++point) {
                const int64_t picture = point / (y.spans / batch);
                int64_t pixels[NEIGHBOURS];
                find_pixels<NEIGHBOURS>(field, picture, y, point, x, point, pixels);
                float skip[3] = {};
                read_skip(field, picture, y, point, x, point, skip);
                painter.add(pixels, y.offset + point, y.spans, x.offset + point, x.spans, skip, output + 3 * point);
            }
            painter.flush();
        };
    });
}

// Calls work(WIDTH, NEIGHBOURS) with both as compile-time constants.
template <class Work>
void dispatch(const Layers &layers, int64_t neighbours, const Work &work) {
    using std::integral_constant;
    const bool usual = layers.hidden == 16;
    if (usual && neighbours == 4) work(integral_constant<int, 16>(), integral_constant<int, 4>());
    else if (usual) work(integral_constant<int, 16>(), integral_constant<int, 1>());
    else if (neighbours == 4) work(integral_constant<int, 0>(), integral_constant<int, 4>());
    else work(integral_constant<int, 0>(), integral_constant<int, 1>());
}

}  // namespace

// Paints the grid of rows `y` and columns `x` for `batch` pictures, with 4 or 1 `neighbours` around each position.
// Where `chosen` (B, spans of y, spans of x) is given and 0 the output remains as it was. `strides` of the output:
// batch, channel, row, column.
extern "C" const char *lmf_render(const Network *network, const Field *field, int64_t batch, int64_t neighbours,
                                  const Axis *y, const Axis *x, const uint8_t *chosen, float *output,
                                  const int64_t *strides, int32_t threads) {
    return completed([&] {
        check(*network);
        check(*field, neighbours, *y, *x);
        const Layers layers(*network);
        dispatch(layers, neighbours, [&](auto width, auto number) {
            render_grid<width(), number()>(layers, *field, batch, *y, *x, chosen, output, strides, threads);
        });
    });
}

// Values at single positions: spans of one position each, the same number for every picture; output (B, Q, 3).
extern "C" const char *lmf_sample(const Network *network, const Field *field, int64_t batch, int64_t neighbours,
                                  const Axis *y, const Axis *x, float *output, int32_t threads) {
    return completed([&] {
        check(*network);
        check(*field, neighbours, *y, *x);
        require(y->spans == x->spans && (y->spans == 0 || (batch > 0 && y->spans % batch == 0)),
                "the pictures have different numbers of positions");
        const Layers layers(*network);
        dispatch(layers, neighbours, [&](auto width, auto number) {
            sample_points<width(), number()>(layers, *field, batch, *y, *x, output, threads);
        });
    });
}

extern "C" const char *native_interface() {
    static const std::string text = layout<Network>() + layout<Field>() + layout<Axis>() +
                                    signature("lmf_render", lmf_render) + signature("lmf_sample", lmf_sample);
    return text.c_str();
}
