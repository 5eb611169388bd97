// Work shared among threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

// Calls work(item) for every item in 0..count-1, from up to `threads` threads, each taking the next item that is left.
// `make_work` is called once on each thread and returns its `work`, which may own buffers. With OpenMP they are the
// threads that PyTorch computes with, where both use the same library of it: others would have to share the cores with
// PyTorch's, which for a while after each of its operations wait for the next one without sleeping.
template <class MakeWork>
void parallel(int64_t count, int threads, const MakeWork &make_work) {
    std::atomic<int64_t> next{0};
    const auto run = [&] {
        auto work = make_work();
        for (int64_t item = next++; item < count; item = next++) work(item);
    };
    const int used = int(std::clamp<int64_t>(count, 1, std::max(threads, 1)));
#ifdef _OPENMP
#pragma omp parallel num_threads(used)
    run();
#else
    std::vector<std::thread> others;
    for (int i = 1; i < used; ++i) others.emplace_back(run);
    run();
    for (std::thread &thread : others) thread.join();
#endif
}
