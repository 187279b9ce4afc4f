// What happens while a system call of another thread is under way: gates hold the calls where a test wants them.
#include <errno.h>

#include <cstdlib>

#include "committer_fixture.h"

namespace sealog::test {
namespace {

// Opens both gates from another thread, a little later.
class LaterOpener {
 public:
  explicit LaterOpener(GateIo& gate) : gate_(gate) { StartThread(&thread_, Open, this); }
  ~LaterOpener() { pthread_join(thread_, nullptr); }

 private:
  static void* Open(void* self) {
    usleep(30000);
    static_cast<LaterOpener*>(self)->gate_.CloseWrites(false);
    static_cast<LaterOpener*>(self)->gate_.CloseSyncs(false);
    return nullptr;
  }

  GateIo& gate_;
  pthread_t thread_;
};

void TestCommitSyncBesideGroup() {
  for (const CommitMode mode : {CommitMode::kFsync, CommitMode::kFlush}) {
    Harness test;
    SegmentState start;
    CommitLog* log = test.Open(mode, "segment", &start);
    test.gate.CloseWrites(true);
    test.Append(log, 1, 100);
    test.gate.AwaitWrites(1);
    test.Append(log, 2, 100);
    test.committer.Commit(log, CommitLevel::kMode, 7);
    {
      const LaterOpener opener(test.gate);
      CHECK(test.committer.CommitSync(log, CommitLevel::kSynced) == CommitStatus::kDone);
    }
    // All rows were there when it returned, that of the other commit included.
    bool done = false;
    for (const EventRow& row : test.Rows()) done = done || (row.columns[0] == kEventDone && row.columns[1] == 7);
    CHECK(done);
    CHECK_EQ(test.LastRow(kEventCommitted).columns[3], 3.0);
    const Walked walked = WalkSegment(start, test.committer.State(log).position);
    CHECK_EQ(walked.groups(), 2.0);
    CHECK_EQ(walked.state().next_offset, uint64_t{3});
  }
}

void TestDetachWaits() {
  Harness test;
  SegmentState start;
  CommitLog* log = test.Open(CommitMode::kFsync, "segment", &start);
  test.gate.CloseSyncs(true);
  test.Append(log, 1, 100);
  test.gate.AwaitSyncs(1);
  test.Append(log, 1, 100);
  test.committer.Detach(log, 7);
  usleep(10000);
  CHECK_EQ(test.CountRows(kEventDone), size_t{0});
  test.gate.CloseSyncs(false);
  CHECK_EQ(test.AwaitDone(7), 0.0);
  // What is queued waits for the next segment, and asks for it.
  CHECK_EQ(test.committer.State(log).next_offset, uint64_t{1});
  CHECK(test.AwaitKind(kEventNeedSegment));
  CHECK(!test.committer.DestroyLog(log));
  CHECK(test.committer.Attach(log, test.committer.State(log)));
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);

  // The same on the calling thread, which takes an asynchronous one along.
  test.gate.CloseSyncs(true);
  test.Append(log, 1, 100);
  test.gate.AwaitSyncs(1);
  test.committer.Detach(log, 8);
  {
    const LaterOpener opener(test.gate);
    test.committer.DetachSync(log);
  }
  CHECK_EQ(test.AwaitDone(8), 0.0);
  CHECK_EQ(test.committer.State(log).next_offset, uint64_t{3});
  test.committer.DetachSync(log);
  const double handle = log->handle;
  CHECK(test.committer.DestroyLog(log));
  CHECK(test.committer.Find(handle) == nullptr);
  CHECK(test.committer.CreateLog(CommitMode::kNone, 0)->handle != handle);
}

void TestDetachSyncsWhatWasAskedFor() {
  for (const bool synchronous : {false, true}) {
    for (const CommitLevel level : {CommitLevel::kSynced, CommitLevel::kMarked}) {
      Harness test;
      CommitLog* log = test.Open(CommitMode::kFlush, "segment");
      test.gate.CloseWrites(true);
      test.Append(log, 2, 100);
      test.gate.AwaitWrites(1);
      test.committer.Commit(log, level, 7);
      if (synchronous) {
        const LaterOpener opener(test.gate);
        test.committer.DetachSync(log);
      } else {
        test.committer.Detach(log, 8);
        test.gate.CloseWrites(false);
        CHECK_EQ(test.AwaitDone(8), 0.0);
      }
      CHECK_EQ(test.AwaitDone(7), 0.0);
      const SegmentState state = test.committer.State(log);
      CHECK_EQ(state.synced_offset, uint64_t{2});
      CHECK(!state.marked);
      // Without a segment and records there is nothing to do.
      CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMarked), 0.0);
      CHECK(test.committer.CommitSync(log, CommitLevel::kMarked) == CommitStatus::kDone);
    }
  }
}

