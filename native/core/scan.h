#pragma once

#include <cstddef>
#include <cstdint>

#include "../os/io.h"

namespace sealog {

// FILE_SCAN: fills `bytes` from `position` (up to `end`, behind which nothing exists), verifies each frame once and
// lists the records in `table`, four u32 each: frame start, value start, value length (within `bytes`), offset - batch
// first. `numbers`: kScan... of seam.h. Bytes behind the last good frame are left as read and must not be looked at.
// Returns 0 or -errno of the read.
int ScanFrames(Io& io, int fd, uint64_t position, uint64_t end, uint8_t* bytes, size_t bytes_length, double* numbers,
               uint32_t* table, size_t table_length);

// FILE_SCAN_BYTES: the same over bytes that are there already, from `position` of the segment on.
void ScanBytes(uint64_t position, uint64_t end, const uint8_t* bytes, size_t bytes_length, double* numbers,
               uint32_t* table, size_t table_length);

}  // namespace sealog
