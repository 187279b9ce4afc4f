#include "ordered_index.h"

#include <algorithm>

namespace sealog {

namespace {

// What a page has lost to a new one on its right; none when `right` is null.
struct Split {
  IndexPage* right = nullptr;
  // Above all keys of the page, and not above those of `right`.
  KeyBytes separator;
};

// The shortest key above `low` and not above `high`.
KeyBytes ShortestBetween(KeyView low, KeyView high) {
  size_t length = 0;
  while (length < low.size() && low[length] == high[length]) length++;
  return {high.begin(), high.begin() + static_cast<ptrdiff_t>(length) + 1};
}

// The tree below a page; all pages that change are the caller's own when it returns.
class Editor {
 public:
  explicit Editor(IndexMemory& memory) : memory_(memory) {}

  double Put(IndexPage*& page, KeyView key, double value, Split* split) {
    page = IndexPage::Own(memory_, page);
    if (page->IsLeaf()) {
      bool found;
      const size_t entry = page->LowerBound(key, &found);
      if (!found) {
        at_end_ = at_end_ && entry == page->Count();
        Insert(page, entry, key, value, split);
        return OrderedIndex::kNone;
      }
      const double previous = page->Value(entry);
      page->SetValue(entry, value);
      return previous;
    }
    const size_t entry = page->ChildFor(key);
    at_end_ = at_end_ && entry + 1 == page->Count();
    IndexPage* child = page->Child(entry);
    Split child_split;
    const double previous = Put(child, key, value, &child_split);
    page->SetChild(entry, child);
    if (child_split.right != nullptr) Insert(page, entry + 1, child_split.separator, child_split.right, split);
    return previous;
  }

  // After Put of a new key: it is the last one of the tree.
  bool AtEnd() const { return at_end_; }

  // The key must be there. A page without entries is for the caller to release.
  double Delete(IndexPage*& page, KeyView key) {
    page = IndexPage::Own(memory_, page);
    if (page->IsLeaf()) {
      bool found;
      const size_t entry = page->LowerBound(key, &found);
      const double previous = page->Value(entry);
      page->Remove(memory_, entry);
      return previous;
    }
    const size_t entry = page->ChildFor(key);
    IndexPage* child = page->Child(entry);
    const double previous = Delete(child, key);
    page->SetChild(entry, child);
    if (child->Count() == 0) {
      IndexPage::Release(memory_, child);
      page->Remove(memory_, entry);
    } else if (child->UsedBytes() < kMinUsed) {
      if (entry + 1 < page->Count() && Merge(page, entry)) return previous;
      if (entry > 0) Merge(page, entry - 1);
    }
    return previous;
  }

 private:
  // Less is worth a try to merge.
  static constexpr size_t kMinUsed = IndexPage::kBytes / 4;

  void Insert(IndexPage*& page, size_t entry, KeyView key, double value, Split* split) {
    if (page->Insert(memory_, entry, key, value)) return;
    if (entry == page->Count()) {
      // Keys that come in order fill their pages.
      split->right = IndexPage::Create(memory_, 0);
      split->right->Insert(memory_, 0, key, value);
    } else if (!page->SharesPrefix(key)) {
      split->right = page;
      page = IndexPage::Create(memory_, 0);
      page->Insert(memory_, 0, key, value);
    } else {
      const size_t middle = page->Middle();
      split->right = page->SplitAt(memory_, middle);
      if (entry <= middle) {
        page->Insert(memory_, entry, key, value);
      } else {
        split->right->Insert(memory_, entry - middle, key, value);
      }
    }
    split->separator = ShortestBetween(page->KeyOf(page->Count() - 1), split->right->KeyOf(0));
  }

  void Insert(IndexPage*& page, size_t entry, KeyView key, IndexPage* child, Split* split) {
    if (page->Insert(memory_, entry, key, child)) return;
    split->separator.assign(key.begin(), key.end());
    if (entry == page->Count()) {
      split->right = IndexPage::Create(memory_, page->Level());
      split->right->SetFirstChild(child);
    } else if (!page->SharesPrefix(key)) {
      // It comes right behind the first child.
      IndexPage* left = IndexPage::Create(memory_, page->Level());
      left->SetFirstChild(page->Child(0));
      page->SetChild(0, child);
      split->right = page;
      page = left;
    } else {
      const size_t middle = page->Middle();
      split->separator = page->KeyOf(middle);
      split->right = page->SplitAt(memory_, middle);
      if (entry <= middle) {
        page->Insert(memory_, entry, key, child);
      } else {
        split->right->Insert(memory_, entry - middle, key, child);
      }
    }
  }

  // Puts the entries of a child and of the next one together, if they are few.
  bool Merge(IndexPage* page, size_t entry) {
    IndexPage* left = IndexPage::Own(memory_, page->Child(entry));
    page->SetChild(entry, left);
    IndexPage* right = IndexPage::Own(memory_, page->Child(entry + 1));
    page->SetChild(entry + 1, right);
    if (!left->TryMerge(memory_, right, page->KeyOf(entry + 1))) return false;
    IndexPage::Release(memory_, right);
    page->Remove(memory_, entry + 1);
    return true;
  }

