#include "pack.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "buffered_writer.h"
#include "compression.h"
#include "seam.h"
#include "window_check.h"

namespace sealog {

namespace {

constexpr size_t kWindowBytes = 256 * 1024;
constexpr size_t kWriteBytes = 256 * 1024;
constexpr double kMaxBlockBytes = 1 << 30;

int ToDescriptor(double number) { return number >= 0 && number <= INT_MAX ? static_cast<int>(number) : -1; }

// A piece of memory that grows and keeps what is in it.
class Buffer {
 public:
  uint8_t* data() const { return bytes_.get(); }
  size_t capacity() const { return capacity_; }

  // False: there is no memory.
  bool Reserve(size_t capacity, size_t used) {
    if (capacity <= capacity_) return true;
    std::unique_ptr<uint8_t[]> larger(new (std::nothrow) uint8_t[capacity]);
    if (larger == nullptr) return false;
    if (used > 0) memcpy(larger.get(), bytes_.get(), used);
    bytes_ = std::move(larger);
    capacity_ = capacity;
    return true;
  }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  size_t capacity_ = 0;
};

// The block that is being filled, and the rows of those that are written.
class Blocks {
 public:
  Blocks(BufferedWriter& writer, uint64_t out_position, double* entries, size_t entries_length, size_t block_bytes)
      : writer_(writer),
        out_position_(out_position),
        entries_(entries),
        rows_(entries_length / kPackColumns),
        block_bytes_(block_bytes) {}

  // 0 or -errno.
  int Prepare(int level, Dictionary* dictionary) {
    compressor_.reset(ZSTD_createCCtx());
    if (compressor_ == nullptr || !packed_.Reserve(ZSTD_CStreamOutSize(), 0)) return -ENOMEM;
    if (!content_.Reserve(std::min(block_bytes_, kWindowBytes), 0)) return -ENOMEM;
    const std::pair<ZSTD_cParameter, int> parameters[] = {
        {ZSTD_c_compressionLevel, level}, {ZSTD_c_checksumFlag, 1}, {ZSTD_c_stableInBuffer, 1}};
    for (const auto& [parameter, value] : parameters) {
      const int status = StatusOf(ZSTD_CCtx_setParameter(compressor_.get(), parameter, value));
      if (status < 0) return status;
    }
    if (dictionary == nullptr) return 0;
    const ZSTD_CDict* prepared = dictionary->ForLevel(level);
    return prepared == nullptr ? -ENOMEM : StatusOf(ZSTD_CCtx_refCDict(compressor_.get(), prepared));
  }

  // Whether the open block must be written before such a frame.
  bool IsFullFor(uint64_t frame_bytes) const { return frame_bytes_ > 0 && frame_bytes_ + frame_bytes > block_bytes_; }
  bool HasRow() const { return count_ < rows_; }
  // Of blocks written.
  size_t count() const { return count_; }

  // Room for a frame without its CRC, for the caller to fill; null: there is no memory.
  uint8_t* Add(uint64_t position, uint64_t frame_bytes, double offset, double batch_first) {
    const size_t used = used_ + static_cast<size_t>(frame_bytes - kFrameCrcBytes);
    const size_t wanted = std::max(used, std::min(content_.capacity() * 2, block_bytes_));
    if (used > content_.capacity() && !content_.Reserve(wanted, used_)) return nullptr;
    if (frame_bytes_ == 0) {
      double* row = entries_ + count_ * kPackColumns;
      row[kPackBlockPosition] = static_cast<double>(position);
      row[kPackBlockOffset] = offset;
      row[kPackBlockBatchFirst] = batch_first;
    }
    uint8_t* const room = content_.data() + used_;
    used_ = used;
    frame_bytes_ += frame_bytes;
    return room;
  }

