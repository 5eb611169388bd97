// Work shared among threads, and what a routine returns to Python.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

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
