#pragma once

#include <cstdint>

#include "../os/io.h"

namespace sealog {

// FILE_FIND_GROUP: the first commit frame at an 8-aligned position of `from` ... `end` whose whole group verifies.
// `numbers`: kFind... of seam.h. Returns 1 found, 0 not, or -errno.
int FindGroup(Io& io, int fd, uint64_t from, uint64_t end, double* numbers);

}  // namespace sealog
