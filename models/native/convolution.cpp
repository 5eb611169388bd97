// Convolutions of 3x3 weights, stride 1 and zero padding of pictures whose channels are last, by Winograd's filtering.
//
// A thread takes a block of tiles: it transforms their inputs, multiplies, for each of the 36 places of a tile, the
// (tiles, inputs) there by (inputs, outputs) weights, and transforms the products back. What a block needs fits into
// the processor's cache. The sums of a tile are the same in whatever block it is.

#include <memory>

#include "common.h"
#include "winograd.h"

namespace {

using namespace winograd;

constexpr int GROUP = 6;                       // tiles multiplied together
constexpr int BLOCK = 2 * GROUP;               // tiles of a block
constexpr int VECTORS = LANES == 16 ? 4 : 2;   // of outputs, so that GROUP * VECTORS sums stay in registers
constexpr int OUTPUTS_TOGETHER = 16;           // outputs are laid out in multiples of so many
constexpr int64_t LARGEST = int64_t(1) << 31;  // of sizes

int64_t parts(int64_t number, int64_t size) { return (number + size - 1) / size; }
int64_t padded_outputs(int64_t outputs) { return parts(outputs, OUTPUTS_TOGETHER) * OUTPUTS_TOGETHER; }

struct Shape {
    int64_t batch, height, width, inputs, outputs;
    int64_t tiles_y() const { return parts(height, TILE); }
    int64_t tiles_x() const { return parts(width, TILE); }
    int64_t tiles() const { return height && width ? batch * tiles_y() * tiles_x() : 0; }
};

// What is done with a sum: leaky ReLU of sum + bias, and where there is a `skip`, * scale + skip.
struct Ending {
    const float *bias, *skip;
    float slope, scale;  // slope of values below zero: 1 nothing, 0 ReLU
};

// Multiplies in the format of `Numbers`.
template <class Numbers>
class Convolver {
public:
    typedef typename Numbers::Element Element;
    typedef typename Numbers::Column Column;

    Convolver(const Shape &shape, const Element *weights, const Ending &ending, const float *input, float *output)
        : shape(shape), ending(ending), weights(weights), input(input), output(output),
          vectors_in(parts(shape.inputs, LANES)), vectors_out(padded_outputs(shape.outputs) / LANES),
          // A vector more, so that the places of a tile do not compete for the same lines of the cache
          stride_in(BLOCK * vectors_in + 1), stride_out(BLOCK * vectors_out + 1),
          transformed(new typename Numbers::Vector[PLACES * stride_in]()), products(new Floats[PLACES * stride_out]) {}

    // Convolves the tiles of a block.
    void operator()(int64_t block) {
        first = block * BLOCK;
        tiles = int(std::min<int64_t>(BLOCK, shape.tiles() - first));
        for (int64_t vector = 0; vector < vectors_in; ++vector) transform_inputs(vector);
        for (int place = 0; place < PLACES; ++place) multiply(place);
        for (int tile = 0; tile < tiles; ++tile) transform_outputs(tile);
    }

private:
    // Where the outputs of a tile of the block begin.
    struct Position {
        int64_t picture, y, x;
        bool begins_row;
    };
    Position position(int tile) const {
        const int64_t of_picture = shape.tiles_y() * shape.tiles_x(), number = (first + tile) % of_picture;
        const int64_t row = number / shape.tiles_x(), column = number % shape.tiles_x();
        return {(first + tile) / of_picture, row * TILE, column * TILE, column == 0};
    }

    // B^T d B of a vector of channels in all tiles; the last columns of a tile are the first of the next.
    void transform_inputs(int64_t vector) {
        constexpr int SHARED = TAPS - TILE;
        const int channels = int(std::min<int64_t>(LANES, shape.inputs - vector * LANES));
        Floats columns[TAPS][TAPS];  // B^T d, row after row
        for (int tile = 0; tile < tiles; ++tile) {
            const Position at = position(tile);
            const bool follows = tile > 0 && !at.begins_row;
            if (follows)
                for (auto &row : columns)
                    for (int x = 0; x < SHARED; ++x) row[x] = row[x + TILE];
            for (int x = follows ? SHARED : 0; x < TAPS; ++x) {
                Floats column[TAPS];
                read_column(at, x, vector * LANES, channels, column);
                transform_input(column, &columns[0][x], TAPS);
            }
            auto *const to = transformed.get() + tile * vectors_in + vector;
            for (int y = 0; y < TAPS; ++y) {
                Floats row[TAPS];
                transform_input(columns[y], row, 1);
                for (int x = 0; x < TAPS; ++x) to[(y * TAPS + x) * stride_in] = Numbers::rounded(row[x]);
            }
        }
    }

