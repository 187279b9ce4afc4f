#include "compression.h"

#include <cstring>
#include <new>
#include <utility>

#include "format.h"

namespace sealog {

std::shared_ptr<Dictionary> Dictionary::Create(const uint8_t* content, size_t length) {
  // zstd would read bytes that begin so as a trained dictionary. Both sides of the seam leave the first one out then.
  if (LoadU32(content) == ZSTD_MAGIC_DICTIONARY) {
    content++;
    length--;
  }
  std::unique_ptr<uint8_t[]> copy(new (std::nothrow) uint8_t[length]);
  if (copy == nullptr) return nullptr;
  memcpy(copy.get(), content, length);
  return std::make_shared<Dictionary>(std::move(copy), length);
}

const ZSTD_CDict* Dictionary::ForLevel(int level) {
  const MutexLock lock(mutex_);
  auto& prepared = for_level_[static_cast<size_t>(level)];
  if (prepared == nullptr) prepared.reset(ZSTD_createCDict_byReference(content_.get(), length_, level));
  return prepared.get();
}

const ZSTD_DDict* Dictionary::ForDecompression() {
  const MutexLock lock(mutex_);
  if (for_decompression_ == nullptr) for_decompression_.reset(ZSTD_createDDict_byReference(content_.get(), length_));
  return for_decompression_.get();
}

Decompressor Decompressors::Take() {
  {
    const MutexLock lock(mutex_);
    if (!free_.empty()) {
      Decompressor decompressor = std::move(free_.back());
      free_.pop_back();
      return decompressor;
    }
  }
  return Decompressor(ZSTD_createDCtx());
}

void Decompressors::Return(Decompressor decompressor) {
  const MutexLock lock(mutex_);
  free_.push_back(std::move(decompressor));
}

}  // namespace sealog
