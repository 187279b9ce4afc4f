// The rules that make a frame valid, in the order in which they are asked; both implementations of the seam ask in this
// order, so that they name the same reason for the same damage:
//
// 1. fewer than 24 bytes left: framing          5. padding not zero: framing
// 2. 24 zero bytes: zero                        6. unknown type or flag: newer
// 3. impossible length, or over the end: framing 7. key or batch index longer than the body, tombstone without key:
// framing
// 4. CRC: checksum                              8. offsets, batches, fields of a commit frame: order
//
// A commit or footer frame has no flags: any is unknown there, as FLAG_BATCH_INDEX is in a dense segment.
#pragma once

#include <cstddef>
#include <cstdint>

#include "crc32c.h"
#include "format.h"
#include "seam.h"

namespace sealog {

// The verdict on a good frame; all others are the kStop... numbers.
inline constexpr int kFrameGood = 1000;

struct FrameHeader {
  uint32_t crc;
  uint32_t body_length;
  uint64_t offset;
  uint64_t timestamp;
  uint8_t type;
  uint8_t flags;

  bool IsRecord() const { return type == kFrameRecord || type == kFrameTombstone; }
  bool Continues() const { return (flags & kFlagBatchContinues) != 0; }
  // In 64 bits, whatever the length says.
  uint64_t Bytes() const { return FrameBytes(body_length); }
};

inline FrameHeader LoadFrameHeader(const uint8_t* frame) {
  const uint64_t last = LoadU64(frame + kFrameTimestampAt);
  return {LoadU32(frame + kFrameCrcAt), LoadU32(frame + kFrameBodyLengthAt), LoadU64(frame + kFrameOffsetAt),
          last & kTimestampLimit,       static_cast<uint8_t>(last >> 48),    static_cast<uint8_t>(last >> 56)};
}

// What a segment says about its frames.
struct FrameRules {
  uint32_t seed;
  bool sparse;
  uint64_t max_body;
};

inline FrameRules MakeFrameRules(uint32_t seed, bool sparse, uint64_t max_record) {
  return {seed, sparse, (max_record < kRecordBytesLimit ? max_record : kRecordBytesLimit) + kBodyPrefixBytes};
}

// Parts of a record's body, from the start of the frame.
struct RecordBody {
  bool has_index;
  bool has_key;
  uint32_t batch_index;
  uint32_t key_start;
  uint32_t key_length;
  uint32_t value_start;
  uint32_t value_length;
};

struct CommitBody {
  uint64_t group_start;
  uint64_t synced_offset;
  uint32_t record_count;
  uint32_t epoch;
  uint32_t prev_chain;
  uint32_t chain;
};

inline CommitBody LoadCommitBody(const uint8_t* frame) {
  return {LoadU64(frame + kCommitGroupStartAt),  LoadU64(frame + kCommitSyncedOffsetAt),
          LoadU32(frame + kCommitRecordCountAt), LoadU32(frame + kCommitEpochAt),
          LoadU32(frame + kCommitPrevChainAt),   LoadU32(frame + kCommitChainAt)};
}

// Rules 2 and 3. `left`: bytes from the start of the frame to the end of what exists, at least 24.
inline int CheckLength(const FrameHeader& header, const FrameRules& rules, uint64_t left) {
  if (header.type == 0 && (header.crc | header.body_length | header.offset | header.timestamp | header.flags) == 0) {
    return kStopZero;
  }
  if (header.body_length > rules.max_body) return kStopFraming;
  if (header.type == kFrameCommit && header.body_length != kCommitBodyBytes) return kStopFraming;
  if (header.type == kFrameFooter && header.body_length != kFooterBodyBytes) return kStopFraming;
  return header.Bytes() <= left ? kFrameGood : kStopFraming;
}

inline uint32_t FrameCrc(const uint8_t* frame, uint32_t body_length, uint32_t seed) {
  return Crc32cExtend(seed, frame + kFrameBodyLengthAt, kFrameHeaderBytes - kFrameBodyLengthAt + body_length);
}

// Rule 5 for the last eight bytes of a frame.
inline bool PaddingIsZero(const uint8_t* frame_end, uint32_t body_length) {
  const uint32_t used = body_length % kFrameAlignment;
  return used == 0 || LoadU64(frame_end - 8) >> (8 * used) == 0;
}

// Rule 6.
inline bool IsNewer(const FrameHeader& header, bool sparse) {
  if (header.IsRecord()) return (header.flags & ~(sparse ? kFlagsKnown : kFlagKey | kFlagBatchContinues)) != 0;
  return (header.type != kFrameCommit && header.type != kFrameFooter) || header.flags != 0;
}

// Rule 7. Looks at the first six bytes of the body at most, and at none that it does not have.
inline bool ParseRecordBody(const FrameHeader& header, const uint8_t* body, RecordBody* out) {
  uint32_t at = 0;
  out->has_index = (header.flags & kFlagBatchIndex) != 0;
  out->has_key = (header.flags & kFlagKey) != 0;
  out->batch_index = 0;
  out->key_length = 0;
  if (out->has_index) {
    if (header.body_length < 4) return false;
    out->batch_index = LoadU32(body);
    at = 4;
  }
  if (out->has_key) {
    if (header.body_length - at < 2) return false;
    out->key_length = LoadU16(body + at);
    at += 2;
    if (header.body_length - at < out->key_length) return false;
  } else if (header.type == kFrameTombstone) {
    return false;
  }
  out->key_start = static_cast<uint32_t>(kFrameHeaderBytes) + at;
  out->value_start = out->key_start + out->key_length;
  out->value_length = header.body_length - at - out->key_length;
  return true;
}

// Rules 4 to 7 for a frame that lies in memory as a whole and has passed CheckLength; `body` is set for records only.
inline int CheckFrame(const uint8_t* frame, const FrameHeader& header, const FrameRules& rules, RecordBody* body) {
  if (FrameCrc(frame, header.body_length, rules.seed) != header.crc) return kStopChecksum;
  if (!PaddingIsZero(frame + header.Bytes(), header.body_length)) return kStopFraming;
  if (IsNewer(header, rules.sparse)) return kStopNewer;
  if (header.IsRecord() && !ParseRecordBody(header, frame + kFrameBodyAt, body)) return kStopFraming;
  return kFrameGood;
}

// Rule 8, as far as it concerns frames one after the other.
class FrameOrder {
 public:
  explicit FrameOrder(bool sparse) : sparse_(sparse) {}

