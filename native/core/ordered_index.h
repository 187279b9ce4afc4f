// An ordered table in memory from keys (byte strings, compared as unsigned bytes, a prefix before what it begins) to
// numbers: a B+-tree of pages of one size, in which keys lie without the prefix that all keys of their page share.
// Copies of an index share its pages; a page that is shared is copied before it is changed. For one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "ordered_index_page.h"

namespace sealog {

struct IndexRange {
  // Where the scan begins, be it in reverse, and where it ends; empty: unbounded.
  KeyView from;
  KeyView until;
  bool reverse = false;
  bool from_exclusive = false;
  bool until_inclusive = false;
};

class OrderedIndex {
 public:
  static constexpr size_t kMaxKeyBytes = 65535;
  static constexpr double kNone = -1;

  OrderedIndex() : OrderedIndex(std::make_shared<IndexMemory>(), nullptr, 0) {}
  ~OrderedIndex() { Clear(); }
  OrderedIndex(const OrderedIndex&) = delete;
  OrderedIndex& operator=(const OrderedIndex&) = delete;

  // Keys have 1 to kMaxKeyBytes bytes, values are not negative.
  double Get(KeyView key) const;
  // The value that the key had, or kNone.
  double Put(KeyView key, double value);
  double Delete(KeyView key);
  void Clear();
  // An index with the same content, in constant time; the caller's.
  OrderedIndex* Copy() const;

  // Copies up to `limit` keys of the range to `bytes`, one behind the other, and to each row of `table` (2 numbers)
  // where the key ends and its value. A key that does not fit `bytes` ends the scan. Returns the number of keys.
  size_t Scan(const IndexRange& range, size_t limit, std::span<uint8_t> bytes, double* table) const;

  uint64_t Size() const { return size_; }
  // Of this index and all its copies.
  uint64_t Bytes() const { return memory_->Bytes(); }

 private:
  OrderedIndex(std::shared_ptr<IndexMemory> memory, IndexPage* root, uint64_t size)
      : memory_(std::move(memory)), root_(root), size_(size) {}

  // Puts a key behind all others, where the last page has room and is this index's own. False: nothing was changed.
  bool Append(KeyView key, double value);

  const std::shared_ptr<IndexMemory> memory_;
  // Null when there are no keys.
  IndexPage* root_;
  uint64_t size_;
  // The last put added a key behind all others: likely the next one does, too, and needs no search.
  bool ascending_ = false;
};

}  // namespace sealog
