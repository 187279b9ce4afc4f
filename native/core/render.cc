#include "render.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <memory>
#include <new>

#include "buffered_writer.h"
#include "seam.h"
#include "window_check.h"

namespace sealog {

namespace {

constexpr char kNull[] = {'n', 'u', 'l', 'l'};

int ToDescriptor(double number) { return number >= 0 && number <= INT_MAX ? static_cast<int>(number) : -1; }

// The elements of a chunk on their way into its two files.
class Elements {
 public:
  Elements(int form, bool sparse, BufferedWriter& content, BufferedWriter& positions)
      : form_(form), sparse_(sparse), content_(content), positions_(positions) {
    if (form_ == kFormJson) content_.Append('[');
  }

  void Begin(uint64_t offset) {
    if (form_ == kFormJson && count_ > 0) content_.Append(',');
    const uint64_t row[2] = {content_.bytes(), offset};
    positions_.Append(row, sparse_ ? sizeof row : sizeof row[0]);
  }
  void AddValue(const uint8_t* bytes, size_t length) { content_.Append(bytes, length); }
  void AddTombstone() {
    if (form_ != kFormRaw) content_.Append(kNull, sizeof kNull);
  }
  void End(uint64_t offset) {
    if (form_ == kFormNdjson) content_.Append('\n');
    count_++;
    last_ = static_cast<double>(offset);
  }

  // Behind the last element; 0 or -errno of the first write that failed.
  int Close() {
    if (form_ == kFormJson) content_.Append(']');
    const int status = content_.Flush();
    return status < 0 ? status : positions_.Flush();
  }

  int status() const { return content_.status() < 0 ? content_.status() : positions_.status(); }
  uint64_t count() const { return count_; }
  double last() const { return last_; }

 private:
  const int form_;
  const bool sparse_;
  BufferedWriter& content_;
  BufferedWriter& positions_;
  uint64_t count_ = 0;
  double last_ = -1;
};

class Render {
 public:
  Render(FileWindow& window, uint64_t position, const double* numbers, Elements& elements,
         const std::atomic<bool>* canceled)
      : window_(window),
        elements_(elements),
        canceled_(canceled),
        rules_(MakeFrameRules(static_cast<uint32_t>(ToUnsigned(numbers[kRenderSeed])), numbers[kRenderSparse] != 0,
                              ToUnsigned(numbers[kRenderMaxRecord]))),
        from_(ToUnsigned(numbers[kRenderFrom])),
        chunk_bytes_(ToUnsigned(numbers[kRenderChunkBytes])),
        order_(rules_.sparse),
        position_(position) {
    if (numbers[kRenderOffset] >= 0) order_.ExpectOffset(ToUnsigned(numbers[kRenderOffset]));
    if (numbers[kRenderBatchFirst] >= 0) order_.OpenBatch(ToUnsigned(numbers[kRenderBatchFirst]));
  }

  // Takes in frames until it stops, kStop... or -errno: behind the last frame taken.
  int Run() {
    int verdict;
    do {
      verdict = Interruption();
      if (verdict == 0) verdict = TakeFrame();
    } while (verdict == kFrameGood);
    return verdict;
  }

  void Report(double* numbers) const {
    numbers[kRenderPayload] = static_cast<double>(payload_);
    numbers[kRenderNextPosition] = static_cast<double>(position_);
    numbers[kRenderNextOffset] = order_.known() ? static_cast<double>(order_.next_offset()) : -1;
  }

 private:
  int Interruption() const {
    if (canceled_ != nullptr && canceled_->load(std::memory_order_relaxed)) return -ECANCELED;
    return elements_.status();
  }

