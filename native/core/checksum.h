#pragma once

#include <atomic>
#include <cstdint>

#include "../os/io.h"

namespace sealog {

// FILE_CHECKSUM: numbers[0] = CRC-32C of the bytes from `position` to `end` as far as the file goes, numbers[1] = how
// many there were. Returns 0 or -errno of a read; -ECANCELED when `canceled` (null: never) turned true meanwhile.
int ChecksumFile(Io& io, int fd, uint64_t position, uint64_t end, double* numbers, const std::atomic<bool>* canceled);

}  // namespace sealog
