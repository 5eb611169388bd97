// SIMD vectors as wide as the target CPU has them, as vector types of GCC and Clang.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

constexpr int LANES = VECTOR_BYTES / sizeof(float);

typedef float Floats __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t Ints __attribute__((vector_size(VECTOR_BYTES)));

// memcpy is the portable unaligned load and store; compilers turn it into one instruction.
template <class Vector, class Element>
inline Vector load(const Element *from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class Vector, class Element>
inline void store(Element *to, Vector vector) {
    std::memcpy(to, &vector, sizeof vector);
}

// The first `count` floats at `from`, at most a whole vector; the other lanes are zero.
template <class Vector = Floats>
inline Vector load_some(const float *from, int count) {
    if (count * sizeof(float) >= sizeof(Vector)) return load<Vector>(from);
    Vector vector = {};
    std::memcpy(&vector, from, count * sizeof(float));
    return vector;
}

// Stores the first `count` lanes, at most all.
template <class Vector>
inline void store_some(float *to, Vector vector, int count) {
    if (count * sizeof(float) >= sizeof(Vector)) store(to, vector);
    else std::memcpy(to, &vector, count * sizeof(float));
}
