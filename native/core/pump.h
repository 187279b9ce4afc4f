#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "../os/current_io.h"
#include "../os/poller.h"
#include "../os/threading.h"
#include "event_queue.h"

namespace sealog {

// Sends ranges of files to non-blocking stream sockets, `sendFile` of lib/kernels/kernels.ts, where the results are
// described. A few threads take turns with all transfers: whichever is free takes the next socket that has room, for at
// most kTurnBytes. Bytes that have to come from a disk first keep a thread waiting; at least one is kept free of that.
class Pump {
 public:
#if defined(__linux__) || defined(__APPLE__) || defined(__FreeBSD__)
  static constexpr bool kSupported = true;
#else
  static constexpr bool kSupported = false;
#endif
  static constexpr uint64_t kTurnBytes = 512 * 1024;

  Pump(const CurrentIo& io, EventQueue& events, int threads) : io_(io), events_(events), max_threads_(threads) {}
  // Only after Stop has returned true.
  ~Pump() = default;
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // kSentAtOnce, 0 when the end comes as a DONE row, or -errno when nothing was begun.
  int Start(double ticket, int socket, int file, uint64_t position, uint64_t length, int64_t stall_ms);
  void Cancel(double ticket);

  // Cuts all transfers and ends the threads. False: one of them is still in a system call after `patience_ms`; it is
  // left behind, and everything it uses (this pump, too) must stay for ever.
  bool Stop(int64_t patience_ms);

 private:
  enum class State : uint8_t {
    // For room in the socket.
    kWaiting,
    // For a thread that may wait for a disk.
    kQueued,
    // A thread is at it; it alone touches what is below `state`, without a lock.
    kSending,
  };
  struct Transfer {
    double ticket;
    // The pump's own duplicate, known to the poller.
    int socket;
    int file;
    int64_t stall_ms;
    // When it will have stalled.
    int64_t deadline;
    bool cancelled;
    State state;
    uint64_t position;
    uint64_t left;
    uint64_t sent;
    // Up to here the file has been asked for what has to be fetched; a turn ends there.
    uint64_t probed;
    // Something had to be: from then on every turn fetches for the next.
    bool fetches_ahead;
  };
  struct Worker {
    Pump* pump;
    pthread_t thread;
    bool ended = false;
  };

  static uint64_t KeyOf(double ticket) { return static_cast<uint64_t>(ticket); }
  static void* ThreadMain(void* worker);
  void Work(Worker* worker);

  // Sends until `budget` is used up, the socket is full or all is sent; 0 or -errno.
  int Send(Transfer* transfer, uint64_t budget);
  // True when a byte of a sample of the range has to be fetched (or, if `strictly`, may have to be).
  bool IsCold(int file, uint64_t position, uint64_t length, bool strictly);

  // Looks at the range of the next turn and has fetched what it needs. True: the turn may have to wait for it.
  bool Prepare(Transfer* transfer);

  // All below: with mutex_ held.
  // Watches a duplicate of the socket; 0 or -errno.
  int Adopt(const Transfer& begun);
  int StartThreads();
  Transfer* Find(uint64_t key, State state);
  Transfer* NextQueued();
  // Releases the lock while it works.
  void TakeTurn(Transfer* transfer, MutexLock& lock);
  // After a turn: ends the transfer or lets it wait.
  void Settle(Transfer* transfer, int status, bool moved);
  void EndStalled();
  // Nobody may be sending. The transfer is gone afterwards.
  void End(Transfer* transfer, int status);

  const CurrentIo& io_;
  EventQueue& events_;
  const int max_threads_;

  Mutex mutex_;
  Condition ended_;
  Poller poller_;
  bool stopped_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unordered_map<uint64_t, Transfer> transfers_;
  // Keys; those of transfers that have ended meanwhile stay until they are met.
  std::deque<uint64_t> queue_;
  // Threads that may be waiting for a disk.
  int cold_turns_ = 0;
  // No transfer has stalled before, but for those that a thread is at.
  int64_t next_sweep_ = INT64_MAX;
};

}  // namespace sealog