  // Compresses the open block, if there is one, and begins the next. 0 or -errno.
  int Write() {
    if (frame_bytes_ == 0) return 0;
    const uint64_t start = writer_.bytes();
    ZSTD_inBuffer in = {content_.data(), used_, 0};
    size_t left;
    do {
      ZSTD_outBuffer out = {packed_.data(), packed_.capacity(), 0};
      left = ZSTD_compressStream2(compressor_.get(), &out, &in, ZSTD_e_end);
      const int status = StatusOf(left);
      if (status < 0) return status;
      writer_.Append(packed_.data(), out.pos);
    } while (left > 0);
    double* row = entries_ + count_ * kPackColumns;
    row[kPackBlockFrameBytes] = static_cast<double>(frame_bytes_);
    row[kPackBlockOutPosition] = static_cast<double>(out_position_ + start);
    row[kPackBlockOutBytes] = static_cast<double>(writer_.bytes() - start);
    count_++;
    used_ = 0;
    frame_bytes_ = 0;
    return writer_.status();
  }

 private:
  // zstd gets nothing to refuse: what fails is memory.
  static int StatusOf(size_t result) { return ZSTD_isError(result) == 0 ? 0 : -ENOMEM; }

  BufferedWriter& writer_;
  const uint64_t out_position_;
  double* const entries_;
  const size_t rows_;
  const size_t block_bytes_;
  Compressor compressor_;
  Buffer content_;
  Buffer packed_;
  size_t used_ = 0;
  // Of the frames in the open block as they are in the segment; 0: it is empty.
  uint64_t frame_bytes_ = 0;
  size_t count_ = 0;
};

class Pack {
 public:
  Pack(Io& io, int fd, FileWindow& window, uint64_t position, const double* numbers, Blocks& blocks)
      : io_(io),
        fd_(fd),
        window_(window),
        blocks_(blocks),
        rules_(MakeFrameRules(static_cast<uint32_t>(ToUnsigned(numbers[kPackSeed])), numbers[kPackSparse] != 0,
                              ToUnsigned(numbers[kPackMaxRecord]))),
        order_(rules_.sparse),
        position_(position) {
    if (numbers[kPackOffset] >= 0) order_.ExpectOffset(ToUnsigned(numbers[kPackOffset]));
    if (numbers[kPackBatchFirst] >= 0) order_.OpenBatch(ToUnsigned(numbers[kPackBatchFirst]));
  }

  // Takes in frames until it stops, kStop... or -errno: behind the last frame taken.
  int Run(const std::atomic<bool>* canceled) {
    int verdict;
    do {
      const bool ended = canceled != nullptr && canceled->load(std::memory_order_relaxed);
      verdict = ended ? -ECANCELED : TakeFrame();
    } while (verdict == kFrameGood);
    return verdict;
  }

  void Report(double* numbers) const {
    numbers[kPackOffset] = order_.known() ? static_cast<double>(order_.next_offset()) : -1;
    numbers[kPackBatchFirst] = BatchFirst();
    numbers[kPackRecords] += static_cast<double>(records_);
    numbers[kPackNextPosition] = static_cast<double>(position_);
  }

 private:
  int TakeFrame() {
    const int verdict = CheckFrameAt(window_, position_, rules_, &frame_);
    const FrameHeader& header = frame_.header;
    const uint64_t frame_bytes = header.Bytes();
    if (verdict == kStopEnd || (verdict == kFrameGood && blocks_.IsFullFor(frame_bytes))) {
      const int status = blocks_.Write();
      if (status < 0) return status;
    }
    if (verdict != kFrameGood) return verdict;
    if (!blocks_.HasRow()) return kStopTableFull;

    const double offset = static_cast<double>(order_.known() ? order_.next_offset() : header.offset);
    const double batch_first = BatchFirst();
    const int place = CheckOrder();
    if (place != kFrameGood) return place;
    uint8_t* const room = blocks_.Add(position_, frame_bytes, offset, batch_first);
    if (room == nullptr) return -ENOMEM;
    if (frame_bytes <= window_.capacity()) {
      memcpy(room, window_.At(position_) + kFrameCrcBytes, static_cast<size_t>(frame_bytes - kFrameCrcBytes));
    } else {
      const int copied = CopyLarge(room);
      if (copied != kFrameGood) return copied;
    }
    if (header.IsRecord()) records_++;
    position_ += frame_bytes;
    return kFrameGood;
  }

