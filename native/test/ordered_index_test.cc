// The ordered index against std::map: random histories over keys of many shapes, copies, scans both ways.
#include "../core/ordered_index.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace sealog {
namespace {

using Model = std::map<std::string, double>;
using Random = std::mt19937;
using MakeKey = std::string (*)(Random&);

struct Row {
  std::string key;
  double value;
  bool operator==(const Row&) const = default;
};

// Strings compare their characters as unsigned bytes too.
KeyView View(const std::string& key) { return {reinterpret_cast<const uint8_t*>(key.data()), key.size()}; }

size_t Below(Random& random, size_t limit) { return random() % limit; }

std::string RandomBytes(Random& random, size_t length, unsigned letters) {
  std::string bytes(length, '\0');
  for (char& byte : bytes) byte = static_cast<char>(Below(random, letters) * (255 / (letters - 1)));
  return bytes;
}

// All keys of a range, in pages of a few.
std::vector<Row> ScanAll(const OrderedIndex& index, IndexRange range, size_t page_keys) {
  std::vector<Row> rows;
  std::vector<uint8_t> bytes(OrderedIndex::kMaxKeyBytes);
  std::vector<double> table(2 * page_keys);
  std::string last;
  for (;;) {
    const size_t count = index.Scan(range, page_keys, bytes, table.data());
    if (count == 0) return rows;
    size_t start = 0;
    for (size_t row = 0; row < count; row++) {
      const auto end = static_cast<size_t>(table[2 * row]);
      last.assign(reinterpret_cast<const char*>(bytes.data()) + start, end - start);
      rows.push_back({last, table[2 * row + 1]});
      start = end;
    }
    range.from = View(last);
    range.from_exclusive = true;
  }
}

std::vector<Row> Expected(const Model& model, const IndexRange& range) {
  std::vector<Row> rows;
  const auto inside = [](const std::string& key, KeyView bound, bool below, bool exclusive) {
    if (bound.empty()) return true;
    const std::string text(bound.begin(), bound.end());
    return key == text ? !exclusive : (key < text) == below;
  };
  for (const auto& [key, value] : model) {
    if (inside(key, range.from, range.reverse, range.from_exclusive) &&
        inside(key, range.until, !range.reverse, !range.until_inclusive)) {
      rows.push_back({key, value});
    }
  }
  if (range.reverse) std::reverse(rows.begin(), rows.end());
  return rows;
}

void CheckSame(const OrderedIndex& index, const Model& model) {
  CHECK_EQ(index.Size(), model.size());
  CHECK(ScanAll(index, {}, 64) == Expected(model, {}));
}

void CheckRanges(const OrderedIndex& index, const Model& model, Random& random, MakeKey make_key) {
  for (int i = 0; i < 16; i++) {
    const auto bound = [&]() -> std::string {
      if (Below(random, 4) == 0) return {};
      if (model.empty() || Below(random, 2) == 0) return make_key(random);
      auto entry = model.lower_bound(make_key(random));
      return entry == model.end() ? model.begin()->first : entry->first;
    };
    const std::string from = bound();
    const std::string until = bound();
    const unsigned flags = static_cast<unsigned>(i);
    const IndexRange range{View(from), View(until), (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0};
    CHECK(ScanAll(index, range, 1 + Below(random, 50)) == Expected(model, range));
  }
}

void Step(OrderedIndex& index, Model& model, const std::string& key, bool put, double value) {
  const auto entry = model.find(key);
  const double before = entry == model.end() ? OrderedIndex::kNone : entry->second;
  CHECK_EQ(index.Get(View(key)), before);
  if (put) {
    CHECK_EQ(index.Put(View(key), value), before);
    model[key] = value;
  } else {
    CHECK_EQ(index.Delete(View(key)), before);
    model.erase(key);
  }
}

// Grows, shrinks to nothing and grows again, with a copy taken on the way.
void TestHistory(MakeKey make_key, int steps, uint32_t seed) {
  Random random(seed);
  OrderedIndex index;
  Model model;
  std::unique_ptr<OrderedIndex> copy;
  Model copied;
  for (const size_t puts_of_8 : {7u, 4u, 1u, 7u}) {
    for (int i = 0; i < steps; i++) {
      const bool put = Below(random, 8) < puts_of_8;
      // Deletes of keys that are there, mostly.
      std::string key = make_key(random);
      if (!put && Below(random, 8) != 0) {
        const auto entry = model.lower_bound(key);
        if (entry != model.end()) key = entry->first;
      }
      Step(index, model, key, put, static_cast<double>(i));
    }
    CheckSame(index, model);
    CheckRanges(index, model, random, make_key);
    if (copy != nullptr) {
      CheckSame(*copy, copied);
      for (int i = 0; i < steps / 4; i++) Step(*copy, copied, make_key(random), Below(random, 2) == 0, i);
      CheckSame(*copy, copied);
      CheckSame(index, model);
    }
    copy.reset(index.Copy());
    copied = model;
  }
  while (!model.empty()) {
    auto entry = model.lower_bound(make_key(random));
    if (entry == model.end()) entry = model.begin();
    Step(index, model, std::string(entry->first), false, 0);
  }
  CheckSame(index, model);
  CheckSame(*copy, copied);
  copy->Clear();
  CHECK_EQ(index.Bytes(), 0u);
  Step(index, model, make_key(random), true, 1);
  CheckSame(index, model);
}

std::string Number(Random& random) { return std::to_string(Below(random, 5000)); }
std::string FewLetters(Random& random) { return RandomBytes(random, 1 + Below(random, 12), 2); }
std::string AnyBytes(Random& random) { return RandomBytes(random, 1 + Below(random, 6), 256); }
std::string EveryLength(Random& random) { return RandomBytes(random, 1 + Below(random, 700), 2); }
std::string LongPrefix(Random& random) {
  // Several prefixes, around the longest that a page keeps.
  return std::string(200 + 30 * Below(random, 6), 'p') + std::to_string(Below(random, 900));
}
std::string NestedPrefix(Random& random) { return std::string(1 + Below(random, 1500), 'n'); }
std::string Mixed(Random& random) {
  constexpr MakeKey kKinds[] = {Number, FewLetters, AnyBytes, EveryLength, LongPrefix, NestedPrefix};
  return kKinds[Below(random, 6)](random);
}
std::string Longest(Random& random) {
  std::string key(OrderedIndex::kMaxKeyBytes - Below(random, 3), 'k');
  key[key.size() - 1 - Below(random, 20)] = static_cast<char>('a' + Below(random, 26));
  return key;
}

// Keys in order, or in reverse: `step` coprime to the count gives any order between.
void TestSequence(uint32_t count, uint32_t step, double max_bytes_per_key) {
  OrderedIndex index;
  const auto key_of = [](uint32_t number) {
    std::string key = "user:0000000000";
    for (size_t at = key.size(); number > 0; number /= 10) key[--at] = static_cast<char>('0' + number % 10);
    return key;
  };
  for (uint32_t i = 0, number = 0; i < count; i++, number = (number + step) % count) {
    CHECK_EQ(index.Put(View(key_of(number)), number), OrderedIndex::kNone);
  }
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < count; i++) wrong += index.Get(View(key_of(i))) != i ? 1 : 0;
  CHECK_EQ(wrong, 0u);
  const std::vector<Row> rows = ScanAll(index, {}, 500);
  CHECK_EQ(rows.size(), size_t{count});
  for (uint32_t i = 0; i < rows.size(); i++) wrong += rows[i].value != i || rows[i].key != key_of(i) ? 1 : 0;
  CHECK_EQ(wrong, 0u);
  const double bytes_per_key = static_cast<double>(index.Bytes()) / count;
  std::printf("%u keys of 15 bytes, step %u: %.1f bytes per key\n", count, step, bytes_per_key);
  CHECK(bytes_per_key < max_bytes_per_key);
  for (uint32_t i = 0; i < count; i++) wrong += index.Delete(View(key_of(i))) != i ? 1 : 0;
  CHECK_EQ(wrong, 0u);
  CHECK_EQ(index.Bytes(), 0u);
}

void TestPagesThatEnd() {
  OrderedIndex index;
  Model model;
  for (const char letter : {'a', 'b', 'c'}) Step(index, model, std::string(30000, letter), true, letter);
  std::vector<uint8_t> bytes(OrderedIndex::kMaxKeyBytes);
  double table[6];
  // The third key does not fit.
  CHECK_EQ(index.Scan({}, 3, bytes, table), 2u);
  CHECK_EQ(table[2], 60000.0);
  CHECK_EQ(index.Scan({}, 1, bytes, table), 1u);
  CHECK_EQ(index.Scan({}, 0, bytes, table), 0u);
}

}  // namespace
}  // namespace sealog

int main() {
  using namespace sealog;  // NOLINT
  uint32_t seed = 1;
  for (const MakeKey make_key : {Number, FewLetters, AnyBytes, EveryLength, LongPrefix, NestedPrefix, Mixed}) {
    TestHistory(make_key, 6000, seed++);
  }
  TestHistory(Longest, 60, seed);
  TestSequence(100000, 1, 30);
  TestSequence(100000, 99999, 50);
  TestSequence(100000, 61803, 45);
  TestPagesThatEnd();
  return test::Finish();
}
