// The loop thread's side: logs, submitting, demands, stopping.
#include "committer.h"

#include <algorithm>
#include <cstring>

#include "format.h"

namespace sealog {

namespace {

// Handles stay integers that a double holds: 20 bits of slot, 32 bits of generation.
constexpr uint64_t kSlotBits = 20;
constexpr uint64_t kMaxSlots = uint64_t{1} << kSlotBits;

// What a caller who awaits each append needs, in a virtual machine, until the next one.
constexpr int64_t kLingerNs = 80'000;

// Header and padding of a frame, around a body that may be there already. The CRC comes when its group is cut.
void EncodeFrame(uint8_t* frame, uint64_t body_length, uint64_t offset, uint64_t timestamp, uint64_t type_and_flags) {
  if (const uint64_t tail = body_length % kFrameAlignment; tail > 0) {
    uint8_t* word = frame + FrameBytes(body_length) - kFrameAlignment;
    StoreU64(word, LoadU64(word) & ((uint64_t{1} << 8 * tail) - 1));
  }
  StoreU32(frame + kFrameCrcAt, 0);
  StoreU32(frame + kFrameBodyLengthAt, static_cast<uint32_t>(body_length));
  StoreU64(frame + kFrameOffsetAt, offset);
  StoreU64(frame + kFrameTimestampAt, timestamp | type_and_flags << 48);
}

bool Continues(uint64_t type_and_flags) { return (type_and_flags >> 8 & kFlagBatchContinues) != 0; }

bool IsRecord(uint64_t type_and_flags) {
  const uint64_t type = type_and_flags & 0xff;
  const uint64_t flags = type_and_flags >> 8;
  return (type == kFrameRecord || type == kFrameTombstone) && (flags & ~uint64_t{kFlagKey | kFlagBatchContinues}) == 0;
}

void ForgetStaged(CommitLog* log) {
  log->staged = nullptr;
  log->staged_records = log->staged_bytes = log->ready_records = log->ready_bytes = 0;
}

}  // namespace

Committer::Committer(const CurrentIo& io, EventQueue& events, int write_threads, int sync_threads, uint64_t cache_bytes)
    : io_(io),
      events_(events),
      caches_(cache_bytes),
      write_pool_("sealog-write", write_threads, ThreadPriority::kUrgent),
      sync_pool_("sealog-sync", sync_threads, ThreadPriority::kUrgent, kLingerNs) {}

Committer::~Committer() {
  for (const Slot& slot : slots_) delete slot.log;
  for (const CommitLog* log : destroyed_) delete log;
}

CommitLog* Committer::CreateLog(CommitMode mode, uint64_t hold_bytes) {
  uint32_t index;
  if (!free_slots_.empty()) {
    index = free_slots_.back();
    free_slots_.pop_back();
  } else {
    if (slots_.size() == kMaxSlots) return nullptr;
    index = static_cast<uint32_t>(slots_.size());
    slots_.push_back({nullptr, 0});
  }
  Slot& slot = slots_[index];
  slot.generation++;
  const auto handle = static_cast<double>(uint64_t{slot.generation} << kSlotBits | index);
  slot.log = new CommitLog(this, blocks_, caches_, handle, mode, hold_bytes, &Committer::RunWrite, &Committer::RunSync);
  return slot.log;
}

CommitLog* Committer::Find(double handle) const {
  const uint64_t index = ToU64(handle) & (kMaxSlots - 1);
  if (index >= slots_.size()) return nullptr;
  CommitLog* log = slots_[index].log;
  return log != nullptr && log->handle == handle ? log : nullptr;
}

bool Committer::DestroyLog(CommitLog* log) {
  log->cache.SetLimits({}, MonotonicMs());
  {
    MutexLock lock(mutex_);
    if (log->queue.Bytes() > 0 && !log->failed) return false;
    const uint64_t index = ToU64(log->handle) & (kMaxSlots - 1);
    slots_[index].log = nullptr;
    free_slots_.push_back(static_cast<uint32_t>(index));
    log->destroyed = true;
    FinishAllDemands(log, CommitStatus::kFailed);
    if (log->write_queued && WritePool(log).Remove(&log->write_job)) log->write_queued = false;
    if (log->sync_queued && sync_pool_.Remove(&log->sync_job)) log->sync_queued = false;
    destroyed_.push_back(log);
    DeleteUnused();
  }
  events_.Notify();
  return true;
}

void Committer::DeleteUnused() {
  std::erase_if(destroyed_, [this](const CommitLog* log) {
    if (IsBusy(log) || log->write_queued || log->sync_queued) return false;
    delete log;
    return true;
  });
}

bool Committer::Attach(CommitLog* log, const SegmentState& state) {
  uint8_t jobs;
  {
    MutexLock lock(mutex_);
    if (log->attached || log->detaching) return false;
    if (log->queue.Bytes() > 0) {
      uint64_t length;
      const uint8_t* first = log->queue.Head().Next(&length);
      if (LoadU64(first + kFrameOffsetAt) != state.next_offset) return false;
    } else {
      log->next_offset = log->ready_offset = state.next_offset;
    }
    log->state = state;
    log->attached_at = log->zeroed = state.position;
    log->attached = true;
    log->can_reserve = true;
    log->need_segment = false;
    {
      MutexLock publish_lock(log->publish_mutex);
      log->published_committed = state.next_offset;
      log->published_durable = state.synced_offset;
    }
    FinishReachedDemands(log);
    jobs = WantedJobs(log);
  }
  events_.Notify();
  Dispatch(log, jobs);
  return true;
}

void Committer::Detach(CommitLog* log, double ticket) {
  uint8_t jobs;
  {
    MutexLock lock(mutex_);
    log->detach_tickets.push_back(ticket);
    log->detaching = log->attached;
    if (!log->attached || CanDetach(log)) CompleteDetach(log);
    jobs = WantedJobs(log);
  }
  events_.Notify();
  Dispatch(log, jobs);
}

void Committer::DetachSync(CommitLog* log) {
  MutexLock lock(mutex_);
  log->detaching = log->attached;
  log->claimed = true;
  FinishDetach(log, &lock);
  log->claimed = false;
  // Asks for the next segment when records wait for it.
  WantedJobs(log);
  lock.Unlock();
  events_.Notify();
}

SegmentState Committer::State(CommitLog* log) {
  MutexLock lock(mutex_);
  return log->state;
}

const char* Committer::FrameStaged(const double* rows, size_t count, uint8_t* staging, size_t staging_bytes,
                                   CommitLog** touched) {
  uint64_t at = 0;
  CommitLog* log = nullptr;
  for (size_t i = 0; i < count; i++) {
    const double* row = rows + i * kStagedWidth;
    if (log == nullptr || log->handle != row[0]) log = Find(row[0]);
    if (log == nullptr) return "a staged row names no log";
    const uint64_t body_length = ToU64(row[1]);
    const uint64_t type_and_flags = ToU64(row[2]);
    const uint64_t timestamp = ToU64(row[3]);
    const uint64_t frame_bytes = FrameBytes(std::min<uint64_t>(body_length, staging_bytes));
    if (at + frame_bytes > staging_bytes) return "staged frames are longer than the staging slab";
    if (!IsRecord(type_and_flags) || timestamp > kTimestampLimit) {
      return "a staged row has an unknown type, flag or timestamp";
    }
    if (log->staged_records == 0) {
      log->next_staged = *touched;
      *touched = log;
    }
    EncodeFrame(staging + at, body_length, log->next_offset + log->staged_records++, timestamp, type_and_flags);
    at += frame_bytes;
    log->staged_bytes += frame_bytes;
    if (!Continues(type_and_flags)) {
      log->ready_records = log->staged_records;
      log->ready_bytes = log->staged_bytes;
    }
  }
  return nullptr;
}

void Committer::CopyStaged(const double* rows, size_t count, const uint8_t* staging, CommitLog* touched) {
  for (CommitLog* log = touched; log != nullptr; log = log->next_staged) log->staged = blocks_.Take(log->staged_bytes);
  if (touched != nullptr && touched->next_staged == nullptr) {
    memcpy(touched->staged->Bytes(), staging, touched->staged_bytes);
    touched->staged->size = touched->staged_bytes;
    return;
  }
  const CommitLog* log = nullptr;
  for (size_t i = 0; i < count; i++) {
    const double* row = rows + i * kStagedWidth;
    if (log == nullptr || log->handle != row[0]) log = Find(row[0]);
    const uint64_t frame_bytes = FrameBytes(ToU64(row[1]));
    memcpy(log->staged->Bytes() + log->staged->size, staging, frame_bytes);
    log->staged->size += frame_bytes;
    staging += frame_bytes;
  }
}

const char* Committer::Submit(const double* rows, size_t count, uint8_t* staging, size_t staging_bytes,
                              const CommitLog* held) {
  CommitLog* touched = nullptr;
  const char* mistake = FrameStaged(rows, count, staging, staging_bytes, &touched);
  if (mistake != nullptr) {
    for (CommitLog* log = touched; log != nullptr; log = log->next_staged) ForgetStaged(log);
    return mistake;
  }
  CopyStaged(rows, count, staging, touched);
  {
    MutexLock lock(mutex_);
    for (CommitLog* log = touched; log != nullptr; log = log->next_staged) {
      QueueStaged(log);
      log->staged_jobs = log == held ? uint8_t{0} : WantedJobs(log);
    }
  }
  events_.Notify();
  while (touched != nullptr) {
    CommitLog* log = touched;
    touched = log->next_staged;
    log->next_staged = nullptr;
    Dispatch(log, log->staged_jobs);
  }
  return nullptr;
}

const char* Committer::SubmitLarge(CommitLog* log, const LargeRecord& record) {
  const uint64_t key_part = record.key == nullptr ? 0 : 2 + uint64_t{record.key_length};
  const uint64_t body_length = key_part + record.value_length;
  const uint64_t flags = record.flags | (record.key == nullptr ? 0 : kFlagKey);
  const uint64_t type_and_flags = record.type | flags << 8;
  if (record.key_length > kKeyBytesLimit || body_length > kRecordBytesLimit + kBodyPrefixBytes) {
    return "a key or record is too long";
  }
  if (!IsRecord(type_and_flags) || record.timestamp > kTimestampLimit) {
    return "a record has an unknown type, flag or timestamp";
  }
  log->staged_records = 1;
  log->staged_bytes = FrameBytes(body_length);
  log->staged = blocks_.Take(log->staged_bytes);
  log->staged->size = log->staged_bytes;
  uint8_t* to = log->staged->Bytes();
  EncodeFrame(to, body_length, log->next_offset, record.timestamp, type_and_flags);
  to += kFrameBodyAt;
  if (record.key != nullptr) {
    StoreU16(to, static_cast<uint16_t>(record.key_length));
    if (record.key_length > 0) memcpy(to + 2, record.key, record.key_length);
    to += key_part;
  }
  if (record.value_length > 0) memcpy(to, record.value, record.value_length);
  if (!Continues(type_and_flags)) {
    log->ready_records = log->staged_records;
    log->ready_bytes = log->staged_bytes;
  }
  uint8_t jobs;
  {
    MutexLock lock(mutex_);
    QueueStaged(log);
    jobs = WantedJobs(log);
  }
  events_.Notify();
  Dispatch(log, jobs);
  return nullptr;
}

void Committer::QueueStaged(CommitLog* log) {
  Block* block = log->staged;
  const uint64_t ready = log->ready_bytes;
  if (ready > 0) log->ready_offset = log->next_offset + log->ready_records;
  log->next_offset += log->staged_records;
  ForgetStaged(log);
  if (log->failed || log->rejected) {
    blocks_.Give(block);
  } else {
    log->queue.Append(block, ready);
  }
}

void Committer::Commit(CommitLog* log, CommitLevel level, double ticket) {
  uint8_t jobs = 0;
  {
    MutexLock lock(mutex_);
    const uint64_t target = log->ready_offset;
    if (log->failed || log->rejected) {
      events_.PushDone(ticket, static_cast<double>(log->failed ? CommitStatus::kFailed : CommitStatus::kRejected));
    } else if (IsReached(log, level, target)) {
      events_.PushDone(ticket, 0);
    } else {
      log->demands.push_back({ticket, level, target});
      jobs = WantedJobs(log);
    }
  }
  events_.Notify();
  Dispatch(log, jobs);
}

bool Committer::Stop(int64_t patience_ms) {
  int64_t deadline = MonotonicMs() + patience_ms;
  std::vector<uint8_t> jobs(slots_.size());
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (size_t i = 0; i < slots_.size(); i++) {
      CommitLog* log = slots_[i].log;
      if (log == nullptr) continue;
      // Threads of the sync pool may hang in syncs of other logs, and nothing is synced any more.
      if (log->mode == CommitMode::kFsync && log->write_queued && sync_pool_.Remove(&log->write_job)) {
        log->write_queued = false;
      }
      jobs[i] = WantedJobs(log);
    }
  }
  for (size_t i = 0; i < slots_.size(); i++) {
    if (slots_[i].log != nullptr) Dispatch(slots_[i].log, jobs[i]);
  }
  {
    MutexLock lock(mutex_);
    const auto is_writing = [this](const Slot& slot) {
      return slot.log != nullptr && (slot.log->writing || MayWrite(slot.log));
    };
    uint64_t progress = stop_progress_;
    while (std::any_of(slots_.begin(), slots_.end(), is_writing)) {
      if (!turn_ended_.WaitUntil(mutex_, deadline)) break;
      if (stop_progress_ != progress) deadline = MonotonicMs() + patience_ms;
      progress = stop_progress_;
    }
  }
  write_pool_.Shut();
  sync_pool_.Shut();
  const bool writes_ended = write_pool_.Join(deadline);
  const bool all_ended = sync_pool_.Join(deadline) && writes_ended;
  MutexLock lock(mutex_);
  stopped_ = true;
  stopping_ = false;
  for (const Slot& slot : slots_) {
    if (slot.log != nullptr) slot.log->write_queued = slot.log->sync_queued = false;
  }
  return all_ended;
}

void Committer::Dispatch(CommitLog* log, uint8_t jobs) {
  if ((jobs & kWriteJob) != 0) WritePool(log).Submit(&log->write_job);
  if ((jobs & kSyncJob) != 0) sync_pool_.Submit(&log->sync_job);
}

// In mode fsync a group is written and synced in one go, so that slow disks under durable logs hold up no others.
WorkerPool& Committer::WritePool(const CommitLog* log) { return IncludesSync(log) ? sync_pool_ : write_pool_; }

}  // namespace sealog
