#include "tail_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "frame_check.h"
#include "seam.h"

namespace sealog {

namespace {

// A block is freed as a whole: small ones leave little in memory that is not cached any more.
constexpr uint64_t kMaxBlockFrameBytes = uint64_t{64} * 1024;
constexpr uint64_t kMinBlocksOfFullCache = 8;

struct FrameToCopy {
  const uint8_t* bytes;
  uint32_t length;
  uint32_t batch_index;
};

uint64_t BlockCost(uint64_t records, uint64_t frame_bytes) {
  return kCachedBlockBytes + records * kCachedRecordBytes + frame_bytes;
}

void Release(CachedBlock* block) {
  if (block->users.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(block);
}

// Null: there is no memory, then less is cached.
CachedBlock* MakeBlock(const FrameToCopy* frames, size_t count, uint64_t frame_bytes, uint64_t first) {
  void* memory = std::malloc(sizeof(CachedBlock) + (count + 1) * kCachedRecordBytes + frame_bytes);
  if (memory == nullptr) return nullptr;
  auto* block = new (memory) CachedBlock{};
  block->users.store(1, std::memory_order_relaxed);
  block->records = static_cast<uint32_t>(count);
  block->first = first;
  uint32_t* starts = block->Starts();
  uint32_t* batch_indexes = block->BatchIndexes();
  uint8_t* bytes = block->Frames();
  uint32_t at = 0;
  for (size_t i = 0; i < count; i++) {
    starts[i] = at;
    batch_indexes[i] = frames[i].batch_index;
    std::memcpy(bytes + at, frames[i].bytes, frames[i].length);
    at += frames[i].length;
  }
  starts[count] = at;
  return block;
}

RecordBody BodyOf(const uint8_t* frame, const FrameHeader& header) {
  RecordBody body{};
  ParseRecordBody(header, frame + kFrameBodyAt, &body);
  return body;
}

}  // namespace

CachedBlockChain::~CachedBlockChain() {
  while (CachedBlock* block = PopFirst()) Release(block);
}

uint64_t TailCaches::Sweep(int64_t now_ms) {
  CachedBlockChain removed;
  MutexLock lock(mutex_);
  // Backwards: a cache that gets empty leaves its place to the last one.
  for (size_t i = filled_.size(); i-- > 0;) filled_[i]->EvictOld(now_ms, &removed);
  return bytes_;
}

TailCache::~TailCache() {
  CachedBlockChain removed;
  MutexLock lock(shared_.mutex_);
  EvictAll(Eviction::kRecords, &removed);
}

CachedGroup TailCache::Copy(FrameCursor frames, uint64_t first, uint32_t count) {
  CachedGroup group;
  CacheLimits limits;
  {
    MutexLock lock(shared_.mutex_);
    limits = limits_;
  }
  if (limits.records == 0) return group;
  limits.bytes = std::min(limits.bytes, shared_.budget_);

  const uint64_t wanted = std::min<uint64_t>(count, limits.records);
  std::vector<FrameToCopy> kept;
  kept.reserve(wanted);
  uint32_t batch_index = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t length;
    const uint8_t* frame = frames.Next(&length);
    if (i >= count - wanted) kept.push_back({frame, static_cast<uint32_t>(length), batch_index});
    batch_index = (frame[kFrameFlagsAt] & kFlagBatchContinues) != 0 ? batch_index + 1 : 0;
  }

