#include "worker_pool.h"

namespace sealog {

void WorkerPool::Submit(Job* job) {
  {
    MutexLock lock(mutex_);
    if (shut_) return;
    if (waiting_count_.load(std::memory_order_relaxed) < idle_ || StartWorker()) {
      if (linger_ns_ > 0) quick_succession_ = MonotonicNs() - idle_since_ < linger_ns_;
      job->waiting_ = true;
      job->previous_ = last_;
      job->next_ = nullptr;
      (last_ == nullptr ? first_ : last_->next_) = job;
      last_ = job;
      // The thread that lingers sees the first one by itself.
      if (waiting_count_.fetch_add(1, std::memory_order_relaxed) > 0 || !lingering_) changed_.SignalOne();
      return;
    }
  }
  job->Run();
}

bool WorkerPool::StartWorker() {
  if (workers_.size() >= static_cast<size_t>(max_threads_)) return true;
  auto worker = std::make_unique<Worker>();
  worker->pool = this;
  if (StartThread(&worker->thread, ThreadMain, worker.get()) == 0) workers_.push_back(std::move(worker));
  return !workers_.empty();
}

void WorkerPool::Unlink(Job* job) {
  (job->previous_ == nullptr ? first_ : job->previous_->next_) = job->next_;
  (job->next_ == nullptr ? last_ : job->next_->previous_) = job->previous_;
  job->waiting_ = false;
  waiting_count_.fetch_sub(1, std::memory_order_relaxed);
}

bool WorkerPool::Remove(Job* job) {
  MutexLock lock(mutex_);
  if (!job->waiting_) return false;
  Unlink(job);
  return true;
}

void* WorkerPool::ThreadMain(void* argument) {
  auto* worker = static_cast<Worker*>(argument);
  NameThisThread(worker->pool->thread_name_);
  SetPriorityOfThisThread(worker->pool->priority_);
  worker->pool->Work(worker);
  return nullptr;
}

void WorkerPool::Work(Worker* worker) {
  MutexLock lock(mutex_);
  bool ran = false;
  while (!shut_) {
    Job* job = first_;
    if (job == nullptr) {
      idle_++;
      if (ran && quick_succession_ && !lingering_) {
        Linger(&lock);
      } else {
        changed_.Wait(mutex_);
      }
      idle_--;
      ran = false;
      continue;
    }
    Unlink(job);
    lock.Unlock();
    job->Run();
    lock.Lock();
    ran = true;
    if (linger_ns_ > 0) idle_since_ = MonotonicNs();
  }
  worker->ended = true;
  changed_.SignalAll();
}

void WorkerPool::Linger(MutexLock* lock) {
  lingering_ = true;
  const int64_t until = idle_since_ + linger_ns_;
  lock->Unlock();
  while (!HasWaiting() && MonotonicNs() < until) YieldProcessor();
  lock->Lock();
  lingering_ = false;
}

void WorkerPool::Shut() {
  MutexLock lock(mutex_);
  shut_ = true;
  while (first_ != nullptr) Unlink(first_);
  changed_.SignalAll();
}

bool WorkerPool::Join(int64_t deadline) {
  MutexLock lock(mutex_);
  bool all_ended = true;
  for (const auto& worker : workers_) {
    while (!worker->ended && changed_.WaitUntil(mutex_, deadline)) {
    }
    all_ended = all_ended && worker->ended;
  }
  for (const auto& worker : workers_) {
    if (!worker->ended) {
      pthread_detach(worker->thread);
      continue;
    }
    // Returns at once, but for the thread's last instructions, which need the mutex.
    lock.Unlock();
    pthread_join(worker->thread, nullptr);
    lock.Lock();
  }
  if (all_ended) workers_.clear();
  return all_ended;
}

}  // namespace sealog
