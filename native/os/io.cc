#include "io.h"

#include <errno.h>
#include <sys/uio.h>

#include <algorithm>

namespace sealog {

namespace {

// Linux transfers a little less than 2 GiB per call; other systems refuse more than that.
constexpr size_t kMaxTransfer = size_t{1} << 30;

using ReadFunction = ssize_t (Io::*)(int, void*, size_t, uint64_t);

int64_t ReadAll(Io& io, ReadFunction read, int fd, void* into, size_t length, uint64_t position) {
  size_t done = 0;
  while (done < length) {
    const size_t want = std::min(length - done, kMaxTransfer);
    const ssize_t got = (io.*read)(fd, static_cast<char*>(into) + done, want, position + done);
    if (got < 0) return got;
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return static_cast<int64_t>(done);
}

}  // namespace

int64_t ReadFull(Io& io, int fd, void* into, size_t length, uint64_t position) {
  return ReadAll(io, &Io::Pread, fd, into, length, position);
}

int64_t ReadFullResident(Io& io, int fd, void* into, size_t length, uint64_t position) {
  return ReadAll(io, &Io::PreadResident, fd, into, length, position);
}

int WriteFull(Io& io, int fd, const void* from, size_t length, uint64_t position) {
  size_t done = 0;
  while (done < length) {
    const size_t want = std::min(length - done, kMaxTransfer);
    const iovec part = {const_cast<char*>(static_cast<const char*>(from)) + done, want};
    const ssize_t put = io.Pwritev(fd, &part, 1, position + done);
    if (put < 0) return static_cast<int>(put);
    // A disk that takes nothing and names no error would be asked for ever.
    if (put == 0) return -EIO;
    done += static_cast<size_t>(put);
  }
  return 0;
}

}  // namespace sealog
