// A committer over real files in memory, with faults, and a loop thread that is the test itself.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "../core/committer.h"
#include "../core/group.h"
#include "../core/seam.h"
#include "../core/walk.h"
#include "../os/faulting_io.h"
#include "../os/posix_io.h"
#include "check.h"

namespace sealog::test {

// System calls that wait in front of a closed gate, for tests of what happens meanwhile.
class GateIo final : public PosixIo {
 public:
  ssize_t Pwritev(int fd, const struct iovec* parts, int count, uint64_t position) override {
    Pass(close_writes_, &waiting_writes_);
    return PosixIo::Pwritev(fd, parts, count, position);
  }
  int Fdatasync(int fd) override {
    Pass(close_syncs_, &waiting_syncs_);
    return fail_syncs_ != 0 ? -fail_syncs_ : PosixIo::Fdatasync(fd);
  }

  void CloseWrites(bool closed) { Set(&close_writes_, closed); }
  void CloseSyncs(bool closed) { Set(&close_syncs_, closed); }
  // What syncs that pass the gate return from now on.
  void FailSyncs(int error) { fail_syncs_ = error; }
  // Until so many calls wait.
  void AwaitWrites(int count) { Await(waiting_writes_, count); }
  void AwaitSyncs(int count) { Await(waiting_syncs_, count); }

 private:
  void Pass(const bool& closed, int* waiting) {
    MutexLock lock(mutex_);
    ++*waiting;
    changed_.SignalAll();
    while (closed) changed_.Wait(mutex_);
    --*waiting;
  }
  void Set(bool* gate, bool closed) {
    MutexLock lock(mutex_);
    *gate = closed;
    changed_.SignalAll();
  }
  void Await(const int& waiting, int count) {
    MutexLock lock(mutex_);
    while (waiting < count) changed_.Wait(mutex_);
  }