  int TakeFrame() {
    bool in_pieces = false;
    const int verdict =
        CheckFrameAt(window_, position_, rules_, &frame_, [&](uint64_t at, const uint8_t* bytes, size_t length) {
          in_pieces = true;
          AddPiece(at - position_, bytes, length);
          return Interruption();
        });
    if (verdict != kFrameGood) return verdict;
    const FrameHeader& header = frame_.header;
    if (!header.IsRecord()) return TakeEnd();
    if (!order_.AcceptRecord(header, frame_.body)) return kStopOrder;
    if (IsElement(header)) {
      if (!in_pieces) AddPiece(kFirstPieceAt, window_.At(position_) + kFirstPieceAt, BytesUnderCrc(header));
      elements_.End(header.offset);
      payload_ += frame_.body.value_length;
    }
    position_ += header.Bytes();
    return chunk_bytes_ > 0 && !header.Continues() && payload_ >= chunk_bytes_ ? kStopFull : kFrameGood;
  }

  int TakeEnd() {
    if (!order_.AcceptEnd(frame_.header)) return kStopOrder;
    if (frame_.header.type == kFrameFooter) return kStopFooter;
    if (!CommitIsSane(frame_.header, frame_.commit, position_)) return kStopOrder;
    position_ += frame_.header.Bytes();
    return kFrameGood;
  }

  // `length` bytes of a record from `at` on, counted from the start of its frame; the first piece begins an element.
  void AddPiece(uint64_t at, const uint8_t* bytes, size_t length) {
    if (!IsElement(frame_.header)) return;
    const bool tombstone = frame_.header.type == kFrameTombstone;
    if (at == kFirstPieceAt) {
      elements_.Begin(frame_.header.offset);
      if (tombstone) elements_.AddTombstone();
    }
    const uint64_t start = frame_.body.value_start;
    const uint64_t from = std::max(at, start);
    const uint64_t to = std::min(at + length, start + frame_.body.value_length);
    if (!tombstone && from < to) elements_.AddValue(bytes + (from - at), static_cast<size_t>(to - from));
  }

  bool IsElement(const FrameHeader& header) const { return header.offset >= from_; }

  static constexpr uint64_t kFirstPieceAt = kFrameBodyLengthAt;
  static size_t BytesUnderCrc(const FrameHeader& header) {
    return kFrameHeaderBytes - kFrameBodyLengthAt + header.body_length;
  }

  FileWindow& window_;
  Elements& elements_;
  const std::atomic<bool>* const canceled_;
  const FrameRules rules_;
  const uint64_t from_;
  const uint64_t chunk_bytes_;
  FrameOrder order_;
  uint64_t position_;
  // The one at position_.
  CheckedFrame frame_{};
  uint64_t payload_ = 0;
};

}  // namespace

int RenderChunk(Io& io, int fd, uint64_t position, uint64_t end, double* numbers, const std::atomic<bool>* canceled,
                const RenderBuffers& buffers) {
  const double form = numbers[kRenderForm];
  if (form != kFormJson && form != kFormNdjson && form != kFormRaw) return -EINVAL;
  if (buffers.window < kMinWindowBytes || buffers.content == 0 || buffers.positions == 0) return -EINVAL;
  const std::unique_ptr<uint8_t[]> memory(new (std::nothrow)
                                              uint8_t[buffers.window + buffers.content + buffers.positions]);
  if (memory == nullptr) return -ENOMEM;
  uint8_t* const content_buffer = memory.get() + buffers.window;

  FileWindow window(io, fd, end, memory.get(), buffers.window);
  BufferedWriter content(io, ToDescriptor(numbers[kRenderContentFd]), 0, content_buffer, buffers.content);
  BufferedWriter positions(io, ToDescriptor(numbers[kRenderPositionsFd]), kRenderPositionsStart,
                           content_buffer + buffers.content, buffers.positions);
  Elements elements(static_cast<int>(form), numbers[kRenderSparse] != 0, content, positions);
  Render render(window, position, numbers, elements, canceled);
  const int stop = render.Run();
  if (stop < 0) return stop;
  const int status = elements.Close();
  if (status < 0) return status;

  render.Report(numbers);
  numbers[kRenderStop] = stop;
  numbers[kRenderCount] = static_cast<double>(elements.count());
  numbers[kRenderLast] = elements.last();
  numbers[kRenderBytes] = static_cast<double>(content.bytes());
  numbers[kRenderCrc] = content.crc();
  numbers[kRenderPositionsCrc] = positions.crc();
  return 0;
}

}  // namespace sealog
