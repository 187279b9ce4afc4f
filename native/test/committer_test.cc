// The life of a log in the committer: groups, segments, failures, marks, synchronous commits, stopping.
#include <errno.h>

#include <algorithm>

#include "committer_fixture.h"

namespace sealog::test {
namespace {

constexpr CommitLevel kAllLevels[] = {CommitLevel::kWritten, CommitLevel::kMode, CommitLevel::kSynced,
                                      CommitLevel::kMarked};
constexpr CommitMode kAllModes[] = {CommitMode::kFsync, CommitMode::kFlush, CommitMode::kNone};

void CheckReadsBack(const SegmentState& start, const SegmentState& end) {
  const Walked walked = WalkSegment(start, end.position);
  CHECK_EQ(walked.stop(), static_cast<double>(kStopEnd));
  CHECK_EQ(walked.state().next_offset, end.next_offset);
  CHECK_EQ(walked.state().position, end.position);
  CHECK_EQ(walked.state().chain, end.chain);
}

void TestCommitsInEveryMode() {
  for (CommitMode mode : kAllModes) {
    for (CommitLevel level : kAllLevels) {
      Harness test;
      CommitLog* log = test.committer.CreateLog(mode, 1 << 20);
      const SegmentState start = FreshSegment(test.directory.OpenFile("segment"));
      CHECK(test.committer.Attach(log, start));
      test.Append(log, 10, 100);
      test.Append(log, 5, 33, 2000, true);
      CHECK_EQ(test.CommitAndWait(log, level), 0.0);
      const SegmentState state = test.committer.State(log);
      CHECK_EQ(state.next_offset, uint64_t{15});
      const bool synced = mode == CommitMode::kFsync || level >= CommitLevel::kSynced;
      CHECK_EQ(state.synced_offset, uint64_t{synced ? 15u : 0u});
      CHECK_EQ(state.marked, level == CommitLevel::kMarked);
      CheckReadsBack(start, state);
      double released = 0;
      for (const EventRow& row : test.Rows()) {
        if (row.columns[0] == kEventCommitted) released += row.columns[5];
      }
      CHECK_EQ(released, static_cast<double>(10 * FrameBytes(100) + 5 * FrameBytes(33)));
      const EventRow last = test.LastRow(kEventCommitted);
      CHECK_EQ(last.columns[2], 15.0);
      CHECK_EQ(last.columns[3], synced ? 15.0 : 0.0);
      CHECK_EQ(last.columns[4], static_cast<double>(state.position));
      CHECK(test.CountRows(kEventIndex) > 0);
    }
  }
}

void TestGroupsGatherWhileOneIsWritten() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kFsync, 0);
  const SegmentState start = FreshSegment(test.directory.OpenFile("segment"));
  test.committer.Attach(log, start);
  test.gate.CloseSyncs(true);
  test.Append(log, 1, 50);
  test.gate.AwaitSyncs(1);
  for (int i = 0; i < 20; i++) test.Append(log, 1, 50);
  test.gate.CloseSyncs(false);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
  const Walked walked = WalkSegment(start, test.committer.State(log).position);
  CHECK_EQ(walked.groups(), 2.0);
  CHECK_EQ(walked.state().next_offset, uint64_t{21});
}

void TestBatchSpansSubmits() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kFlush, 0);
  const SegmentState start = FreshSegment(test.directory.OpenFile("segment"));
  test.committer.Attach(log, start);
  CHECK(test.Submit({log->handle, 8, 1 | kFlagBatchContinues << 8, 5}) == nullptr);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kWritten), 0.0);
  CHECK_EQ(test.committer.State(log).next_offset, uint64_t{0});
  const uint8_t key[] = {1, 2, 3};
  const uint8_t body[8] = {};
  CHECK(test.committer.SubmitLarge(log, {kFrameRecord, 0, 6, key, 3, body, 8}) == nullptr);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kWritten), 0.0);
  CHECK_EQ(test.committer.State(log).next_offset, uint64_t{2});
  CheckReadsBack(start, test.committer.State(log));
}

void TestHoldsBackSmallQueues() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kNone, 1000);
  test.committer.Attach(log, FreshSegment(test.directory.OpenFile("segment")));
  test.Append(log, 1, 500);
  usleep(20000);
  CHECK_EQ(test.CountRows(kEventCommitted), size_t{0});
  test.Append(log, 1, 500);
  CHECK(test.AwaitKind(kEventCommitted));
  CHECK_EQ(test.LastRow(kEventCommitted).columns[2], 2.0);
}

