#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../os/threading.h"

namespace sealog {

// Something to run on a pool. It belongs to whoever submits it and must live until it has run or has been removed.
class Job {
 public:
  virtual void Run() = 0;

 protected:
  ~Job() = default;

 private:
  friend class WorkerPool;
  Job* previous_ = nullptr;
  Job* next_ = nullptr;
  bool waiting_ = false;
};

// Threads that run jobs in the order in which they were submitted. They start when there is more to do than threads
// that wait, up to a maximum, and stay.
//
// Waking a thread costs its waker a system call and the job tens of microseconds, above all in virtual machines. Where
// jobs come in quick succession, less than `linger_ns` after the one before has ended, one thread stays awake so long;
// it gives the processor to whoever wants it.
class WorkerPool {
 public:
  WorkerPool(const char* thread_name, int max_threads, ThreadPriority priority = ThreadPriority::kNormal,
             int64_t linger_ns = 0)
      : thread_name_(thread_name), max_threads_(max_threads), priority_(priority), linger_ns_(linger_ns) {}
  // Only after Join has returned true (or when nothing was ever submitted).
  ~WorkerPool() = default;
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs the job right here when the system grants no thread at all. Callers hold no lock that the job takes.
  void Submit(Job* job);
  // True: it was waiting and will not run.
  bool Remove(Job* job);
  bool HasWaiting() const { return waiting_count_.load(std::memory_order_relaxed) > 0; }

  // No job starts from now on; those that wait are forgotten.
  void Shut();
  // After Shut: waits until the running jobs have ended, at most until `deadline`. False: some have not, their threads
  // are left behind, and everything they use (this pool, too) must stay for ever.
  bool Join(int64_t deadline);

 private:
  struct Worker {
    WorkerPool* pool;
    pthread_t thread;
    bool ended = false;
  };

  static void* ThreadMain(void* worker);
  void Work(Worker* worker);
  void Unlink(Job* job);
  // With mutex_ held, which it releases meanwhile.
  void Linger(MutexLock* lock);
  // With mutex_ held; false when there is no thread, neither an old nor a new one.
  bool StartWorker();

  const char* const thread_name_;
  const int max_threads_;
  const ThreadPriority priority_;
  const int64_t linger_ns_;
  Mutex mutex_;
  Condition changed_;
  Job* first_ = nullptr;
  Job* last_ = nullptr;
  std::atomic<size_t> waiting_count_{0};
  // Threads that wait for a job, the one that lingers included.
  size_t idle_ = 0;
  bool lingering_ = false;
  // When a thread last ran out of jobs, and whether the job before came soon after the one before it.
  int64_t idle_since_ = 0;
  bool quick_succession_ = false;
  bool shut_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace sealog
