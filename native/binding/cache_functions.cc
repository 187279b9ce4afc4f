// Raw Node-API with numbers only: `cacheRecord` is called once per record read.
#include <algorithm>

#include "../core/committer.h"
#include "../core/seam.h"
#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace sealog {

namespace {

// The cache of the log of argument 0; null with an exception pending.
TailCache* FindCache(const Arguments& arguments) {
  double handle;
  if (!arguments.Number(0, &handle)) return nullptr;
  CommitLog* log = arguments.GetEnvironment().GetCommitter().Find(handle);
  if (log != nullptr) return &log->cache;
  ThrowMistake(arguments.Env(), "there is no such log");
  return nullptr;
}

napi_value CacheLimitsOf(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 4);
  TailCache* cache = FindCache(arguments);
  double numbers[3];
  if (cache == nullptr || !arguments.Numbers(1, 3, numbers)) return nullptr;
  cache->SetLimits({ToUnsigned(numbers[0]), static_cast<int64_t>(ToUnsigned(numbers[1])), ToUnsigned(numbers[2])},
                   MonotonicMs());
  return nullptr;
}

napi_value CacheRecord(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 4);
  TailCache* cache = FindCache(arguments);
  double offset;
  double position;
  if (cache == nullptr || !arguments.Number(1, &offset) || !arguments.Number(3, &position)) return nullptr;
  void* into = nullptr;
  size_t length = 0;
  if (napi_get_arraybuffer_info(env, arguments[2], &into, &length) != napi_ok) {
    return ThrowMistake(env, "an argument is not an ArrayBuffer");
  }
  const auto at = static_cast<size_t>(std::min(ToUnsigned(position), uint64_t{length}));
  const SharedViews& shared = arguments.GetEnvironment().Shared();
  const int status = cache->Read(ToUnsigned(offset), static_cast<uint8_t*>(into) + at, length - at,
                                 shared.copy_out.data, shared.copy_out.length, shared.out.data);
  napi_value result = nullptr;
  napi_create_int32(env, status, &result);
  return result;
}

napi_value CacheBlock(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 7);
  TailCache* cache = FindCache(arguments);
  double range[3];
  ArrayView<uint8_t> bytes;
  ArrayView<double> numbers;
  ArrayView<uint32_t> table;
  ArrayView<double> unused;
  if (cache == nullptr || !arguments.Numbers(1, 3, range) || !arguments.Bytes(4, &bytes) ||
      !arguments.Doubles(5, &numbers) || !arguments.OptionalTable(6, &table, &unused)) {
    return nullptr;
  }
  if (numbers.length < kScanLength) return ThrowMistake(env, "`numbers` is too short");
  const bool hit = cache->ReadBlock(ToUnsigned(range[0]), ToUnsigned(range[1]), ToUnsigned(range[2]), bytes.data,
                                    bytes.length, table.data, table.length / kScanColumns, numbers.data);
  return MakeNumber(env, hit ? 1 : 0);
}

napi_value CacheDropBelow(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  TailCache* cache = FindCache(arguments);
  double offset;
  if (cache == nullptr || !arguments.Number(1, &offset)) return nullptr;
  return MakeNumber(env, static_cast<double>(cache->DropBelow(ToUnsigned(offset))));
}

napi_value CacheStateOf(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  TailCache* cache = FindCache(arguments);
  ArrayView<double> into;
  if (cache == nullptr || !arguments.Doubles(1, &into)) return nullptr;
  if (into.length < kCacheLength) return ThrowMistake(env, "`numbers` is too short");
  const CacheState state = cache->State(MonotonicMs());
  into.data[kCacheOldest] = static_cast<double>(state.oldest);
  into.data[kCacheEnd] = static_cast<double>(state.end);
  into.data[kCacheRecords] = static_cast<double>(state.records);
  into.data[kCacheBytes] = static_cast<double>(state.bytes);
  std::copy_n(state.evicted, kEvictionReasons, into.data + kCacheEvictedRecords);
  return nullptr;
}

napi_value CacheSweep(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 0);
  const uint64_t bytes = arguments.GetEnvironment().GetCommitter().Caches().Sweep(MonotonicMs());
  return MakeNumber(env, static_cast<double>(bytes));
}

}  // namespace

bool DefineCacheFunctions(napi_env env, napi_value kernels, Environment* environment) {
  const napi_property_descriptor functions[] = {
      Function("cacheLimits", CacheLimitsOf, environment), Function("cacheRecord", CacheRecord, environment),
      Function("cacheBlock", CacheBlock, environment),     Function("cacheDropBelow", CacheDropBelow, environment),
      Function("cacheState", CacheStateOf, environment),   Function("cacheSweep", CacheSweep, environment),
  };
  return napi_define_properties(env, kernels, sizeof functions / sizeof functions[0], functions) == napi_ok;
}

}  // namespace sealog
