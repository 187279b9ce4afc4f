// What a thread does while it has a turn of a log: writing a group, syncing, marking.
#include <algorithm>
#include <utility>

#include "committer.h"
#include "group.h"
#include "group_writer.h"

namespace sealog {

namespace {

// Operations that FAILED rows name.
constexpr double kFailedWrite = 1;
constexpr double kFailedSync = 2;

}  // namespace

uint8_t Committer::RunTurn(CommitLog* log, Turn turn) {
  switch (turn) {
    case Turn::kWrite:
      return WriteGroup(log);
    case Turn::kSync:
      return Sync(log);
    case Turn::kMark:
      return WriteMark(log);
  }
  return 0;
}

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
      Take(log, Turn::kWrite);
    }
    jobs = RunTurn(log, Turn::kWrite);
    events_.Notify();
    // Goes on with this log only while no other waits for the thread.
  } while (jobs == kWriteJob && !WritePool(log).HasWaiting());
  Dispatch(log, jobs);
}

void Committer::RunSync(CommitLog* log) {
  Turn turn;
  {
    MutexLock lock(mutex_);
    log->sync_queued = false;
    if (!MayTakeTurn(log)) return;
    turn = IsMarkDue(log) && CanTake(log, Turn::kMark) ? Turn::kMark : Turn::kSync;
    if (turn == Turn::kSync && !(IsSyncDue(log) && CanTake(log, Turn::kSync))) return;
    Take(log, turn);
  }
  const uint8_t jobs = RunTurn(log, turn);
  events_.Notify();
  Dispatch(log, jobs);
}

uint8_t Committer::WriteGroup(CommitLog* log) {
  MutexLock lock(mutex_);
  SegmentState state = log->state;
  bool can_reserve = log->can_reserve;
  uint64_t zeroed = log->zeroed;
  const uint64_t attached_at = log->attached_at;
  const bool sync = log->write_syncs;
  const FrameCursor frames = log->queue.Head();
  const uint64_t available = log->queue.ReadyBytes();
  lock.Unlock();

  Io& io = io_.Get();
  Group group;
  CachedGroup cached;
  CachedBlockChain evicted;
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
      // No more than was written already: whoever appends little writes little.
      if (sync) zeroed = AddZeros(state, bytes, position - attached_at, zeroed, &group.parts);
      status = WriteParts(io, state.fd, position, &group.parts);
    }
    if (status == 0 && sync) {
      operation = kFailedSync;
      status = io.Fdatasync(state.fd);
    }
    // What a durable log writes unsynced, when it stops, is not committed.
    if (status == 0 && (sync || log->mode != CommitMode::kFsync)) {
      Publish(log, state, state.next_offset, sync ? state.next_offset : 0);
      cached = log->cache.Copy(frames, state.next_offset - group.records, group.records);
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
    log->zeroed = zeroed;
    used = log->queue.Remove(bytes);
    if (sync || log->mode != CommitMode::kFsync) evicted = log->cache.Add(std::move(cached), MonotonicMs());
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
    FinishMarkDemands(log);
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
      FinishDetach(log, &lock);
      continue;
    }
    const bool stuck = !written && (!log->attached || log->need_segment);
    // A segment is left with nothing unsynced behind, where that was asked for.
    const bool unsynced =
        log->attached && level >= CommitLevel::kSynced && log->state.synced_offset < log->state.next_offset;
    if (stuck && !unsynced) {
      AskForSegment(log);
      status = CommitStatus::kNeedSegment;
      break;
    }
    // All is written, and without a segment there is nothing to sync or mark.
    if (!log->attached) break;
    Turn turn = Turn::kSync;
    if (!written && !stuck) turn = Turn::kWrite;
    if (written && level == CommitLevel::kMarked) turn = Turn::kMark;
    if (!CanTake(log, turn)) {
      turn_ended_.Wait(mutex_);
      continue;
    }
    Take(log, turn);
    lock.Unlock();
    RunTurn(log, turn);
    marked = turn == Turn::kMark;
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

}  // namespace sealog
