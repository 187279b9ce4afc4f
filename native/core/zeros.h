#pragma once

#include <cstdint>

#include "../os/io.h"

namespace sealog {

// FILE_ZEROS: numbers[0] = position of the first byte of `from` ... `end` that is not zero, or `end`. What lies behind
// the end of the file counts as zero. Returns 0 or -errno.
int FindNonZero(Io& io, int fd, uint64_t from, uint64_t end, double* numbers);

}  // namespace sealog
