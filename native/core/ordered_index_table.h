// The ordered indexes of an environment by handle.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ordered_index.h"
#include "seam.h"

namespace sealog {

// A handle is a slot and its generation, so that one that was given back is not mistaken for the slot's next index.
class OrderedIndexTable {
 public:
  double Add(OrderedIndex* index) {
    uint32_t slot = static_cast<uint32_t>(slots_.size());
    if (free_.empty()) {
      slots_.push_back({});
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].index.reset(index);
    return static_cast<double>(uint64_t{slots_[slot].generation} << kSlotBits | slot);
  }

  // Null: there is none.
  OrderedIndex* Find(double handle) const {
    if (!(handle >= 0)) return nullptr;
    const uint64_t number = ToUnsigned(handle);
    const uint64_t slot = number & ((uint64_t{1} << kSlotBits) - 1);
    return slot < slots_.size() && slots_[slot].generation == number >> kSlotBits ? slots_[slot].index.get() : nullptr;
  }

  // `handle` is that of an index.
  void Remove(double handle) {
    const auto slot = static_cast<uint32_t>(static_cast<uint64_t>(handle) & ((uint64_t{1} << kSlotBits) - 1));
    slots_[slot].index.reset();
    slots_[slot].generation++;
    free_.push_back(slot);
  }

 private:
  struct Slot {
    std::unique_ptr<OrderedIndex> index;
    uint32_t generation = 0;
  };

  static constexpr unsigned kSlotBits = 20;

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace sealog
