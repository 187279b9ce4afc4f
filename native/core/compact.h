#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../os/io.h"
#include "ordered_index.h"

namespace sealog {

// Versions of an index that nobody changes or frees while they are looked at, by threads other than the one that made
// them too: what they share with an index that goes on changing is copied by that thread before it is changed.
using IndexVersions = std::vector<std::unique_ptr<OrderedIndex>>;

// What a compaction allocates while it runs, besides room for two records where one is larger than the window.
struct CompactBuffers {
  // At least kMinWindowBytes.
  size_t window = 256 * 1024;
  // At least 1.
  size_t output = 256 * 1024;
};

// FILE_COMPACT: copies the records from `position` on that are needed, up to the end of the batch that fills the slice
// or to `end`, to a sparse segment. `numbers`: kCompact... of seam.h, where a slice of 0 bytes is no limit; `versions`:
// kCompactIndex and the further ones, at least one. Unless the result is 0 and the stop is kStopEnd or kStopFull, what
// was written is worthless, and no number has changed but those that tell about the stop. Returns 0 or -errno of a read
// or write; -ENOMEM; -ECANCELED when `canceled` (null: never) turned true meanwhile.
int CompactFrames(Io& io, int fd, uint64_t position, uint64_t end, double* numbers, const IndexVersions& versions,
                  const std::atomic<bool>* canceled, const CompactBuffers& buffers = {});

}  // namespace sealog
