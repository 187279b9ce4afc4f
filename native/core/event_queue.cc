#include "event_queue.h"

#include <algorithm>

namespace sealog {

void EventQueue::Push(const EventRow& row) {
  MutexLock lock(mutex_);
  rows_.push_back(row);
}

void EventQueue::Notify() {
  {
    MutexLock lock(mutex_);
    if (notified_ || drained_ == rows_.size()) return;
    notified_ = true;
  }
  MutexLock lock(wake_mutex_);
  if (!closed_) wake_loop_(context_);
}

size_t EventQueue::Drain(EventRow* into, size_t max_rows) {
  MutexLock lock(mutex_);
  const size_t count = std::min(max_rows, rows_.size() - drained_);
  std::copy_n(rows_.begin() + static_cast<ptrdiff_t>(drained_), count, into);
  drained_ += count;
  // Also when rows are left: whoever stops draining before the end must be able to be woken for them.
  notified_ = false;
  if (drained_ == rows_.size()) {
    rows_.clear();
    drained_ = 0;
  }
  return count;
}

void EventQueue::RemoveDone(double ticket) {
  MutexLock lock(mutex_);
  for (size_t i = drained_; i < rows_.size(); i++) {
    if (rows_[i].columns[0] != kEventDone || rows_[i].columns[1] != ticket) continue;
    rows_.erase(rows_.begin() + static_cast<ptrdiff_t>(i));
    return;
  }
}

void EventQueue::Close() {
  MutexLock lock(wake_mutex_);
  closed_ = true;
}

}  // namespace sealog
