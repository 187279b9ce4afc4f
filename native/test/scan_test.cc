#include "../core/scan.h"

#include "check.h"
#include "memory_io.h"
#include "segment_builder.h"

using namespace sealog;
using namespace sealog::test;

namespace {

struct Scan {
  std::vector<double> numbers = std::vector<double>(kScanLength, 0);
  std::vector<uint8_t> bytes = std::vector<uint8_t>(64 * 1024);
  std::vector<uint32_t> table = std::vector<uint32_t>(4096);
  int status = 0;

  explicit Scan(const SegmentBuilder& segment) {
    numbers[kScanSeed] = segment.seed;
    numbers[kScanOffset] = -1;
    numbers[kScanBatchFirst] = -1;
    numbers[kScanMaxRecord] = 1 << 24;
  }

  void Run(MemoryIo& io, uint64_t position, uint64_t end) {
    status = ScanFrames(io, 3, position, end, bytes.data(), bytes.size(), numbers.data(), table.data(), table.size());
  }
  int stop() const { return static_cast<int>(numbers[kScanStop]); }
  size_t count() const { return static_cast<size_t>(numbers[kScanCount]); }
  std::string Value(size_t i) const {
    return {reinterpret_cast<const char*>(bytes.data()) + table[4 * i + 1], table[4 * i + 2]};
  }
};

void ListsAllRecords() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo io(segment.bytes);
  for (const size_t longest : {SIZE_MAX, size_t{7}}) {
    io.longest_read = longest;
    Scan scan(segment);
    scan.Run(io, 128, segment.bytes.size());
    CHECK_EQ(scan.status, 0);
    CHECK_EQ(scan.stop(), kStopEnd);
    CHECK_EQ(scan.count(), segment.records.size());
    for (size_t i = 0; i < segment.records.size(); i++) {
      const BuiltRecord& record = segment.records[i];
      CHECK_EQ(scan.Value(i), record.value);
      CHECK_EQ(scan.table[4 * i], record.position - 128);
      CHECK_EQ(scan.table[4 * i + 3], record.offset - record.batch_first);
    }
    CHECK_EQ(scan.numbers[kScanNextOffset], static_cast<double>(segment.next_offset));
    CHECK_EQ(scan.numbers[kScanNextPosition], static_cast<double>(segment.bytes.size()));
    CHECK_EQ(scan.numbers[kScanNextBatchFirst], -1.0);
    CHECK_EQ(scan.numbers[kScanBatchEnd], static_cast<double>(segment.records.size()));
  }
}

// Whatever the size of the buffer, call after call the same records come.
void GoesOnWhereItStopped() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo io(segment.bytes);
  for (size_t room = 0; room < 400; room++) {
    Scan scan(segment);
    size_t seen = 0;
    uint64_t position = 128;
    scan.bytes.resize(room);
    while (position < segment.bytes.size()) {
      scan.Run(io, position, segment.bytes.size());
      CHECK_EQ(scan.status, 0);
      if (scan.stop() == kStopLarge) {
        CHECK_EQ(scan.count(), size_t{0});
        CHECK(scan.numbers[kScanNeeded] > static_cast<double>(scan.bytes.size()));
        scan.bytes.resize(static_cast<size_t>(scan.numbers[kScanNeeded]));
        continue;
      }
      CHECK_EQ(scan.stop(), kStopEnd);
      for (size_t i = 0; i < scan.count(); i++, seen++) {
        CHECK_EQ(scan.Value(i), segment.records[seen].value);
        CHECK_EQ(scan.table[4 * i + 3], segment.records[seen].offset - segment.records[seen].batch_first);
      }
      const auto next = static_cast<uint64_t>(scan.numbers[kScanNextPosition]);
      CHECK(next > position);
      position = next;
      scan.numbers[kScanOffset] = scan.numbers[kScanNextOffset];
      scan.numbers[kScanBatchFirst] = scan.numbers[kScanNextBatchFirst];
    }
    CHECK_EQ(seen, segment.records.size());
  }
}

