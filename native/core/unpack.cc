#include "unpack.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "compression.h"
#include "crc32c.h"
#include "format.h"
#include "pack.h"
#include "seam.h"

namespace sealog {

namespace {

constexpr size_t kReadBytes = 256 * 1024;
constexpr uint64_t kMinWindow = uint64_t{1} << ZSTD_WINDOWLOG_MIN;

// Compressed bytes that are read as they are needed.
class Source {
 public:
  Source(Io& io, int fd, uint64_t position, uint64_t length) : io_(io), fd_(fd), position_(position), left_(length) {}

  // Reads on when all of `in` is used up. 1: there is more in it; 0: there was no more; -errno.
  int Next(ZSTD_inBuffer* in) {
    if (in->pos < in->size) return 1;
    if (left_ == 0) return 0;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(left_, kReadBytes));
    if (buffer_ == nullptr) buffer_.reset(new (std::nothrow) uint8_t[wanted]);
    if (buffer_ == nullptr) return -ENOMEM;
    const int64_t got = ReadFull(io_, fd_, buffer_.get(), wanted, position_);
    if (got < 0) return static_cast<int>(got);
    if (static_cast<size_t>(got) < wanted) return 0;
    *in = {buffer_.get(), wanted, 0};
    position_ += wanted;
    left_ -= wanted;
    return 1;
  }

  bool IsUsedUp(const ZSTD_inBuffer& in) const { return left_ == 0 && in.pos == in.size; }

 private:
  Io& io_;
  const int fd_;
  uint64_t position_;
  uint64_t left_;
  std::unique_ptr<uint8_t[]> buffer_;
};

// Bytes of content that a frame of zstd promises; 0 when it is none that PackFrames would have written for a segment's
// `frame_bytes`.
size_t ContentBytes(const ZSTD_inBuffer& in, size_t frame_bytes) {
  ZSTD_FrameHeader header;
  if (ZSTD_getFrameHeader(&header, in.src, in.size) != 0) return 0;
  if (header.frameType != ZSTD_frame || header.checksumFlag == 0 || header.dictID != 0) return 0;
  // At least the CRC of one frame is to be added. An unknown size is the largest number.
  if (frame_bytes < kFrameCrcBytes || header.frameContentSize > frame_bytes - kFrameCrcBytes) return 0;
  const uint64_t size = header.frameContentSize;
  return header.windowSize <= std::max<uint64_t>(kMinWindow, 2 * size) ? static_cast<size_t>(size) : 0;
}

// Puts the CRCs in front of frames that lie without them at the end of `bytes`. False: they are no frames, or not as
// many as fill the room before them.
bool RestoreFrames(uint8_t* bytes, size_t length, size_t content_start, uint32_t seed) {
  size_t to = 0;
  for (size_t from = content_start; from < length;) {
    if (length - from < kFrameHeaderBytes - kFrameCrcBytes) return false;
    const uint32_t body_length = LoadU32(bytes + from);
    const uint64_t packed = FrameBytes(body_length) - kFrameCrcBytes;
    // Each frame that is moved brings the two ends nearer by its CRC.
    if (packed > length - from || from - to < kFrameCrcBytes) return false;
    memmove(bytes + to + kFrameCrcBytes, bytes + from, static_cast<size_t>(packed));
    const uint8_t* under_crc = bytes + to + kFrameBodyLengthAt;
    StoreU32(bytes + to, Crc32cExtend(seed, under_crc, kFrameHeaderBytes - kFrameBodyLengthAt + body_length));
    from += static_cast<size_t>(packed);
    to += static_cast<size_t>(packed + kFrameCrcBytes);
  }
  return to == length;
}

// Fills `out` with the whole content of the block; 0, kUnpackDamaged or -errno.
int Decompress(ZSTD_DCtx* decompressor, Source& source, ZSTD_inBuffer* in, ZSTD_outBuffer* out) {
  size_t left;
  do {
    const int more = source.Next(in);
    if (more <= 0) return more < 0 ? more : kUnpackDamaged;
    left = ZSTD_decompressStream(decompressor, out, in);
    if (ZSTD_isError(left) != 0) return kUnpackDamaged;
  } while (left > 0);
  return out->pos == out->size && source.IsUsedUp(*in) ? 0 : kUnpackDamaged;
}

int Prepare(ZSTD_DCtx* decompressor, Dictionary* dictionary) {
  // The content goes to its place at once: no window, whatever the block says about it.
  if (ZSTD_isError(ZSTD_DCtx_reset(decompressor, ZSTD_reset_session_and_parameters)) != 0 ||
      ZSTD_isError(ZSTD_DCtx_setParameter(decompressor, ZSTD_d_stableOutBuffer, 1)) != 0) {
    return -EINVAL;
  }
  if (dictionary == nullptr) return 0;
  const ZSTD_DDict* prepared = dictionary->ForDecompression();
  return prepared == nullptr || ZSTD_isError(ZSTD_DCtx_refDDict(decompressor, prepared)) != 0 ? -ENOMEM : 0;
}

}  // namespace