  // From the last record back, as many as fit.
  const uint64_t max_block = std::min(kMaxBlockFrameBytes, limits.bytes / kMinBlocksOfFullCache);
  uint64_t total = 0;
  size_t end = kept.size();
  while (end > 0) {
    size_t begin = end;
    uint64_t bytes = 0;
    while (begin > 0) {
      const uint64_t with_next = bytes + kept[begin - 1].length;
      if (begin < end && with_next > max_block) break;
      if (total + BlockCost(end - begin + 1, with_next) > limits.bytes) break;
      bytes = with_next;
      begin--;
    }
    if (begin == end) break;
    CachedBlock* block = MakeBlock(&kept[begin], end - begin, bytes, first + (count - kept.size()) + begin);
    if (block == nullptr) break;
    group.blocks.PushFirst(block);
    total += block->Cost();
    end = begin;
  }
  if (end > 0) group.bound = Eviction::kBytes;
  return group;
}

CachedBlockChain TailCache::Add(CachedGroup group, int64_t now_ms) {
  CachedBlockChain removed;
  MutexLock lock(shared_.mutex_);
  const CachedBlock* first = group.blocks.First();
  if (first == nullptr || first->first != end_) EvictAll(group.bound, &removed);
  while (CachedBlock* block = group.blocks.PopFirst()) Append(block, now_ms);
  Enforce(now_ms, &removed);
  return removed;
}

void TailCache::SetLimits(const CacheLimits& limits, int64_t now_ms) {
  CachedBlockChain removed;
  MutexLock lock(shared_.mutex_);
  limits_ = limits;
  Enforce(now_ms, &removed);
}

CacheState TailCache::State(int64_t now_ms) {
  CachedBlockChain removed;
  MutexLock lock(shared_.mutex_);
  EvictOld(now_ms, &removed);
  CacheState state;
  if (!blocks_.empty()) {
    state.oldest = oldest_;
    state.end = end_;
    state.records = end_ - oldest_;
    state.bytes = bytes_;
  }
  std::copy_n(evicted_, kEvictionReasons, state.evicted);
  return state;
}

uint64_t TailCache::DropBelow(uint64_t offset) {
  CachedBlockChain removed;
  MutexLock lock(shared_.mutex_);
  return RemoveBelow(offset, &removed);
}

int TailCache::Read(uint64_t offset, uint8_t* into, size_t into_length, uint8_t* copy_out, size_t copy_out_length,
                    double* out) {
  MutexLock lock(shared_.mutex_);
  Place place;
  if (!Find(offset, &place)) return kReadNotFound;
  CachedBlock* block = blocks_[place.block].block;
  const uint8_t* frame = block->Frames() + block->Starts()[place.record];
  const FrameHeader header = LoadFrameHeader(frame);
  const RecordBody body = BodyOf(frame, header);
  const bool placed = !body.has_key && body.value_length <= into_length;
  if (placed) {
    if (body.value_length > 0) std::memcpy(into, frame + body.value_start, body.value_length);
  } else {
    const uint32_t length = block->FrameLength(place.record);
    if (length > copy_out_length) return kReadLarge;
    std::memcpy(copy_out, frame, length);
  }
  out[kOutValueStart] = body.value_start;
  out[kOutValueLength] = body.value_length;
  out[kOutKeyStart] = body.key_start;
  out[kOutKeyLength] = body.has_key ? body.key_length : -1.0;
  out[kOutType] = header.type;
  out[kOutTimestamp] = static_cast<double>(header.timestamp);
  out[kOutBatchFirst] = static_cast<double>(offset - block->BatchIndexes()[place.record]);
  return placed ? kReadPlaced : kReadOk;
}

bool TailCache::ReadBlock(uint64_t offset, uint64_t limit, uint64_t max_bytes, uint8_t* bytes, size_t length,
                          uint32_t* table, size_t rows, double* numbers) {
  numbers[kScanCount] = numbers[kScanNeeded] = 0;
  std::vector<CachedBlock*> blocks;
  Place place;
  Range range;
  {
    MutexLock lock(shared_.mutex_);
    if (offset >= limit || !Find(offset, &place)) return false;
    range = Measure(place, std::min(limit, end_), max_bytes, rows);
    if (range.bytes <= length && range.records <= rows) {
      blocks.reserve(range.last_block - place.block + 1);
      for (size_t i = place.block; i <= range.last_block; i++) {
        blocks.push_back(blocks_[i].block);
        blocks_[i].block->users.fetch_add(1, std::memory_order_relaxed);
      }
    }
  }
  numbers[kScanCount] = static_cast<double>(range.records);
  if (blocks.empty()) {
    numbers[kScanNeeded] = static_cast<double>(range.bytes);
    return false;
  }

  uint64_t left = range.records;
  uint32_t at = 0;
  uint32_t record = place.record;
  uint32_t* row = table;
  for (CachedBlock* block : blocks) {
    const auto end = static_cast<uint32_t>(std::min<uint64_t>(block->records, record + left));
    const uint32_t from = block->Starts()[record];
    const uint32_t copied = block->Starts()[end] - from;
    std::memcpy(bytes + at, block->Frames() + from, copied);
    for (; record < end; record++, left--, row += kScanColumns) {
      const uint32_t start = at + block->Starts()[record] - from;
      const RecordBody body = BodyOf(bytes + start, LoadFrameHeader(bytes + start));
      row[0] = start;
      row[1] = start + body.value_start;
      row[2] = body.value_length;
      row[3] = block->BatchIndexes()[record];
    }
    at += copied;
    record = 0;
    Release(block);
  }
  numbers[kScanNextOffset] = static_cast<double>(offset + range.records);
  return true;
}

bool TailCache::Find(uint64_t offset, Place* out) const {
  if (offset < oldest_ || offset >= end_) return false;
  // Groups of one writer are often of about one size.
  const uint64_t first = blocks_[front_].first;
  size_t at = front_ + static_cast<size_t>((offset - first) * (blocks_.size() - front_) / (end_ - first));
  if (blocks_[at].first > offset || (at + 1 < blocks_.size() && blocks_[at + 1].first <= offset)) {
    const auto behind = std::upper_bound(blocks_.begin() + static_cast<ptrdiff_t>(front_), blocks_.end(), offset,
                                         [](uint64_t wanted, const Entry& entry) { return wanted < entry.first; });
    at = static_cast<size_t>(behind - blocks_.begin()) - 1;
  }
  *out = {at, static_cast<uint32_t>(offset - blocks_[at].first)};
  return true;
}

TailCache::Range TailCache::Measure(Place place, uint64_t limit, uint64_t max_bytes, uint64_t max_records) const {
  Range whole;
  Range walked;
  walked.last_block = place.block;
  CachedBlock* block = blocks_[place.block].block;
  uint64_t offset = block->first + place.record;
  for (;;) {
    walked.bytes += block->FrameLength(place.record);
    walked.records++;
    if (whole.records > 0 && (walked.bytes > max_bytes || walked.records > max_records)) return whole;
    offset++;
    if (offset == limit) return walked;
    const size_t last_block = place.block;
    if (++place.record == block->records) {
      block = blocks_[++place.block].block;
      place.record = 0;
    }
    if (block->BatchIndexes()[place.record] == 0) {
      walked.last_block = last_block;
      whole = walked;
      if (walked.bytes >= max_bytes) return whole;
    }
    walked.last_block = place.block;
  }
}

void TailCache::Append(CachedBlock* block, int64_t now_ms) {
  if (blocks_.empty()) {
    oldest_ = block->first;
    filled_at_ = shared_.filled_.size();
    shared_.filled_.push_back(this);
  }
  block->owner = this;
  block->committed_ms = now_ms;
  block->older = shared_.newest_;
  block->newer = nullptr;
  (shared_.newest_ == nullptr ? shared_.oldest_ : shared_.newest_->newer) = block;
  shared_.newest_ = block;
  bytes_ += block->Cost();
  shared_.bytes_ += block->Cost();
  blocks_.push_back({block->first, block});
  end_ = block->End();
}

void TailCache::Evict(Eviction reason, CachedBlockChain* removed) {
  evicted_[static_cast<size_t>(reason)] += RemoveOldest(removed);
}

void TailCache::EvictAll(Eviction reason, CachedBlockChain* removed) {
  while (!blocks_.empty()) Evict(reason, removed);
}

uint64_t TailCache::RemoveOldest(CachedBlockChain* removed) {
  CachedBlock* block = blocks_[front_].block;
  const uint64_t records = block->End() - oldest_;
  oldest_ = block->End();
  bytes_ -= block->Cost();
  shared_.bytes_ -= block->Cost();
  (block->older == nullptr ? shared_.oldest_ : block->older->newer) = block->newer;
  (block->newer == nullptr ? shared_.newest_ : block->newer->older) = block->older;
  removed->PushFirst(block);

  if (++front_ == blocks_.size()) {
    std::vector<Entry>().swap(blocks_);
    end_ = 0;
    front_ = 0;
    shared_.filled_.back()->filled_at_ = filled_at_;
    shared_.filled_[filled_at_] = shared_.filled_.back();
    shared_.filled_.pop_back();
    if (shared_.filled_.empty()) std::vector<TailCache*>().swap(shared_.filled_);
  } else if (front_ * 2 > blocks_.size()) {
    blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<ptrdiff_t>(front_));
    front_ = 0;
  }
  return records;
}

