// Raw Node-API with numbers only: a get or put is one call per key.
#include <algorithm>

#include "../core/ordered_index.h"
#include "../core/seam.h"
#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace sealog {

namespace {

// The index of argument 0; null with an exception pending.
OrderedIndex* FindIndex(const Arguments& arguments) {
  double handle;
  if (!arguments.Number(0, &handle)) return nullptr;
  OrderedIndex* index = arguments.GetEnvironment().Indexes().Find(handle);
  if (index == nullptr) ThrowMistake(arguments.Env(), "there is no such index");
  return index;
}

bool IsValue(double number) {
  return number >= 0 && number <= kMaxSafeInteger && static_cast<double>(static_cast<uint64_t>(number)) == number;
}

bool ThrowKeyLength(const Arguments& arguments) {
  ThrowMistake(arguments.Env(), "a key has no such length");
  return false;
}

// `length` bytes of `Shared.keys` from `start` on.
bool GetKey(const Arguments& arguments, size_t start, double length, KeyView* key) {
  const SharedViews& shared = arguments.GetEnvironment().Shared();
  if (!(length >= 1 && length <= OrderedIndex::kMaxKeyBytes)) return ThrowKeyLength(arguments);
  const auto bytes = static_cast<size_t>(length);
  if (start + bytes > shared.keys.length) return ThrowKeyLength(arguments);
  *key = {shared.keys.data + start, bytes};
  return true;
}

bool GetIndexAndKey(const Arguments& arguments, OrderedIndex** index, KeyView* key) {
  double length;
  *index = FindIndex(arguments);
  return *index != nullptr && arguments.Number(1, &length) && GetKey(arguments, 0, length, key);
}

// Tells what the environment's indexes take more, or less, than when it was made.
class MemoryReport {
 public:
  MemoryReport(Environment& environment, const OrderedIndex& index)
      : environment_(environment), index_(index), before_(index.Bytes()) {}
  ~MemoryReport() {
    const uint64_t after = index_.Bytes();
    if (after != before_) environment_.AddIndexBytes(static_cast<int64_t>(after) - static_cast<int64_t>(before_));
  }
  MemoryReport(const MemoryReport&) = delete;
  MemoryReport& operator=(const MemoryReport&) = delete;

 private:
  Environment& environment_;
  const OrderedIndex& index_;
  const uint64_t before_;
};

napi_value CreateIndex(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 0);
  return MakeNumber(env, arguments.GetEnvironment().Indexes().Add(new OrderedIndex()));
}

napi_value CopyIndex(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  const OrderedIndex* index = FindIndex(arguments);
  if (index == nullptr) return nullptr;
  return MakeNumber(env, arguments.GetEnvironment().Indexes().Add(index->Copy()));
}

napi_value DestroyIndex(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  OrderedIndex* index = FindIndex(arguments);
  double handle;
  if (index == nullptr || !arguments.Number(0, &handle)) return nullptr;
  {
    const MemoryReport report(arguments.GetEnvironment(), *index);
    index->Clear();
  }
  arguments.GetEnvironment().Indexes().Remove(handle);
  return nullptr;
}

napi_value IndexPut(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 3);
  OrderedIndex* index;
  KeyView key;
  double value;
  if (!GetIndexAndKey(arguments, &index, &key) || !arguments.Number(2, &value)) return nullptr;
  if (!IsValue(value)) return ThrowMistake(env, "a value is no such number");
  const MemoryReport report(arguments.GetEnvironment(), *index);
  return MakeNumber(env, index->Put(key, value));
}

napi_value IndexGet(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  OrderedIndex* index;
  KeyView key;
  return GetIndexAndKey(arguments, &index, &key) ? MakeNumber(env, index->Get(key)) : nullptr;
}

napi_value IndexDelete(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  OrderedIndex* index;
  KeyView key;
  if (!GetIndexAndKey(arguments, &index, &key)) return nullptr;
  const MemoryReport report(arguments.GetEnvironment(), *index);
  return MakeNumber(env, index->Delete(key));
}

