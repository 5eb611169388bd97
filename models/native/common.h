// What all routines share: SIMD vectors, threads, and a description of the routines for Python.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

// SIMD vectors as wide as the target CPU has them, as vector types of GCC and Clang.

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

// Work shared among threads, and what a routine returns to Python.

// Thrown for arguments that a routine cannot compute with; the text must outlive the call.
struct Refusal {
    const char *reason;
};

inline void require(bool possible, const char *reason) {
    if (!possible) throw Refusal{reason};
}

// Calls work(item) for every item in 0..count-1 from up to `threads` threads; each thread takes the next item that is
// left. Every thread that finds an item calls `make_work` once and uses the `work` it returns, which may own buffers.
// The first exception of any thread ends the work and is thrown again.
//
// OpenMP is used because PyTorch's threads spin for a while after each operation and would compete with other threads.
// If both load the same OpenMP library they share its threads, provided every call requests the same thread count.
// These threads do not survive a fork: call torch.set_num_threads(1) first, as PyTorch itself requires, or spawn.
template <class MakeWork>
void parallel(int64_t count, int threads, const MakeWork &make_work) {
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr failure;
    const auto share = [&] {
        int64_t item = next++;
        if (item >= count) return;
        try {
            auto work = make_work();
            for (; item < count; item = next++) work(item);
        } catch (...) {
            if (!failed.exchange(true)) failure = std::current_exception();
            next = count;
        }
    };
    if (threads <= 1 || count <= 1)
        share();
    else {
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
        share();
#else
        std::vector<std::thread> others;
        try {
            while (int64_t(others.size()) + 1 < std::min<int64_t>(threads, count)) others.emplace_back(share);
        } catch (const std::system_error &) {  // the system has no more threads
        }
        share();
        for (std::thread &thread : others) thread.join();
#endif
    }
    if (failed) std::rethrow_exception(failure);
}

// The return value of every routine: null after `work()`, otherwise the reason why it could not be done.
template <class Work>
const char *completed(const Work &work) {
    try {
        work();
        return nullptr;
    } catch (const Refusal &refusal) {
        return refusal.reason;
    } catch (const std::exception &) {  // bad_alloc, or a vector longer than any memory
        return "not enough memory";
    }
}

// The functions and structures of a library as text, from which Python takes the types of their arguments.

template <class T>
std::string type_name() {
    using std::is_same_v;
    if constexpr (std::is_pointer_v<T>)
        return type_name<std::remove_cv_t<std::remove_pointer_t<T>>>() + "*";
    else if constexpr (is_same_v<T, uint8_t>)
        return "uint8";
    else if constexpr (is_same_v<T, int32_t>)
        return "int32";
    else if constexpr (is_same_v<T, int64_t>)
        return "int64";
    else if constexpr (is_same_v<T, float>)
        return "float";
    else if constexpr (is_same_v<T, double>)
        return "double";
    else
        return T::NAME;
}

// A line "NAME TYPE TYPE ..": a routine and its arguments.
template <class... Arguments>
std::string signature(const char *name, const char *(*)(Arguments...)) {
    std::string line = name;
    ((line += " " + type_name<Arguments>()), ...);
    return line + "\n";
}

// A line "struct NAME BYTES".
template <class Structure>
std::string layout() {
    return std::string("struct ") + Structure::NAME + " " + std::to_string(sizeof(Structure)) + "\n";
}
