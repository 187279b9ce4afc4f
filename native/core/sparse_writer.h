#pragma once

#include <cstdint>

#include "buffered_writer.h"
#include "frame_check.h"
#include "work_buffer.h"

namespace sealog {

// Copies records to a sparse segment, in groups of whole batches, and counts what it copies: the kCompact... numbers
// about the file that is written.
class SparseWriter {
 public:
  // `file` stands where the next group goes; null: nothing is written. It must outlive the writer.
  SparseWriter(const double* numbers, BufferedWriter* file);
  SparseWriter(const SparseWriter&) = delete;
  SparseWriter& operator=(const SparseWriter&) = delete;

  // A record of the batch under way, which lies at `frame` as a whole. `batch_index` -1: it was appended alone.
  // 0 or -ENOMEM.
  int Add(const uint8_t* frame, const FrameHeader& header, const RecordBody& body, int64_t batch_index);
  // No further record of the batch under way.
  void EndBatch();
  // Ends the group under way, if there is one, and writes what there is. 0 or -errno of the first write that failed.
  int Finish();
  // 0 or -errno of the first write that failed.
  int status() const { return file_ == nullptr ? 0 : file_->status(); }
  // After Finish.
  void Report(double* numbers) const;

 private:
  void Count(const FrameHeader& header, uint64_t frame_bytes);
  void SealLast(bool continues);
  void Commit();
  void Append(const uint8_t* bytes, size_t length);

  BufferedWriter* const file_;
  const uint32_t seed_;
  const uint32_t epoch_;
  uint64_t position_;
  uint64_t group_start_;
  uint32_t group_records_ = 0;
  uint32_t chain_before_;
  GroupChain chain_;
  WorkBuffer memory_;
  // The last record of the batch under way, null: none. Whether another follows is not known yet.
  uint8_t* last_ = nullptr;

  int64_t running_time_;
  double first_offset_;
  double last_offset_;
  double min_time_;
  double max_time_;
  uint64_t records_ = 0;
  uint64_t record_bytes_ = 0;
  uint64_t tombstones_ = 0;
};

}  // namespace sealog
