#if defined(__linux__)

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "poller.h"
#include "threading.h"

namespace sealog {

namespace {

constexpr uint64_t kWakeKey = 0;

int Control(int poller, int operation, int fd, uint32_t events, uint64_t key) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = key;
  return epoll_ctl(poller, operation, fd, &event) == 0 ? 0 : -errno;
}

}  // namespace

Poller::~Poller() {
  if (wake_ >= 0) close(wake_);
  if (poller_ >= 0) close(poller_);
}

int Poller::Open() {
  if (poller_ < 0) poller_ = epoll_create1(EPOLL_CLOEXEC);
  if (poller_ < 0) return -errno;
  if (wake_ < 0) wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) return -errno;
  const int status = Control(poller_, EPOLL_CTL_ADD, wake_, EPOLLIN, kWakeKey);
  return status == -EEXIST ? 0 : status;
}

int Poller::Add(int socket, uint64_t key) {
  return Control(poller_, EPOLL_CTL_ADD, socket, EPOLLOUT | EPOLLONESHOT, key);
}

int Poller::Rearm(int socket, uint64_t key) {
  return Control(poller_, EPOLL_CTL_MOD, socket, EPOLLOUT | EPOLLONESHOT, key);
}

void Poller::Remove(int socket) { Control(poller_, EPOLL_CTL_DEL, socket, 0, 0); }

void Poller::Wake() {
  const uint64_t one = 1;
  // It fails only when the counter is full, which wakes as well.
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

uint64_t Poller::Wait(int64_t deadline) {
  const int64_t left = std::clamp<int64_t>(deadline - MonotonicMs(), 0, INT_MAX);
  epoll_event event;
  // One at a time: what a thread has taken would have to wait with it.
  if (epoll_wait(poller_, &event, 1, static_cast<int>(left)) != 1) return 0;
  if (event.data.u64 != kWakeKey) return event.data.u64;
  uint64_t count;
  [[maybe_unused]] const ssize_t got = read(wake_, &count, sizeof count);
  return 0;
}

}  // namespace sealog

#endif
