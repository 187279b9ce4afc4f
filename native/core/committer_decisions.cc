// What is decided with the mutex held: what a log needs next, and what the end of a turn means for those who wait.
#include <algorithm>

#include "committer.h"
#include "group.h"

namespace sealog {

bool Committer::WantsToWrite(const CommitLog* log) const {
  const uint64_t ready = log->queue.ReadyBytes();
  if (ready == 0) return false;
  if (ready >= log->hold_bytes || stopping_) return true;
  return std::any_of(log->demands.begin(), log->demands.end(),
                     [log](const CommitDemand& demand) { return demand.target > log->state.next_offset; });
}

bool Committer::CanTake(const CommitLog* log, Turn turn) const {
  switch (turn) {
    case Turn::kWrite:
      return !log->writing && !(IncludesSync(log) && log->syncing);
    case Turn::kSync:
      return !log->syncing;
    case Turn::kMark:
      return !IsBusy(log);
  }
  return false;
}

void Committer::Take(CommitLog* log, Turn turn) {
  log->write_syncs = turn == Turn::kWrite && IncludesSync(log);
  if (turn != Turn::kSync) log->writing = true;
  if (turn != Turn::kWrite || log->write_syncs) log->syncing = true;
}

bool Committer::MayTakeTurn(const CommitLog* log) const {
  return log->attached && !log->claimed && !log->failed && !log->destroyed && !stopped_;
}

bool Committer::MayWrite(const CommitLog* log) const {
  return MayTakeTurn(log) && !log->detaching && !log->rejected && !log->need_segment && CanTake(log, Turn::kWrite) &&
         WantsToWrite(log) && !IsMarkDue(log);
}

bool Committer::IsSyncDue(const CommitLog* log) const {
  if (stopping_) return false;
  // A mark syncs what it covers itself, but for a segment that is about to go no mark is written any more.
  const CommitLevel last = log->detaching ? CommitLevel::kMarked : CommitLevel::kSynced;
  return std::any_of(log->demands.begin(), log->demands.end(), [log, last](const CommitDemand& demand) {
    return demand.level >= CommitLevel::kSynced && demand.level <= last && demand.target <= log->state.next_offset &&
           demand.target > log->state.synced_offset;
  });
}

bool Committer::IsMarkDue(const CommitLog* log) const {
  if (stopping_ || log->detaching) return false;
  return std::any_of(log->demands.begin(), log->demands.end(), [log](const CommitDemand& demand) {
    return demand.level == CommitLevel::kMarked && demand.target <= log->state.next_offset;
  });
}

bool Committer::IsReached(const CommitLog* log, CommitLevel level, uint64_t target) const {
  const SegmentState& state = log->state;
  if (state.next_offset < target) return false;
  // Without a segment there is nothing to sync or mark.
  if (!log->attached && log->queue.ReadyBytes() == 0) return true;
  if (level == CommitLevel::kSynced) return state.synced_offset >= target;
  if (level != CommitLevel::kMarked) return true;
  return state.synced_offset >= state.next_offset && (state.marked || state.records == 0);
}

uint8_t Committer::WantedJobs(CommitLog* log) {
  if (!log->attached && !log->failed && !log->rejected && !log->destroyed && WantsToWrite(log)) AskForSegment(log);
  if (!MayTakeTurn(log)) return 0;
  uint8_t jobs = 0;
  if (!log->write_queued && MayWrite(log)) {
    log->write_queued = true;
    jobs |= kWriteJob;
  }
  if (!log->sync_queued &&
      ((IsSyncDue(log) && CanTake(log, Turn::kSync)) || (IsMarkDue(log) && CanTake(log, Turn::kMark)))) {
    log->sync_queued = true;
    jobs |= kSyncJob;
  }
  return jobs;
}

void Committer::CompleteDetach(CommitLog* log) {
  log->attached = false;
  log->detaching = false;
  for (const double ticket : log->detach_tickets) events_.PushDone(ticket, 0);
  log->detach_tickets.clear();
  FinishReachedDemands(log);
}

void Committer::FinishDetach(CommitLog* log, MutexLock* lock) {
  while (log->detaching) {
    if (CanDetach(log)) {
      CompleteDetach(log);
    } else if (IsBusy(log)) {
      turn_ended_.Wait(mutex_);
    } else {
      Take(log, Turn::kSync);
      lock->Unlock();
      RunTurn(log, Turn::kSync);
      lock->Lock();
    }
  }
}

uint8_t Committer::EndTurn(CommitLog* log) {
  FinishReachedDemands(log);
  if (CanDetach(log)) CompleteDetach(log);
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

void Committer::FinishMarkDemands(CommitLog* log) {
  FinishDemands(log, CommitStatus::kDone, [log](const CommitDemand& demand) {
    return demand.level == CommitLevel::kMarked && demand.target <= log->state.next_offset;
  });
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

void Committer::PushCommitted(CommitLog* log) {
  const SegmentState& state = log->state;
  events_.Push(
      {{kEventCommitted, log->handle, static_cast<double>(state.next_offset), static_cast<double>(state.synced_offset),
        static_cast<double>(state.position), static_cast<double>(log->released_bytes), static_cast<double>(log->groups),
        static_cast<double>(log->syncs)}});
  log->released_bytes = 0;
  log->groups = log->syncs = 0;
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

}  // namespace sealog