void TestRowsOfManyLogs() {
  Harness test;
  CommitLog* logs[3];
  for (CommitLog*& log : logs) {
    log = test.committer.CreateLog(CommitMode::kFlush, 0);
    test.committer.Attach(log, FreshSegment(test.directory.OpenFile(std::to_string(log->handle))));
  }
  std::vector<double> rows;
  for (int i = 0; i < 30; i++) rows.insert(rows.end(), {logs[i % 3]->handle, 16, 1, 5});
  CHECK(test.Submit(rows) == nullptr);
  for (CommitLog* log : logs) {
    CHECK_EQ(test.CommitAndWait(log, CommitLevel::kWritten), 0.0);
    CHECK_EQ(test.committer.State(log).next_offset, uint64_t{10});
  }
  // One bad row, and nothing of the call is queued.
  rows[3 * kStagedWidth] = 12345;
  CHECK(test.Submit(rows) != nullptr);
  rows[3 * kStagedWidth] = logs[0]->handle;
  for (const double length : {static_cast<double>(kStagingBytes - 29 * FrameBytes(16)), 1e15}) {
    rows[29 * kStagedWidth + 1] = length;
    CHECK(test.Submit(rows) != nullptr);
  }
  CHECK_EQ(test.CommitAndWait(logs[0], CommitLevel::kWritten), 0.0);
  CHECK_EQ(test.committer.State(logs[0]).next_offset, uint64_t{10});
  // They go on where they were.
  rows[29 * kStagedWidth + 1] = 16;
  CHECK(test.Submit(rows) == nullptr);
  CHECK_EQ(test.CommitAndWait(logs[0], CommitLevel::kWritten), 0.0);
  CHECK_EQ(test.committer.State(logs[0]).next_offset, uint64_t{20});
}

void TestNextSegment() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kFsync, 0);
  test.Append(log, 1, 1000);
  CHECK(test.AwaitKind(kEventNeedSegment));
  EventRow need = test.LastRow(kEventNeedSegment);
  CHECK_EQ(need.columns[2], 0.0);
  CHECK_EQ(need.columns[3], 1024.0 + kCommitFrameBytes);
  const SegmentState first = FreshSegment(test.directory.OpenFile("first"), 0, 4096);
  CHECK(!test.committer.Attach(log, FreshSegment(first.fd, 5)));
  CHECK(test.committer.Attach(log, first));
  CHECK(!test.committer.Attach(log, first));
  test.Append(log, 4, 1000);
  const double ticket = ++test.last_ticket;
  test.committer.Commit(log, CommitLevel::kSynced, ticket);
  CHECK(test.Await([](const EventRow& row) { return row.columns[0] == kEventNeedSegment && row.columns[2] > 0; }));
  CHECK(test.committer.CommitSync(log, CommitLevel::kMode) == CommitStatus::kNeedSegment);
  usleep(10000);
  CHECK_EQ(test.CountRows(kEventNeedSegment), size_t{2});
  const SegmentState end = test.committer.State(log);
  need = test.LastRow(kEventNeedSegment);
  CHECK_EQ(need.columns[2], static_cast<double>(end.next_offset));
  CheckReadsBack(first, end);
  CHECK(end.position + kFooterFrameBytes <= 4096);

  test.committer.Detach(log, 7);
  CHECK_EQ(test.AwaitDone(7), 0.0);
  const SegmentState second = FreshSegment(test.directory.OpenFile("second"), end.next_offset, 1 << 20);
  CHECK(test.committer.Attach(log, second));
  CHECK_EQ(test.AwaitDone(ticket), 0.0);
  CHECK_EQ(test.committer.State(log).next_offset, uint64_t{5});
  CheckReadsBack(second, test.committer.State(log));
  CHECK_EQ(test.CountRows(kEventNeedSegment), size_t{2});
}

void TestRejectionAndResume() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kFlush, 0);
  const SegmentState start = FreshSegment(test.directory.OpenFile("segment"));
  test.committer.Attach(log, start);
  test.Append(log, 3, 100);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kWritten), 0.0);
  test.faults.Fault(IoKind::kAllocate, 1, ENOSPC, true, 0);
  test.Append(log, 2, 100000);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kSynced), 3.0);
  const EventRow row = test.LastRow(kEventRejected);
  CHECK_EQ(row.columns[2], static_cast<double>(ENOSPC));
  CHECK_EQ(row.columns[3], 3.0);
  CHECK_EQ(row.columns[4], 2.0 * FrameBytes(100000));
  test.Append(log, 1, 10);
  CHECK(test.committer.CommitSync(log, CommitLevel::kWritten) == CommitStatus::kRejected);
  test.faults.ClearFaults();
  CHECK(!test.committer.Resume(log, 9));
  CHECK(test.committer.Resume(log, 3));
  test.Append(log, 2, 100);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kSynced), 0.0);
  CHECK_EQ(test.committer.State(log).next_offset, uint64_t{5});
  CheckReadsBack(start, test.committer.State(log));
  CHECK_EQ(test.CountRows(kEventFailed), size_t{0});

  // No reservation at all is no error.
  test.faults.Fault(IoKind::kAllocate, 1, EOPNOTSUPP, true, 0);
  test.Append(log, 2, 200000);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 0.0);
  CheckReadsBack(start, test.committer.State(log));
}

