#pragma once

#include <cstddef>
#include <cstdint>

#include "../os/io.h"
#include "frame_check.h"

namespace sealog {

// Finds the record of `offset`, starting at `position`, where the frame of `entry_offset` starts, whose batch starts
// with `batch_first` (an index entry). The target's frame is verified, the frames on the way are only stepped over.
// `flags`: kReadSparse, kReadResident. `copy_out` receives file bytes, the frame among them; `out`: kOut... of seam.h. Returns kRead... or -errno.
int ReadRecord(Io& io, int fd, uint32_t seed, uint64_t position, uint64_t end, uint64_t entry_offset,
               double batch_first, uint64_t offset, uint32_t flags, uint8_t* copy_out, size_t copy_out_length,
               double* out);

// What ReadRecord and ReadMany have in common: one record, starting from a frame at or before it.
struct RecordQuery {
  int fd;
  uint32_t seed;
  bool sparse;
  // A frame starts here; what lies at `end` and behind does not exist.
  uint64_t position;
  uint64_t end;
  // Offset of the frame at `position`, when it is known.
  bool entry_known;
  uint64_t entry_offset;
  // First offset of the batch that the record at `position` belongs to; negative: it starts one.
  double batch_first;
  uint64_t offset;
  // Bytes of the first read.
  size_t window_bytes;
  // Only what can be read without waiting for a disk; -EAGAIN otherwise.
  bool resident = false;
};

struct LocatedRecord {
  uint64_t frame_position;
  uint64_t frame_bytes;
  // Where the frame starts in the buffer.
  size_t frame_at;
  FrameHeader header;
  RecordBody body;
  uint64_t batch_first;
};

// Returns kRead... or -errno. For kReadLarge only the position and the bytes of the frame are set.
int LocateRecord(Io& io, const RecordQuery& query, uint8_t* into, size_t into_length, LocatedRecord* out);

}  // namespace sealog
