#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "../os/io.h"

namespace sealog {

// What a render allocates while it runs, whatever the size of the chunk and of its records.
struct RenderBuffers {
  // At least kMinWindowBytes.
  size_t window = 256 * 1024;
  // Both at least 1.
  size_t content = 256 * 1024;
  size_t positions = 64 * 1024;
};

// FILE_RENDER: writes the values of the records from `position` on, up to the end of the batch that fills the chunk or
// to `end`, as the content of a sealed chunk, and the position of each element. `numbers`: kRender... of seam.h, where
// a chunk size of 0 is no limit. Bytes of a record larger than the window do before its CRC is known: unless the stop
// is kStopFull or kStopEnd, both files are worthless. Returns 0 or -errno of a read or write; -EINVAL for a form that
// does not exist; -ECANCELED when `canceled` (null: never) turned true meanwhile.
int RenderChunk(Io& io, int fd, uint64_t position, uint64_t end, double* numbers, const std::atomic<bool>* canceled,
                const RenderBuffers& buffers = {});

}  // namespace sealog