void TestWritesGoOnBesideSync() {
  Harness test;
  SegmentState start;
  CommitLog* log = test.Open(CommitMode::kFlush, "segment", &start);
  test.Append(log, 1, 100);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
  test.gate.CloseSyncs(true);
  test.committer.Commit(log, CommitLevel::kSynced, 7);
  test.gate.AwaitSyncs(1);
  test.Append(log, 1, 100);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
  CHECK_EQ(test.committer.State(log).next_offset, uint64_t{2});
  test.gate.CloseSyncs(false);
  CHECK_EQ(test.AwaitDone(7), 0.0);
  // Only what was written before the sync began.
  CHECK_EQ(test.committer.State(log).synced_offset, uint64_t{1});
  CHECK_EQ(test.LastRow(kEventCommitted).columns[3], 1.0);
}

void TestSyncFailsBesideWrite() {
  Harness test;
  CommitLog* log = test.Open(CommitMode::kFlush, "segment");
  test.Append(log, 1, 100);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
  const uint64_t position = test.committer.State(log).position;
  test.gate.CloseSyncs(true);
  test.committer.Commit(log, CommitLevel::kSynced, 7);
  test.gate.AwaitSyncs(1);
  test.gate.CloseWrites(true);
  test.Append(log, 1, 100);
  test.gate.AwaitWrites(1);
  test.Append(log, 1, 100);
  test.gate.FailSyncs(EIO);
  test.gate.CloseSyncs(false);
  CHECK_EQ(test.AwaitDone(7), 2.0);
  test.gate.CloseWrites(false);
  test.committer.DetachSync(log);
  CHECK_EQ(test.LastRow(kEventFailed).columns[3], 2.0);
  CHECK_EQ(test.committer.State(log).position, position);
  CHECK_EQ(test.LastRow(kEventCommitted).columns[2], 1.0);
  CHECK(test.committer.DestroyLog(log));
}

void TestSlowLogsDoNotHoldUpOthers() {
  Harness test;
  // As many durable logs hang as there are sync threads.
  test.gate.CloseSyncs(true);
  for (const char* name : {"a", "b", "c"}) test.Append(test.Open(CommitMode::kFsync, name), 1, 100);
  test.gate.AwaitSyncs(3);
  CommitLog* log = test.Open(CommitMode::kFlush, "d");
  test.Append(log, 1, 100);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
  test.gate.CloseSyncs(false);
}

void TestDestroyedBesideSync() {
  Harness test;
  CommitLog* log = test.Open(CommitMode::kFlush, "segment");
  test.Append(log, 1, 100);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
  test.gate.CloseSyncs(true);
  test.committer.Commit(log, CommitLevel::kSynced, 7);
  test.gate.AwaitSyncs(1);
  CHECK(test.committer.DestroyLog(log));
  CHECK_EQ(test.AwaitDone(7), 2.0);
  test.gate.CloseSyncs(false);
}

void TestStopWritesWhatIsQueued() {
  auto test = std::make_unique<Harness>();
  SegmentState durable_start;
  SegmentState held_start;
  CommitLog* durable = test->Open(CommitMode::kFsync, "durable", &durable_start);
  CommitLog* held = test->Open(CommitMode::kNone, "held", &held_start, 1 << 20);
  CommitLog* detached = test->committer.CreateLog(CommitMode::kFlush, 0);
  test->gate.CloseWrites(true);
  test->Append(durable, 1, 100);
  test->gate.AwaitWrites(1);
  test->Append(durable, 5, 100);
  test->Append(held, 5, 100);
  test->Append(detached, 1, 100);
  {
    const LaterOpener opener(test->gate);
    CHECK(test->committer.Stop(5000));
  }
  CHECK_EQ(WalkSegment(durable_start, test->committer.State(durable).position).state().next_offset, uint64_t{6});
  CHECK_EQ(WalkSegment(held_start, test->committer.State(held).position).state().next_offset, uint64_t{5});
  CHECK_EQ(test->faults.Count(IoKind::kDatasync), uint64_t{1});
  // Without threads the calling thread still commits.
  test->Append(durable, 1, 100);
  CHECK(test->committer.CommitSync(durable, CommitLevel::kMarked) == CommitStatus::kDone);
  CHECK_EQ(test->committer.State(durable).synced_offset, uint64_t{7});
  test->committer.Commit(durable, CommitLevel::kSynced, 9);
  test->committer.DetachSync(durable);
  CHECK(test->committer.DestroyLog(durable));
}

