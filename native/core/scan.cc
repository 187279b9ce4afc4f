#include "scan.h"

#include <algorithm>

#include "frame_check.h"

namespace sealog {

namespace {

// Rows of `table` and starts of frames are 32-bit numbers.
constexpr uint64_t kMaxScanBytes = uint64_t{1} << 31;

struct ScanResult {
  size_t count = 0;
  size_t batch_end = 0;
  size_t at = 0;
  uint64_t needed = 0;
  int stop = kStopEnd;
};

// Lists frames of which `filled` bytes are there. `exists`: bytes from `position` to the end of the segment, or of the
// file where that comes too early (`cut_off`).
void ListFrames(uint64_t position, uint64_t exists, bool cut_off, const uint8_t* bytes, size_t filled, double* numbers,
                uint32_t* table, size_t table_length) {
  const FrameRules rules = MakeFrameRules(static_cast<uint32_t>(ToUnsigned(numbers[kScanSeed])),
                                          numbers[kScanSparse] != 0, ToUnsigned(numbers[kScanMaxRecord]));
  const uint64_t from = ToUnsigned(numbers[kScanFrom]);
  const size_t rows = table_length / kScanColumns;
  FrameOrder order(rules.sparse);
  if (numbers[kScanOffset] >= 0) order.ExpectOffset(ToUnsigned(numbers[kScanOffset]));
  if (numbers[kScanBatchFirst] >= 0) order.OpenBatch(ToUnsigned(numbers[kScanBatchFirst]));

  ScanResult result;
  const auto needs = [&](uint64_t frame_bytes) {
    if (result.at == 0) {
      result.stop = kStopLarge;
      result.needed = frame_bytes;
    }
  };
  for (;;) {
    const uint64_t left = exists - result.at;
    if (left < kFrameHeaderBytes) {
      result.stop = left == 0 && !cut_off ? kStopEnd : kStopFraming;
      break;
    }
    if (filled - result.at < kFrameHeaderBytes) {
      needs(kFrameHeaderBytes);
      break;
    }
    const uint8_t* frame = bytes + result.at;
    const FrameHeader header = LoadFrameHeader(frame);
    int verdict = CheckLength(header, rules, left);
    if (verdict != kFrameGood) {
      result.stop = verdict;
      break;
    }
    const uint64_t frame_bytes = header.Bytes();
    if (filled - result.at < frame_bytes) {
      needs(frame_bytes);
      break;
    }
    const bool listed = header.IsRecord() && header.offset >= from;
    if (listed && result.count == rows) {
      result.stop = kStopTableFull;
      break;
    }
    RecordBody body;
    verdict = CheckFrame(frame, header, rules, &body);
    if (verdict != kFrameGood) {
      result.stop = verdict;
      break;
    }
    if (header.IsRecord()) {
      if (!order.AcceptRecord(header, body)) {
        result.stop = kStopOrder;
        break;
      }
      if (listed) {
        uint32_t* row = table + result.count * kScanColumns;
        row[0] = static_cast<uint32_t>(result.at);
        row[1] = static_cast<uint32_t>(result.at) + body.value_start;
        row[2] = body.value_length;
        row[3] = static_cast<uint32_t>(header.offset - order.batch_first());
        result.count++;
        if (!header.Continues()) result.batch_end = result.count;
      }
    } else {
      const bool fits = order.AcceptEnd(header) && (header.type == kFrameFooter ||
                                                    CommitIsSane(header, LoadCommitBody(frame), position + result.at));
      if (!fits || header.type == kFrameFooter) {
        result.stop = fits ? kStopFooter : kStopOrder;
        break;
      }
    }
    result.at += frame_bytes;
  }

  numbers[kScanCount] = static_cast<double>(result.count);
  numbers[kScanNextPosition] = static_cast<double>(position + result.at);
  numbers[kScanNextOffset] = order.known() ? static_cast<double>(order.next_offset()) : -1;
  numbers[kScanNextBatchFirst] = order.open() ? static_cast<double>(order.batch_first()) : -1;
  numbers[kScanStop] = result.stop;
  numbers[kScanNeeded] = static_cast<double>(result.needed);
  numbers[kScanBatchEnd] = static_cast<double>(result.batch_end);
}

}  // namespace

int ScanFrames(Io& io, int fd, uint64_t position, uint64_t end, uint8_t* bytes, size_t bytes_length, double* numbers,
               uint32_t* table, size_t table_length) {
  const uint64_t exists = end > position ? end - position : 0;
  const auto wanted = static_cast<size_t>(std::min({exists, uint64_t{bytes_length}, kMaxScanBytes}));
  const int64_t got = wanted > 0 ? ReadFull(io, fd, bytes, wanted, position) : 0;
  if (got < 0) return static_cast<int>(got);
  const auto filled = static_cast<size_t>(got);
  // A file that is shorter than the caller knows it to be has lost what is missing.
  const bool cut_off = filled < wanted;
  ListFrames(position, cut_off ? filled : exists, cut_off, bytes, filled, numbers, table, table_length);
  return 0;
}

void ScanBytes(uint64_t position, uint64_t end, const uint8_t* bytes, size_t bytes_length, double* numbers,
               uint32_t* table, size_t table_length) {
  const uint64_t exists = end > position ? end - position : 0;
  const auto filled = static_cast<size_t>(std::min({exists, uint64_t{bytes_length}, kMaxScanBytes}));
  ListFrames(position, exists, false, bytes, filled, numbers, table, table_length);
}

}  // namespace sealog