void StopsAtAFullTable() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo io(segment.bytes);
  Scan scan(segment);
  scan.table.resize(4 * 4 + 3);
  scan.Run(io, 128, segment.bytes.size());
  CHECK_EQ(scan.stop(), kStopTableFull);
  CHECK_EQ(scan.count(), size_t{4});
  CHECK_EQ(scan.numbers[kScanNextPosition], static_cast<double>(segment.records[4].position));
  CHECK_EQ(scan.numbers[kScanNextBatchFirst], 102.0);
  // Records 102 and 103 belong to a batch that is not complete yet.
  CHECK_EQ(scan.numbers[kScanBatchEnd], 2.0);
}

void ListsFromAnOffset() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo io(segment.bytes);
  Scan scan(segment);
  scan.numbers[kScanFrom] = 103;
  scan.Run(io, 128, segment.bytes.size());
  CHECK_EQ(scan.count(), segment.records.size() - 3);
  CHECK_EQ(scan.Value(0), "of three rec");
  CHECK_EQ(scan.table[3], 1U);
}

int StopOf(SegmentBuilder& segment, uint64_t end) {
  MemoryIo io(segment.bytes);
  Scan scan(segment);
  scan.Run(io, 128, end);
  CHECK_EQ(scan.status, 0);
  return scan.stop();
}

int StopOf(SegmentBuilder& segment) { return StopOf(segment, segment.bytes.size()); }

void NamesTheReason() {
  {
    SegmentBuilder segment = SmallSegment();
    segment.Zeros(24);
    CHECK_EQ(StopOf(segment), kStopZero);
    CHECK_EQ(StopOf(segment, segment.bytes.size() - 1), kStopFraming);
    // The file is shorter than it should be.
    CHECK_EQ(StopOf(segment, segment.bytes.size() - 24), kStopEnd);
    segment.bytes.resize(segment.bytes.size() - 24);
    CHECK_EQ(StopOf(segment, segment.bytes.size() + 24), kStopFraming);
  }
  {
    SegmentBuilder segment = SmallSegment();
    segment.Footer();
    CHECK_EQ(StopOf(segment), kStopFooter);
  }
  {
    SegmentBuilder segment;
    segment.Frame(5, 0, 0, 0, "from the future");
    CHECK_EQ(StopOf(segment), kStopNewer);
    segment.bytes[128 + 30] ^= 1;
    CHECK_EQ(StopOf(segment), kStopChecksum);
  }
  for (const int flags : {kFlagBatchIndex + 0, 8, 16, 128}) {
    SegmentBuilder segment;
    segment.Frame(kFrameRecord, static_cast<uint8_t>(flags), 0, 0, "12345678");
    CHECK_EQ(StopOf(segment), kStopNewer);
  }
  {
    SegmentBuilder segment;
    segment.Frame(kFrameRecord, kFlagKey, 0, 0, std::string("\x05\x00k123", 6));
    CHECK_EQ(StopOf(segment), kStopFraming);
    SegmentBuilder shorter;
    shorter.Frame(kFrameRecord, kFlagKey, 0, 0, "1");
    CHECK_EQ(StopOf(shorter), kStopFraming);
    SegmentBuilder tombstone;
    tombstone.Frame(kFrameTombstone, 0, 0, 0, "12345678");
    CHECK_EQ(StopOf(tombstone), kStopFraming);
    SegmentBuilder commit;
    commit.Frame(kFrameCommit, 0, 0, 0, "12345678");
    CHECK_EQ(StopOf(commit), kStopFraming);
    SegmentBuilder footer;
    footer.Frame(kFrameFooter, 0, 0, 0, "12345678");
    CHECK_EQ(StopOf(footer), kStopFraming);
  }
  {
    SegmentBuilder segment = SmallSegment();
    segment.bytes[segment.records[0].position + 24 + 5] = 1;  // padding behind "first"
    CHECK_EQ(StopOf(segment), kStopFraming);
  }
  {
    SegmentBuilder segment = SmallSegment();
    StoreU64(segment.bytes.data() + segment.records[1].position + 8, 102);
    segment.Reseal(segment.records[1].position);
    CHECK_EQ(StopOf(segment), kStopOrder);
  }
  {
    SegmentBuilder segment;
    segment.Record("open", {.continues = true});
    segment.Commit();
    CHECK_EQ(StopOf(segment), kStopOrder);
    SegmentBuilder footer;
    footer.Record("open", {.continues = true});
    footer.Footer();
    CHECK_EQ(StopOf(footer), kStopOrder);
  }
  {
    SegmentBuilder segment(kOffsetLimit);
    segment.Record("the last there can be");
    segment.Commit();
    CHECK_EQ(StopOf(segment), kStopEnd);
    segment.Record("one too many");
    CHECK_EQ(StopOf(segment), kStopOrder);
  }
  {
    SegmentBuilder segment;
    segment.Record(std::string(100, 'x'));
    MemoryIo io(segment.bytes);
    Scan scan(segment);
    scan.numbers[kScanMaxRecord] = 99;
    scan.Run(io, 128, segment.bytes.size());
    CHECK_EQ(scan.stop(), kStopEnd);  // room for a key is allowed on top
    StoreU32(segment.bytes.data() + 132, 99 + 65541 + 1);
    io.bytes = segment.bytes;
    io.bytes.resize(100000);
    scan.Run(io, 128, io.bytes.size());
    CHECK_EQ(scan.stop(), kStopFraming);
  }
}

