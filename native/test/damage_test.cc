// Every truncation and every flipped bit of a small segment, through everything that reads: never a record that was not
// written, never a byte beyond the end (that is for the sanitizers to see), and the right place named.
#include "../core/find_group.h"
#include "../core/read_record.h"
#include "../core/scan.h"
#include "../core/walk.h"
#include "check.h"
#include "memory_io.h"
#include "segment_builder.h"

using namespace sealog;
using namespace sealog::test;

namespace {

// `intact`: bytes of the file up to here are as they were written.
void WalkIt(const SegmentBuilder& segment, MemoryIo& io, uint64_t intact) {
  for (const size_t room : {size_t{128}, kMinWorkBytes}) {
    std::vector<double> numbers = segment.State();
    std::vector<double> entries(64 * kEntryWidth);
    std::vector<uint8_t> work(room);
    numbers[kStateIndexInterval] = 1;
    CHECK_EQ(
        WalkGroups(io, 3, io.bytes.size(), work.data(), work.size(), numbers.data(), entries.data(), entries.size()),
        0);
    uint64_t position = kSegmentHeaderBytes;
    uint64_t next_offset = static_cast<uint64_t>(segment.State()[kStateNextOffset]);
    for (const auto& [commit_end, offset] : segment.commits) {
      if (commit_end > intact) break;
      position = commit_end;
      next_offset = offset;
    }
    CHECK_EQ(numbers[kStatePosition], static_cast<double>(position));
    CHECK_EQ(numbers[kStateNextOffset], static_cast<double>(next_offset));
    // With an interval of one byte every committed record is an entry.
    size_t committed = 0;
    while (committed < segment.records.size() && segment.records[committed].committed_end <= position) committed++;
    CHECK_EQ(numbers[kWalkEntries], static_cast<double>(committed));
    for (size_t i = 0; i < committed; i++) {
      CHECK_EQ(entries[i * kEntryWidth], static_cast<double>(segment.records[i].offset));
      CHECK_EQ(entries[i * kEntryWidth + 1], static_cast<double>(segment.records[i].position));
      CHECK_EQ(entries[i * kEntryWidth + 2], static_cast<double>(segment.records[i].batch_first));
    }
    const auto stop_position = static_cast<uint64_t>(numbers[kWalkStopPosition]);
    CHECK(stop_position >= position && stop_position <= io.bytes.size());
    const bool ended = numbers[kWalkStop] == kStopEnd || numbers[kWalkStop] == kStopZero;
    if (intact < io.bytes.size()) CHECK(!ended);
  }
}

void ScanIt(const SegmentBuilder& segment, MemoryIo& io, uint64_t end, uint64_t intact) {
  std::vector<double> numbers(kScanLength, 0);
  numbers[kScanSeed] = segment.seed;
  numbers[kScanOffset] = static_cast<double>(segment.records[0].offset);
  numbers[kScanBatchFirst] = -1;
  numbers[kScanMaxRecord] = 1 << 24;
  std::vector<uint8_t> bytes(end - kSegmentHeaderBytes);
  std::vector<uint32_t> table(64 * kScanColumns);
  CHECK_EQ(ScanFrames(io, 3, kSegmentHeaderBytes, end, bytes.data(), bytes.size(), numbers.data(), table.data(),
                      table.size()),
           0);
  size_t whole = 0;
  while (whole < segment.records.size() &&
         segment.records[whole].position + segment.records[whole].frame_bytes <= intact)
    whole++;
  CHECK_EQ(numbers[kScanCount], static_cast<double>(whole));
  for (size_t i = 0; i < whole; i++) {
    const uint32_t* row = table.data() + i * kScanColumns;
    CHECK(std::string(reinterpret_cast<const char*>(bytes.data()) + row[1], row[2]) == segment.records[i].value);
    CHECK_EQ(row[3], segment.records[i].offset - segment.records[i].batch_first);
  }
}

void ReadThem(const SegmentBuilder& segment, MemoryIo& io, uint64_t end) {
  for (const size_t entry_at : {size_t{0}, size_t{3}, size_t{6}}) {
    const BuiltRecord& entry = segment.records[entry_at];
    for (size_t i = entry_at; i < segment.records.size(); i++) {
      const BuiltRecord& record = segment.records[i];
      std::vector<double> out(kOutLength);
      std::vector<uint8_t> bytes(end);
      const int status =
          ReadRecord(io, 3, segment.seed, entry.position, end, entry.offset, static_cast<double>(entry.batch_first),
                     record.offset, false, bytes.data(), bytes.size(), out.data());
      CHECK(status >= 0);
      if (status != kReadOk) continue;
      CHECK_EQ(out[kOutFramePosition], static_cast<double>(record.position));
      CHECK_EQ(out[kOutBatchFirst], static_cast<double>(record.batch_first));
      CHECK_EQ(out[kOutTimestamp], static_cast<double>(record.timestamp));
      CHECK_EQ(out[kOutKeyLength] >= 0, record.has_key);
      CHECK(std::string(reinterpret_cast<const char*>(bytes.data()) + static_cast<size_t>(out[kOutValueStart]),
                        static_cast<size_t>(out[kOutValueLength])) == record.value);
    }
  }
}

void FindThem(const SegmentBuilder& segment, MemoryIo& io, uint64_t end) {
  for (uint64_t from = kSegmentHeaderBytes; from < end; from += 40) {
    std::vector<double> numbers(kFindLength, 0);
    numbers[kFindSeed] = segment.seed;
    numbers[kFindMaxRecord] = 1 << 24;
    const int status = FindGroup(io, 3, from, end, numbers.data());
    CHECK(status == 0 || status == 1);
    if (status != 1) continue;
    const auto commit_end = static_cast<uint64_t>(numbers[kFindCommitPosition]) + kCommitFrameBytes;
    const auto group_start = static_cast<uint64_t>(numbers[kFindGroupStart]);
    bool known = false;
    for (const auto& [known_end, offset] : segment.commits) known |= known_end == commit_end;
    CHECK(known);
    // What is reported as good is as it was written.
    CHECK(std::equal(io.bytes.begin() + static_cast<long>(group_start),
                     io.bytes.begin() + static_cast<long>(commit_end),
                     segment.bytes.begin() + static_cast<long>(group_start)));
  }
}

void EveryTruncation(const SegmentBuilder& segment) {
  for (uint64_t size = kSegmentHeaderBytes; size <= segment.bytes.size(); size++) {
    MemoryIo io(segment.bytes);
    io.bytes.resize(size);
    io.bytes.shrink_to_fit();
    WalkIt(segment, io, size);
    ScanIt(segment, io, segment.bytes.size(), size);
    ReadThem(segment, io, segment.bytes.size());
    FindThem(segment, io, size);
  }
}

void EveryFlippedBit(const SegmentBuilder& segment) {
  MemoryIo io(segment.bytes);
  for (uint64_t at = kSegmentHeaderBytes; at < segment.bytes.size(); at++) {
    for (int bit = 0; bit < 8; bit++) {
      io.bytes[at] ^= static_cast<uint8_t>(1 << bit);
      WalkIt(segment, io, at);
      ScanIt(segment, io, segment.bytes.size(), at);
      ReadThem(segment, io, segment.bytes.size());
      if (static_cast<uint64_t>(bit) == at % 8) FindThem(segment, io, segment.bytes.size());
      io.bytes[at] = segment.bytes[at];
    }
  }
}

void EveryZeroedStretch(const SegmentBuilder& segment) {
  for (const uint64_t length : {uint64_t{8}, uint64_t{24}, uint64_t{64}, uint64_t{512}}) {
    for (uint64_t at = kSegmentHeaderBytes; at < segment.bytes.size(); at += 8) {
      MemoryIo io(segment.bytes);
      uint64_t intact = io.bytes.size();
      for (uint64_t i = at; i < std::min(at + length, segment.bytes.size()); i++) {
        if (io.bytes[i] != 0 && intact == io.bytes.size()) intact = i;
        io.bytes[i] = 0;
      }
      ScanIt(segment, io, segment.bytes.size(), intact);
      ReadThem(segment, io, segment.bytes.size());
      FindThem(segment, io, segment.bytes.size());
    }
  }
}

}  // namespace

int main() {
  const SegmentBuilder segment = SmallSegment();
  EveryTruncation(segment);
  EveryFlippedBit(segment);
  EveryZeroedStretch(segment);
  return Finish();
}