  // The next frame must be this one; until then any offset will do.
  void ExpectOffset(uint64_t offset) {
    next_offset_ = offset;
    known_ = true;
  }
  // The next record belongs to a batch that has begun.
  void OpenBatch(uint64_t first) {
    batch_first_ = first;
    open_ = true;
  }

  bool AcceptRecord(const FrameHeader& header, const RecordBody& body) {
    if (header.offset > kOffsetLimit || !Follows(header.offset)) return false;
    if (body.has_index) {
      if (body.batch_index > header.offset) return false;
      batch_first_ = header.offset - body.batch_index;
    } else if (!open_) {
      batch_first_ = header.offset;
    }
    open_ = header.Continues();
    next_offset_ = header.offset + 1;
    known_ = true;
    return true;
  }

  // Commit and footer frames carry the next offset and end no batch in the middle.
  bool AcceptEnd(const FrameHeader& header) {
    if (open_ || header.offset > kOffsetLimit + 1 || !Follows(header.offset)) return false;
    next_offset_ = header.offset;
    known_ = true;
    return true;
  }

  bool known() const { return known_; }
  bool open() const { return open_; }
  uint64_t next_offset() const { return next_offset_; }
  uint64_t batch_first() const { return batch_first_; }

 private:
  bool Follows(uint64_t offset) const { return !known_ || (sparse_ ? offset >= next_offset_ : offset == next_offset_); }

  bool sparse_;
  bool known_ = false;
  bool open_ = false;
  uint64_t next_offset_ = 0;
  uint64_t batch_first_ = 0;
};

// Rule 8 for the fields of a commit frame by itself.
inline bool CommitIsSane(const FrameHeader& header, const CommitBody& commit, uint64_t position) {
  if (commit.synced_offset > header.offset || commit.record_count > header.offset) return false;
  if (commit.record_count == 0) return commit.group_start == position && commit.chain == commit.prev_chain;
  return commit.group_start >= kSegmentHeaderBytes && commit.group_start < position &&
         commit.group_start % kFrameAlignment == 0;
}

// The chain over the CRCs of a group's record frames; starts afresh, since a CRC extended by itself is a constant.
class GroupChain {
 public:
  explicit GroupChain(uint32_t prev_chain) : value_(Crc32cExtend(0, &prev_chain, sizeof prev_chain)) {}
  void Add(uint32_t frame_crc) { value_ = Crc32cExtend(value_, &frame_crc, sizeof frame_crc); }
  uint32_t value() const { return value_; }

 private:
  uint32_t value_;
};

}  // namespace sealog
