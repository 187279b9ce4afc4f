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
class WorkerPool {
 public:
  WorkerPool(const char* thread_name, int max_threads, ThreadPriority priority = ThreadPriority::kNormal)
      : thread_name_(thread_name), max_threads_(max_threads), priority_(priority) {}
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
  // With mutex_ held; false when there is no thread, neither an old nor a new one.
  bool StartWorker();

  const char* const thread_name_;
  const int max_threads_;
  const ThreadPriority priority_;
  Mutex mutex_;
  Condition changed_;
  Job* first_ = nullptr;
  Job* last_ = nullptr;
  std::atomic<size_t> waiting_count_{0};
  size_t idle_ = 0;
  bool shut_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace sealog
