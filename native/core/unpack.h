#pragma once

#include <cstddef>
#include <cstdint>

#include "../os/io.h"

namespace sealog {

class Decompressors;
class Dictionary;

// The frames of the block that lies in `packed_bytes` bytes from `position` on, with their CRCs, in
// `bytes`, which they must fill to the byte. Needs a fixed amount of memory besides. Returns 0, kUnpackDamaged (`bytes`
// is worthless then) or -errno of a read. `dictionary`: null for none. `decompressors`: null for a context of its own.
int UnpackBlock(Io& io, int fd, uint64_t position, uint64_t packed_bytes, uint8_t* bytes, size_t bytes_length,
                uint32_t seed, Dictionary* dictionary, Decompressors* decompressors);

// FILE_UNPACK: one block, or those of the rows in `entries` (null: `packed_bytes` of one), which lie one behind the
// other in the file and fill `bytes` one behind the other. `numbers`: kUnpack... of seam.h.
int UnpackBlocks(Io& io, int fd, uint64_t position, uint64_t packed_bytes, uint8_t* bytes, size_t bytes_length,
                 double* numbers, const double* entries, size_t entries_length, Dictionary* dictionary,
                 Decompressors* decompressors);

}  // namespace sealog
