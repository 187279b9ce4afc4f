#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <vector>

#include "format.h"
#include "frame_queue.h"
#include "segment_state.h"

namespace sealog {

struct IndexEntry {
  uint64_t offset;
  uint64_t position;
  uint64_t batch_first;
  // Running maximum of the timestamps below this record.
  int64_t running_time;
};

// What is written at once: frames of whole batches and a commit frame. The parts point into blocks of the queue and
// into the group itself, so it stays where it is.
struct Group {
  Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  uint64_t Bytes() const { return frame_bytes + kCommitFrameBytes; }

  // Of the records, without the commit frame.
  uint64_t frame_bytes = 0;
  uint32_t records = 0;
  std::vector<iovec> parts;
  std::vector<IndexEntry> entries;
  uint8_t commit_frame[kCommitFrameBytes];
};

// Bytes of the batches that the next group takes from `available` bytes of complete batches; 0 when the first batch
// does not fit into the segment.
uint64_t MeasureGroup(FrameCursor frames, uint64_t available, const SegmentState& state);

uint64_t FirstBatchBytes(FrameCursor frames, uint64_t available);

// Makes a group of the next `bytes` bytes of frames: computes their CRCs, follows chain, times, chunks and index in
// `state` and leaves it as it is behind the group (its `allocated` apart).
void CutGroup(FrameCursor frames, uint64_t bytes, SegmentState* state, Group* group);

// A group without records.
void CutMark(SegmentState* state, Group* group);

}  // namespace sealog
