#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../os/current_io.h"
#include "../os/threading.h"
#include "commit_log.h"
#include "event_queue.h"
#include "worker_pool.h"

namespace sealog {

// Columns of a staged row: log, body length, type | flags << 8, timestamp.
inline constexpr size_t kStagedWidth = 4;

// The record that SubmitLarge takes; `key` may be null.
struct LargeRecord {
  uint8_t type;
  uint8_t flags;
  uint64_t timestamp;
  const uint8_t* key;
  size_t key_length;
  const uint8_t* value;
  size_t value_length;
};

// Group commit for all logs of an environment (docs/commit-path.md). Public functions are for the loop thread. One
// mutex guards the logs; it is never held over a system call, a checksum or a copy of payload.
//
// Of a log, at most one thread holds the write turn and one the sync turn: a thread of a pool, or the loop thread in
// CommitSync. What happened is told by rows of the event queue only.
class Committer {
 public:
  // `cache_bytes`: what the tail caches of all logs may hold together.
  Committer(const CurrentIo& io, EventQueue& events, int write_threads, int sync_threads, uint64_t cache_bytes);
  // Only after Stop has returned true.
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  CommitLog* CreateLog(CommitMode mode, uint64_t hold_bytes);
  // Null: there is no such log (any more).
  CommitLog* Find(double handle) const;
  // False: records are queued.
  bool DestroyLog(CommitLog* log);

  // False: a segment is attached already, or it does not go on where the queue does.
  bool Attach(CommitLog* log, const SegmentState& state);
  void Detach(CommitLog* log, double ticket);
  void DetachSync(CommitLog* log);
  SegmentState State(CommitLog* log);
  TailCaches& Caches() { return caches_; }
  // False: the attached segment goes on at another offset.
  bool Resume(CommitLog* log, uint64_t next_offset);

  // Queues `count` staged rows of kStagedWidth numbers. The body of each lies in `staging` where its frame will have
  // it, the frames one behind the other; they are completed there, then copied. On a mistake in any row nothing is
  // queued and its description returned. `held`: a log whose records wait for a CommitSync, so that no thread is woken
  // for them; may be null.
  const char* Submit(const double* rows, size_t count, uint8_t* staging, size_t staging_bytes,
                     const CommitLog* held = nullptr);
  const char* SubmitLarge(CommitLog* log, const LargeRecord& record);

  void Commit(CommitLog* log, CommitLevel level, double ticket);
  // Its rows are in the event queue when it returns.
  CommitStatus CommitSync(CommitLog* log, CommitLevel level);

  // Writes what was submitted and fits, syncs nothing, ends the threads. Gives up when for `patience_ms` nothing moves;
  // then it returns false, threads are left behind, and the committer must stay for ever. Afterwards only CommitSync
  // still writes.
  bool Stop(int64_t patience_ms);

 private:
  // A handle is the slot's number and its generation at creation, which makes handles of destroyed logs invalid.
  struct Slot {
    CommitLog* log;
    uint32_t generation;
  };

  // What a thread may do with a log. A mark takes both turns; in mode fsync so does a write.
  enum class Turn : uint8_t { kWrite, kSync, kMark };

  // Jobs that a log has work for.
  static constexpr uint8_t kWriteJob = 1;
  static constexpr uint8_t kSyncJob = 2;

  // committer_steps.cc: what the threads do. Each takes the mutex itself.
  void RunWrite(CommitLog* log);
  void RunSync(CommitLog* log);
  // The caller has taken the turn. They return the jobs to dispatch.
  uint8_t RunTurn(CommitLog* log, Turn turn);
  uint8_t WriteGroup(CommitLog* log);
  uint8_t Sync(CommitLog* log);
  uint8_t WriteMark(CommitLog* log);
  void Publish(CommitLog* log, const SegmentState& state, uint64_t committed, uint64_t durable);

  // committer_decisions.cc: decisions, with mutex_ held.
  bool IncludesSync(const CommitLog* log) const { return log->mode == CommitMode::kFsync && !stopping_; }
  bool IsBusy(const CommitLog* log) const { return log->writing || log->syncing; }
  bool WantsToWrite(const CommitLog* log) const;
  bool MayWrite(const CommitLog* log) const;
  bool MayTakeTurn(const CommitLog* log) const;
  bool IsSyncDue(const CommitLog* log) const;
  bool IsMarkDue(const CommitLog* log) const;
  bool IsReached(const CommitLog* log, CommitLevel level, uint64_t target) const;
  bool CanTake(const CommitLog* log, Turn turn) const;
  void Take(CommitLog* log, Turn turn);

  // Changes, with mutex_ held.
  uint8_t WantedJobs(CommitLog* log);
  uint8_t EndTurn(CommitLog* log);
  void FinishReachedDemands(CommitLog* log);
  // Sends the DONE rows of the demands that match.
  template <typename Matches>
  void FinishDemands(CommitLog* log, CommitStatus status, Matches matches);
  void FinishMarkDemands(CommitLog* log);
  void FinishAllDemands(CommitLog* log, CommitStatus status);
  void AskForSegment(CommitLog* log);
  bool CanDetach(const CommitLog* log) const { return log->detaching && !IsBusy(log) && !IsSyncDue(log); }
  void CompleteDetach(CommitLog* log);
  // Loop thread, with the log claimed: waits for the turns under way and does the syncs that are due.
  void FinishDetach(CommitLog* log, MutexLock* lock);
  void Fail(CommitLog* log, int error, double operation);
  void Reject(CommitLog* log, int error);
  void PushCommitted(CommitLog* log);
  // Deletes destroyed logs that no thread works on any more.
  void DeleteUnused();

  // Without mutex_: a pool without threads runs the job at once.
  void Dispatch(CommitLog* log, uint8_t jobs);
  WorkerPool& WritePool(const CommitLog* log);
  // Completes the frames of staged rows where they lie and counts them; the logs they belong to, by `next_staged`.
  const char* FrameStaged(const double* rows, size_t count, uint8_t* staging, size_t staging_bytes,
                          CommitLog** touched);
  // Gives each log a block with its frames.
  void CopyStaged(const double* rows, size_t count, const uint8_t* staging, CommitLog* touched);
  // With mutex_ held: queues the staged block, or drops it.
  void QueueStaged(CommitLog* log);

  const CurrentIo& io_;
  EventQueue& events_;
  BlockPool blocks_;
  TailCaches caches_;
  WorkerPool write_pool_;
  WorkerPool sync_pool_;

  Mutex mutex_;
  // A turn ended.
  Condition turn_ended_;
  std::atomic<bool> stopping_{false};
  bool stopped_ = false;
  // Groups written while stopping.
  uint64_t stop_progress_ = 0;

  // Loop thread only.
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::vector<CommitLog*> destroyed_;
};

}  // namespace sealog
