// The newest records of each log in memory: a contiguous stretch that ends where the log ends as committed. Records
// enter in groups, right after their commit, and leave in the same order, whoever reads them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "../os/threading.h"
#include "frame_queue.h"

namespace sealog {

class TailCache;

// What a log's cache may hold; no record: nothing is cached.
struct CacheLimits {
  uint64_t records = 0;
  int64_t age_ms = 0;
  uint64_t bytes = 0;
};

// Why records left, in the order of CACHE_EVICTED_... of lib/kernels/kernels.ts.
enum class Eviction : uint8_t { kRecords = 0, kAge = 1, kBytes = 2, kBudget = 3 };
inline constexpr size_t kEvictionReasons = 4;

// What a block costs besides its frames: this much, and an entry per record.
inline constexpr uint64_t kCachedBlockBytes = 64;
inline constexpr uint64_t kCachedRecordBytes = 8;

// Consecutive records in one allocation of exact size. Never changed once it is filled.
struct CachedBlock {
  // The cache that holds it, and everybody who copies from it.
  std::atomic<uint32_t> users;
  uint32_t records;
  uint64_t first;
  int64_t committed_ms;
  TailCache* owner;
  // Of all blocks of the environment, in the order in which they came; of a chain that is in no cache, `newer` only.
  CachedBlock* older;
  CachedBlock* newer;
  // Follow in the same allocation: where each record's frame starts, and the end; each record's place in its batch; the
  // frames.

  uint32_t* Starts() { return reinterpret_cast<uint32_t*>(this + 1); }
  uint32_t* BatchIndexes() { return Starts() + records + 1; }
  uint8_t* Frames() { return reinterpret_cast<uint8_t*>(this + 1) + (records + 1) * kCachedRecordBytes; }
  uint32_t FrameLength(uint32_t record) { return Starts()[record + 1] - Starts()[record]; }
  uint64_t End() const { return first + records; }
  uint64_t Cost() { return kCachedBlockBytes + records * kCachedRecordBytes + Starts()[records]; }
};

static_assert(sizeof(CachedBlock) + kCachedRecordBytes <= kCachedBlockBytes);

// Blocks that are in no cache; frees them unless somebody still copies from them.
class CachedBlockChain {
 public:
  CachedBlockChain() = default;
  CachedBlockChain(CachedBlockChain&& other) noexcept : head_(other.head_) { other.head_ = nullptr; }
  ~CachedBlockChain();
  CachedBlockChain(const CachedBlockChain&) = delete;
  CachedBlockChain& operator=(const CachedBlockChain&) = delete;
  CachedBlockChain& operator=(CachedBlockChain&& other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }

  CachedBlock* First() const { return head_; }
  void PushFirst(CachedBlock* block) {
    block->newer = head_;
    head_ = block;
  }
  CachedBlock* PopFirst() {
    CachedBlock* block = head_;
    if (block != nullptr) head_ = block->newer;
    return block;
  }

 private:
  CachedBlock* head_ = nullptr;
};

// Copies of the last frames of a group, made before it is known whether the group counts.
struct CachedGroup {
  // Oldest first.
  CachedBlockChain blocks;
  // Which bound left out the first records of the group, if any are missing.
  Eviction bound = Eviction::kRecords;
};

struct CacheState {
  uint64_t oldest = 0;
  uint64_t end = 0;
  uint64_t records = 0;
  uint64_t bytes = 0;
  uint64_t evicted[kEvictionReasons] = {};
};

// What the caches of an environment share. Its mutex is never held over a system call or the copying of many frames.
class TailCaches {
 public:
  explicit TailCaches(uint64_t budget_bytes) : budget_(budget_bytes) {}
  TailCaches(const TailCaches&) = delete;
  TailCaches& operator=(const TailCaches&) = delete;

  // Drops what is too old; returns the bytes that are still cached.
  uint64_t Sweep(int64_t now_ms);

 private:
  friend class TailCache;

  const uint64_t budget_;
  Mutex mutex_;
  uint64_t bytes_ = 0;
  CachedBlock* oldest_ = nullptr;
  CachedBlock* newest_ = nullptr;
  // Caches that hold anything.
  std::vector<TailCache*> filled_;
};

// The cache of one log. Times are of MonotonicMs.
class TailCache {
 public:
  explicit TailCache(TailCaches& shared) : shared_(shared) {}
  ~TailCache();
  TailCache(const TailCache&) = delete;
  TailCache& operator=(const TailCache&) = delete;

  // By the thread that writes groups: `count` frames with offsets from `first` on, which start a batch and end one.
  CachedGroup Copy(FrameCursor frames, uint64_t first, uint32_t count);
  // Takes the group in. What had to go is returned, to be freed where no lock is held.
  CachedBlockChain Add(CachedGroup group, int64_t now_ms);

  // For the loop thread.
  void SetLimits(const CacheLimits& limits, int64_t now_ms);
  CacheState State(int64_t now_ms);
  // How many records it had below `offset`.
  uint64_t DropBelow(uint64_t offset);
  // The value goes to `into` when it fits there and the record has no key, then it returns kReadPlaced; else the frame
  // to `copy_out` and it returns kReadOk, or kReadLarge, or kReadNotFound. `out`: kOut... of seam.h, but for the
  // position.
  int Read(uint64_t offset, uint8_t* into, size_t into_length, uint8_t* copy_out, size_t copy_out_length, double* out);
  // Copies whole batches from `offset` on, below `limit`, of `max_bytes` together or a larger one alone, and lists them
  // in `table`; numbers: kScan... of seam.h. False: not cached, or no room: then kScanNeeded bytes and kScanCount rows
  // are needed.
  bool ReadBlock(uint64_t offset, uint64_t limit, uint64_t max_bytes, uint8_t* bytes, size_t length, uint32_t* table,
                 size_t rows, double* numbers);

 private:
  friend class TailCaches;

  // Searching visits no block: they lie all over memory.
  struct Entry {
    uint64_t first;
    CachedBlock* block;
  };
  // A record of a cached block.
  struct Place {
    size_t block;
    uint32_t record;
  };
  // Whole batches from a place on.
  struct Range {
    uint64_t records = 0;
    uint64_t bytes = 0;
    size_t last_block = 0;
  };

  // With the shared mutex held.
  bool Find(uint64_t offset, Place* out) const;
  Range Measure(Place place, uint64_t limit, uint64_t max_bytes, uint64_t max_records) const;
  void Append(CachedBlock* block, int64_t now_ms);
  // These count what they remove.
  void Evict(Eviction reason, CachedBlockChain* removed);
  void EvictAll(Eviction reason, CachedBlockChain* removed);
  void EvictOld(int64_t now_ms, CachedBlockChain* removed);
  // These return how many records that were.
  uint64_t RemoveOldest(CachedBlockChain* removed);
  uint64_t RemoveBelow(uint64_t offset, CachedBlockChain* removed);
  void Enforce(int64_t now_ms, CachedBlockChain* removed);

  TailCaches& shared_;
  CacheLimits limits_;
  // From `front_` on, oldest first; without memory when there are none.
  std::vector<Entry> blocks_;
  size_t front_ = 0;
  // Its first block may begin with records that are gone.
  uint64_t oldest_ = 0;
  // 0 when nothing is cached.
  uint64_t end_ = 0;
  uint64_t bytes_ = 0;
  uint64_t evicted_[kEvictionReasons] = {};
  // Its place in shared_.filled_.
  size_t filled_at_ = 0;
};

}  // namespace sealog