void TestResumeDropsTheQueue() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kFlush, 0);
  // Where offsets begin.
  CHECK(test.committer.Resume(log, 100));
  test.Append(log, 2, 100);
  CHECK(test.AwaitKind(kEventNeedSegment));
  CHECK_EQ(test.LastRow(kEventNeedSegment).columns[2], 100.0);
  // The segment cannot be had.
  test.committer.Commit(log, CommitLevel::kWritten, 7);
  CHECK(test.committer.Resume(log, 100));
  CHECK_EQ(test.AwaitDone(7), 3.0);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kSynced), 0.0);
  test.Append(log, 1, 100);
  CHECK_EQ(test.CountRows(kEventNeedSegment), size_t{2});
  const SegmentState start = FreshSegment(test.directory.OpenFile("segment"), 100);
  CHECK(test.committer.Attach(log, start));
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 0.0);
  CHECK_EQ(test.committer.State(log).next_offset, uint64_t{101});
  CheckReadsBack(start, test.committer.State(log));
}

void TestCommitSyncLeavesSegmentSynced() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kFlush, 0);
  CHECK(test.committer.Attach(log, FreshSegment(test.directory.OpenFile("segment"), 0, 4096)));
  test.Append(log, 5, 1000);
  CHECK(test.committer.CommitSync(log, CommitLevel::kSynced) == CommitStatus::kNeedSegment);
  const SegmentState state = test.committer.State(log);
  CHECK_EQ(state.next_offset, uint64_t{3});
  CHECK_EQ(state.synced_offset, uint64_t{3});
  CHECK_EQ(test.CountRows(kEventNeedSegment), size_t{1});
}

void TestFailureIsFinal() {
  for (const IoKind kind : {IoKind::kWrite, IoKind::kDatasync}) {
    for (const bool synchronous : {false, true}) {
      Harness test;
      CommitLog* log = test.committer.CreateLog(CommitMode::kFsync, 0);
      CommitLog* other = test.committer.CreateLog(CommitMode::kFsync, 0);
      test.committer.Attach(log, FreshSegment(test.directory.OpenFile("segment")));
      test.committer.Attach(other, FreshSegment(test.directory.OpenFile("other")));
      test.Append(log, 1, 100);
      CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
      const SegmentState before = test.committer.State(log);
      test.faults.Fault(kind, 1, EIO, false, 0);
      test.Append(log, 1, 100);
      if (synchronous) {
        CHECK(test.committer.CommitSync(log, CommitLevel::kMode) == CommitStatus::kFailed);
      } else {
        CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 2.0);
      }
      const EventRow row = test.LastRow(kEventFailed);
      CHECK_EQ(row.columns[2], static_cast<double>(EIO));
      CHECK_EQ(row.columns[3], kind == IoKind::kWrite ? 1.0 : 2.0);
      CHECK_EQ(row.columns[4], static_cast<double>(before.position));
      const uint64_t writes = test.faults.Count(IoKind::kWrite);
      test.Append(log, 1, 100);
      CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 2.0);
      CHECK(test.committer.CommitSync(log, CommitLevel::kWritten) == CommitStatus::kFailed);
      CHECK_EQ(test.faults.Count(IoKind::kWrite), writes);
      CHECK_EQ(test.committer.State(log).next_offset, before.next_offset);
      CHECK_EQ(test.CountRows(kEventFailed), size_t{1});
      test.Append(other, 1, 100);
      CHECK_EQ(test.CommitAndWait(other, CommitLevel::kMode), 0.0);
      test.committer.Detach(log, 7);
      CHECK_EQ(test.AwaitDone(7), 0.0);
      CHECK(test.committer.DestroyLog(log));
    }
  }
}

