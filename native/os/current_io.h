#pragma once

#include <atomic>

#include "io.h"

namespace sealog {

// The implementation that an environment uses at the moment: tests put theirs in front while threads are running.
class CurrentIo {
 public:
  explicit CurrentIo(Io& io) : io_(&io) {}
  CurrentIo(const CurrentIo&) = delete;
  CurrentIo& operator=(const CurrentIo&) = delete;

  Io& Get() const { return *io_.load(std::memory_order_acquire); }
  void Set(Io& io) { io_.store(&io, std::memory_order_release); }

 private:
  std::atomic<Io*> io_;
};

}  // namespace sealog