    // The pixels of a tile's column of inputs, zero beyond the picture.
    void read_column(const Position &at, int column, int64_t channel, int channels, Floats *to) const {
        const int64_t top = at.y - 1, x = at.x - 1 + column;
        const bool outside = x < 0 || x >= shape.width;
        const bool inside = !outside && top >= 0 && top + TAPS <= shape.height && channels == LANES;
        for (int i = 0; i < TAPS; ++i) {
            const int64_t y = top + i, pixel = (at.picture * shape.height + y) * shape.width + x;
            const float *const from = input + pixel * shape.inputs + channel;
            if (inside) to[i] = load<Floats>(from);
            else to[i] = outside || y < 0 || y >= shape.height ? Floats{} : load_some<Floats>(from, channels);
        }
    }

    // The products of all tiles' inputs at a place with the weights of all outputs.
    void multiply(int place) {
        for (int64_t vector = 0; vector < vectors_out;) {
            const int number = int(std::min<int64_t>(VECTORS, vectors_out - vector));
            for (int tile = 0; tile < tiles; tile += GROUP) {
                if (number == 4) multiply_group<4>(place, tile, vector);
                else if (number == 3) multiply_group<3>(place, tile, vector);
                else if (number == 2) multiply_group<2>(place, tile, vector);
                else multiply_group<1>(place, tile, vector);
            }
            vector += number;
        }
    }

    template <int NUMBER>
    void multiply_group(int place, int tile, int64_t vector) {
        constexpr int SUMMED = Numbers::SUMMED;
        const int64_t steps = parts(shape.inputs, SUMMED), row = vectors_out * LANES * SUMMED;
        const Element *const column = weights + place * steps * row + vector * LANES * SUMMED;
        const auto *const from = transformed.get() + place * stride_in + tile * vectors_in;
        const Element *const values = reinterpret_cast<const Element *>(from);
        Floats sums[GROUP][NUMBER] = {};
        for (int64_t step = 0; step < steps; ++step) {
            Column columns[NUMBER];
            for (int v = 0; v < NUMBER; ++v) columns[v] = load<Column>(column + step * row + v * LANES * SUMMED);
            for (int i = 0; i < GROUP; ++i)
                for (int v = 0; v < NUMBER; ++v)
                    Numbers::add_products(sums[i][v], columns[v], values + i * vectors_in * LANES + step * SUMMED);
        }
        Floats *const to = products.get() + place * stride_out + tile * vectors_out + vector;
        for (int i = 0; i < GROUP; ++i)
            for (int v = 0; v < NUMBER; ++v) to[i * vectors_out + v] = sums[i][v];
    }

    // A^T m A of all outputs of a tile, and the ending.
    void transform_outputs(int tile) const {
        const Position at = position(tile);
        const int down = int(std::min<int64_t>(TILE, shape.height - at.y));
        const int across = int(std::min<int64_t>(TILE, shape.width - at.x));
        for (int64_t channel = 0; channel < shape.outputs; channel += LANES) {
            const int channels = int(std::min<int64_t>(LANES, shape.outputs - channel));
            const Floats *const from = products.get() + tile * vectors_out + channel / LANES;
            Floats columns[TILE][TAPS];  // A^T m, row after row
            for (int x = 0; x < TAPS; ++x) {
                Floats column[TAPS];
                for (int y = 0; y < TAPS; ++y) column[y] = from[(y * TAPS + x) * stride_out];
                transform_output(column, &columns[0][x], TAPS);
            }
            const Floats bias = ending.bias ? load_some<Floats>(ending.bias + channel, channels) : Floats{};
            for (int y = 0; y < down; ++y) {
                Floats row[TILE];
                transform_output(columns[y], row, 1);
                const int64_t line = (at.picture * shape.height + at.y + y) * shape.width + at.x;
                for (int x = 0; x < across; ++x)
                    finish(row[x] + bias, (line + x) * shape.outputs + channel, channels);
            }
        }
    }

    void finish(Floats value, int64_t place, int channels) const {
        value = value < 0 ? value * ending.slope : value;  // NaN stays NaN
        if (ending.skip) value = value * ending.scale + load_some<Floats>(ending.skip + place, channels);
        store_some(output + place, value, channels);
    }