  int CheckOrder() {
    const FrameHeader& header = frame_.header;
    if (header.IsRecord()) return order_.AcceptRecord(header, frame_.body) ? kFrameGood : kStopOrder;
    if (!order_.AcceptEnd(header)) return kStopOrder;
    if (header.type == kFrameFooter) return position_ + header.Bytes() == window_.end() ? kFrameGood : kStopFooter;
    return CommitIsSane(header, frame_.commit, position_) ? kFrameGood : kStopOrder;
  }

  // A frame that the window does not hold was verified piece by piece, and is verified again as it goes in.
  int CopyLarge(uint8_t* room) {
    const FrameHeader& header = frame_.header;
    const auto length = static_cast<size_t>(header.Bytes() - kFrameCrcBytes);
    const int64_t got = ReadFull(io_, fd_, room, length, position_ + kFrameCrcBytes);
    if (got < 0) return static_cast<int>(got);
    if (static_cast<size_t>(got) < length) return kStopFraming;
    const size_t under_crc = kFrameHeaderBytes - kFrameBodyLengthAt + header.body_length;
    if (Crc32cExtend(rules_.seed, room, under_crc) != header.crc) return kStopChecksum;
    return PaddingIsZero(room + length, header.body_length) ? kFrameGood : kStopFraming;
  }

  double BatchFirst() const { return order_.open() ? static_cast<double>(order_.batch_first()) : -1; }

  Io& io_;
  const int fd_;
  FileWindow& window_;
  Blocks& blocks_;
  const FrameRules rules_;
  FrameOrder order_;
  uint64_t position_;
  // The one at position_.
  CheckedFrame frame_{};
  uint64_t records_ = 0;
};

}  // namespace

int PackFrames(Io& io, int fd, uint64_t position, uint64_t end, double* numbers, double* entries, size_t entries_length,
               Dictionary* dictionary, const std::atomic<bool>* canceled) {
  const double level = numbers[kPackLevel];
  const double block_bytes = numbers[kPackBlockBytes];
  if (!(level >= kMinCompressionLevel && level <= kMaxCompressionLevel)) return -EINVAL;
  if (!(block_bytes >= 1 && block_bytes <= kMaxBlockBytes)) return -EINVAL;
  const std::unique_ptr<uint8_t[]> memory(new (std::nothrow) uint8_t[kWindowBytes + kWriteBytes]);
  if (memory == nullptr) return -ENOMEM;

  FileWindow window(io, fd, end, memory.get(), kWindowBytes);
  const uint64_t out_position = ToUnsigned(numbers[kPackOutPosition]);
  BufferedWriter writer(io, ToDescriptor(numbers[kPackOutFd]), out_position, memory.get() + kWindowBytes, kWriteBytes,
                        static_cast<uint32_t>(ToUnsigned(numbers[kPackCrc])));
  Blocks blocks(writer, out_position, entries, entries_length, static_cast<size_t>(block_bytes));
  int status = blocks.Prepare(static_cast<int>(level), dictionary);
  if (status < 0) return status;
  Pack pack(io, fd, window, position, numbers, blocks);
  const int stop = pack.Run(canceled);
  if (stop < 0) return stop;
  status = writer.Flush();
  if (status < 0) return status;

  pack.Report(numbers);
  numbers[kPackStop] = stop;
  numbers[kPackCount] = static_cast<double>(blocks.count());
  numbers[kPackOutPosition] = static_cast<double>(out_position + writer.bytes());
  numbers[kPackCrc] = writer.crc();
  return 0;
}

}  // namespace sealog
