// What requests share of zstd: dictionaries, and contexts for decompression.
#pragma once

// Ways to refer to memory instead of copying it; zstd is linked in, so it cannot change behind them.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../os/threading.h"

namespace sealog {

inline constexpr int kMinCompressionLevel = 1;
inline constexpr int kMaxCompressionLevel = 22;

struct ZstdDeleter {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  void operator()(ZSTD_CDict* prepared) const { ZSTD_freeCDict(prepared); }
  void operator()(ZSTD_DDict* prepared) const { ZSTD_freeDDict(prepared); }
};

using Compressor = std::unique_ptr<ZSTD_CCtx, ZstdDeleter>;
using Decompressor = std::unique_ptr<ZSTD_DCtx, ZstdDeleter>;

// Bytes that what is compressed resembles. For any threads at the same time; outlives every context that refers to what
// it has prepared.
class Dictionary {
 public:
  static constexpr size_t kMinBytes = 8;

  // Copies `content`, at least kMinBytes. Null: there is no memory.
  static std::shared_ptr<Dictionary> Create(const uint8_t* content, size_t length);

  Dictionary(std::unique_ptr<uint8_t[]> content, size_t length) : content_(std::move(content)), length_(length) {}
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;

  // Prepared when they are first asked for; null: there is no memory. `level`: kMin... to kMaxCompressionLevel.
  const ZSTD_CDict* ForLevel(int level);
  const ZSTD_DDict* ForDecompression();

 private:
  const std::unique_ptr<uint8_t[]> content_;
  const size_t length_;
  Mutex mutex_;
  std::array<std::unique_ptr<ZSTD_CDict, ZstdDeleter>, kMaxCompressionLevel + 1> for_level_;
  std::unique_ptr<ZSTD_DDict, ZstdDeleter> for_decompression_;
};

// Contexts for decompression: to make one costs more than to decompress a small block. As many are kept as were in use
// at the same time.
class Decompressors {
 public:
  Decompressors() = default;
  Decompressors(const Decompressors&) = delete;
  Decompressors& operator=(const Decompressors&) = delete;

  // Null: there is no memory. It has to be reset.
  Decompressor Take();
  void Return(Decompressor decompressor);

 private:
  Mutex mutex_;
  std::vector<Decompressor> free_;
};

}  // namespace sealog
