#if !defined(__linux__)

#include <errno.h>
#include <fcntl.h>
#include <sys/types.h>
// After sys/types.h, which it needs on FreeBSD.
#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>

#include "poller.h"
#include "threading.h"

namespace sealog {

namespace {

// Identifies the user event, in a name space of its own beside the sockets.
constexpr uintptr_t kWakeIdent = 1;
constexpr uint64_t kWakeKey = 0;
constexpr int64_t kLongestWaitMs = 24 * 60 * 60 * 1000;

int Change(int poller, uintptr_t ident, int16_t filter, uint16_t flags, uint32_t filter_flags, uint64_t key) {
  struct kevent change;
  EV_SET(&change, ident, filter, flags, filter_flags, 0, reinterpret_cast<void*>(static_cast<uintptr_t>(key)));
  for (;;) {
    if (kevent(poller, &change, 1, nullptr, 0, nullptr) >= 0) return 0;
    if (errno != EINTR) return -errno;
  }
}

}  // namespace

Poller::~Poller() {
  if (poller_ >= 0) close(poller_);
}

int Poller::Open() {
  if (poller_ < 0) poller_ = kqueue();
  if (poller_ < 0) return -errno;
  if (fcntl(poller_, F_SETFD, FD_CLOEXEC) != 0) return -errno;
  // EV_CLEAR: one trigger wakes one thread.
  return Change(poller_, kWakeIdent, EVFILT_USER, EV_ADD | EV_CLEAR, 0, kWakeKey);
}

int Poller::Add(int socket, uint64_t key) {
  return Change(poller_, static_cast<uintptr_t>(socket), EVFILT_WRITE, EV_ADD | EV_DISPATCH, 0, key);
}

int Poller::Rearm(int socket, uint64_t key) {
  return Change(poller_, static_cast<uintptr_t>(socket), EVFILT_WRITE, EV_ADD | EV_ENABLE | EV_DISPATCH, 0, key);
}

void Poller::Remove(int socket) { Change(poller_, static_cast<uintptr_t>(socket), EVFILT_WRITE, EV_DELETE, 0, 0); }

void Poller::Wake() { Change(poller_, kWakeIdent, EVFILT_USER, 0, NOTE_TRIGGER, kWakeKey); }

uint64_t Poller::Wait(int64_t deadline) {
  const int64_t left = std::clamp<int64_t>(deadline - MonotonicMs(), 0, kLongestWaitMs);
  const timespec timeout = {static_cast<time_t>(left / 1000), static_cast<long>(left % 1000) * 1000000};
  struct kevent event;
  // One at a time: what a thread has taken would have to wait with it.
  if (kevent(poller_, nullptr, 0, &event, 1, &timeout) != 1) return 0;
  return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(event.udata));
}

}  // namespace sealog

#endif
