#pragma once

#include <cstdint>
#include <vector>

#include "../os/threading.h"
#include "frame_queue.h"
#include "segment_state.h"
#include "tail_cache.h"
#include "worker_pool.h"

namespace sealog {

class Committer;

// MODE_... of lib/kernels/kernels.ts.
enum class CommitMode : uint8_t { kFsync = 0, kFlush = 1, kNone = 2 };

// COMMIT_...: how far a commit goes.
enum class CommitLevel : uint8_t { kWritten = 0, kMode = 1, kSynced = 2, kMarked = 3 };

// STATUS_...: how a commit ended.
enum class CommitStatus : uint8_t { kDone = 0, kNeedSegment = 1, kFailed = 2, kRejected = 3 };

// A commit that was asked for and whose DONE row is still to come.
struct CommitDemand {
  double ticket;
  CommitLevel level;
  // Everything below this offset is to get there.
  uint64_t target;
};

struct CommitLog;

// One kind of work on a log, for a pool to run.
class CommitJob final : public Job {
 public:
  using Step = void (Committer::*)(CommitLog* log);
  CommitJob(Committer* committer, CommitLog* log, Step step) : committer_(committer), log_(log), step_(step) {}
  void Run() override { (committer_->*step_)(log_); }

 private:
  Committer* const committer_;
  CommitLog* const log_;
  const Step step_;
};

// What the committer keeps of a log.
struct CommitLog {
  CommitLog(Committer* committer, BlockPool& blocks, TailCaches& caches, double handle, CommitMode mode,
            uint64_t hold_bytes, CommitJob::Step write_step, CommitJob::Step sync_step)
      : handle(handle),
        mode(mode),
        hold_bytes(hold_bytes),
        cache(caches),
        queue(blocks),
        write_job(committer, this, write_step),
        sync_job(committer, this, sync_step) {}
  CommitLog(const CommitLog&) = delete;
  CommitLog& operator=(const CommitLog&) = delete;

  const double handle;
  const CommitMode mode;
  // Nothing is written before so many bytes are ready or somebody asks for it.
  const uint64_t hold_bytes;

  // Fed by the holder of the write turn.
  TailCache cache;

  // Loop thread only.
  uint64_t next_offset = 0;
  // Behind the last complete batch that was submitted.
  uint64_t ready_offset = 0;

  // Loop thread, while a submit is under way: its frames of this log, those that end a batch, and the block that they
  // go to.
  uint64_t staged_records = 0;
  uint64_t staged_bytes = 0;
  uint64_t ready_records = 0;
  uint64_t ready_bytes = 0;
  Block* staged = nullptr;
  CommitLog* next_staged = nullptr;
  uint8_t staged_jobs = 0;

  // From here on guarded by the committer's mutex.
  FrameQueue queue;
  // As of the last group that counts. While a turn is under way, its holder works on a copy.
  SegmentState state;
  std::vector<CommitDemand> demands;
  std::vector<double> detach_tickets;

  // Where writing to the attached segment began, and up to where it has been written since, be it with zeros.
  uint64_t attached_at = 0;
  uint64_t zeroed = 0;

  bool attached = false;
  // The segment is taken away as soon as nobody holds a turn and the syncs that were asked for are done.
  bool detaching = false;
  bool can_reserve = true;
  // NEED_SEGMENT was sent; nothing is written before the next attach.
  bool need_segment = false;
  // No space could be reserved: what is submitted is dropped until resume.
  bool rejected = false;
  // A write or sync failed: for ever.
  bool failed = false;
  bool destroyed = false;

  // Turns: at most one write and one sync are under way.
  bool writing = false;
  bool syncing = false;
  // The write turn includes the sync turn.
  bool write_syncs = false;
  // The calling thread has, or waits for, the turns: pools keep off.
  bool claimed = false;
  // The jobs are in their pools or about to be.
  bool write_queued = false;
  bool sync_queued = false;

  // Not reported in a COMMITTED row yet.
  uint64_t released_bytes = 0;
  uint32_t groups = 0;
  uint32_t syncs = 0;

  // Guards the file COMMITTED, which a write and a sync may both be about to bring up to date.
  Mutex publish_mutex;
  uint64_t published_committed = 0;
  uint64_t published_durable = 0;

  CommitJob write_job;
  CommitJob sync_job;
};

}  // namespace sealog