void FramesOfOtherSegmentsDoNotVerify() {
  SegmentBuilder other(0, 9);
  other.Record("one");
  SegmentBuilder segment;
  segment.bytes.insert(segment.bytes.end(), other.bytes.begin() + 128, other.bytes.end());
  CHECK_EQ(StopOf(segment), kStopChecksum);
}

void SparseSegments() {
  SegmentBuilder segment(10);
  segment.next_offset = 12;
  segment.Record("index 2 of a batch", {.batch_index = 2});
  segment.next_offset = 20;
  segment.Record("key and index", {.continues = true, .has_key = true, .key = "k", .batch_index = 1});
  segment.next_offset = 25;
  segment.Record("and the last", {.batch_index = 6});
  segment.Record("alone");
  segment.Commit();
  MemoryIo io(segment.bytes);
  Scan scan(segment);
  scan.numbers[kScanSparse] = 1;
  scan.numbers[kScanOffset] = 10;
  scan.Run(io, 128, segment.bytes.size());
  CHECK_EQ(scan.stop(), kStopEnd);
  CHECK_EQ(scan.count(), size_t{4});
  for (size_t i = 0; i < 4; i++) CHECK_EQ(scan.Value(i), segment.records[i].value);
  CHECK_EQ(scan.table[3], 2U);
  CHECK_EQ(scan.table[7], 1U);
  CHECK_EQ(scan.table[11], 6U);
  CHECK_EQ(scan.table[15], 0U);

  scan.numbers[kScanOffset] = 13;  // offsets never go back
  scan.Run(io, 128, segment.bytes.size());
  CHECK_EQ(scan.stop(), kStopOrder);
}

void ReadErrorsAreReported() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo io(segment.bytes);
  io.failing_read = 1;
  Scan scan(segment);
  scan.Run(io, 128, segment.bytes.size());
  CHECK_EQ(scan.status, -EIO);
}

}  // namespace

int main() {
  ListsAllRecords();
  GoesOnWhereItStopped();
  StopsAtAFullTable();
  ListsFromAnOffset();
  NamesTheReason();
  FramesOfOtherSegmentsDoNotVerify();
  SparseSegments();
  ReadErrorsAreReported();
  return Finish();
}
