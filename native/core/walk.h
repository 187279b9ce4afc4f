#pragma once

#include <cstddef>
#include <cstdint>

#include "../os/io.h"

namespace sealog {

// FILE_WALK: follows groups from the state vector in `numbers` (kState..., then kWalk... results, see seam.h) to `end`,
// reading through `work` (at least kMinWorkBytes), whatever the size of a record. On return the state stands behind the
// last good commit frame, and of `entries` (null: not wanted) only those of committed groups count.
// Returns 0 or -errno of a read.
int WalkGroups(Io& io, int fd, uint64_t end, uint8_t* work, size_t work_length, double* numbers, double* entries,
               size_t entries_length);

}  // namespace sealog
