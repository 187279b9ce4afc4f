#include "ordered_index_page.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace sealog {

namespace {

constexpr size_t kPrefetchLine = 64;
// Prefix and slots of a page as full as they are on average.
constexpr size_t kPrefetched = 640;

size_t CommonLength(KeyView a, KeyView b) {
  const size_t length = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(length), b.begin()).first -
                             a.begin());
}

uint32_t HeadOf(KeyView suffix) {
  const uint8_t* bytes = suffix.data();
  if (suffix.size() >= 4) {
    return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
  }
  uint32_t head = 0;
  for (size_t i = 0; i < suffix.size(); i++) head |= uint32_t{bytes[i]} << (24 - 8 * i);
  return head;
}

}  // namespace

void* IndexMemory::Take(size_t bytes) {
  void* memory = malloc(bytes);
  if (memory == nullptr) {
    fputs("sealog: out of memory\n", stderr);
    abort();
  }
  bytes_ += bytes;
  return memory;
}

void IndexMemory::Give(void* memory, size_t bytes) {
  bytes_ -= bytes;
  free(memory);
}

IndexPage* IndexPage::Create(IndexMemory& memory, size_t level) {
  static_assert(sizeof(IndexPage) == kHeaderBytes);
  return new (memory.Take(kBytes)) IndexPage(level);
}

IndexPage* IndexPage::Own(IndexMemory& memory, IndexPage* page) {
  if (page->users_ == 1) return page;
  page->users_--;
  auto* copy = new (memory.Take(kBytes)) IndexPage(page->level_);
  memcpy(copy->Base(), page->Base(), kBytes);
  copy->users_ = 1;
  for (size_t entry = 0; entry < copy->count_; entry++) {
    if (!copy->IsLeaf()) copy->Child(entry)->Share();
    if (!copy->IsOutside(entry)) continue;
    const size_t length = copy->KeyLength(entry);
    auto* key = static_cast<uint8_t*>(memory.Take(length));
    memcpy(key, copy->Outside(entry), length);
    copy->SetOutside(entry, key);
  }
  return copy;
}

void IndexPage::Release(IndexMemory& memory, IndexPage* page) {
  if (--page->users_ > 0) return;
  for (size_t entry = 0; entry < page->count_; entry++) {
    if (!page->IsLeaf()) Release(memory, page->Child(entry));
    if (page->IsOutside(entry)) memory.Give(page->Outside(entry), page->KeyLength(entry));
  }
  memory.Give(page, kBytes);
}

void IndexPage::CopyKey(size_t entry, uint8_t* to) const {
  memcpy(to, Prefix().data(), prefix_length_);
  const KeyView suffix = Suffix(entry);
  memcpy(to + prefix_length_, suffix.data(), suffix.size());
}

KeyBytes IndexPage::KeyOf(size_t entry) const {
  KeyBytes key(KeyLength(entry));
  CopyKey(entry, key.data());
  return key;
}

uint8_t* IndexPage::Outside(size_t entry) const {
  uint8_t* key;
  memcpy(&key, Base() + RecordAt(entry) + kPayloadBytes, sizeof key);
  return key;
}

void IndexPage::SetOutside(size_t entry, uint8_t* key) {
  memcpy(Base() + RecordAt(entry) + kPayloadBytes, &key, sizeof key);
}

KeyView IndexPage::Suffix(size_t entry) const {
  const uint8_t* suffix = IsOutside(entry) ? Outside(entry) + prefix_length_ : Base() + RecordAt(entry) + kPayloadBytes;
  return {suffix, Slots()[entry].length};
}

void IndexPage::SetHead(size_t entry) { Slots()[entry].head = HeadOf(Suffix(entry)); }

bool IndexPage::SharesPrefix(KeyView key) const {
  return key.size() >= prefix_length_ && memcmp(key.data(), Prefix().data(), prefix_length_) == 0;
}

// How many slots from `first` on have a smaller head; they are in order. Counted among every kBlock-th slot and then in
// one block: comparisons that do not wait for each other, and no branch that is mispredicted every other time.
size_t IndexPage::SmallerHeads(const Slot* first, size_t count, uint32_t head) {
  constexpr size_t kBlock = 16;
  size_t before = 0;
  if (count < kBlock) {
    for (size_t i = 0; i < count; i++) before += size_t{first[i].head < head};
    return before;
  }
  for (size_t i = kBlock - 1; i < count; i += kBlock) before += size_t{first[i].head < head};
  before = std::min(before * kBlock, count - kBlock);
  size_t more = 0;
  for (size_t i = 0; i < kBlock; i++) more += size_t{first[before + i].head < head};
  return before + more;
}