void TestStopLeavesHangingThreads() {
  // They use it for ever: it is never freed. A sanitizer still finds it here.
  static Harness* test = new Harness;
  CommitLog* hanging = test->Open(CommitMode::kFsync, "hanging");
  SegmentState start;
  CommitLog* other = test->Open(CommitMode::kFsync, "other", &start, 1 << 20);
  test->gate.CloseSyncs(true);
  test->Append(hanging, 1, 100);
  test->gate.AwaitSyncs(1);
  test->Append(hanging, 1, 100);
  test->Append(other, 3, 100);
  const int64_t before = MonotonicMs();
  CHECK(!test->committer.Stop(200));
  CHECK(MonotonicMs() - before < 4000);
  CHECK_EQ(WalkSegment(start, test->committer.State(other).position).state().next_offset, uint64_t{3});
  test->gate.CloseSyncs(false);
  usleep(50000);
  test->directory.Remove();
}

// Many logs, everything at once, rolls included; then every segment reads back without a gap.
void TestStress() {
  struct StressedLog {
    CommitLog* log = nullptr;
    uint64_t appended = 0;
    std::vector<SegmentState> starts;
    std::vector<SegmentState> ends;
  };
  constexpr size_t kLogs = 6;
  auto test = std::make_unique<Harness>();
  StressedLog logs[kLogs];
  int files = 0;
  const auto attach = [&](StressedLog& stressed, uint64_t next_offset) {
    const SegmentState state =
        FreshSegment(test->directory.OpenFile("s" + std::to_string(files++)), next_offset, 64 * 1024);
    stressed.starts.push_back(state);
    CHECK(test->committer.Attach(stressed.log, state));
  };
  const auto roll = [&](StressedLog& stressed) {
    test->committer.DetachSync(stressed.log);
    stressed.ends.push_back(test->committer.State(stressed.log));
    attach(stressed, stressed.ends.back().next_offset);
  };
  for (size_t i = 0; i < kLogs; i++) {
    logs[i].log = test->committer.CreateLog(static_cast<CommitMode>(i % 3), i % 2 == 0 ? 0 : 4096);
    attach(logs[i], 0);
  }
  size_t seen = 0;
  srand(7);
  for (int step = 0; step < 3000; step++) {
    StressedLog& stressed = logs[static_cast<size_t>(rand()) % kLogs];
    const int choice = rand() % 100;
    if (choice < 70) {
      const size_t count = 1 + static_cast<size_t>(rand()) % 5;
      test->Append(stressed.log, count, static_cast<size_t>(rand()) % 900, 1000, rand() % 2 == 0);
      stressed.appended += count;
    } else if (choice < 85) {
      test->committer.Commit(stressed.log, static_cast<CommitLevel>(rand() % 4), ++test->last_ticket);
    } else if (choice < 95) {
      const auto level = static_cast<CommitLevel>(rand() % 4);
      while (test->committer.CommitSync(stressed.log, level) == CommitStatus::kNeedSegment) roll(stressed);
    } else {
      test->committer.State(stressed.log);
    }
    for (; seen < test->Rows().size(); seen++) {
      const EventRow row = test->rows[seen];
      if (row.columns[0] != kEventNeedSegment) continue;
      for (StressedLog& needy : logs) {
        if (needy.log->handle == row.columns[1] && test->committer.State(needy.log).records > 0) roll(needy);
      }
    }
  }
  for (StressedLog& stressed : logs) {
    while (test->committer.CommitSync(stressed.log, CommitLevel::kMarked) == CommitStatus::kNeedSegment) roll(stressed);
    stressed.ends.push_back(test->committer.State(stressed.log));
    CHECK_EQ(stressed.ends.back().next_offset, stressed.appended);
    uint64_t expected = 0;
    for (size_t i = 0; i < stressed.ends.size(); i++) {
      CHECK_EQ(stressed.starts[i].next_offset, expected);
      const Walked walked = WalkSegment(stressed.starts[i], stressed.ends[i].position);
      CHECK_EQ(walked.stop(), static_cast<double>(kStopEnd));
      expected = walked.state().next_offset;
    }
    CHECK_EQ(expected, stressed.appended);
  }
  // Every ticket came back once.
  std::vector<int> done(static_cast<size_t>(test->last_ticket) + 1);
  for (const EventRow& row : test->Rows()) {
    if (row.columns[0] == kEventDone) done[static_cast<size_t>(row.columns[1])]++;
  }
  for (size_t ticket = 1001; ticket < done.size(); ticket++) CHECK_EQ(done[ticket], 1);
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  TestCommitSyncBesideGroup();
  TestDetachWaits();
  TestDetachSyncsWhatWasAskedFor();
  TestWritesGoOnBesideSync();
  TestSyncFailsBesideWrite();
  TestSlowLogsDoNotHoldUpOthers();
  TestDestroyedBesideSync();
  TestStopWritesWhatIsQueued();
  TestStopLeavesHangingThreads();
  TestStress();
  return Finish();
}
