// A page of an ordered index. The prefix that its keys share lies in front; slots grow from there, records from the
// back: 8 bytes of payload and what follows the
// prefix in the key, or, where that was long once, a pointer to the whole key. A leaf (level 0) has a key and a
// value per entry. An inner page has a child per entry, and the key of an entry is the lower bound of its child's keys;
// entry 0 has none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace sealog {

using KeyView = std::span<const uint8_t>;
using KeyBytes = std::vector<uint8_t>;

// Memory of the pages of an index and its copies.
class IndexMemory {
 public:
  // Ends the process when there is none.
  void* Take(size_t bytes);
  void Give(void* memory, size_t bytes);
  uint64_t Bytes() const { return bytes_; }

 private:
  uint64_t bytes_ = 0;
};

class IndexPage {
 public:
  static constexpr size_t kBytes = 2048;

  static IndexPage* Create(IndexMemory& memory, size_t level);
  // The page itself, or when others use it a copy that takes its place for the caller.
  static IndexPage* Own(IndexMemory& memory, IndexPage* page);
  // One user less; the last one frees the page and lets go of its children.
  static void Release(IndexMemory& memory, IndexPage* page);
  void Share() { users_++; }
  bool IsShared() const { return users_ > 1; }

  bool IsLeaf() const { return level_ == 0; }
  size_t Level() const { return level_; }
  size_t Count() const { return count_; }
  // The first entry that has a key.
  size_t FirstKey() const { return IsLeaf() ? 0 : 1; }

  double Value(size_t entry) const { return Payload<double>(entry); }
  void SetValue(size_t entry, double value) { SetPayload(entry, value); }
  IndexPage* Child(size_t entry) const { return Payload<IndexPage*>(entry); }
  void SetChild(size_t entry, IndexPage* child) { SetPayload(entry, child); }

  size_t KeyLength(size_t entry) const { return prefix_length_ + Slots()[entry].length; }
  void CopyKey(size_t entry, uint8_t* to) const;
  KeyBytes KeyOf(size_t entry) const;

  // The first entry whose key is not smaller; `found`: it is equal.
  size_t LowerBound(KeyView key, bool* found) const;
  // Whether `key` is above all keys of a leaf, which has some.
  bool IsBehindLast(KeyView key) const;
  // The entry of an inner page whose child has the keys around `key`.
  size_t ChildFor(KeyView key) const;

  // Puts an entry before the one at `entry`, where its key belongs. False: no room; nothing was changed. There is
  // always room for a second key.
  template <typename T>
  bool Insert(IndexMemory& memory, size_t entry, KeyView key, T payload) {
    if (!MakeRoom(memory, key)) return false;
    PlaceKey(memory, entry, key);
    SetPayload(entry, payload);
    return true;
  }
  // The first entry of an inner page, in an empty one.
  void SetFirstChild(IndexPage* child) {
    AddSlot(0, 0, false);
    SetChild(0, child);
    SetHead(0);
  }
  // A key that does not lies before or behind all others.
  bool SharesPrefix(KeyView key) const;
  void Remove(IndexMemory& memory, size_t entry);
  // Moves the entries from `entry` on to a new page on the right. An inner page needs the key of `entry` as the
  // separator before.
  IndexPage* SplitAt(IndexMemory& memory, size_t entry);
  // The entry at which both halves take about the same room; with an entry more, each half has room for it.
  size_t Middle() const;
  // Takes over all entries of the page on the right, which is empty then; `separator`: their lower bound. False: they
  // do not fit with some room to spare.
  bool TryMerge(IndexMemory& memory, IndexPage* right, KeyView separator);
  // Bytes in use.
  size_t UsedBytes() const { return slots_ + count_ * sizeof(Slot) + (kBytes - heap_) - unused_; }

 private:
  struct Slot {
    // The first bytes behind the prefix as a number that sorts alike.
    uint32_t head;
    // Where the record lies, and kOutside.
    uint16_t at;
    // Of the key behind the prefix.
    uint16_t length;
  };

  static constexpr size_t kPayloadBytes = 8;
  static constexpr size_t kHeadBytes = 4;
  static constexpr size_t kMaxPrefix = 255;
  // Keys of which more remains lie outside, and stay there: a page could not hold them all once its prefix is longer.
  static constexpr size_t kMaxInline = 255;
  static constexpr uint16_t kOutside = 0x8000;
  static constexpr size_t kHeaderBytes = 16;
  // A merged page should not be split by the next put.
  static constexpr size_t kMaxMerged = kBytes / 4 * 3;

  explicit IndexPage(size_t level) : level_(static_cast<uint16_t>(level)) {}

  static size_t RecordBytes(size_t suffix_length, bool outside) {
    return kPayloadBytes + (outside ? sizeof(uint8_t*) : suffix_length);
  }
  uint8_t* Base() { return reinterpret_cast<uint8_t*>(this); }
  const uint8_t* Base() const { return reinterpret_cast<const uint8_t*>(this); }
  Slot* Slots() { return reinterpret_cast<Slot*>(Base() + slots_); }
  const Slot* Slots() const { return reinterpret_cast<const Slot*>(Base() + slots_); }
  bool IsOutside(size_t entry) const { return (Slots()[entry].at & kOutside) != 0; }
  size_t RecordAt(size_t entry) const { return Slots()[entry].at & ~kOutside; }
  size_t RecordBytesOf(size_t entry) const { return RecordBytes(Slots()[entry].length, IsOutside(entry)); }
  KeyView Prefix() const { return {Base() + kHeaderBytes, prefix_length_}; }
  size_t FreeBytes() const { return heap_ - slots_ - count_ * sizeof(Slot); }

  template <typename T>
  T Payload(size_t entry) const {
    static_assert(sizeof(T) == kPayloadBytes);
    T payload;
    memcpy(&payload, Base() + RecordAt(entry), sizeof payload);
    return payload;
  }
  template <typename T>
  void SetPayload(size_t entry, T payload) {
    static_assert(sizeof(T) == kPayloadBytes);
    memcpy(Base() + RecordAt(entry), &payload, sizeof payload);
  }

  // The whole key of an entry whose key lies outside.
  uint8_t* Outside(size_t entry) const;
  void SetOutside(size_t entry, uint8_t* key);
  KeyView Suffix(size_t entry) const;
  void SetHead(size_t entry);
  static size_t SmallerHeads(const Slot* first, size_t count, uint32_t head);

  bool MakeRoom(IndexMemory& memory, KeyView key);
  // Makes a slot and a record, whose bytes are for the caller to fill; returns where those of the key go.
  uint8_t* AddSlot(size_t entry, size_t suffix_length, bool outside);
  void PlaceKey(IndexMemory& memory, size_t entry, KeyView key);
  // Appends an entry of another page, whose key begins with this page's prefix; a key outside goes over to this page.
  void Adopt(IndexMemory& memory, const IndexPage& from, size_t entry);
  // Lays the entries out anew behind another prefix, which all keys have.
  void Rebuild(IndexMemory& memory, KeyView prefix);
  void SetPrefix(KeyView prefix);
  // Up to kMaxPrefix bytes that all keys from one entry to another begin with.
  KeyBytes CommonPrefix(size_t first, size_t last) const;

  uint32_t users_ = 1;
  uint16_t level_;
  uint16_t count_ = 0;
  uint16_t prefix_length_ = 0;
  // Where the slots begin, behind the prefix, and the records.
  uint16_t slots_ = kHeaderBytes;
  uint16_t heap_ = kBytes;
  // Bytes between the records.
  uint16_t unused_ = 0;
};

}  // namespace sealog
