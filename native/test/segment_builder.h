// Writes segments as docs/format.md says, independently of the code under test but for the CRC.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "../core/crc32c.h"
#include "../core/format.h"
#include "../core/seam.h"

namespace sealog::test {

struct BuiltRecord {
  uint64_t offset;
  uint64_t position;
  uint64_t frame_bytes;
  uint64_t batch_first;
  uint64_t timestamp;
  // Behind the commit frame of its group; 0 while there is none.
  uint64_t committed_end;
  bool has_key;
  std::string key;
  std::string value;
};

struct RecordOptions {
  uint8_t type = kFrameRecord;
  bool continues = false;
  bool has_key = false;
  std::string key = {};
  // In sparse segments; −1: none.
  int64_t batch_index = -1;
  uint64_t timestamp = 1000;
};

class SegmentBuilder {
 public:
  explicit SegmentBuilder(uint64_t base_offset = 0, uint8_t salt = 7) : next_offset(base_offset), base_(base_offset) {
    bytes.assign(kSegmentHeaderBytes, salt);
    memcpy(bytes.data(), "SEALOGS1", 8);
    seed = Crc32cExtend(0, bytes.data(), 124);
    StoreU32(bytes.data() + 124, seed);
    group_start_ = bytes.size();
  }

  std::vector<uint8_t> bytes;
  std::vector<BuiltRecord> records;
  // Positions behind the commit frames, and the offsets that follow them.
  std::vector<std::pair<uint64_t, uint64_t>> commits;
  uint32_t seed = 0;
  uint32_t chain = 0;
  uint32_t epoch = 1;
  uint64_t synced_offset = 0;
  uint64_t next_offset;

  void Record(const std::string& value, const RecordOptions& options = {}) {
    std::string body;
    uint8_t flags = 0;
    if (options.batch_index >= 0) {
      flags |= kFlagBatchIndex;
      const auto index = static_cast<uint32_t>(options.batch_index);
      body.append(reinterpret_cast<const char*>(&index), 4);
      batch_first_ = next_offset - index;
    } else if (!batch_open_) {
      batch_first_ = next_offset;
    }
    if (options.has_key) {
      flags |= kFlagKey;
      const auto length = static_cast<uint16_t>(options.key.size());
      body.append(reinterpret_cast<const char*>(&length), 2);
      body += options.key;
    }
    body += value;
    if (options.continues) flags |= kFlagBatchContinues;
    batch_open_ = options.continues;
    const uint64_t position = bytes.size();
    Frame(options.type, flags, next_offset, options.timestamp, body);
    crcs_.push_back(LoadU32(bytes.data() + position));
    records.push_back({next_offset, position, bytes.size() - position, batch_first_, options.timestamp, 0,
                       options.has_key, options.key, value});
    next_offset++;
  }

  // A commit frame for the records since the last one; a mark when there are none.
  void Commit() {
    const uint64_t position = bytes.size();
    const uint32_t prev_chain = chain;
    if (!crcs_.empty()) {
      std::string chained(reinterpret_cast<const char*>(&prev_chain), 4);
      for (const uint32_t crc : crcs_) chained.append(reinterpret_cast<const char*>(&crc), 4);
      chain = Crc32cExtend(0, chained.data(), chained.size());
    }
    CommitFrame(crcs_.empty() ? position : group_start_, synced_offset, static_cast<uint32_t>(crcs_.size()), epoch,
                prev_chain, chain);
    for (auto& record : records) {
      if (record.committed_end == 0) record.committed_end = bytes.size();
    }
    commits.emplace_back(bytes.size(), next_offset);
    crcs_.clear();
    group_start_ = bytes.size();
  }

  void CommitFrame(uint64_t group_start, uint64_t synced, uint32_t count, uint32_t with_epoch, uint32_t prev_chain,
                   uint32_t with_chain) {
    std::string body(kCommitBodyBytes, '\0');
    StoreU64(body.data(), group_start);
    StoreU64(body.data() + 8, synced);
    StoreU32(body.data() + 16, count);
    StoreU32(body.data() + 20, with_epoch);
    StoreU32(body.data() + 24, prev_chain);
    StoreU32(body.data() + 28, with_chain);
    Frame(kFrameCommit, 0, next_offset, 1000, body);
  }

  void Footer() { Frame(kFrameFooter, 0, next_offset, 2000, std::string(kFooterBodyBytes, '\1')); }

  void Zeros(size_t count) { bytes.resize(bytes.size() + count); }

  // Any frame, with a good CRC.
  void Frame(uint8_t type, uint8_t flags, uint64_t offset, uint64_t timestamp, const std::string& body) {
    const std::string frame = MakeFrame(seed, type, flags, offset, timestamp, body);
    bytes.insert(bytes.end(), frame.begin(), frame.end());
  }

  static std::string MakeFrame(uint32_t with_seed, uint8_t type, uint8_t flags, uint64_t offset, uint64_t timestamp,
                               const std::string& body) {
    std::string frame(FrameBytes(body.size()), '\0');
    auto* at = reinterpret_cast<uint8_t*>(frame.data());
    StoreU32(at + 4, static_cast<uint32_t>(body.size()));
    StoreU64(at + 8, offset);
    StoreU48(at + 16, timestamp);
    at[22] = type;
    at[23] = flags;
    memcpy(at + 24, body.data(), body.size());
    StoreU32(at, Crc32cExtend(with_seed, at + 4, 20 + body.size()));
    return frame;
  }

  // Gives the frame at `position` the CRC that its present bytes want.
  void Reseal(uint64_t position) {
    uint8_t* frame = bytes.data() + position;
    StoreU32(frame, Crc32cExtend(seed, frame + 4, 20 + LoadU32(frame + 4)));
  }

  // The state vector of a walk from the first frame.
  std::vector<double> State() const {
    std::vector<double> state(kWalkLength, 0);
    state[kStateSeed] = seed;
    state[kStatePosition] = static_cast<double>(kSegmentHeaderBytes);
    state[kStateNextOffset] = static_cast<double>(base_);
    state[kStateEpoch] = 1;
    state[kStateRunningTime] = -1;
    state[kStateMinTime] = std::numeric_limits<double>::infinity();
    state[kStateMaxTime] = -1;
    state[kStateLastIndexed] = -1;
    state[kStateIndexInterval] = 4096;
    state[kStateBaseOffset] = static_cast<double>(base_);
    state[kStateMaxRecordBytes] = 1 << 24;
    return state;
  }

 private:
  uint64_t base_;
  uint64_t group_start_ = 0;
  uint64_t batch_first_ = 0;
  bool batch_open_ = false;
  std::vector<uint32_t> crcs_;
};

// Three groups, a mark between them, batches, keys, a tombstone, lengths that need all kinds of padding.
inline SegmentBuilder SmallSegment() {
  SegmentBuilder segment(100);
  segment.Record("first");
  segment.Record("", {.timestamp = 1500});
  segment.Commit();
  segment.synced_offset = 102;
  segment.Record("a batch", {.continues = true, .has_key = true, .key = "k1"});
  segment.Record("of three rec", {.continues = true, .timestamp = 900});
  segment.Record("ords..", {.has_key = true});
  segment.Record("alone, 16 bytes.");
  segment.Commit();
  segment.synced_offset = 106;
  segment.Commit();
  segment.Record("", {.type = kFrameTombstone, .has_key = true, .key = "k1"});
  segment.Record("the last record of the segment", {.timestamp = 3000});
  segment.Commit();
  return segment;
}

}  // namespace sealog::test