  IndexMemory& memory_;
  bool at_end_ = true;
};

// Copies what a scan meets.
class PageFiller {
 public:
  PageFiller(const IndexRange& range, size_t limit, std::span<uint8_t> bytes, double* table)
      : range_(range), limit_(limit), bytes_(bytes), table_(table) {}

  size_t Count() const { return count_; }

  // `bounded`: the scan begins on the way down to `range.from`. False: it has ended.
  bool Forward(const IndexPage* page, bool bounded) {
    bool found = false;
    if (!page->IsLeaf()) {
      for (size_t entry = bounded ? page->ChildFor(range_.from) : 0; entry < page->Count(); entry++) {
        if (!Forward(page->Child(entry), bounded)) return false;
        bounded = false;
      }
      return true;
    }
    size_t entry = bounded ? page->LowerBound(range_.from, &found) : 0;
    if (found && range_.from_exclusive) entry++;
    size_t end = page->Count();
    if (!range_.until.empty()) {
      end = page->LowerBound(range_.until, &found);
      if (found && range_.until_inclusive) end++;
    }
    for (; entry < end; entry++) {
      if (!Take(page, entry)) return false;
    }
    return end == page->Count();
  }

  // Entries are counted from 1 on: what lies before the first one is 0.
  bool Reverse(const IndexPage* page, bool bounded) {
    bool found = false;
    if (!page->IsLeaf()) {
      for (size_t entry = bounded ? page->ChildFor(range_.from) + 1 : page->Count(); entry > 0; entry--) {
        if (!Reverse(page->Child(entry - 1), bounded)) return false;
        bounded = false;
      }
      return true;
    }
    size_t entry = bounded ? page->LowerBound(range_.from, &found) : page->Count();
    if (found && !range_.from_exclusive) entry++;
    size_t end = 0;
    if (!range_.until.empty()) {
      end = page->LowerBound(range_.until, &found);
      if (found && !range_.until_inclusive) end++;
    }
    for (; entry > end; entry--) {
      if (!Take(page, entry - 1)) return false;
    }
    return end == 0;
  }

 private:
  bool Take(const IndexPage* page, size_t entry) {
    const size_t length = page->KeyLength(entry);
    if (count_ == limit_ || length > bytes_.size() - used_) return false;
    page->CopyKey(entry, bytes_.data() + used_);
    used_ += length;
    table_[2 * count_] = static_cast<double>(used_);
    table_[2 * count_ + 1] = page->Value(entry);
    count_++;
    return true;
  }

  const IndexRange& range_;
  const size_t limit_;
  const std::span<uint8_t> bytes_;
  double* const table_;
  size_t count_ = 0;
  size_t used_ = 0;
};

}  // namespace

double OrderedIndex::Get(KeyView key) const {
  const IndexPage* page = root_;
  if (page == nullptr) return kNone;
  while (!page->IsLeaf()) page = page->Child(page->ChildFor(key));
  bool found;
  const size_t entry = page->LowerBound(key, &found);
  return found ? page->Value(entry) : kNone;
}

double OrderedIndex::Put(KeyView key, double value) {
  if (ascending_ && Append(key, value)) return kNone;
  if (root_ == nullptr) root_ = IndexPage::Create(*memory_, 0);
  Split split;
  Editor editor(*memory_);
  const double previous = editor.Put(root_, key, value, &split);
  ascending_ = previous == kNone && editor.AtEnd();
  if (split.right != nullptr) {
    IndexPage* root = IndexPage::Create(*memory_, root_->Level() + 1);
    root->SetFirstChild(root_);
    root->Insert(*memory_, 1, split.separator, split.right);
    root_ = root;
  }
  if (previous == kNone) size_++;
  return previous;
}

bool OrderedIndex::Append(KeyView key, double value) {
  IndexPage* page = root_;
  if (page == nullptr) return false;
  while (!page->IsShared() && !page->IsLeaf()) page = page->Child(page->Count() - 1);
  if (page->IsShared() || !page->IsBehindLast(key) || !page->Insert(*memory_, page->Count(), key, value)) return false;
  size_++;
  return true;
}

double OrderedIndex::Delete(KeyView key) {
  if (Get(key) == kNone) return kNone;
  const double previous = Editor(*memory_).Delete(root_, key);
  if (--size_ == 0) {
    Clear();
    return previous;
  }
  while (root_->Count() == 1 && !root_->IsLeaf()) {
    IndexPage* child = root_->Child(0);
    child->Share();
    IndexPage::Release(*memory_, root_);
    root_ = child;
  }
  return previous;
}

void OrderedIndex::Clear() {
  if (root_ != nullptr) IndexPage::Release(*memory_, root_);
  root_ = nullptr;
  size_ = 0;
}

OrderedIndex* OrderedIndex::Copy() const {
  if (root_ != nullptr) root_->Share();
  return new OrderedIndex(memory_, root_, size_);
}

size_t OrderedIndex::Scan(const IndexRange& range, size_t limit, std::span<uint8_t> bytes, double* table) const {
  PageFiller filler(range, limit, bytes, table);
  if (root_ == nullptr || limit == 0) return 0;
  if (range.reverse) {
    filler.Reverse(root_, !range.from.empty());
  } else {
    filler.Forward(root_, !range.from.empty());
  }
  return filler.Count();
}

}  // namespace sealog
