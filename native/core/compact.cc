#include "compact.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>
#include <optional>

#include "seam.h"
#include "sparse_writer.h"
#include "window_check.h"

namespace sealog {

namespace {

class Compaction {
 public:
  Compaction(Io& io, int fd, FileWindow& window, uint64_t position, const double* numbers,
             const IndexVersions& versions, const std::atomic<bool>* canceled, SparseWriter& writer)
      : io_(io),
        fd_(fd),
        window_(window),
        writer_(writer),
        versions_(versions),
        canceled_(canceled),
        rules_(MakeFrameRules(static_cast<uint32_t>(ToUnsigned(numbers[kCompactSeed])), numbers[kCompactSparse] != 0,
                              ToUnsigned(numbers[kCompactMaxRecord]))),
        tombstones_before_(numbers[kCompactTombstonesBefore]),
        full_at_(numbers[kCompactSliceBytes] > 0 ? position + ToUnsigned(numbers[kCompactSliceBytes]) : UINT64_MAX),
        order_(rules_.sparse),
        position_(position) {
    if (numbers[kCompactOffset] >= 0) order_.ExpectOffset(ToUnsigned(numbers[kCompactOffset]));
  }

  // Takes in frames until it stops, kStop... or -errno: behind the last frame taken.
  int Run() {
    int verdict = kFrameGood;
    while (verdict == kFrameGood) {
      verdict = Interruption();
      if (verdict == 0) verdict = TakeFrame();
    }
    // Whoever cuts a segment there has lost the rest of a batch.
    return verdict == kStopEnd && order_.open() ? kStopOrder : verdict;
  }

  uint64_t position() const { return position_; }
  double next_offset() const { return order_.known() ? static_cast<double>(order_.next_offset()) : -1; }
  uint64_t records() const { return records_; }
  uint64_t record_bytes() const { return record_bytes_; }

 private:
  int Interruption() const {
    if (canceled_ != nullptr && canceled_->load(std::memory_order_relaxed)) return -ECANCELED;
    return writer_.status();
  }

  int TakeFrame() {
    const bool continued = order_.open();
    const int verdict = CheckFrameAt(window_, position_, rules_, &frame_,
                                     [&](uint64_t, const uint8_t*, size_t) { return Interruption(); });
    if (verdict != kFrameGood) return verdict;
    const FrameHeader& header = frame_.header;
    if (!header.IsRecord()) return TakeEnd();
    if (!order_.AcceptRecord(header, frame_.body)) return kStopOrder;
    const uint8_t* bytes = nullptr;
    const int status = Locate(&bytes);
    if (status != kFrameGood) return status;
    records_++;
    record_bytes_ += header.Bytes();
    if (IsNeeded(bytes)) {
      const bool batched = continued || header.Continues() || frame_.body.has_index;
      const auto index = batched ? static_cast<int64_t>(header.offset - order_.batch_first()) : -1;
      const int added = writer_.Add(bytes, header, frame_.body, index);
      if (added < 0) return added;
    }
    position_ += header.Bytes();
    if (header.Continues()) return kFrameGood;
    writer_.EndBatch();
    return position_ >= full_at_ && position_ < window_.end() ? kStopFull : kFrameGood;
  }

  int TakeEnd() {
    if (!order_.AcceptEnd(frame_.header)) return kStopOrder;
    if (frame_.header.type == kFrameFooter) return kStopFooter;
    if (!CommitIsSane(frame_.header, frame_.commit, position_)) return kStopOrder;
    position_ += frame_.header.Bytes();
    return kFrameGood;
  }

  // The record at position_ as a whole. One larger than the window was verified piece by piece: it is read once more,
  // and verified again, as what is copied must be what was verified. kFrameGood, kStop... or -errno.
  int Locate(const uint8_t** bytes) {
    const uint64_t frame_bytes = frame_.header.Bytes();
    if (frame_bytes <= window_.capacity()) {
      *bytes = window_.At(position_);
      return kFrameGood;
    }
    uint8_t* whole = large_.Take(static_cast<size_t>(frame_bytes));
    if (whole == nullptr) return -ENOMEM;
    *bytes = whole;
    const int64_t got = ReadFull(io_, fd_, whole, static_cast<size_t>(frame_bytes), position_);
    if (got < 0) return static_cast<int>(got);
    if (static_cast<uint64_t>(got) < frame_bytes) return kStopFraming;
    frame_.header = LoadFrameHeader(whole);
    return frame_.header.Bytes() == frame_bytes ? CheckFrame(whole, frame_.header, rules_, &frame_.body) : kStopFraming;
  }

  bool IsNeeded(const uint8_t* bytes) const {
    const FrameHeader& header = frame_.header;
    if (!frame_.body.has_key) return true;
    const KeyView key(bytes + frame_.body.key_start, frame_.body.key_length);
    const auto offset = static_cast<double>(header.offset);
    const double newest = versions_.front()->Get(key);
    if (newest == offset) return true;
    if (header.type == kFrameTombstone && newest <= offset &&
        (newest >= 0 || static_cast<double>(header.timestamp) >= tombstones_before_)) {
      return true;
    }
    return std::any_of(versions_.begin() + 1, versions_.end(),
                       [&](const auto& version) { return version->Get(key) == offset; });
  }

  Io& io_;
  const int fd_;
  FileWindow& window_;
  SparseWriter& writer_;
  const IndexVersions& versions_;
  const std::atomic<bool>* const canceled_;
  const FrameRules rules_;
  const double tombstones_before_;
  const uint64_t full_at_;
  FrameOrder order_;
  uint64_t position_;
  // The one at position_.
  CheckedFrame frame_{};
  WorkBuffer large_;
  uint64_t records_ = 0;
  uint64_t record_bytes_ = 0;
};

}  // namespace

int CompactFrames(Io& io, int fd, uint64_t position, uint64_t end, double* numbers, const IndexVersions& versions,
                  const std::atomic<bool>* canceled, const CompactBuffers& buffers) {
  if (buffers.window < kMinWindowBytes || buffers.output == 0 || versions.empty()) return -EINVAL;
  const std::unique_ptr<uint8_t[]> memory(new (std::nothrow) uint8_t[buffers.window + buffers.output]);
  if (memory == nullptr) return -ENOMEM;

  FileWindow window(io, fd, end, memory.get(), buffers.window);
  std::optional<BufferedWriter> file;
  const double out_fd = numbers[kCompactOutFd];
  if (out_fd >= 0 && out_fd <= INT_MAX) {
    file.emplace(io, static_cast<int>(out_fd), ToUnsigned(numbers[kCompactOutPosition]), memory.get() + buffers.window,
                 buffers.output);
  }
  SparseWriter writer(numbers, file ? &*file : nullptr);
  Compaction compaction(io, fd, window, position, numbers, versions, canceled, writer);
  const int stop = compaction.Run();
  if (stop < 0) return stop;
  if (stop == kStopEnd || stop == kStopFull) {
    const int status = writer.Finish();
    if (status < 0) return status;
    writer.Report(numbers);
    numbers[kCompactReadRecords] += static_cast<double>(compaction.records());
    numbers[kCompactReadBytes] += static_cast<double>(compaction.record_bytes());
    numbers[kCompactOffset] = compaction.next_offset();
  }
  numbers[kCompactStop] = stop;
  numbers[kCompactNextPosition] = static_cast<double>(compaction.position());
  numbers[kCompactNextOffset] = compaction.next_offset();
  return 0;
}

}  // namespace sealog
