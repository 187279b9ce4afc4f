#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../os/threading.h"

namespace sealog {

// Kinds and widths of the EVENT_... rows of lib/kernels/kernels.ts.
inline constexpr double kEventCommitted = 1;
inline constexpr double kEventIndex = 2;
inline constexpr double kEventFailed = 3;
inline constexpr double kEventRejected = 4;
inline constexpr double kEventNeedSegment = 5;
inline constexpr double kEventDone = 6;
inline constexpr size_t kEventWidth = 8;

struct EventRow {
  double columns[kEventWidth];
};

// Rows from all threads on their way to the loop thread, in the order in which they were pushed.
class EventQueue {
 public:
  // `wake_loop` makes the loop thread drain the queue soon. It may be called on any thread, one at a time.
  EventQueue(void (*wake_loop)(void* context), void* context) : wake_loop_(wake_loop), context_(context) {}

  void Push(const EventRow& row);
  void PushDone(double ticket, double status, double a = 0) { Push({{kEventDone, ticket, status, a}}); }
  // Wakes the loop thread once per burst: when there are rows and it has not been woken for them yet. A call of its
  // own, so that those who push under a lock do not wake under it.
  void Notify();

  // Loop thread: moves rows out; 0 when there are none.
  size_t Drain(EventRow* into, size_t max_rows);
  // Takes back the DONE row of a ticket.
  void RemoveDone(double ticket);
  // From then on nobody is woken any more; a wake-up under way has ended when this returns.
  void Close();

 private:
  Mutex mutex_;
  std::vector<EventRow> rows_;
  // Rows in front that have been drained already.
  size_t drained_ = 0;
  bool notified_ = false;

  Mutex wake_mutex_;
  bool closed_ = false;
  void (*const wake_loop_)(void* context);
  void* const context_;
};

}  // namespace sealog
