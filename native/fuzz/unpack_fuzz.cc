// UnpackBlock over any bytes: as a block, and as the content of a block. What it finds good is a row of frames with
// good CRCs that fills its place.
#include "../core/compression.h"
#include "../core/unpack.h"
#include "input.h"

using namespace sealog;
using namespace sealog::fuzz;

namespace {

constexpr int kSource = 3;

void Unpack(const std::vector<uint8_t>& block, size_t longest_read, size_t length, Dictionary* dictionary) {
  test::MemoryIo io(block);
  io.longest_read = longest_read;
  const std::unique_ptr<uint8_t[]> bytes(new uint8_t[length]);
  const int status = UnpackBlock(io, kSource, 0, block.size(), bytes.get(), length, kSeed, dictionary, nullptr);
  Require(status == 0 || status == kUnpackDamaged);
  if (status != 0) return;
  size_t at = 0;
  while (at < length) {
    Require(length - at >= kFrameHeaderBytes);
    const uint32_t body_length = LoadU32(bytes.get() + at + kFrameBodyLengthAt);
    Require(FrameBytes(body_length) <= length - at);
    Require(LoadU32(bytes.get() + at) == Crc32cExtend(kSeed, bytes.get() + at + 4, 20 + body_length));
    at += static_cast<size_t>(FrameBytes(body_length));
  }
}

}  // namespace

// Byte 0: flags below; 1: longest read; 2 and 3: length of the result; then the block or its content.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kHeader = 4;
  constexpr uint8_t kIsContent = 1;
  constexpr uint8_t kHasDictionary = 2;
  constexpr uint8_t kFits = 4;
  if (size < kHeader + Dictionary::kMinBytes) return 0;
  std::vector<uint8_t> block(data + kHeader, data + size);
  const auto dictionary = (data[0] & kHasDictionary) != 0 ? Dictionary::Create(data, size / 2) : nullptr;
  size_t length = LoadU16(data + 2) + size_t{1};
  if ((data[0] & kIsContent) != 0) {
    const std::vector<uint8_t> content = block;
    // As many CRCs as its lengths ask for: the content alone decides whether it is a row of frames.
    if ((data[0] & kFits) != 0) {
      length = content.size();
      for (size_t at = 0; content.size() - at >= 20; length += 4) {
        const uint64_t frame = FrameBytes(LoadU32(content.data() + at)) - 4;
        if (frame > content.size() - at) break;
        at += static_cast<size_t>(frame);
      }
    }
    const Compressor compressor(ZSTD_createCCtx());
    ZSTD_CCtx_setParameter(compressor.get(), ZSTD_c_checksumFlag, 1);
    if (dictionary != nullptr) ZSTD_CCtx_refCDict(compressor.get(), dictionary->ForLevel(3));
    block.resize(ZSTD_compressBound(content.size()));
    block.resize(ZSTD_compress2(compressor.get(), block.data(), block.size(), content.data(), content.size()));
  }
  block.shrink_to_fit();
  Unpack(block, size_t{data[1]} + 1, length, dictionary.get());
  return 0;
}