    const Shape &shape;
    const Ending &ending;
    const Element *const weights;
    const float *const input;
    float *const output;
    const int64_t vectors_in, vectors_out, stride_in, stride_out;
    std::unique_ptr<typename Numbers::Vector[]> transformed;  // (PLACES, stride_in): (BLOCK, inputs) at each place
    std::unique_ptr<Floats[]> products;                       // (PLACES, stride_out): (BLOCK, outputs)
    int64_t first = 0;
    int tiles = 0;
};

template <class Numbers>
void convolve_with(const Shape &shape, const typename Numbers::Element *weights, const Ending &ending,
                   const float *input, float *output, int threads) {
    for (const int64_t size : {shape.batch, shape.height, shape.width, shape.inputs, shape.outputs})
        require(size >= 0 && size < LARGEST, "a size is impossible");
    parallel(parts(shape.tiles(), BLOCK), threads,
             [&] { return Convolver<Numbers>(shape, weights, ending, input, output); });
}

// The nine weights of an input for LANES outputs, or as many as there are; those of the others are zero.
void gather(const float *from, const int64_t *strides, int64_t outputs, Floats *taps) {
    for (int tap = 0; tap < 9; ++tap) {
        const float *const first = from + tap / 3 * strides[2] + tap % 3 * strides[3];
        float values[LANES] = {};
        for (int64_t i = 0; i < std::min<int64_t>(LANES, outputs); ++i) values[i] = first[i * strides[0]];
        taps[tap] = load<Floats>(values);
    }
}

// G g G^T of weights (outputs, inputs, 3, 3): (PLACES, inputs / SUMMED, padded_outputs, SUMMED), zero beyond.
template <class Numbers>
void lay_out_for(const float *weights, const int64_t *strides, int64_t outputs, int64_t inputs,
                 typename Numbers::Element *to, int threads) {
    constexpr int SUMMED = Numbers::SUMMED;
    for (const int64_t size : {inputs, outputs}) require(size >= 0 && size < LARGEST, "a size is impossible");
    const int64_t padded = padded_outputs(outputs), steps = parts(inputs, SUMMED);
    parallel(steps, threads, [&] {
        return [&](int64_t step) {
            for (int64_t output = 0; output < padded; output += LANES) {
                Floats whole[SUMMED][PLACES] = {};
                for (int64_t i = 0; i < std::min<int64_t>(SUMMED, inputs - step * SUMMED); ++i) {
                    Floats taps[9], half[3 * TAPS];
                    const float *const from = weights + output * strides[0] + (step * SUMMED + i) * strides[1];
                    gather(from, strides, outputs - output, taps);
                    for (int x = 0; x < 3; ++x) transform_weights(taps + x, half + x, 3);
                    for (int y = 0; y < TAPS; ++y) transform_weights(half + 3 * y, whole[i] + TAPS * y, 1);
                }
                for (int place = 0; place < PLACES; ++place) {
                    Floats summed[SUMMED];
                    for (int i = 0; i < SUMMED; ++i) summed[i] = whole[i][place];
                    store(to + ((place * steps + step) * padded + output) * SUMMED, Numbers::column(summed));
                }
            }
        };
    });
}

}  // namespace

// Lays out weights (outputs, inputs, 3, 3), in memory of these `strides`, for `convolve`: (36, inputs, outputs), where
// outputs are padded to a multiple of 16.
extern "C" const char *lay_out(const float *weights, const int64_t *strides, int64_t outputs, int64_t inputs, float *to,
                               int32_t threads) {
    return completed([&] { lay_out_for<Single>(weights, strides, outputs, inputs, to, threads); });
}

// Convolution + bias of pictures (batch, height, width, inputs) -> (.., outputs), times `slope` where that is negative, and
// with a `skip` of the output's shape that * scale + skip. `bias` and `skip` may be null.
extern "C" const char *convolve(const float *input, const float *weights, const float *bias, const float *skip,
                                float *output, int64_t batch, int64_t height, int64_t width, int64_t inputs,
                                int64_t outputs, float slope, float scale, int32_t threads) {
    return completed([&] {
        const Shape shape{batch, height, width, inputs, outputs};
        convolve_with<Single>(shape, weights, {bias, skip, slope, scale}, input, output, threads);
    });
}

#ifdef __AVX512BF16__
// As the two above, with products of bfloat16 numbers summed in float32; the inputs of a pair are in one number.
extern "C" const char *lay_out_bfloat16(const float *weights, const int64_t *strides, int64_t outputs, int64_t inputs,
                                        int32_t *to, int32_t threads) {
    return completed([&] {
        lay_out_for<Brief>(weights, strides, outputs, inputs, reinterpret_cast<uint16_t *>(to), threads);
    });
}

extern "C" const char *convolve_bfloat16(const float *input, const int32_t *weights, const float *bias,
                                         const float *skip, float *output, int64_t batch, int64_t height, int64_t width,
                                         int64_t inputs, int64_t outputs, float slope, float scale, int32_t threads) {
    return completed([&] {
        const Shape shape{batch, height, width, inputs, outputs};
        const auto numbers = reinterpret_cast<const uint16_t *>(weights);
        convolve_with<Brief>(shape, numbers, {bias, skip, slope, scale}, input, output, threads);
    });
}
#endif

extern "C" const char *native_interface() {
    static const std::string text = signature("lay_out", lay_out) + signature("convolve", convolve)
#ifdef __AVX512BF16__
        + signature("lay_out_bfloat16", lay_out_bfloat16) + signature("convolve_bfloat16", convolve_bfloat16)
#endif
        ;
    return text.c_str();
}
