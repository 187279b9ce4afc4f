// Numbers and byte order of the on-disk format, version 1. lib/format/constants.ts holds the same numbers for
// TypeScript.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sealog {

inline constexpr uint64_t kSegmentHeaderBytes = 128;
inline constexpr uint64_t kFrameHeaderBytes = 24;
inline constexpr uint64_t kFrameAlignment = 8;

inline constexpr uint8_t kFrameRecord = 1;
inline constexpr uint8_t kFrameTombstone = 2;
inline constexpr uint8_t kFrameCommit = 3;
inline constexpr uint8_t kFrameFooter = 4;

// The body starts with u16 key length and the key.
inline constexpr uint8_t kFlagKey = 1;
// The next record belongs to the same batch.
inline constexpr uint8_t kFlagBatchContinues = 2;
// The body starts with the u32 index of the record in its batch (sparse segments only).
inline constexpr uint8_t kFlagBatchIndex = 4;
inline constexpr uint8_t kFlagsKnown = kFlagKey | kFlagBatchContinues | kFlagBatchIndex;

inline constexpr uint32_t kCommitBodyBytes = 32;
inline constexpr uint64_t kCommitFrameBytes = kFrameHeaderBytes + kCommitBodyBytes;
inline constexpr uint32_t kFooterBodyBytes = 64;
inline constexpr uint64_t kFooterFrameBytes = kFrameHeaderBytes + kFooterBodyBytes;

inline constexpr uint64_t kRecordBytesLimit = uint64_t{1} << 30;
// The largest offset of a record: its successor is still a safe integer of JavaScript.
inline constexpr uint64_t kOffsetLimit = (uint64_t{1} << 53) - 2;
inline constexpr uint64_t kTimestampLimit = (uint64_t{1} << 48) - 1;
inline constexpr uint64_t kKeyBytesLimit = 65535;
// What a body may hold besides the record bytes that a limit counts: u32 batch index, u16 key length, the key.
inline constexpr uint64_t kBodyPrefixBytes = 4 + 2 + kKeyBytesLimit;

inline constexpr uint64_t kCommittedBytes = 128;
inline constexpr uint64_t kCommittedSlot = 0;
inline constexpr uint64_t kDurableSlot = 64;

// Where fields of a frame lie, from its start.
inline constexpr size_t kFrameCrcAt = 0;
inline constexpr size_t kFrameBodyLengthAt = 4;
inline constexpr size_t kFrameOffsetAt = 8;
inline constexpr size_t kFrameTimestampAt = 16;
inline constexpr size_t kFrameTypeAt = 22;
inline constexpr size_t kFrameFlagsAt = 23;
inline constexpr size_t kFrameBodyAt = 24;

// Where fields of a commit frame lie, from the start of the frame.
inline constexpr size_t kCommitGroupStartAt = 24;
inline constexpr size_t kCommitSyncedOffsetAt = 32;
inline constexpr size_t kCommitRecordCountAt = 40;
inline constexpr size_t kCommitEpochAt = 44;
inline constexpr size_t kCommitPrevChainAt = 48;
inline constexpr size_t kCommitChainAt = 52;

// Bytes a frame with this body occupies, padding included.
constexpr uint64_t FrameBytes(uint64_t body_length) {
  return kFrameHeaderBytes + ((body_length + kFrameAlignment - 1) & ~(kFrameAlignment - 1));
}

// The bytes are little-endian and so is every machine this builds for: the copies below are single moves.
static_assert(std::endian::native == std::endian::little);

inline uint16_t LoadU16(const void* from) {
  uint16_t value;
  memcpy(&value, from, sizeof value);
  return value;
}

inline uint32_t LoadU32(const void* from) {
  uint32_t value;
  memcpy(&value, from, sizeof value);
  return value;
}

inline uint64_t LoadU64(const void* from) {
  uint64_t value;
  memcpy(&value, from, sizeof value);
  return value;
}

inline uint64_t LoadU48(const void* from) {
  return LoadU32(from) | uint64_t{LoadU16(static_cast<const uint8_t*>(from) + 4)} << 32;
}

inline void StoreU16(void* to, uint16_t value) { memcpy(to, &value, sizeof value); }
inline void StoreU32(void* to, uint32_t value) { memcpy(to, &value, sizeof value); }
inline void StoreU64(void* to, uint64_t value) { memcpy(to, &value, sizeof value); }

inline void StoreU48(void* to, uint64_t value) {
  StoreU32(to, static_cast<uint32_t>(value));
  StoreU16(static_cast<uint8_t*>(to) + 4, static_cast<uint16_t>(value >> 32));
}

}  // namespace sealog
