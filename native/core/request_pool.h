#pragma once

#include <atomic>
#include <cstdint>

#include "../os/current_io.h"
#include "../os/threading.h"
#include "event_queue.h"
#include "file_request.h"
#include "worker_pool.h"

namespace sealog {

class RequestPool;

// A file request on its way through a pool. Its owner keeps it until the DONE row has been drained or Finish has
// returned.
class PooledRequest : public Job {
 public:
  virtual ~PooledRequest() = default;

  FileRequest request;
  double ticket = 0;

 private:
  friend class RequestPool;
  void Run() override;

  RequestPool* pool_ = nullptr;
  // Guarded by the pool's mutex.
  bool running_ = false;
  bool done_ = false;
  // Somebody waits in Finish: no DONE row.
  bool awaited_ = false;
};

// Threads for file requests. Each request that was started ends with one DONE row, unless Finish takes its result.
class RequestPool {
 public:
  RequestPool(const CurrentIo& io, EventQueue& events, int threads, const char* thread_name = "sealog-file",
              ThreadPriority priority = ThreadPriority::kNormal)
      : io_(io), events_(events), workers_(thread_name, threads, priority) {}
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;

  void Start(PooledRequest* request);
  // Waits until the request is done, or does it here when no thread has begun with it.
  void Finish(PooledRequest* request);

  // Forgets what waits, cancels long work and ends the threads. Waits as long as it takes for requests that work on
  // memory of the caller, which may be gone afterwards, and then `patience_ms` for the others; false: threads are left
  // behind, and the pool and requests under way must stay for ever.
  bool Stop(int64_t patience_ms);

 private:
  friend class PooledRequest;
  void Execute(PooledRequest* request);

  const CurrentIo& io_;
  EventQueue& events_;
  WorkerPool workers_;
  Mutex mutex_;
  Condition done_;
  int borrowing_ = 0;
  bool stopped_ = false;
  // The same for long work under way, which looks at it without the mutex.
  std::atomic<bool> canceled_{false};
};

}  // namespace sealog
