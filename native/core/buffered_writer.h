#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../os/io.h"

namespace sealog {

// Writes a file from one position on, through a buffer of fixed size, and keeps the CRC-32C of what it wrote. The first
// failure stays: whatever follows it is dropped. What it writes is written back to the disk as it goes, one stretch
// under way while the next is filled: the sync at the end would else hold up every other sync on the same disk.
class BufferedWriter {
 public:
  // The buffer belongs to the caller and must outlive the writer; `capacity` is at least 1. `crc`: of what comes
  // before.
  BufferedWriter(Io& io, int fd, uint64_t position, uint8_t* buffer, size_t capacity, uint32_t crc = 0)
      : io_(io),
        fd_(fd),
        buffer_(buffer),
        capacity_(capacity),
        position_(position),
        settled_(position),
        started_(position),
        crc_(crc) {}
  BufferedWriter(const BufferedWriter&) = delete;
  BufferedWriter& operator=(const BufferedWriter&) = delete;

  void Append(const void* from, size_t length) {
    bytes_ += length;
    if (length >= capacity_ - used_) return Overflow(static_cast<const uint8_t*>(from), length);
    memcpy(buffer_ + used_, from, length);
    used_ += length;
  }
  void Append(char byte) { Append(&byte, 1); }

  // Writes what is buffered; 0 or -errno of the first write that failed.
  int Flush();

  int status() const { return status_; }
  // Appended so far.
  uint64_t bytes() const { return bytes_; }
  // Of all bytes before the last Flush.
  uint32_t crc() const { return crc_; }

 private:
  void Overflow(const uint8_t* from, size_t length);
  void Put(const uint8_t* from, size_t length);
  void WriteBack();

  Io& io_;
  const int fd_;
  uint8_t* const buffer_;
  const size_t capacity_;
  size_t used_ = 0;
  uint64_t position_;
  // Written back up to here; and about to be, up to there.
  uint64_t settled_;
  uint64_t started_;
  uint64_t bytes_ = 0;
  uint32_t crc_;
  int status_ = 0;
};

}  // namespace sealog
