#include "../core/walk.h"

#include "check.h"
#include "memory_io.h"
#include "segment_builder.h"

using namespace sealog;
using namespace sealog::test;

namespace {

struct Walk {
  std::vector<double> numbers;
  std::vector<double> entries;
  int status = 0;

  explicit Walk(const SegmentBuilder& segment, size_t entry_room = 64) : numbers(segment.State()) {
    entries.resize(entry_room * kEntryWidth);
  }
  void Run(MemoryIo& io, size_t work_bytes = kMinWorkBytes) {
    std::vector<uint8_t> work(work_bytes);
    status =
        WalkGroups(io, 3, io.bytes.size(), work.data(), work.size(), numbers.data(), entries.data(), entries.size());
  }
  int stop() const { return static_cast<int>(numbers[kWalkStop]); }
};

void FollowsGroups() {
  SegmentBuilder segment = SmallSegment();
  for (const size_t work : {size_t{128}, size_t{136}, size_t{200}, kMinWorkBytes}) {
    MemoryIo io(segment.bytes);
    Walk walk(segment);
    walk.Run(io, work);
    const auto& n = walk.numbers;
    CHECK_EQ(walk.status, 0);
    CHECK_EQ(walk.stop(), kStopEnd);
    CHECK_EQ(n[kWalkStopPosition], static_cast<double>(segment.bytes.size()));
    CHECK_EQ(n[kStatePosition], static_cast<double>(segment.bytes.size()));
    CHECK_EQ(n[kStateNextOffset], 108.0);
    CHECK_EQ(n[kStateChain], static_cast<double>(segment.chain));
    CHECK_EQ(n[kStateRecords], 8.0);
    CHECK_EQ(n[kStateRunningTime], 3000.0);
    CHECK_EQ(n[kStateMinTime], 900.0);
    CHECK_EQ(n[kStateMaxTime], 3000.0);
    CHECK_EQ(n[kStateMarked], 0.0);
    CHECK_EQ(n[kWalkGroups], 3.0);
    CHECK_EQ(n[kWalkMarks], 1.0);
    CHECK_EQ(n[kWalkLastSynced], 106.0);
    CHECK_EQ(n[kWalkMaxSynced], 106.0);
    CHECK_EQ(n[kWalkLastEpoch], 1.0);
    CHECK_EQ(n[kWalkLastCommit], static_cast<double>(segment.bytes.size() - 56));
    CHECK_EQ(n[kWalkEntries], 1.0);
    CHECK_EQ(walk.entries[0], 100.0);
    CHECK_EQ(walk.entries[1], 128.0);
    CHECK_EQ(walk.entries[2], 100.0);
    CHECK_EQ(walk.entries[3], -1.0);
  }
}

void CountsChunksAndEntries() {
  SegmentBuilder segment;
  for (int i = 0; i < 20; i++) {
    segment.Record(
        std::string(100, 'v'),
        {.continues = i % 4 != 3, .has_key = true, .key = "key", .timestamp = static_cast<uint64_t>(50 - i)});
    if (i % 8 == 7) segment.Commit();
  }
  segment.Commit();
  MemoryIo io(segment.bytes);
  Walk walk(segment);
  walk.numbers[kStateChunkBytes] = 500;
  walk.numbers[kStateIndexInterval] = 300;
  walk.Run(io);
  // Batches of 400 bytes: the second of each pair closes a chunk.
  CHECK_EQ(walk.numbers[kStateChunks], 2.0);
  CHECK_EQ(walk.numbers[kStateChunkPayload], 400.0);
  CHECK_EQ(walk.numbers[kStateChunkRecords], 4.0);
  size_t expected = 0;
  double last = -1;
  for (const BuiltRecord& record : segment.records) {
    const auto position = static_cast<double>(record.position);
    if (last >= 0 && position - last < 300) continue;
    last = position;
    const double* entry = walk.entries.data() + expected++ * kEntryWidth;
    CHECK_EQ(entry[0], static_cast<double>(record.offset));
    CHECK_EQ(entry[1], position);
    CHECK_EQ(entry[2], static_cast<double>(record.batch_first));
    CHECK_EQ(entry[3], record.offset == 0 ? -1.0 : 50.0);
  }
  CHECK_EQ(walk.numbers[kWalkEntries], static_cast<double>(expected));
  CHECK_EQ(walk.numbers[kStateLastIndexed], last);
}

// A table of entries that fills up stops the walk at the last group; the next call goes on from there.
void GoesOnAfterAFullTable() {
  SegmentBuilder segment;
  for (int i = 0; i < 30; i++) {
    segment.Record(std::string(100, 'v'));
    if (i % 3 == 2) segment.Commit();
  }
  MemoryIo io(segment.bytes);
  Walk walk(segment, 7);
  walk.numbers[kStateIndexInterval] = 1;
  double seen = 0;
  for (int calls = 0; calls < 100; calls++) {
    walk.Run(io);
    CHECK_EQ(walk.status, 0);
    for (size_t i = 0; i < static_cast<size_t>(walk.numbers[kWalkEntries]); i++) {
      CHECK_EQ(walk.entries[i * kEntryWidth], seen);
      seen++;
    }
    if (walk.stop() != kStopTableFull) break;
    CHECK_EQ(walk.numbers[kWalkEntries], 6.0);
  }
  CHECK_EQ(walk.stop(), kStopEnd);
  CHECK_EQ(seen, 30.0);
}

void RecordsLargerThanTheBuffer() {
  SegmentBuilder segment;
  segment.Record("small");
  segment.Record(std::string(200003, 'L'), {.has_key = true, .key = "large"});
  segment.Record("behind it");
  segment.Commit();
  MemoryIo io(segment.bytes);
  io.longest_read = 1000;
  Walk walk(segment);
  walk.numbers[kStateChunkBytes] = 1 << 30;
  walk.Run(io);
  CHECK_EQ(walk.stop(), kStopEnd);
  CHECK_EQ(walk.numbers[kStateRecords], 3.0);
  CHECK_EQ(walk.numbers[kStateChunkPayload], 5.0 + 200003 + 9);
  for (const uint64_t at : {uint64_t{10}, uint64_t{24}, uint64_t{100000}, uint64_t{200033}, uint64_t{200034}}) {
    MemoryIo damaged(segment.bytes);
    damaged.bytes[segment.records[1].position + at] ^= 4;
    Walk again(segment);
    again.Run(damaged);
    CHECK_EQ(again.stop(), at == 200034 ? kStopFraming : kStopChecksum);
    CHECK_EQ(again.numbers[kWalkStopPosition], static_cast<double>(segment.records[1].position));
    CHECK_EQ(again.numbers[kStatePosition], 128.0);
    CHECK_EQ(again.numbers[kWalkEntries], 0.0);
  }
}

int StopOf(const SegmentBuilder& segment, double committed_position) {
  MemoryIo io(segment.bytes);
  Walk walk(segment);
  walk.Run(io);
  CHECK_EQ(walk.status, 0);
  CHECK_EQ(walk.numbers[kStatePosition], committed_position);
  return walk.stop();
}

// A commit frame whose CRC is good but which does not belong to the group in front of it.
void ForeignCommitFrames() {
  SegmentBuilder base;
  base.Record("committed");
  base.Commit();
  const auto committed = static_cast<double>(base.bytes.size());
  const uint64_t start = base.bytes.size();
  base.Record("open");
  SegmentBuilder good = base;
  good.Commit();
  CHECK_EQ(StopOf(good, static_cast<double>(good.bytes.size())), kStopEnd);
  const struct {
    uint64_t group_start;
    uint64_t synced;
    uint32_t count;
    uint32_t epoch;
    uint32_t prev_chain;
    uint32_t chain;
  } wrong[] = {
      {start - 8, 1, 1, 1, base.chain, good.chain}, {start + 8, 1, 1, 1, base.chain, good.chain},
      {start, 3, 1, 1, base.chain, good.chain},     {start, 1, 2, 1, base.chain, good.chain},
      {start, 1, 0, 1, base.chain, base.chain},     {start, 1, 1, 0, base.chain, good.chain},
      {start, 1, 1, 1, base.chain ^ 1, good.chain}, {start, 1, 1, 1, base.chain, good.chain ^ 1},
  };
  for (const auto& w : wrong) {
    SegmentBuilder segment = base;
    segment.CommitFrame(w.group_start, w.synced, w.count, w.epoch, w.prev_chain, w.chain);
    CHECK_EQ(StopOf(segment, committed), kStopOrder);
  }
  SegmentBuilder later_epoch = base;
  later_epoch.epoch = 5;
  later_epoch.Commit();
  MemoryIo io(later_epoch.bytes);
  Walk walk(later_epoch);
  walk.Run(io);
  CHECK_EQ(walk.stop(), kStopEnd);
  CHECK_EQ(walk.numbers[kStateEpoch], 5.0);
}

void Ends() {
  SegmentBuilder segment = SmallSegment();
  const auto committed = static_cast<double>(segment.bytes.size());
  SegmentBuilder zeros = segment;
  zeros.Zeros(4096);
  CHECK_EQ(StopOf(zeros, committed), kStopZero);
  SegmentBuilder footer = segment;
  footer.Footer();
  CHECK_EQ(StopOf(footer, committed), kStopFooter);
  SegmentBuilder open = segment;
  open.Record("never committed");
  CHECK_EQ(StopOf(open, committed), kStopEnd);
  SegmentBuilder open_footer = open;
  open_footer.Footer();
  CHECK_EQ(StopOf(open_footer, committed), kStopOrder);
  SegmentBuilder mark = segment;
  mark.Commit();
  MemoryIo io(mark.bytes);
  Walk walk(mark);
  walk.Run(io);
  CHECK_EQ(walk.numbers[kStateMarked], 1.0);
  SegmentBuilder newer = segment;
  newer.Frame(kFrameRecord, 0x41, 108, 0, "future");
  MemoryIo newer_io(newer.bytes);
  Walk newer_walk(newer);
  newer_walk.Run(newer_io);
  CHECK_EQ(newer_walk.stop(), kStopNewer);
  CHECK_EQ(newer_walk.numbers[kWalkNewer], static_cast<double>(1 | 0x41 << 8));
  // A zeroed page in the middle of history looks like the end; that more follows is for FILE_ZEROS to tell.
  SegmentBuilder hole = segment;
  std::fill(hole.bytes.begin() + static_cast<long>(hole.commits[0].first),
            hole.bytes.begin() + static_cast<long>(hole.commits[1].first), 0);
  CHECK_EQ(StopOf(hole, static_cast<double>(hole.commits[0].first)), kStopZero);
}

void Sparse() {
  SegmentBuilder segment(10);
  segment.Record("10");
  segment.next_offset = 17;
  segment.Record("17", {.batch_index = 3});
  segment.next_offset = 20;
  segment.Commit();
  segment.next_offset = 30;
  segment.Footer();
  MemoryIo io(segment.bytes);
  Walk walk(segment);
  walk.numbers[kStateSparse] = 1;
  walk.numbers[kStateIndexInterval] = 1;
  walk.Run(io);
  CHECK_EQ(walk.stop(), kStopFooter);
  CHECK_EQ(walk.numbers[kStateNextOffset], 20.0);
  CHECK_EQ(walk.entries[kEntryWidth + 2], 14.0);
  walk.numbers = segment.State();  // a dense segment knows no index in a batch
  walk.Run(io);
  CHECK_EQ(walk.stop(), kStopNewer);
}

void ReadErrorsAreReported() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo good(segment.bytes);
  Walk all(segment);
  all.Run(good, 128);
  CHECK(good.reads > 3);
  for (long failing = 1; failing <= good.reads; failing++) {
    MemoryIo io(segment.bytes);
    io.failing_read = failing;
    Walk walk(segment);
    walk.Run(io, 128);
    CHECK_EQ(walk.status, -EIO);
  }
}

}  // namespace

int main() {
  FollowsGroups();
  CountsChunksAndEntries();
  GoesOnAfterAFullTable();
  RecordsLargerThanTheBuffer();
  ForeignCommitFrames();
  Ends();
  Sparse();
  ReadErrorsAreReported();
  return Finish();
}
