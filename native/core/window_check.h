// The rules of frame_check.h for frames of a file that is looked at through a window of bounded size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "file_window.h"
#include "frame_check.h"

namespace sealog {

struct CheckedFrame {
  FrameHeader header;
  RecordBody body;    // of a record
  CommitBody commit;  // of a commit frame
};

// Smallest window: any frame but a record fits, and so do the parts of a record that are looked at.
inline constexpr size_t kMinWindowBytes = 128;

// For CheckFrameAt: nobody wants to see the pieces.
struct IgnorePieces {
  int operator()(uint64_t, const uint8_t*, size_t) const { return 0; }
};

// Rules 4 and 5 for a frame that is larger than the window. `visit(position, bytes, length)` sees what is under the
// CRC, from the body length to the end of the body, piece by piece and before the verdict; a negative result ends it
// all.
template <typename Visit>
int CheckInPieces(FileWindow& window, uint64_t position, const FrameHeader& header, uint32_t seed, Visit&& visit) {
  const uint64_t body_end = position + kFrameHeaderBytes + header.body_length;
  uint32_t crc = seed;
  for (uint64_t at = position + kFrameBodyLengthAt; at < body_end;) {
    const int64_t visible = window.Load(at, static_cast<size_t>(std::min<uint64_t>(window.capacity(), body_end - at)));
    if (visible < 0) return static_cast<int>(visible);
    if (visible == 0) return kStopFraming;
    const uint64_t piece = std::min<uint64_t>(static_cast<uint64_t>(visible), body_end - at);
    crc = Crc32cExtend(crc, window.At(at), static_cast<size_t>(piece));
    const int status = visit(at, window.At(at), static_cast<size_t>(piece));
    if (status < 0) return status;
    at += piece;
  }
  if (crc != header.crc) return kStopChecksum;
  const uint64_t last = position + header.Bytes() - 8;
  const int64_t visible = window.Load(last, 8);
  if (visible < 0) return static_cast<int>(visible);
  if (visible < 8 || !PaddingIsZero(window.At(last) + 8, header.body_length)) return kStopFraming;
  return kFrameGood;
}

// Rules 1 to 7 for the frame at `position`, through a window of any size from kMinWindowBytes on; the CRC of a frame
// that is larger than the window is computed piece by piece, and `visit` (see CheckInPieces) sees each of them with the
// header and body in `out` set but not verified. kStopEnd at the end of the window's file. Returns kFrameGood, kStop...
// or -errno.
template <typename Visit = IgnorePieces>
int CheckFrameAt(FileWindow& window, uint64_t position, const FrameRules& rules, CheckedFrame* out,
                 Visit&& visit = {}) {
  if (position >= window.end()) return kStopEnd;
  int64_t visible = window.Load(position, kFrameHeaderBytes);
  if (visible < 0) return static_cast<int>(visible);
  if (static_cast<uint64_t>(visible) < kFrameHeaderBytes) return kStopFraming;
  out->header = LoadFrameHeader(window.At(position));
  const FrameHeader& header = out->header;
  const int length = CheckLength(header, rules, window.end() - position);
  if (length != kFrameGood) return length;

  const uint64_t frame_bytes = header.Bytes();
  if (frame_bytes <= window.capacity()) {
    visible = window.Load(position, static_cast<size_t>(frame_bytes));
    if (visible < 0) return static_cast<int>(visible);
    if (static_cast<uint64_t>(visible) < frame_bytes) return kStopFraming;
    const uint8_t* frame = window.At(position);
    const int verdict = CheckFrame(frame, header, rules, &out->body);
    if (verdict == kFrameGood && header.type == kFrameCommit) out->commit = LoadCommitBody(frame);
    return verdict;
  }

  // Only a record can be so large. The start of its body is kept, the window moves on.
  visible = window.Load(position, kMinWindowBytes);
  if (visible < 0) return static_cast<int>(visible);
  if (static_cast<size_t>(visible) < kMinWindowBytes) return kStopFraming;
  uint8_t body_start[8];
  memcpy(body_start, window.At(position) + kFrameBodyAt, sizeof body_start);
  const bool parsed = header.IsRecord() && ParseRecordBody(header, body_start, &out->body);
  if (!parsed) out->body = {};
  const int verdict = CheckInPieces(window, position, header, rules.seed, visit);
  if (verdict != kFrameGood) return verdict;
  if (IsNewer(header, rules.sparse)) return kStopNewer;
  return parsed ? kFrameGood : kStopFraming;
}

}  // namespace sealog