int UnpackBlock(Io& io, int fd, uint64_t position, uint64_t packed_bytes, uint8_t* bytes, size_t bytes_length,
                uint32_t seed, Dictionary* dictionary, Decompressors* decompressors) {
  if (packed_bytes > ZSTD_compressBound(bytes_length)) return kUnpackDamaged;
  Source source(io, fd, position, packed_bytes);
  ZSTD_inBuffer in = {nullptr, 0, 0};
  const int more = source.Next(&in);
  if (more <= 0) return more < 0 ? more : kUnpackDamaged;
  const size_t content = ContentBytes(in, bytes_length);
  if (content == 0) return kUnpackDamaged;
  const size_t start = bytes_length - content;

  Decompressor decompressor = decompressors == nullptr ? Decompressor(ZSTD_createDCtx()) : decompressors->Take();
  if (decompressor == nullptr) return -ENOMEM;
  int status = Prepare(decompressor.get(), dictionary);
  if (status == 0) {
    ZSTD_outBuffer out = {bytes + start, content, 0};
    status = Decompress(decompressor.get(), source, &in, &out);
  }
  // Kept ones refer to no dictionary: it may end before they are used again.
  ZSTD_DCtx_reset(decompressor.get(), ZSTD_reset_session_and_parameters);
  if (decompressors != nullptr) decompressors->Return(std::move(decompressor));
  if (status != 0) return status;
  return RestoreFrames(bytes, bytes_length, start, seed) ? 0 : kUnpackDamaged;
}

int UnpackBlocks(Io& io, int fd, uint64_t position, uint64_t packed_bytes, uint8_t* bytes, size_t bytes_length,
                 double* numbers, const double* entries, size_t entries_length, Dictionary* dictionary,
                 Decompressors* decompressors) {
  const auto seed = static_cast<uint32_t>(ToUnsigned(numbers[kUnpackSeed]));
  numbers[kUnpackCount] = 0;
  const double one[kUnpackColumns] = {static_cast<double>(bytes_length), static_cast<double>(packed_bytes)};
  const double* row = entries == nullptr ? one : entries;
  const double* const end = entries == nullptr ? one + kUnpackColumns : entries + entries_length;
  for (; static_cast<size_t>(end - row) >= kUnpackColumns; row += kUnpackColumns) {
    const uint64_t frame_bytes = ToUnsigned(row[kUnpackBlockFrameBytes]);
    const uint64_t packed = ToUnsigned(row[kUnpackBlockPackedBytes]);
    if (frame_bytes > bytes_length) return kUnpackDamaged;
    const auto length = static_cast<size_t>(frame_bytes);
    const int status = UnpackBlock(io, fd, position, packed, bytes, length, seed, dictionary, decompressors);
    if (status != 0) return status;
    numbers[kUnpackCount]++;
    position += packed;
    bytes += length;
    bytes_length -= length;
  }
  return bytes_length == 0 ? 0 : kUnpackDamaged;
}

}  // namespace sealog
