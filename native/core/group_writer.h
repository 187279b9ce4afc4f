#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <vector>

#include "../os/io.h"
#include "segment_state.h"

namespace sealog {

// Errors that say there is no room, not that the disk is broken.
bool IsNoSpace(int error);

// Sees to it that the file has space up to position + bytes, growing it in steps. *can_reserve turns false where the
// file system has no reservation; then nothing is reserved here any more. Returns 0 or -errno.
int ReserveSpace(Io& io, uint64_t bytes, SegmentState* state, bool* can_reserve);

// Adds zeros to the parts of a group of `bytes` that ends at state.position, and returns up to where the file is
// written then; so far that was `zeroed`. A sync after writing into space that was only reserved has to store that it
// is in use now; what has been written before, be it with zeros, is overwritten without any change of metadata. At most
// `wanted` bytes, within the reserved space, and only when several such groups fit into them.
uint64_t AddZeros(const SegmentState& state, uint64_t bytes, uint64_t wanted, uint64_t zeroed,
                  std::vector<iovec>* parts);

// Writes all parts one behind the other from `position` on, and uses `parts` up meanwhile. Returns 0 or -errno.
int WriteParts(Io& io, int fd, uint64_t position, std::vector<iovec>* parts);

// Writes the two slots of the file COMMITTED. The file is derived: a failure costs readers elsewhere some freshness, no
// more.
void PublishCommitted(Io& io, const SegmentState& state, uint64_t committed, uint64_t durable);

}  // namespace sealog
