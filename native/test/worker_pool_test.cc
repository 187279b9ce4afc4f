// Threads that stay awake between jobs that come in quick succession.
#include "../core/worker_pool.h"

#include <unistd.h>

#include "check.h"

namespace sealog::test {
namespace {

class CountingJob final : public Job {
 public:
  void Run() override {
    MutexLock lock(mutex_);
    runs_++;
    changed_.SignalAll();
  }
  void Await(int runs) {
    MutexLock lock(mutex_);
    while (runs_ < runs) changed_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  Condition changed_;
  int runs_ = 0;
};

constexpr int64_t kLingerNs = 200'000;

// No job is lost between a thread that falls asleep and a submit that takes it for awake.
void TestNoJobIsLost() {
  for (const int threads : {1, 3}) {
    WorkerPool pool("test", threads, ThreadPriority::kNormal, kLingerNs);
    CountingJob first;
    CountingJob second;
    for (int i = 1; i <= 2000; i++) {
      pool.Submit(&first);
      pool.Submit(&second);
      first.Await(i);
      second.Await(i);
      // Sometimes about as long as a thread lingers.
      if (i % 20 == 0) usleep(static_cast<useconds_t>(kLingerNs / 1000 - 60 + i % 7 * 20));
    }
    pool.Shut();
    CHECK(pool.Join(MonotonicMs() + 10'000));
  }
}

void TestEndsWhileLingering() {
  for (int round = 0; round < 50; round++) {
    WorkerPool pool("test", 2, ThreadPriority::kNormal, kLingerNs);
    CountingJob job;
    for (int i = 1; i <= 3; i++) {
      pool.Submit(&job);
      job.Await(i);
    }
    pool.Shut();
    CHECK(pool.Join(MonotonicMs() + 10'000));
  }
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  TestNoJobIsLost();
  TestEndsWhileLingering();
  return Finish();
}
