// How bytes from the fuzzer become a segment and the arguments of a call.
//
// Byte 0: flags below; 1: size of a buffer; 2 and 3: a position; 4: an offset; 5: longest read; from 8 on: the file
// from its first frame. The CRC hides everything behind it from a fuzzer, so it may have the frames sealed again after
// its changes.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "../core/crc32c.h"
#include "../core/format.h"
#include "../core/seam.h"
#include "../test/memory_io.h"

namespace sealog::fuzz {

inline constexpr uint32_t kSeed = 0x5EA106;
inline constexpr size_t kInputHeaderBytes = 8;
inline constexpr uint64_t kBaseOffset = 100;
inline constexpr uint64_t kMaxRecord = 4096;

inline constexpr uint8_t kSealFrames = 1;
// Commit frames name their group rightly: start, count, chain.
inline constexpr uint8_t kSealGroups = 2;
inline constexpr uint8_t kSparse = 4;
inline constexpr uint8_t kShortReads = 8;
// What the second seal leaves alone: the last commit frame.
inline constexpr uint8_t kLeaveLastCommit = 16;

inline void Require(bool condition) {
  if (!condition) abort();
}

inline void SealGroup(std::vector<uint8_t>& bytes, size_t commit, size_t group_start, uint32_t* chain) {
  uint32_t count = 0;
  uint32_t value = Crc32cExtend(0, chain, 4);
  for (size_t at = group_start; at < commit; at += FrameBytes(LoadU32(bytes.data() + at + 4)), count++) {
    value = Crc32cExtend(value, bytes.data() + at, 4);
  }
  uint8_t* frame = bytes.data() + commit;
  StoreU64(frame + kCommitGroupStartAt, count == 0 ? commit : group_start);
  StoreU32(frame + kCommitRecordCountAt, count);
  StoreU32(frame + kCommitPrevChainAt, *chain);
  if (count > 0) *chain = value;
  StoreU32(frame + kCommitChainAt, *chain);
}

inline void SealAll(std::vector<uint8_t>& bytes, uint8_t flags) {
  uint32_t chain = 0;
  size_t group_start = kSegmentHeaderBytes;
  size_t last_commit = 0;
  for (size_t at = kSegmentHeaderBytes; bytes.size() - at >= kFrameHeaderBytes;) {
    uint8_t* frame = bytes.data() + at;
    const uint32_t length = LoadU32(frame + 4);
    if (FrameBytes(length) > bytes.size() - at || length > 1 << 20) break;
    const bool commit = frame[kFrameTypeAt] == kFrameCommit && length == kCommitBodyBytes;
    if (commit && (flags & kSealGroups) != 0) SealGroup(bytes, at, group_start, &chain);
    StoreU32(frame, Crc32cExtend(kSeed, frame + 4, 20 + length));
    for (uint64_t i = kFrameHeaderBytes + length; i < FrameBytes(length); i++) frame[i] = 0;
    if (commit) last_commit = at;
    at += FrameBytes(length);
    if (commit) group_start = at;
  }
  if (last_commit > 0 && (flags & kLeaveLastCommit) != 0) bytes[last_commit + kCommitChainAt] ^= 1;
}

struct Input {
  Input(const uint8_t* data, size_t size) {
    uint8_t header[kInputHeaderBytes] = {};
    memcpy(header, data, size < sizeof header ? size : sizeof header);
    const uint8_t flags = header[0];
    sparse = (flags & kSparse) != 0;
    room = kMinRoom + size_t{header[1]} * header[1] / 2;
    position = kSegmentHeaderBytes + (LoadU16(header + 2) & 0xFFF8);
    offset = kBaseOffset + header[4];
    io.bytes.assign(kSegmentHeaderBytes, 0);
    if (size > sizeof header) io.bytes.insert(io.bytes.end(), data + sizeof header, data + size);
    if ((flags & kSealFrames) != 0) SealAll(io.bytes, flags);
    if ((flags & kShortReads) != 0) io.longest_read = size_t{header[5]} + 1;
    io.bytes.shrink_to_fit();
  }

  static constexpr size_t kMinRoom = 128;

  test::MemoryIo io;
  bool sparse;
  size_t room;
  uint64_t position;
  uint64_t offset;
};

// A state vector for a walk from the first frame.
inline std::vector<double> FirstState(bool sparse) {
  std::vector<double> state(kWalkLength, 0);
  state[kStateSeed] = kSeed;
  state[kStatePosition] = static_cast<double>(kSegmentHeaderBytes);
  state[kStateNextOffset] = static_cast<double>(kBaseOffset);
  state[kStateRunningTime] = -1;
  state[kStateMinTime] = HUGE_VAL;
  state[kStateMaxTime] = -1;
  state[kStateChunkBytes] = 64;
  state[kStateLastIndexed] = -1;
  state[kStateIndexInterval] = 100;
  state[kStateMaxRecordBytes] = static_cast<double>(kMaxRecord);
  state[kStateSparse] = sparse ? 1 : 0;
  return state;
}

// The frame at `position` is good by the plainest of means.
inline void RequireGoodFrame(const std::vector<uint8_t>& bytes, uint64_t position, uint64_t offset) {
  Require(position + kFrameHeaderBytes <= bytes.size());
  const uint8_t* frame = bytes.data() + position;
  const uint64_t length = LoadU32(frame + 4);
  Require(position + FrameBytes(length) <= bytes.size());
  Require(Crc32cExtend(kSeed, frame + 4, 20 + length) == LoadU32(frame));
  Require(LoadU64(frame + 8) == offset);
  Require(frame[22] == kFrameRecord || frame[22] == kFrameTombstone);
}

}  // namespace sealog::fuzz
