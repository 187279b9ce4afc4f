#pragma once

#include <node_api.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../core/committer.h"
#include "../core/compression.h"
#include "../core/event_queue.h"
#include "../core/ordered_index_table.h"
#include "../core/pump.h"
#include "../core/request_pool.h"
#include "../os/current_io.h"
#include "../os/faulting_io.h"
#include "../os/posix_io.h"
#include "../os/recording_io.h"
#include "arguments.h"

namespace sealog {

struct Limits {
  int sync_threads;
  int write_threads;
  int reader_threads;
  int seal_threads;
  int archive_threads;
  int send_threads;
  uint64_t cache_bytes;
};

// Memory of lib/kernels/native.ts that stays at its place as long as the environment lives (`Shared`).
struct SharedViews {
  ArrayView<uint8_t> staging;
  ArrayView<double> rows;
  ArrayView<double> events;
  ArrayView<double> out;
  ArrayView<uint8_t> copy_out;
  ArrayView<uint8_t> keys;
};

// A file request with references that keep its arrays alive.
struct BoundRequest final : PooledRequest {
  static constexpr size_t kMaxArrays = 3;
  napi_ref arrays[kMaxArrays] = {};
};

// What the threads use. It may have to outlive its environment, when a thread hangs in a system call for good.
struct Kernel {
  Kernel(const Limits& limits, void (*wake_loop)(void*), void* context)
      : events(wake_loop, context),
        committer(io, events, limits.write_threads, limits.sync_threads, limits.cache_bytes),
        requests(io, events, limits.reader_threads),
        seals(io, events, limits.seal_threads, "sealog-seal", ThreadPriority::kLow),
        archives(io, events, limits.archive_threads, "sealog-archive", ThreadPriority::kLow),
        pump(io, events, limits.send_threads) {}

  RequestPool& PoolFor(FileOperation operation) {
    if (operation == FileOperation::kPack) return archives;
    return IsLongWork(operation) ? seals : requests;
  }

  PosixIo posix;
  RecordingIo recording{posix};
  FaultingIo faulting{recording};
  CurrentIo io{posix};
  EventQueue events;
  Committer committer;
  Decompressors decompressors;
  RequestPool requests;
  // For long work, behind everything else.
  RequestPool seals;
  RequestPool archives;
  Pump pump;
};

// One set of kernels of one thread of JavaScript. All functions are for that thread.
class Environment {
 public:
  // It frees itself when the thread of JavaScript ends. Null, with an exception pending, when Node refuses something.
  static Environment* Create(napi_env env, const Limits& limits, const SharedViews& shared, napi_value wake,
                             const napi_value (&shared_arrays)[6]);

  const SharedViews& Shared() const { return shared_; }
  Committer& GetCommitter() { return kernel_->committer; }
  Pump& GetPump() { return kernel_->pump; }
  Io& GetIo() { return kernel_->io.Get(); }
  OrderedIndexTable& Indexes() { return indexes_; }
  Decompressors& GetDecompressors() { return kernel_->decompressors; }

  double AddDictionary(std::shared_ptr<Dictionary> dictionary);
  // Null: there is none.
  std::shared_ptr<Dictionary> FindDictionary(double handle) const;
  // False: there is none.
  bool RemoveDictionary(double handle) { return dictionaries_.erase(handle) > 0; }
  // Tells the garbage collector, from time to time, what indexes have taken or, negative, given back.
  void AddIndexBytes(int64_t bytes);
  // Frees the versions that a request, which is done, has looked at.
  void ReleaseVersions(FileRequest* request);

  // Whether the event loop stays alive for rows that are to come.
  void SetReferenced(bool referenced);
  // Idempotent. Synchronous functions go on working.
  void Stop();

  // Gives all rows to `wake`. False: it threw, the exception is pending, and the other rows come later.
  bool DeliverEvents();

  // Takes `request` over.
  void StartRequest(BoundRequest* request);
  // False: no such request is under way, and its result is not among the rows being delivered either.
  bool FinishRequest(double ticket, double* status);
  void KeepText(double ticket, std::string text) { texts_[ticket] = std::move(text); }
  std::string TakeText(double ticket);

  // For tests: puts the faulting and recording tables in front from now on.
  Kernel& TestedKernel();

 private:
  Environment(napi_env env, const Limits& limits, const SharedViews& shared)
      : env_(env), shared_(shared), kernel_(new Kernel(limits, WakeLoop, this)) {}
  ~Environment() = default;

  static void WakeLoop(void* environment);
  static void OnWake(napi_env env, napi_value function, void* environment, void* data);
  static void OnCleanup(void* environment);
  // False: `wake` threw.
  bool CallWake(size_t rows);
  void Settle(const EventRow& row);
  void Release(BoundRequest* request);
  EventRow* EventRows() { return reinterpret_cast<EventRow*>(shared_.events.data); }

  const napi_env env_;
  const SharedViews shared_;
  napi_ref wake_ = nullptr;
  napi_threadsafe_function wake_loop_ = nullptr;
  Kernel* const kernel_;
  bool stopped_ = false;
  // A thread was left behind: it may use the kernel and requests for ever.
  bool abandoned_ = false;

  std::unordered_map<double, BoundRequest*> requests_;
  OrderedIndexTable indexes_;
  int64_t unreported_index_bytes_ = 0;
  // Handles are not used again.
  std::unordered_map<double, std::shared_ptr<Dictionary>> dictionaries_;
  double last_dictionary_ = 0;
  // Of lists that are done.
  std::unordered_map<double, std::string> texts_;
  // Rows in `shared.events` that `wake` is looking at; and those of calls of `wake` further up the stack.
  size_t delivering_ = 0;
  std::vector<std::vector<EventRow>> interrupted_;
};

}  // namespace sealog