size_t IndexPage::LowerBound(KeyView key, bool* found) const {
  // What the search will visit, all at once instead of one after the other.
  for (size_t at = kPrefetchLine; at < kPrefetched; at += kPrefetchLine) __builtin_prefetch(Base() + at);
  *found = false;
  const KeyView prefix = Prefix();
  const int order = memcmp(key.data(), prefix.data(), std::min(key.size(), prefix.size()));
  if (order > 0) return count_;
  if (order < 0 || key.size() < prefix.size()) return FirstKey();
  const KeyView suffix = key.subspan(prefix.size());
  const uint32_t head = HeadOf(suffix);
  const Slot* slots = Slots();
  size_t low = FirstKey() + SmallerHeads(slots + FirstKey(), count_ - FirstKey(), head);
  size_t high = low;
  while (high < count_ && slots[high].head == head) high++;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    const KeyView other = Suffix(middle);
    const size_t common = std::min(other.size(), suffix.size());
    const int rest =
        common <= kHeadBytes ? 0 : memcmp(other.data() + kHeadBytes, suffix.data() + kHeadBytes, common - kHeadBytes);
    if (rest == 0 && other.size() == suffix.size()) {
      *found = true;
      return middle;
    }
    if (rest < 0 || (rest == 0 && other.size() < suffix.size())) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

bool IndexPage::IsBehindLast(KeyView key) const {
  const KeyView prefix = Prefix();
  const int order = memcmp(key.data(), prefix.data(), std::min(key.size(), prefix.size()));
  if (order != 0 || key.size() < prefix.size()) return order > 0;
  const KeyView last = Suffix(count_ - 1u);
  const KeyView suffix = key.subspan(prefix.size());
  return std::lexicographical_compare(last.begin(), last.end(), suffix.begin(), suffix.end());
}

size_t IndexPage::ChildFor(KeyView key) const {
  bool found;
  const size_t entry = LowerBound(key, &found);
  return found ? entry : entry - 1;
}

uint8_t* IndexPage::AddSlot(size_t entry, size_t suffix_length, bool outside) {
  heap_ -= static_cast<uint16_t>(RecordBytes(suffix_length, outside));
  Slot* slots = Slots();
  memmove(slots + entry + 1, slots + entry, (count_ - entry) * sizeof(Slot));
  count_++;
  slots[entry].at = static_cast<uint16_t>(heap_ | (outside ? kOutside : 0));
  slots[entry].length = static_cast<uint16_t>(suffix_length);
  return Base() + heap_ + kPayloadBytes;
}

void IndexPage::PlaceKey(IndexMemory& memory, size_t entry, KeyView key) {
  const KeyView suffix = key.subspan(prefix_length_);
  const bool outside = suffix.size() > kMaxInline;
  uint8_t* to = AddSlot(entry, suffix.size(), outside);
  if (outside) {
    auto* copy = static_cast<uint8_t*>(memory.Take(key.size()));
    memcpy(copy, key.data(), key.size());
    SetOutside(entry, copy);
  } else if (!suffix.empty()) {
    memcpy(to, suffix.data(), suffix.size());
  }
  SetHead(entry);
}

void IndexPage::Adopt(IndexMemory& memory, const IndexPage& from, size_t entry) {
  const size_t added = count_;
  const auto payload = from.Payload<uint64_t>(entry);
  if (entry < from.FirstKey()) {
    AddSlot(added, 0, false);
    SetHead(added);
  } else if (from.IsOutside(entry)) {
    AddSlot(added, from.KeyLength(entry) - prefix_length_, true);
    SetOutside(added, from.Outside(entry));
    SetHead(added);
  } else {
    const size_t length = from.KeyLength(entry);
    uint8_t key[kMaxPrefix + kMaxInline];
    from.CopyKey(entry, key);
    PlaceKey(memory, added, {key, length});
  }
  SetPayload(added, payload);
}

void IndexPage::SetPrefix(KeyView prefix) {
  std::copy(prefix.begin(), prefix.end(), Base() + kHeaderBytes);
  prefix_length_ = static_cast<uint16_t>(prefix.size());
  slots_ = static_cast<uint16_t>(kHeaderBytes + (prefix.size() + alignof(Slot) - 1) / alignof(Slot) * alignof(Slot));
  heap_ = kBytes;
}

void IndexPage::Rebuild(IndexMemory& memory, KeyView prefix) {
  alignas(IndexPage) uint8_t copy[kBytes];
  memcpy(copy, Base(), kBytes);
  const auto& before = *reinterpret_cast<const IndexPage*>(copy);
  count_ = 0;
  unused_ = 0;
  SetPrefix(prefix);
  for (size_t entry = 0; entry < before.count_; entry++) Adopt(memory, before, entry);
}

bool IndexPage::MakeRoom(IndexMemory& memory, KeyView key) {
  if (count_ <= FirstKey()) {
    Rebuild(memory, key.first(std::min(key.size(), kMaxPrefix)));
    return true;
  }
  const size_t common = SharesPrefix(key) ? prefix_length_ : CommonLength(Prefix(), key);
  const size_t suffix_length = key.size() - common;
  const size_t needed = sizeof(Slot) + RecordBytes(suffix_length, suffix_length > kMaxInline);
  if (common == prefix_length_) {
    if (needed <= FreeBytes()) return true;
    if (needed > FreeBytes() + unused_) return false;
  } else if (UsedBytes() + count_ * (prefix_length_ - common) + needed > kBytes) {
    return false;
  }
  Rebuild(memory, key.first(common));
  return true;
}

void IndexPage::Remove(IndexMemory& memory, size_t entry) {
  if (entry < FirstKey() && count_ > 1) {
    // The next child takes its place, and loses its key.
    SetChild(entry, Child(entry + 1));
    entry++;
  }
  if (IsOutside(entry)) memory.Give(Outside(entry), KeyLength(entry));
  unused_ += static_cast<uint16_t>(RecordBytesOf(entry));
  Slot* slots = Slots();
  count_--;
  memmove(slots + entry, slots + entry + 1, (count_ - entry) * sizeof(Slot));
}

KeyBytes IndexPage::CommonPrefix(size_t first, size_t last) const {
  if (first > last || last >= count_) return {};
  KeyBytes prefix(Prefix().begin(), Prefix().end());
  const KeyView suffix = Suffix(first);
  const size_t common = std::min(CommonLength(suffix, Suffix(last)), kMaxPrefix - prefix.size());
  prefix.insert(prefix.end(), suffix.begin(), suffix.begin() + static_cast<ptrdiff_t>(common));
  return prefix;
}

size_t IndexPage::Middle() const {
  const size_t half = (UsedBytes() - slots_) / 2;
  size_t entry = 0;
  for (size_t bytes = 0; bytes < half; entry++) bytes += sizeof(Slot) + RecordBytesOf(entry);
  return std::clamp<size_t>(entry, 1, count_ - 1);
}

IndexPage* IndexPage::SplitAt(IndexMemory& memory, size_t entry) {
  IndexPage* right = Create(memory, level_);
  right->SetPrefix(CommonPrefix(entry + FirstKey(), count_ - 1));
  size_t moved = entry;
  if (!IsLeaf()) {
    right->SetFirstChild(Child(entry));
    if (IsOutside(entry)) memory.Give(Outside(entry), KeyLength(entry));
    moved++;
  }
  for (; moved < count_; moved++) right->Adopt(memory, *this, moved);
  count_ = static_cast<uint16_t>(entry);
  Rebuild(memory, CommonPrefix(FirstKey(), entry - 1));
  return right;
}

bool IndexPage::TryMerge(IndexMemory& memory, IndexPage* right, KeyView separator) {
  const KeyBytes first = count_ > FirstKey() ? KeyOf(FirstKey()) : KeyBytes(separator.begin(), separator.end());
  const KeyBytes last = right->count_ > right->FirstKey() ? right->KeyOf(right->count_ - 1u)
                                                          : KeyBytes(separator.begin(), separator.end());
  const size_t common = std::min({CommonLength(first, last), size_t{prefix_length_}, size_t{right->prefix_length_}});
  const auto unfolded = [common](const IndexPage& page) {
    return page.UsedBytes() + page.count_ * (page.prefix_length_ - common);
  };
  const size_t needed = IsLeaf() ? 0 : RecordBytes(separator.size(), separator.size() > kMaxInline);
  if (unfolded(*this) + unfolded(*right) + needed > kMaxMerged) return false;
  Rebuild(memory, KeyView(first).first(common));
  for (size_t entry = 0; entry < right->count_; entry++) {
    if (entry >= right->FirstKey()) {
      Adopt(memory, *right, entry);
    } else {
      const size_t added = count_;
      PlaceKey(memory, added, separator);
      SetChild(added, right->Child(entry));
    }
  }
  right->count_ = 0;
  return true;
}

}  // namespace sealog