napi_value IndexPutMany(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 4);
  OrderedIndex* index = FindIndex(arguments);
  double count;
  ArrayView<uint8_t> bytes;
  ArrayView<double> table;
  if (index == nullptr || !arguments.Number(1, &count) || !arguments.Bytes(2, &bytes) ||
      !arguments.Doubles(3, &table)) {
    return nullptr;
  }
  if (ToUnsigned(count) > table.length / kIndexColumns) return ThrowMistake(env, "`table` is too short");
  const MemoryReport report(arguments.GetEnvironment(), *index);
  size_t start = 0;
  for (double *row = table.data, *last = row + ToUnsigned(count) * kIndexColumns; row < last; row += kIndexColumns) {
    const uint64_t end = ToUnsigned(row[0]);
    if (end <= start || end - start > OrderedIndex::kMaxKeyBytes || end > bytes.length) {
      return ThrowMistake(env, "a key has no such length");
    }
    const KeyView key{bytes.data + start, static_cast<size_t>(end - start)};
    if (row[1] == OrderedIndex::kNone) {
      row[1] = index->Delete(key);
    } else if (IsValue(row[1])) {
      row[1] = index->Put(key, row[1]);
    } else {
      return ThrowMistake(env, "a value is no such number");
    }
    start = static_cast<size_t>(end);
  }
  return nullptr;
}

napi_value IndexScan(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 7);
  const OrderedIndex* index = FindIndex(arguments);
  // fromLength, untilLength, flags, limit
  double numbers[4];
  ArrayView<uint8_t> bytes;
  ArrayView<double> table;
  if (index == nullptr || !arguments.Numbers(1, 4, numbers) || !arguments.Bytes(5, &bytes) ||
      !arguments.Doubles(6, &table)) {
    return nullptr;
  }
  if (bytes.length < OrderedIndex::kMaxKeyBytes) return ThrowMistake(env, "`bytes` is too short");
  const uint64_t flags = ToUnsigned(numbers[2]);
  IndexRange range;
  if (numbers[0] != 0 && !GetKey(arguments, 0, numbers[0], &range.from)) return nullptr;
  if (numbers[1] != 0 && !GetKey(arguments, range.from.size(), numbers[1], &range.until)) return nullptr;
  range.reverse = (flags & kIndexReverse) != 0;
  range.from_exclusive = (flags & kIndexFromExclusive) != 0;
  range.until_inclusive = (flags & kIndexUntilInclusive) != 0;
  const uint64_t limit = std::min(ToUnsigned(numbers[3]), uint64_t{table.length / kIndexColumns});
  const size_t count = index->Scan(range, static_cast<size_t>(limit), {bytes.data, bytes.length}, table.data);
  return MakeNumber(env, static_cast<double>(count));
}

napi_value IndexClear(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  OrderedIndex* index = FindIndex(arguments);
  if (index == nullptr) return nullptr;
  const MemoryReport report(arguments.GetEnvironment(), *index);
  index->Clear();
  return nullptr;
}

napi_value IndexSize(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  const OrderedIndex* index = FindIndex(arguments);
  return index == nullptr ? nullptr : MakeNumber(env, static_cast<double>(index->Size()));
}

napi_value IndexBytes(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  const OrderedIndex* index = FindIndex(arguments);
  return index == nullptr ? nullptr : MakeNumber(env, static_cast<double>(index->Bytes()));
}

}  // namespace

bool DefineIndexFunctions(napi_env env, napi_value kernels, Environment* environment) {
  const napi_property_descriptor functions[] = {
      Function("createIndex", CreateIndex, environment),   Function("copyIndex", CopyIndex, environment),
      Function("destroyIndex", DestroyIndex, environment), Function("indexPut", IndexPut, environment),
      Function("indexGet", IndexGet, environment),         Function("indexDelete", IndexDelete, environment),
      Function("indexPutMany", IndexPutMany, environment), Function("indexScan", IndexScan, environment),
      Function("indexClear", IndexClear, environment),     Function("indexSize", IndexSize, environment),
      Function("indexBytes", IndexBytes, environment),
  };
  return napi_define_properties(env, kernels, sizeof functions / sizeof functions[0], functions) == napi_ok;
}

}  // namespace sealog
