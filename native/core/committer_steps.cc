// What a thread does while it has a turn of a log, and what is decided when a turn ends.
#include <errno.h>

#include <algorithm>

#include "committer.h"
#include "group.h"
#include "group_writer.h"

namespace sealog {

namespace {

// Operations that FAILED rows name.
constexpr double kFailedWrite = 1;
constexpr double kFailedSync = 2;

}  // namespace

bool Committer::WantsToWrite(const CommitLog* log) const {
  const uint64_t ready = log->queue.ReadyBytes();
  if (ready == 0) return false;
  if (ready >= log->hold_bytes || stopping_) return true;
  return std::any_of(log->demands.begin(), log->demands.end(),
                     [log](const CommitDemand& demand) { return demand.target > log->state.next_offset; });
}

bool Committer::MayUseSegment(const CommitLog* log) const {
  return log->attached && !log->detaching && !log->claimed && !log->failed && !log->destroyed && !stopped_;
}

bool Committer::MayWrite(const CommitLog* log) const {
  return MayUseSegment(log) && !log->rejected && !log->need_segment && CanTakeWriteTurn(log) && WantsToWrite(log) &&
         !IsMarkDue(log);
}

bool Committer::IsSyncDue(const CommitLog* log) const {
  if (stopping_) return false;
  return std::any_of(log->demands.begin(), log->demands.end(), [log](const CommitDemand& demand) {
    return demand.level == CommitLevel::kSynced && demand.target <= log->state.next_offset &&
           demand.target > log->state.synced_offset;
  });
}

bool Committer::IsMarkDue(const CommitLog* log) const {
  if (stopping_) return false;
  return std::any_of(log->demands.begin(), log->demands.end(), [log](const CommitDemand& demand) {
    return demand.level == CommitLevel::kMarked && demand.target <= log->state.next_offset;
  });
}

bool Committer::IsReached(const CommitLog* log, CommitLevel level, uint64_t target) const {
  const SegmentState& state = log->state;
  if (state.next_offset < target) return false;
  if (level == CommitLevel::kSynced) return state.synced_offset >= target;
  if (level != CommitLevel::kMarked) return true;
  return state.synced_offset >= state.next_offset && (state.marked || state.records == 0);
}

uint8_t Committer::WantedJobs(CommitLog* log) {
  if (!log->attached && !log->failed && !log->rejected && !log->destroyed && WantsToWrite(log)) AskForSegment(log);
  if (!MayUseSegment(log)) return 0;
  uint8_t jobs = 0;
  if (!log->write_queued && MayWrite(log)) {
    log->write_queued = true;
    jobs |= kWriteJob;
  }
  if (!log->sync_queued && !log->syncing && (IsSyncDue(log) || (IsMarkDue(log) && !log->writing))) {
    log->sync_queued = true;
    jobs |= kSyncJob;
  }
  return jobs;
}

void Committer::TakeWriteTurn(CommitLog* log) {
  log->writing = true;
  log->write_syncs = IncludesSync(log);
  if (log->write_syncs) log->syncing = true;
}

void Committer::TakeMarkTurn(CommitLog* log) { log->writing = log->syncing = true; }

void Committer::RunWrite(CommitLog* log) {
  uint8_t jobs;
  do {
    {
      MutexLock lock(mutex_);
      log->write_queued = false;
      if (!MayWrite(log)) {
        jobs = 0;
        break;
      }
      TakeWriteTurn(log);
    }
    jobs = WriteGroup(log);
    // Goes on with this log only while no other waits for the thread.
  } while (jobs == kWriteJob && !WritePool(log).HasWaiting());
  events_.Notify();
  Dispatch(log, jobs);
}

void Committer::RunSync(CommitLog* log) {
  bool mark;
  {
    MutexLock lock(mutex_);
    log->sync_queued = false;
    mark = MayUseSegment(log) && IsMarkDue(log) && !IsBusy(log);
    const bool sync = !mark && MayUseSegment(log) && IsSyncDue(log) && !log->syncing;
    if (!mark && !sync) return;
    if (mark) {
      TakeMarkTurn(log);
    } else {
      log->syncing = true;
    }
  }
  const uint8_t jobs = mark ? WriteMark(log) : Sync(log);
  events_.Notify();
  Dispatch(log, jobs);
}

uint8_t Committer::WriteGroup(CommitLog* log) {
  MutexLock lock(mutex_);
  SegmentState state = log->state;
  bool can_reserve = log->can_reserve;
  const bool sync = log->write_syncs;
  const FrameCursor frames = log->queue.Head();
  const uint64_t available = log->queue.ReadyBytes();
  lock.Unlock();

  Io& io = io_.Get();
  Group group;
  const uint64_t bytes = MeasureGroup(frames, available, state);
  int status = 0;
  double operation = kFailedWrite;
  bool no_space = false;
  if (bytes > 0) {
    status = ReserveSpace(io, bytes + kCommitFrameBytes, &state, &can_reserve);
    no_space = status < 0 && IsNoSpace(-status);
    if (status == 0) {
      const uint64_t position = state.position;
      CutGroup(frames, bytes, &state, &group);
      status = WriteParts(io, state.fd, position, &group.parts);
    }
    if (status == 0 && sync) {
      operation = kFailedSync;
      status = io.Fdatasync(state.fd);
    }
    // What a durable log writes unsynced, when it stops, is not committed.
    if (status == 0 && (sync || log->mode != CommitMode::kFsync)) {
      Publish(log, state, state.next_offset, sync ? state.next_offset : 0);
    }
  }

  lock.Lock();
  log->writing = false;
  if (sync) log->syncing = log->write_syncs = false;
  Block* used = nullptr;
  if (log->failed) {
    // A sync failed meanwhile; what was just written does not count.
    used = log->queue.RemoveAll();
  } else if (bytes == 0) {
    AskForSegment(log);
  } else if (no_space) {
    Reject(log, -status);
  } else if (status < 0) {
    Fail(log, -status, operation);
  } else {
    state.synced_offset = sync ? state.next_offset : log->state.synced_offset;
    state.allocated = std::max(state.allocated, state.position);
    log->state = state;
    log->can_reserve = can_reserve;
    used = log->queue.Remove(bytes);
    log->released_bytes += bytes;
    log->groups++;
    if (sync) log->syncs++;
    for (const IndexEntry& entry : group.entries) {
      events_.Push({{kEventIndex, log->handle, static_cast<double>(entry.offset), static_cast<double>(entry.position),
                     static_cast<double>(entry.batch_first), static_cast<double>(entry.running_time)}});
    }
    PushCommitted(log);
    if (stopping_) stop_progress_++;
  }
  const uint8_t jobs = EndTurn(log);
  lock.Unlock();
  blocks_.Give(used);
  return jobs;
}

uint8_t Committer::Sync(CommitLog* log) {
  MutexLock lock(mutex_);
  const SegmentState state = log->state;
  lock.Unlock();
  const int status = io_.Get().Fdatasync(state.fd);
  if (status == 0) Publish(log, state, 0, state.next_offset);

  lock.Lock();
  log->syncing = false;
  if (!log->failed) {
    if (status < 0) {
      Fail(log, -status, kFailedSync);
    } else {
      // What was written before the sync was started.
      log->state.synced_offset = std::max(log->state.synced_offset, state.next_offset);
      log->syncs++;
      PushCommitted(log);
    }
  }
  return EndTurn(log);
}

uint8_t Committer::WriteMark(CommitLog* log) {
  MutexLock lock(mutex_);
  SegmentState state = log->state;
  bool can_reserve = log->can_reserve;
  lock.Unlock();

  Io& io = io_.Get();
  uint32_t syncs = 0;
  int status = 0;
  double operation = kFailedSync;
  const auto sync = [&] {
    operation = kFailedSync;
    status = io.Fdatasync(state.fd);
    if (status == 0) syncs++;
  };
  if (state.synced_offset < state.next_offset) {
    sync();
    if (status == 0) state.synced_offset = state.next_offset;
  }
  if (status == 0 && !state.marked && state.records > 0) {
    operation = kFailedWrite;
    status = ReserveSpace(io, kCommitFrameBytes, &state, &can_reserve);
    if (status < 0 && IsNoSpace(-status)) {
      // A mark makes recovery surer, the log is as durable without.
      status = 0;
    } else if (status == 0) {
      const uint64_t position = state.position;
      Group mark;
      CutMark(&state, &mark);
      status = WriteParts(io, state.fd, position, &mark.parts);
      if (status == 0) sync();
    }
  }
  if (status == 0) Publish(log, state, state.next_offset, state.next_offset);

  lock.Lock();
  log->writing = log->syncing = false;
  if (status < 0) {
    Fail(log, -status, operation);
  } else {
    state.allocated = std::max(state.allocated, state.position);
    const bool moved = syncs > 0 || state.position != log->state.position;
    log->state = state;
    log->can_reserve = can_reserve;
    log->syncs += syncs;
    if (moved) PushCommitted(log);
    FinishDemands(log, CommitStatus::kDone, [log](const CommitDemand& demand) {
      return demand.level == CommitLevel::kMarked && demand.target <= log->state.next_offset;
    });
  }
  return EndTurn(log);
}

CommitStatus Committer::CommitSync(CommitLog* log, CommitLevel level) {
  MutexLock lock(mutex_);
  if (log->failed) return CommitStatus::kFailed;
  if (log->rejected) return CommitStatus::kRejected;
  const uint64_t target = log->ready_offset;
  bool marked = false;
  CommitStatus status = CommitStatus::kDone;
  log->claimed = true;
  for (;;) {
    if (log->failed) {
      status = CommitStatus::kFailed;
      break;
    }
    const bool written = log->state.next_offset >= target;
    if (log->rejected && !written) {
      status = CommitStatus::kRejected;
      break;
    }
    if (written && (marked || IsReached(log, level, target))) break;
    if (log->detaching) {
      turn_ended_.Wait(mutex_);
      continue;
    }
    if (!log->attached || (!written && log->need_segment)) {
      // Without a segment there is nothing to sync or mark.
      if (written) break;
      AskForSegment(log);
      status = CommitStatus::kNeedSegment;
      break;
    }
    const bool marking = written && level == CommitLevel::kMarked;
    const bool wait = !written ? !CanTakeWriteTurn(log) : marking ? IsBusy(log) : log->syncing;
    if (wait) {
      turn_ended_.Wait(mutex_);
      continue;
    }
    if (!written) {
      TakeWriteTurn(log);
    } else if (marking) {
      TakeMarkTurn(log);
    } else {
      log->syncing = true;
    }
    lock.Unlock();
    if (!written) {
      WriteGroup(log);
    } else if (marking) {
      WriteMark(log);
      marked = true;
    } else {
      Sync(log);
    }
    lock.Lock();
  }
  log->claimed = false;
  const uint8_t jobs = WantedJobs(log);
  lock.Unlock();
  Dispatch(log, jobs);
  return status;
}

void Committer::Publish(CommitLog* log, const SegmentState& state, uint64_t committed, uint64_t durable) {
  if (state.committed_fd < 0) return;
  MutexLock lock(log->publish_mutex);
  log->published_committed = std::max(log->published_committed, committed);
  log->published_durable = std::max(log->published_durable, durable);
  PublishCommitted(io_.Get(), state, log->published_committed, log->published_durable);
}

uint8_t Committer::EndTurn(CommitLog* log) {
  FinishReachedDemands(log);
  if (log->detaching && !IsBusy(log)) CompleteDetach(log);
  turn_ended_.SignalAll();
  return WantedJobs(log);
}

template <typename Matches>
void Committer::FinishDemands(CommitLog* log, CommitStatus status, Matches matches) {
  std::erase_if(log->demands, [&](const CommitDemand& demand) {
    if (!matches(demand)) return false;
    events_.PushDone(demand.ticket, static_cast<double>(status));
    return true;
  });
}

void Committer::FinishReachedDemands(CommitLog* log) {
  if (log->demands.empty()) return;
  FinishDemands(log, CommitStatus::kDone,
                [&](const CommitDemand& demand) { return IsReached(log, demand.level, demand.target); });
}

void Committer::FinishAllDemands(CommitLog* log, CommitStatus status) {
  FinishDemands(log, status, [](const CommitDemand&) { return true; });
}

void Committer::AskForSegment(CommitLog* log) {
  if (log->need_segment) return;
  log->need_segment = true;
  const uint64_t bytes = FirstBatchBytes(log->queue.Head(), log->queue.ReadyBytes()) + kCommitFrameBytes;
  events_.Push(
      {{kEventNeedSegment, log->handle, static_cast<double>(log->state.next_offset), static_cast<double>(bytes)}});
}

void Committer::Fail(CommitLog* log, int error, double operation) {
  log->failed = true;
  // A write under way still reads from the queue; it drops it when it ends.
  if (!log->writing) blocks_.Give(log->queue.RemoveAll());
  events_.Push(
      {{kEventFailed, log->handle, static_cast<double>(error), operation, static_cast<double>(log->state.position)}});
  FinishAllDemands(log, CommitStatus::kFailed);
}

void Committer::Reject(CommitLog* log, int error) {
  log->rejected = true;
  const uint64_t released = log->released_bytes + log->queue.Bytes();
  log->released_bytes = 0;
  blocks_.Give(log->queue.RemoveAll());
  const uint64_t end = log->state.next_offset;
  events_.Push({{kEventRejected, log->handle, static_cast<double>(error), static_cast<double>(end),
                 static_cast<double>(released)}});
  FinishDemands(log, CommitStatus::kRejected, [end](const CommitDemand& demand) { return demand.target > end; });
}

bool Committer::Resume(CommitLog* log, uint64_t next_offset) {
  {
    MutexLock lock(mutex_);
    while (IsBusy(log)) turn_ended_.Wait(mutex_);
    if (log->attached && log->state.next_offset != next_offset) return false;
    blocks_.Give(log->queue.RemoveAll());
    // What was dropped is released by the caller, who knows it all.
    log->released_bytes = 0;
    log->rejected = false;
    log->need_segment = false;
    log->next_offset = log->ready_offset = next_offset;
    if (!log->attached) log->state.next_offset = next_offset;
    FinishDemands(log, CommitStatus::kRejected,
                  [next_offset](const CommitDemand& demand) { return demand.target > next_offset; });
  }
  events_.Notify();
  return true;
}

void Committer::PushCommitted(CommitLog* log) {
  const SegmentState& state = log->state;
  events_.Push(
      {{kEventCommitted, log->handle, static_cast<double>(state.next_offset), static_cast<double>(state.synced_offset),
        static_cast<double>(state.position), static_cast<double>(log->released_bytes), static_cast<double>(log->groups),
        static_cast<double>(log->syncs)}});
  log->released_bytes = 0;
  log->groups = log->syncs = 0;
}

}  // namespace sealog
