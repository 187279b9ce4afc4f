// Runs compactions over segments in memory, and says in the simplest way what has to come of them.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "../core/compact.h"
#include "../core/seam.h"
#include "../core/walk.h"
#include "check.h"
#include "memory_io.h"
#include "segment_builder.h"

namespace sealog::test {

inline constexpr int kSource = 3;
inline constexpr int kOut = 4;
inline constexpr uint64_t kMaxRecord = 1 << 24;
inline constexpr uint32_t kOutEpoch = 9;
inline constexpr uint64_t kGroupBytes = 1024 * 1024;

using Content = std::map<std::string, double>;

inline KeyView View(const std::string& key) { return {reinterpret_cast<const uint8_t*>(key.data()), key.size()}; }

inline IndexVersions MakeVersions(const std::vector<Content>& contents) {
  IndexVersions versions;
  for (const Content& content : contents) {
    versions.push_back(std::make_unique<OrderedIndex>());
    for (const auto& [key, offset] : content) versions.back()->Put(View(key), offset);
  }
  return versions;
}

struct Query {
  std::vector<Content> contents;
  double tombstones_before = -1;
  uint64_t slice_bytes = 0;
  bool sparse = false;
  double offset = -1;
  int out = kOut;
  // 0: the end of the file.
  uint64_t end = 0;
};

// The header of the file that is written: nothing but its CRC matters.
inline SegmentBuilder OutHeader() { return SegmentBuilder(0, 77); }

inline std::vector<double> FirstNumbers(uint32_t seed, const Query& query) {
  std::vector<double> numbers(kCompactLength, 0);
  numbers[kCompactSeed] = seed;
  numbers[kCompactMaxRecord] = static_cast<double>(kMaxRecord);
  numbers[kCompactSparse] = query.sparse ? 1 : 0;
  numbers[kCompactOffset] = query.offset;
  numbers[kCompactSliceBytes] = static_cast<double>(query.slice_bytes);
  numbers[kCompactTombstonesBefore] = query.tombstones_before;
  numbers[kCompactOutFd] = query.out;
  numbers[kCompactOutSeed] = OutHeader().seed;
  numbers[kCompactOutEpoch] = kOutEpoch;
  numbers[kCompactOutPosition] = static_cast<double>(kSegmentHeaderBytes);
  numbers[kCompactRunningTime] = -1;
  numbers[kCompactFirstOffset] = -1;
  numbers[kCompactLastOffset] = -1;
  numbers[kCompactMinTime] = HUGE_VAL;
  numbers[kCompactMaxTime] = -1;
  return numbers;
}

struct Result {
  int status = 0;
  std::vector<double> numbers;
  std::vector<uint8_t> bytes;
  int slices = 0;
};

inline int StopOf(const Result& result) { return static_cast<int>(result.numbers[kCompactStop]); }

// Slice after slice, with the same numbers.
inline Result Run(Io& io, MemoryIo& memory, uint32_t seed, const Query& query, const CompactBuffers& buffers,
                  const std::atomic<bool>* canceled = nullptr) {
  memory.written[kOut] = OutHeader().bytes;
  const IndexVersions versions = MakeVersions(query.contents);
  Result result;
  result.numbers = FirstNumbers(seed, query);
  const uint64_t end = query.end == 0 ? memory.bytes.size() : query.end;
  uint64_t position = kSegmentHeaderBytes;
  do {
    result.numbers[kCompactStop] = NAN;
    result.status = CompactFrames(io, kSource, position, end, result.numbers.data(), versions, canceled, buffers);
    position = static_cast<uint64_t>(result.numbers[kCompactNextPosition]);
    result.slices++;
  } while (result.status == 0 && StopOf(result) == kStopFull);
  result.bytes = memory.written[kOut];
  return result;
}

inline bool IsBatched(const SegmentBuilder& segment, size_t i) {
  const auto flags = [&](size_t at) { return segment.bytes[segment.records[at].position + kFrameFlagsAt]; };
  const bool continued = i > 0 && (flags(i - 1) & kFlagBatchContinues) != 0;
  return continued || (flags(i) & (kFlagBatchContinues | kFlagBatchIndex)) != 0;
}

inline bool EndsBatch(const SegmentBuilder& segment, size_t i) {
  return (segment.bytes[segment.records[i].position + kFrameFlagsAt] & kFlagBatchContinues) == 0;
}

inline uint8_t TypeOf(const SegmentBuilder& segment, const BuiltRecord& record) {
  return segment.bytes[record.position + kFrameTypeAt];
}

inline bool IsNeeded(const SegmentBuilder& segment, const BuiltRecord& record, const Query& query) {
  if (!record.has_key) return true;
  const auto holds = [&](const Content& content) {
    const auto found = content.find(record.key);
    return found != content.end() && found->second == static_cast<double>(record.offset);
  };
  if (std::any_of(query.contents.begin(), query.contents.end(), holds)) return true;
  if (TypeOf(segment, record) != kFrameTombstone) return false;
  const auto found = query.contents[0].find(record.key);
  if (found != query.contents[0].end()) return found->second < static_cast<double>(record.offset);
  return static_cast<double>(record.timestamp) >= query.tombstones_before;
}

struct Expected {
  std::vector<uint8_t> bytes;
  std::vector<double> offsets;
  std::vector<double> numbers;
};

// What it comes to in one slice, frame by frame.
inline Expected Expect(const SegmentBuilder& segment, const Query& query) {
  SegmentBuilder out = OutHeader();
  Expected expected;
  expected.numbers = FirstNumbers(segment.seed, query);
  double* numbers = expected.numbers.data();
  uint64_t running_time = 0;
  uint64_t group_start = out.bytes.size();
  std::vector<uint32_t> crcs;
  const auto commit = [&] {
    std::vector<uint32_t> chained{out.chain};
    chained.insert(chained.end(), crcs.begin(), crcs.end());
    const uint32_t chain = Crc32cExtend(0, chained.data(), 4 * chained.size());
    std::string body(kCommitBodyBytes, '\0');
    StoreU64(body.data(), group_start);
    StoreU32(body.data() + 16, static_cast<uint32_t>(crcs.size()));
    StoreU32(body.data() + 20, kOutEpoch);
    StoreU32(body.data() + 24, out.chain);
    StoreU32(body.data() + 28, chain);
    out.Frame(kFrameCommit, 0, out.next_offset, running_time, body);
    out.chain = chain;
    group_start = out.bytes.size();
    crcs.clear();
  };
  std::vector<size_t> batch;
  for (size_t i = 0; i < segment.records.size(); i++) {
    numbers[kCompactReadRecords]++;
    numbers[kCompactReadBytes] += static_cast<double>(segment.records[i].frame_bytes);
    if (IsNeeded(segment, segment.records[i], query)) batch.push_back(i);
    if (!EndsBatch(segment, i)) continue;
    for (const size_t member : batch) {
      const BuiltRecord& record = segment.records[member];
      const bool batched = IsBatched(segment, member);
      const uint64_t position = out.bytes.size();
      out.next_offset = record.offset;
      const auto index = static_cast<int64_t>(record.offset - record.batch_first);
      out.Record(record.value, {.type = TypeOf(segment, record),
                                .continues = member != batch.back(),
                                .has_key = record.has_key,
                                .key = record.key,
                                .batch_index = batched ? index : -1,
                                .timestamp = record.timestamp});
      crcs.push_back(LoadU32(out.bytes.data() + position));
      running_time = std::max(running_time, record.timestamp);
      const auto time = static_cast<double>(record.timestamp);
      expected.offsets.push_back(static_cast<double>(record.offset));
      numbers[kCompactKeptRecords]++;
      numbers[kCompactKeptBytes] += static_cast<double>(out.bytes.size() - position);
      numbers[kCompactKeptTombstones] += TypeOf(segment, record) == kFrameTombstone ? 1 : 0;
      numbers[kCompactMinTime] = std::min(numbers[kCompactMinTime], time);
      numbers[kCompactMaxTime] = std::max(numbers[kCompactMaxTime], time);
    }
    batch.clear();
    if (out.bytes.size() - group_start >= kGroupBytes) commit();
  }
  if (!crcs.empty()) commit();
  expected.bytes = out.bytes;
  if (!expected.offsets.empty()) {
    numbers[kCompactRunningTime] = static_cast<double>(running_time);
    numbers[kCompactFirstOffset] = expected.offsets.front();
    numbers[kCompactLastOffset] = expected.offsets.back();
  }
  numbers[kCompactOutPosition] = static_cast<double>(out.bytes.size());
  numbers[kCompactOutChain] = out.chain;
  return expected;
}

// Numbers that do not depend on slices.
inline constexpr size_t kSums[] = {
    kCompactRunningTime,    kCompactReadRecords, kCompactReadBytes,  kCompactKeptRecords, kCompactKeptBytes,
    kCompactKeptTombstones, kCompactFirstOffset, kCompactLastOffset, kCompactMinTime,     kCompactMaxTime};

inline void CheckResult(const Result& result, const Expected& expected) {
  CHECK_EQ(result.status, 0);
  CHECK_EQ(StopOf(result), kStopEnd);
  for (const size_t i : kSums) CHECK_EQ(result.numbers[i], expected.numbers[i]);
  if (result.slices > 1) return;
  CHECK(result.bytes == expected.bytes);
  CHECK_EQ(result.numbers[kCompactOutPosition], expected.numbers[kCompactOutPosition]);
  CHECK_EQ(result.numbers[kCompactOutChain], expected.numbers[kCompactOutChain]);
}

// The file written is a good sparse segment as far as it goes; the offsets in it.
inline std::vector<double> OffsetsIn(const std::vector<uint8_t>& bytes) {
  MemoryIo io(bytes);
  std::vector<double> state = OutHeader().State();
  state[kStateSparse] = 1;
  state[kStateIndexInterval] = 0;
  std::vector<uint8_t> work(kMinWorkBytes);
  std::vector<double> entries(kEntryWidth * (bytes.size() / kFrameHeaderBytes + 1));
  CHECK_EQ(
      WalkGroups(io, kSource, bytes.size(), work.data(), work.size(), state.data(), entries.data(), entries.size()), 0);
  CHECK_EQ(state[kWalkStop], static_cast<double>(kStopEnd));
  CHECK_EQ(state[kStatePosition], static_cast<double>(bytes.size()));
  CHECK_EQ(state[kWalkMarks], 0.0);
  std::vector<double> offsets;
  for (size_t i = 0; i < static_cast<size_t>(state[kWalkEntries]); i++) offsets.push_back(entries[kEntryWidth * i]);
  return offsets;
}

// The same records as the segment, as they are read from a compacted one.
inline SegmentBuilder Reread(const std::vector<uint8_t>& bytes) {
  SegmentBuilder segment = OutHeader();
  segment.bytes = bytes;
  uint64_t batch_first = 0;
  for (uint64_t at = kSegmentHeaderBytes; at < bytes.size();) {
    const uint8_t* frame = bytes.data() + at;
    const uint32_t length = LoadU32(frame + kFrameBodyLengthAt);
    const uint8_t flags = frame[kFrameFlagsAt];
    if (frame[kFrameTypeAt] != kFrameCommit) {
      const uint64_t offset = LoadU64(frame + kFrameOffsetAt);
      const uint8_t* body = frame + kFrameBodyAt;
      const uint8_t* end = body + length;
      batch_first = offset;
      if ((flags & kFlagBatchIndex) != 0) {
        batch_first = offset - LoadU32(body);
        body += 4;
      }
      std::string key;
      if ((flags & kFlagKey) != 0) {
        key.assign(reinterpret_cast<const char*>(body) + 2, LoadU16(body));
        body += 2 + key.size();
      }
      const std::string value(reinterpret_cast<const char*>(body), static_cast<size_t>(end - body));
      segment.records.push_back({offset, at, FrameBytes(length), batch_first, LoadU48(frame + kFrameTimestampAt), 0,
                                 (flags & kFlagKey) != 0, key, value});
    }
    at += FrameBytes(length);
  }
  return segment;
}

}  // namespace sealog::test