void TestMarks() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kFlush, 0);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 0.0);
  const SegmentState start = FreshSegment(test.directory.OpenFile("segment"));
  test.committer.Attach(log, start);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 0.0);
  CHECK_EQ(test.committer.State(log).position, kFirstPosition);
  test.Append(log, 2, 100);
  for (int i = 0; i < 3; i++) CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 0.0);
  CHECK(test.committer.CommitSync(log, CommitLevel::kMarked) == CommitStatus::kDone);
  Walked walked = WalkSegment(start, test.committer.State(log).position);
  CHECK_EQ(walked.marks(), 1.0);
  CHECK_EQ(walked.numbers[kWalkLastSynced], 2.0);
  test.Append(log, 2, 100);
  CHECK(test.committer.CommitSync(log, CommitLevel::kMarked) == CommitStatus::kDone);
  walked = WalkSegment(start, test.committer.State(log).position);
  CHECK_EQ(walked.marks(), 2.0);
  CHECK_EQ(walked.state().next_offset, uint64_t{4});

  // Without space for it, it is left out; a failed write of it poisons.
  SegmentState tight = test.committer.State(log);
  test.Append(log, 1, 100);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kSynced), 0.0);
  test.committer.DetachSync(log);
  tight = test.committer.State(log);
  tight.allocated = tight.position;
  test.committer.Attach(log, tight);
  test.faults.Fault(IoKind::kAllocate, 1, ENOSPC, true, 0);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 0.0);
  CHECK(test.committer.CommitSync(log, CommitLevel::kMarked) == CommitStatus::kDone);
  CHECK_EQ(test.committer.State(log).position, tight.position);
  test.faults.ClearFaults();
  test.faults.Fault(IoKind::kWrite, 1, EIO, false, 0);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 2.0);
}

void TestCommittedFile() {
  Harness test;
  CommitLog* log = test.committer.CreateLog(CommitMode::kFlush, 0);
  SegmentState start = FreshSegment(test.directory.OpenFile("segment"));
  start.committed_fd = test.directory.OpenFile("COMMITTED");
  start.epoch = 3;
  test.committer.Attach(log, start);
  test.Append(log, 7, 10);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kWritten), 0.0);
  uint8_t slots[kCommittedBytes];
  const auto read = [&] {
    CHECK_EQ(ReadFull(test.gate, start.committed_fd, slots, sizeof slots, 0), int64_t{sizeof slots});
  };
  read();
  CHECK_EQ(LoadU64(slots + kCommittedSlot), uint64_t{7});
  CHECK_EQ(LoadU32(slots + kCommittedSlot + 8), 3u);
  CHECK_EQ(LoadU64(slots + kDurableSlot), uint64_t{0});
  CHECK(test.committer.CommitSync(log, CommitLevel::kSynced) == CommitStatus::kDone);
  read();
  CHECK_EQ(LoadU64(slots + kDurableSlot), uint64_t{7});
}

// Durable groups are written into zeros from some point on, and read back as if there were none.
void TestZerosBehindDurableGroups() {
  Harness test;
  SegmentState start;
  CommitLog* log = test.Open(CommitMode::kFsync, "durable", &start);
  CommitLog* other = test.Open(CommitMode::kFlush, "flushed");
  for (int i = 0; i < 100; i++) {
    for (CommitLog* each : {log, other}) {
      test.Append(each, 1, 1000);
      CHECK_EQ(test.CommitAndWait(each, CommitLevel::kMode), 0.0);
    }
  }
  const SegmentState state = test.committer.State(log);
  CHECK(log->zeroed > state.position);
  CHECK(log->zeroed <= state.allocated);
  CHECK_EQ(other->zeroed, other->attached_at);
  CheckReadsBack(start, state);
  const Walked walked = WalkSegment(start, state.allocated);
  CHECK_EQ(walked.stop(), static_cast<double>(kStopZero));
  CHECK_EQ(walked.state().next_offset, uint64_t{100});
  std::vector<uint8_t> behind(state.allocated - state.position, 1);
  CHECK_EQ(ReadFull(test.gate, start.fd, behind.data(), behind.size(), state.position),
           static_cast<int64_t>(behind.size()));
  CHECK(std::all_of(behind.begin(), behind.end(), [](uint8_t byte) { return byte == 0; }));
}

// What waits for a synchronous commit wakes no thread.
void TestHeldRecords() {
  Harness test;
  CommitLog* held = test.Open(CommitMode::kFsync, "held");
  CommitLog* other = test.Open(CommitMode::kFsync, "other");
  CHECK(test.Submit({held->handle, 3, kFrameRecord, 1000, other->handle, 3, kFrameRecord, 1000}, held) == nullptr);
  CHECK_EQ(test.CommitAndWait(other, CommitLevel::kMode), 0.0);
  CHECK_EQ(test.committer.State(held).next_offset, uint64_t{0});
  CHECK(test.committer.CommitSync(held, CommitLevel::kMode) == CommitStatus::kDone);
  CHECK_EQ(test.committer.State(held).synced_offset, uint64_t{1});
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  TestCommitsInEveryMode();
  TestGroupsGatherWhileOneIsWritten();
  TestBatchSpansSubmits();
  TestHoldsBackSmallQueues();
  TestRowsOfManyLogs();
  TestNextSegment();
  TestRejectionAndResume();
  TestResumeDropsTheQueue();
  TestCommitSyncLeavesSegmentSynced();
  TestFailureIsFinal();
  TestMarks();
  TestCommittedFile();
  TestZerosBehindDurableGroups();
  TestHeldRecords();
  return Finish();
}
