// Work shared among threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

// Calls work(item) for every item in 0..count-1, from up to `threads` threads, each taking the next item that is left.
// `make_work` is called once on each thread and returns its `work`, which may own buffers.
template <class MakeWork>
void parallel(int64_t count, int threads, const MakeWork &make_work) {
    std::atomic<int64_t> next{0};
    const auto run = [&] {
        auto work = make_work();
        for (int64_t item = next++; item < count; item = next++) work(item);
    };
    std::vector<std::thread> others;
    for (int64_t i = 1; i < std::min<int64_t>(threads, count); ++i) others.emplace_back(run);
    run();
    for (std::thread &thread : others) thread.join();
}
