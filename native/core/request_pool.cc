#include "request_pool.h"

namespace sealog {

void PooledRequest::Run() { pool_->Execute(this); }

void RequestPool::Start(PooledRequest* request) {
  request->pool_ = this;
  workers_.Submit(request);
}

void RequestPool::Execute(PooledRequest* request) {
  const bool borrows = request->request.BorrowsMemory();
  {
    MutexLock lock(mutex_);
    if (stopped_) return;
    request->running_ = true;
    request->request.canceled = &canceled_;
    if (borrows) borrowing_++;
  }
  ExecuteFileRequest(io_.Get(), &request->request);
  {
    MutexLock lock(mutex_);
    if (borrows) borrowing_--;
    request->done_ = true;
    // Pushed with the mutex held: once Finish can take the mutex, the row is there for it to take back.
    if (!request->awaited_) events_.PushDone(request->ticket, static_cast<double>(request->request.status));
    done_.SignalAll();
  }
  events_.Notify();
}

void RequestPool::Finish(PooledRequest* request) {
  const bool removed = workers_.Remove(request);
  MutexLock lock(mutex_);
  // After Stop, what had not begun never will.
  if (removed || (stopped_ && !request->running_)) {
    lock.Unlock();
    ExecuteFileRequest(io_.Get(), &request->request);
    return;
  }
  if (request->done_) {
    events_.RemoveDone(request->ticket);
    return;
  }
  request->awaited_ = true;
  while (!request->done_) done_.Wait(mutex_);
}

bool RequestPool::Stop(int64_t patience_ms) {
  workers_.Shut();
  canceled_.store(true, std::memory_order_relaxed);
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    while (borrowing_ > 0) done_.Wait(mutex_);
  }
  return workers_.Join(MonotonicMs() + patience_ms);
}

}  // namespace sealog
