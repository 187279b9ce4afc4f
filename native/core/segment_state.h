#pragma once

#include <cstdint>
#include <limits>

namespace sealog {

// A number of JavaScript as an unsigned integer; what is none becomes 0.
inline uint64_t ToU64(double number) {
  return number >= 0 && number < 18446744073709551616.0 ? static_cast<uint64_t>(number) : 0;
}

// The state vector of a log in one segment (STATE_... of lib/kernels/kernels.ts) as typed fields.
struct SegmentState {
  static constexpr int64_t kNone = -1;
  static constexpr uint64_t kNoTime = std::numeric_limits<uint64_t>::max();

  static SegmentState FromNumbers(const double* numbers);
  void ToNumbers(double* numbers) const;

  // Room for frames in front of the commit frame and the footer; negative when those do not fit any more either.
  int64_t Room() const;

  int fd = -1;
  int committed_fd = -1;
  uint32_t seed = 0;
  uint64_t position = 0;
  uint64_t allocated = 0;
  uint64_t segment_bytes = 0;
  uint64_t next_offset = 0;
  uint32_t chain = 0;
  uint32_t epoch = 0;
  uint64_t synced_offset = 0;
  int64_t running_time = kNone;
  // kNoTime: no record yet.
  uint64_t min_time = kNoTime;
  int64_t max_time = kNone;
  uint64_t chunk_bytes = 0;
  uint64_t chunks = 0;
  uint64_t chunk_payload = 0;
  uint64_t chunk_records = 0;
  int64_t last_indexed = kNone;
  uint64_t index_interval = 0;
  uint64_t base_offset = 0;
  uint32_t log_seed = 0;
  bool marked = false;
  uint64_t max_record_bytes = 0;
  bool sparse = false;
  uint64_t records = 0;
};

}  // namespace sealog
