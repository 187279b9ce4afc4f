#include "group_writer.h"

#include <errno.h>

#include <algorithm>

#include "crc32c.h"
#include "format.h"

namespace sealog {

namespace {

constexpr uint64_t kMinStep = 64 * 1024;
constexpr uint64_t kMaxStep = 8 * 1024 * 1024;
constexpr uint64_t kPage = 4096;
// One call does not occupy the disk, and a thread that is to stop, for longer.
constexpr size_t kMaxWrite = 1024 * 1024;
// IOV_MAX of every system.
constexpr size_t kMaxParts = 1024;

// A zero costs about as much as any other byte: those written ahead have to save several groups the change of metadata.
constexpr uint64_t kMaxZeros = 256 * 1024;
constexpr uint64_t kMinGroupsAhead = 4;
constexpr uint8_t kZeros[16 * 1024] = {};

uint64_t RoundUpToPage(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

bool IsNoSpace(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

int ReserveSpace(Io& io, uint64_t bytes, SegmentState* state, bool* can_reserve) {
  const uint64_t needed = state->position + bytes;
  if (needed <= state->allocated || !*can_reserve) return 0;
  const uint64_t step = std::clamp(state->allocated, kMinStep, kMaxStep);
  uint64_t target = RoundUpToPage(std::max(needed, std::min(state->allocated + step, state->segment_bytes)));
  int status = io.Allocate(state->fd, state->allocated, target - state->allocated);
  if (status < 0 && IsNoSpace(-status) && target > needed) {
    target = needed;
    status = io.Allocate(state->fd, state->allocated, target - state->allocated);
  }
  if (status == -EOPNOTSUPP || status == -ENOSYS) {
    *can_reserve = false;
    return 0;
  }
  if (status < 0) return status;
  state->allocated = target;
  return 0;
}

uint64_t AddZeros(const SegmentState& state, uint64_t bytes, uint64_t wanted, uint64_t zeroed,
                  std::vector<iovec>* parts) {
  const uint64_t ahead = std::min(wanted, kMaxZeros);
  if (state.position <= zeroed || ahead < bytes * kMinGroupsAhead) return zeroed;
  const uint64_t end = std::min(state.allocated, RoundUpToPage(state.position + ahead));
  for (uint64_t at = state.position; at < end;) {
    const size_t length = std::min<uint64_t>(sizeof kZeros, end - at);
    // pwritev only reads it.
    parts->push_back({const_cast<uint8_t*>(kZeros), length});
    at += length;
  }
  return std::max(zeroed, end);
}

int WriteParts(Io& io, int fd, uint64_t position, std::vector<iovec>* parts) {
  iovec call[kMaxParts];
  size_t next = 0;
  while (next < parts->size()) {
    size_t count = 0;
    size_t length = 0;
    while (next + count < parts->size() && count < kMaxParts && length < kMaxWrite) {
      call[count] = (*parts)[next + count];
      call[count].iov_len = std::min(call[count].iov_len, kMaxWrite - length);
      length += call[count++].iov_len;
    }
    const ssize_t written = io.Pwritev(fd, call, static_cast<int>(count), position);
    if (written < 0) return static_cast<int>(written);
    // A disk that takes nothing and names no error would be asked for ever.
    if (written == 0) return -EIO;
    position += static_cast<uint64_t>(written);
    auto left = static_cast<size_t>(written);
    while (left > 0) {
      iovec& part = (*parts)[next];
      const size_t used = std::min(left, part.iov_len);
      part.iov_base = static_cast<uint8_t*>(part.iov_base) + used;
      part.iov_len -= used;
      left -= used;
      if (part.iov_len == 0) next++;
    }
  }
  return 0;
}

void PublishCommitted(Io& io, const SegmentState& state, uint64_t committed, uint64_t durable) {
  uint8_t slots[kCommittedBytes] = {};
  const auto fill = [&](uint8_t* slot, uint64_t end) {
    StoreU64(slot, end);
    StoreU32(slot + 8, state.epoch);
    StoreU32(slot + 12, Crc32cExtend(state.log_seed, slot, 12));
  };
  fill(slots + kCommittedSlot, committed);
  fill(slots + kDurableSlot, durable);
  const iovec part = {slots, sizeof slots};
  io.Pwritev(state.committed_fd, &part, 1, 0);
}

}  // namespace sealog
