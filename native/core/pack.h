#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "../os/io.h"

namespace sealog {

class Dictionary;

// The bytes of a frame's CRC, which packed frames lack.
inline constexpr uint64_t kFrameCrcBytes = 4;

// FILE_PACK: compresses the frames from `position` to `end` block by block, as many as `entries` has rows for (at least
// one). `numbers`: kPack... of seam.h. Memory is bounded by the size of a block, or of the largest record where that is
// larger. Unless the stop is kStopEnd or kStopTableFull, what was written is worthless. Returns 0 or -errno of a read
// or write; -EINVAL for a level or block size that does not exist; -ENOMEM; -ECANCELED when `canceled` (null: never)
// turned true meanwhile. `dictionary`: null for none.
int PackFrames(Io& io, int fd, uint64_t position, uint64_t end, double* numbers, double* entries, size_t entries_length,
               Dictionary* dictionary, const std::atomic<bool>* canceled);

}  // namespace sealog
