#include "pump.h"

#include <errno.h>

#include <algorithm>

#include "seam.h"

namespace sealog {

namespace {

// Sampled are bytes in such distances: the kernel reads ahead, and drops, pages in runs of about this length.
constexpr uint64_t kSampleBytes = 128 * 1024;
// Transfers are looked over for stalled ones at most so often.
constexpr int64_t kSweepIntervalMs = 10;

}  // namespace

int Pump::Start(double ticket, int socket, int file, uint64_t position, uint64_t length, int64_t stall_ms) {
  if (!kSupported) return -ENOSYS;
  {
    MutexLock lock(mutex_);
    if (stopped_) return -ECANCELED;
    if (transfers_.contains(KeyOf(ticket))) return -EEXIST;
  }
  Transfer begun = {.ticket = ticket,
                    .socket = socket,
                    .file = file,
                    .stall_ms = stall_ms,
                    .deadline = MonotonicMs() + stall_ms,
                    .cancelled = false,
                    .state = State::kWaiting,
                    .position = position,
                    .left = length,
                    .sent = 0,
                    .probed = 0,
                    .fetches_ahead = false};
  int status = 0;
  if (!IsCold(file, position, std::min(length, kTurnBytes), true)) status = Send(&begun, kTurnBytes);
  if (status == 0 && begun.left == 0) return kSentAtOnce;
  if (status == 0) {
    MutexLock lock(mutex_);
    status = Adopt(begun);
  }
  if (status == 0 || begun.sent == 0) return status;
  // The peer has a part of it already.
  io_.Get().ShutDownSocket(socket);
  events_.PushDone(ticket, status, static_cast<double>(begun.sent));
  events_.Notify();
  return 0;
}

int Pump::Adopt(const Transfer& begun) {
  int status = StartThreads();
  if (status < 0) return status;
  const int socket = io_.Get().DuplicateSocket(begun.socket);
  if (socket < 0) return socket;
  const uint64_t key = KeyOf(begun.ticket);
  status = poller_.Add(socket, key);
  if (status < 0) {
    io_.Get().CloseSocket(socket);
    return status;
  }
  transfers_.emplace(key, begun).first->second.socket = socket;
  if (begun.deadline < next_sweep_) {
    next_sweep_ = begun.deadline;
    // Those who wait do so until later.
    poller_.Wake();
  }
  return 0;
}

int Pump::StartThreads() {
  if (!workers_.empty()) return 0;
  const int status = poller_.Open();
  if (status < 0) return status;
  for (int i = 0; i < max_threads_; i++) {
    auto worker = std::make_unique<Worker>();
    worker->pump = this;
    if (StartThread(&worker->thread, ThreadMain, worker.get()) == 0) workers_.push_back(std::move(worker));
  }
  return workers_.empty() ? -EAGAIN : 0;
}

int Pump::Send(Transfer* transfer, uint64_t budget) {
  Io& io = io_.Get();
  while (budget > 0 && transfer->left > 0) {
    const auto want = static_cast<size_t>(std::min(budget, transfer->left));
    const int64_t sent = io.SendFile(transfer->socket, transfer->file, transfer->position, want);
    if (sent == -EAGAIN) return 0;
    if (sent < 0) return static_cast<int>(sent);
    if (sent == 0) return -ENODATA;
    const auto bytes = static_cast<uint64_t>(sent);
    transfer->position += bytes;
    transfer->left -= bytes;
    transfer->sent += bytes;
    budget -= bytes;
  }
  return 0;
}

bool Pump::IsCold(int file, uint64_t position, uint64_t length, bool strictly) {
  Io& io = io_.Get();
  for (uint64_t at = 0; at < length; at += kSampleBytes) {
    const int resident = io.IsResident(file, position + at);
    if (resident <= 0) return resident == 0 || strictly;
  }
  return length > 0 && io.IsResident(file, position + length - 1) == 0;
}

void Pump::Cancel(double ticket) {
  {
    MutexLock lock(mutex_);
    const auto found = transfers_.find(KeyOf(ticket));
    if (found == transfers_.end()) return;
    if (found->second.state == State::kSending) {
      found->second.cancelled = true;
    } else {
      End(&found->second, -ECANCELED);
    }
  }
  events_.Notify();
}

void* Pump::ThreadMain(void* argument) {
  auto* worker = static_cast<Worker*>(argument);
  NameThisThread("sealog-send");
  worker->pump->Work(worker);
  return nullptr;
}

void Pump::Work(Worker* worker) {
  MutexLock lock(mutex_);
  while (!stopped_) {
    Transfer* transfer = NextQueued();
    if (transfer == nullptr) {
      const int64_t deadline = next_sweep_;
      lock.Unlock();
      const uint64_t key = poller_.Wait(deadline);
      lock.Lock();
      EndStalled();
      transfer = Find(key, State::kWaiting);
    }
    if (transfer != nullptr) TakeTurn(transfer, lock);
    lock.Unlock();
    events_.Notify();
    lock.Lock();
  }
  // One wake-up reaches one thread.
  poller_.Wake();
  worker->ended = true;
  ended_.SignalAll();
}

Pump::Transfer* Pump::Find(uint64_t key, State state) {
  const auto found = transfers_.find(key);
  return found == transfers_.end() || found->second.state != state ? nullptr : &found->second;
}

Pump::Transfer* Pump::NextQueued() {
  const int allowed = std::max(static_cast<int>(workers_.size()) - 1, 1);
  while (cold_turns_ < allowed && !queue_.empty()) {
    Transfer* transfer = Find(queue_.front(), State::kQueued);
    queue_.pop_front();
    if (transfer != nullptr) return transfer;
  }
  return nullptr;
}

bool Pump::Prepare(Transfer* transfer) {
  if (transfer->probed > transfer->position) return false;
  const uint64_t turn = std::min(transfer->left, kTurnBytes);
  const bool cold = IsCold(transfer->file, transfer->position, turn, false);
  transfer->probed = transfer->position + turn;
  transfer->fetches_ahead = transfer->fetches_ahead || cold;
  if (transfer->fetches_ahead) {
    io_.Get().ReadAhead(transfer->file, transfer->position, std::min(transfer->left, 2 * kTurnBytes));
  }
  return cold;
}

void Pump::TakeTurn(Transfer* transfer, MutexLock& lock) {
  transfer->state = State::kSending;
  lock.Unlock();
  const bool cold = Prepare(transfer);
  lock.Lock();
  if (cold && !stopped_ && !transfer->cancelled) {
    const int allowed = std::max(static_cast<int>(workers_.size()) - 1, 1);
    if (cold_turns_ >= allowed) {
      transfer->state = State::kQueued;
      // To be looked at again, as it may have come meanwhile.
      transfer->probed = 0;
      queue_.push_back(KeyOf(transfer->ticket));
      return;
    }
  }
  if (cold) {
    cold_turns_++;
    // Those who wait may not know of the next deadline yet, and this thread may be away for long.
    poller_.Wake();
  }
  const uint64_t before = transfer->sent;
  int status = 0;
  if (!stopped_ && !transfer->cancelled) {
    lock.Unlock();
    status = Send(transfer, transfer->probed - transfer->position);
    lock.Lock();
  }
  if (cold) {
    cold_turns_--;
    // What the turn left over may not have come yet.
    transfer->probed = 0;
  }
  Settle(transfer, status, transfer->sent > before);
}

void Pump::Settle(Transfer* transfer, int status, bool moved) {
  if (status < 0 || transfer->left == 0) return End(transfer, status);
  if (stopped_ || transfer->cancelled) return End(transfer, -ECANCELED);
  const int64_t now = MonotonicMs();
  if (moved) transfer->deadline = now + transfer->stall_ms;
  if (transfer->deadline <= now) return End(transfer, -ETIMEDOUT);
  next_sweep_ = std::min(next_sweep_, transfer->deadline);
  transfer->state = State::kWaiting;
  const int rearmed = poller_.Rearm(transfer->socket, KeyOf(transfer->ticket));
  if (rearmed < 0) End(transfer, rearmed);
}

void Pump::EndStalled() {
  const int64_t now = MonotonicMs();
  if (now < next_sweep_) return;
  int64_t earliest = INT64_MAX;
  std::vector<Transfer*> stalled;
  for (auto& [key, transfer] : transfers_) {
    if (transfer.state == State::kSending) continue;
    if (transfer.deadline <= now) {
      stalled.push_back(&transfer);
    } else {
      earliest = std::min(earliest, transfer.deadline);
    }
  }
  for (Transfer* transfer : stalled) End(transfer, -ETIMEDOUT);
  next_sweep_ = earliest == INT64_MAX ? earliest : std::max(earliest, now + kSweepIntervalMs);
}

void Pump::End(Transfer* transfer, int status) {
  Io& io = io_.Get();
  poller_.Remove(transfer->socket);
  // Closing the duplicate alone would tell the peer nothing while the original is open.
  if (status < 0) io.ShutDownSocket(transfer->socket);
  io.CloseSocket(transfer->socket);
  events_.PushDone(transfer->ticket, status, static_cast<double>(transfer->sent));
  transfers_.erase(KeyOf(transfer->ticket));
}

bool Pump::Stop(int64_t patience_ms) {
  const int64_t deadline = MonotonicMs() + patience_ms;
  MutexLock lock(mutex_);
  stopped_ = true;
  std::vector<Transfer*> idle;
  for (auto& [key, transfer] : transfers_) {
    if (transfer.state == State::kSending) {
      // Its thread ends it, sooner so.
      io_.Get().ShutDownSocket(transfer.socket);
    } else {
      idle.push_back(&transfer);
    }
  }
  for (Transfer* transfer : idle) End(transfer, -ECANCELED);
  if (!workers_.empty()) poller_.Wake();
  bool all_ended = true;
  for (const auto& worker : workers_) {
    while (!worker->ended && ended_.WaitUntil(mutex_, deadline)) {
    }
    all_ended = all_ended && worker->ended;
    if (!worker->ended) {
      pthread_detach(worker->thread);
      continue;
    }
    // Returns at once, but for the thread's last instructions, which need the mutex.
    lock.Unlock();
    pthread_join(worker->thread, nullptr);
    lock.Lock();
  }
  if (all_ended) workers_.clear();
  return all_ended;
}

}  // namespace sealog
