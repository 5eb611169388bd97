// Work shared among threads, and what becomes of it where memory is short.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

// Calls work(item) for every item in 0..count-1, from up to `threads` threads, each taking the next item that is left.
// `make_work` is called once on each thread that finds one and returns its `work`, which may own buffers; bad_alloc
// when there is no memory for them.
//
// OpenMP, because PyTorch's threads spin for a while after each operation and would compete with any others: where both
// load the same library of it, these are the same threads, as long as always as many are asked for. They do not survive
// a fork: there, as for PyTorch itself, call torch.set_num_threads(1) first, or spawn.
template <class MakeWork>
void parallel(int64_t count, int threads, const MakeWork &make_work) {
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    const auto run = [&] {
        int64_t item = next++;
        if (item >= count) return;
        try {
            auto work = make_work();
            for (; item < count; item = next++) work(item);
        } catch (const std::exception &) {  // vectors that are too long for memory
            failed = true;
            next = count;
        }
    };
    if (threads <= 1 || count <= 1)
        run();
    else {
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
        run();
#else
        std::vector<std::thread> others;
        try {
            while (int64_t(others.size()) + 1 < std::min<int64_t>(threads, count)) others.emplace_back(run);
        } catch (const std::system_error &) {  // the system has no more threads
        }
        run();
        for (std::thread &thread : others) thread.join();
#endif
    }
    if (failed) throw std::bad_alloc();
}

// What kernels return: 1, or 0 where there was no memory for `work()`.
template <class Work>
int32_t completed(const Work &work) {
    try {
        work();
        return 1;
    } catch (const std::exception &) {
        return 0;
    }
}