  Mutex mutex_;
  Condition changed_;
  bool close_writes_ = false;
  bool close_syncs_ = false;
  std::atomic<int> fail_syncs_{0};
  int waiting_writes_ = 0;
  int waiting_syncs_ = 0;
};

class TempDirectory {
 public:
  TempDirectory() {
    char name[] = "/dev/shm/sealog-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TempDirectory() { Remove(); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  void Remove() {
    for (const std::string& file : files_) unlink(file.c_str());
    rmdir(path_.c_str());
  }
  int OpenFile(const std::string& name) {
    const std::string file = path_ + "/" + name;
    files_.push_back(file);
    return open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

inline constexpr uint32_t kSeed = 0x5ea1096u;
inline constexpr uint64_t kFirstPosition = 128;

inline SegmentState FreshSegment(int fd, uint64_t next_offset = 0, uint64_t segment_bytes = 64 << 20) {
  SegmentState state;
  state.fd = fd;
  state.seed = kSeed;
  state.position = state.allocated = kFirstPosition;
  state.segment_bytes = segment_bytes;
  state.next_offset = state.base_offset = state.synced_offset = next_offset;
  state.index_interval = 4096;
  state.max_record_bytes = 64 << 20;
  state.log_seed = 99;
  return state;
}

struct Walked {
  double numbers[kWalkLength];
  std::vector<double> entries;

  SegmentState state() const { return SegmentState::FromNumbers(numbers); }
  double stop() const { return numbers[kWalkStop]; }
  double groups() const { return numbers[kWalkGroups]; }
  double marks() const { return numbers[kWalkMarks]; }
};

// Reads a segment back with the code of recovery, from the state it was attached with.
inline Walked WalkSegment(const SegmentState& start, uint64_t end) {
  Walked walked;
  std::memset(walked.numbers, 0, sizeof walked.numbers);
  start.ToNumbers(walked.numbers);
  walked.entries.resize(kEntryWidth * 10000);
  std::vector<uint8_t> work(1 << 20);
  PosixIo io;
  CHECK_EQ(WalkGroups(io, start.fd, end, work.data(), work.size(), walked.numbers, walked.entries.data(),
                      walked.entries.size()),
           0);
  walked.entries.resize(kEntryWidth * static_cast<size_t>(walked.numbers[kWalkEntries]));
  return walked;
}

inline constexpr size_t kStagingBytes = size_t{512} * 1024;

// One environment: threads push rows, the test collects them.
class Harness {
 public:
  Harness() : committer(current, events, 2, 3, 1 << 20) {}
  ~Harness() { CHECK(committer.Stop(5000)); }
  Harness(const Harness&) = delete;
  Harness& operator=(const Harness&) = delete;

  // Rows that have come, oldest first.
  std::vector<EventRow>& Rows() {
    EventRow batch[64];
    for (size_t count; (count = events.Drain(batch, 64)) > 0;) rows.insert(rows.end(), batch, batch + count);
    return rows;
  }
  size_t CountRows(double kind) {
    size_t count = 0;
    for (const EventRow& row : Rows()) count += row.columns[0] == kind ? 1 : 0;
    return count;
  }
  // The last row of a kind; all zero when there is none.
  EventRow LastRow(double kind) {
    EventRow last = {};
    for (const EventRow& row : Rows()) {
      if (row.columns[0] == kind) last = row;
    }
    return last;
  }
  // Waits for a row that satisfies; fails the test after ten seconds.
  template <typename Predicate>
  bool Await(Predicate predicate) {
    for (int i = 0; i < 10000; i++) {
      for (const EventRow& row : Rows()) {
        if (predicate(row)) return true;
      }
      usleep(1000);
    }
    CHECK(false);
    return false;
  }
  bool AwaitKind(double kind) {
    return Await([kind](const EventRow& row) { return row.columns[0] == kind; });
  }
  // The status of a ticket's DONE row.
  double AwaitDone(double ticket) {
    double status = -1;
    Await([&](const EventRow& row) {
      status = row.columns[2];
      return row.columns[0] == kEventDone && row.columns[1] == ticket;
    });
    return status;
  }
  double CommitAndWait(CommitLog* log, CommitLevel level) {
    const double ticket = ++last_ticket;
    committer.Commit(log, level, ticket);
    return AwaitDone(ticket);
  }

  // A log with a segment; `name` is that of its file.
  CommitLog* Open(CommitMode mode, const std::string& name, SegmentState* start = nullptr, uint64_t hold_bytes = 0) {
    CommitLog* log = committer.CreateLog(mode, hold_bytes);
    const SegmentState state = FreshSegment(directory.OpenFile(name));
    CHECK(committer.Attach(log, state));
    if (start != nullptr) *start = state;
    return log;
  }

  // Stages `count` records of `length` bytes, as one batch or each for itself.
  void Append(CommitLog* log, size_t count, size_t length, uint64_t timestamp = 1000, bool batch = false) {
    std::vector<double> staged;
    for (size_t i = 0; i < count; i++) {
      const bool continues = batch && i + 1 < count;
      const double meta = kFrameRecord | (continues ? kFlagBatchContinues << 8 : 0);
      staged.insert(staged.end(), {log->handle, static_cast<double>(length), meta, static_cast<double>(timestamp)});
    }
    CHECK(Submit(staged) == nullptr);
  }
  // Submits rows with bodies of bytes that say how long they are.
  const char* Submit(const std::vector<double>& staged, const CommitLog* held = nullptr) {
    const size_t count = staged.size() / kStagedWidth;
    uint8_t* frame = staging.data();
    const uint8_t* const end = frame + staging.size();
    for (size_t i = 0; i < count; i++) {
      const auto length = static_cast<size_t>(staged[i * kStagedWidth + 1]);
      if (FrameBytes(length) > static_cast<size_t>(end - frame)) break;
      memset(frame, 0xee, FrameBytes(length));
      memset(frame + kFrameBodyAt, static_cast<uint8_t>(length), length);
      frame += FrameBytes(length);
    }
    return committer.Submit(staged.data(), count, staging.data(), staging.size(), held);
  }

  GateIo gate;
  FaultingIo faults{gate};
  CurrentIo current{faults};
  EventQueue events{[](void*) {}, nullptr};
  std::vector<uint8_t> staging = std::vector<uint8_t>(kStagingBytes);
  Committer committer;
  std::vector<EventRow> rows;
  double last_ticket = 1000;
  TempDirectory directory;
};

}  // namespace sealog::test