uint64_t TailCache::RemoveBelow(uint64_t offset, CachedBlockChain* removed) {
  uint64_t records = 0;
  while (!blocks_.empty() && blocks_[front_].block->End() <= offset) records += RemoveOldest(removed);
  if (blocks_.empty() || oldest_ >= offset) return records;
  records += offset - oldest_;
  oldest_ = offset;
  return records;
}

void TailCache::EvictOld(int64_t now_ms, CachedBlockChain* removed) {
  while (!blocks_.empty() && now_ms - blocks_[front_].block->committed_ms >= limits_.age_ms)
    Evict(Eviction::kAge, removed);
}

void TailCache::Enforce(int64_t now_ms, CachedBlockChain* removed) {
  if (limits_.records == 0) EvictAll(Eviction::kRecords, removed);
  EvictOld(now_ms, removed);
  if (!blocks_.empty() && end_ - oldest_ > limits_.records) {
    evicted_[static_cast<size_t>(Eviction::kRecords)] += RemoveBelow(end_ - limits_.records, removed);
  }
  while (bytes_ > limits_.bytes) Evict(Eviction::kBytes, removed);
  while (shared_.bytes_ > shared_.budget_) shared_.oldest_->owner->Evict(Eviction::kBudget, removed);
}

}  // namespace sealog
