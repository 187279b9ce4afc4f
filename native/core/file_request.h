#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "../os/io.h"
#include "compact.h"

namespace sealog {

class Decompressors;
class Dictionary;

// FILE_... of lib/kernels/kernels.ts, where operands and results are described.
enum class FileOperation : uint8_t {
  kOpen = 1,
  kClose = 2,
  kRead = 3,
  kWrite = 4,
  kDatasync = 5,
  kSync = 6,
  kTruncate = 7,
  kAllocate = 8,
  kStat = 9,
  kRename = 10,
  kUnlink = 11,
  kMkdir = 12,
  kList = 13,
  kSyncDirectory = 14,
  kEvict = 15,
  kLock = 16,
  kProbeSocket = 17,
  kZeros = 18,
  kScan = 19,
  kWalk = 20,
  kFindGroup = 21,
  kReadMany = 22,
  kStatPath = 23,
  kRender = 24,
  kChecksum = 25,
  kCompact = 26,
  kPack = 27,
  kUnpack = 28,
  kScanBytes = 29,
  kHasOtherUsers = 30,
};

// Work that takes as long as a chunk or slice is large: nothing that somebody waits for should queue behind it.
inline bool IsLongWork(FileOperation operation) {
  return operation == FileOperation::kRender || operation == FileOperation::kChecksum ||
         operation == FileOperation::kCompact;
}

// One request; the memory it points to belongs to the caller and outlives its execution. `table` is the third array of
// a request: u32 rows of a scan, or index entries of a walk and blocks of a pack or unpack (doubles).
struct FileRequest {
  FileOperation operation;
  int fd = -1;
  double a = 0;
  double b = 0;
  uint8_t* bytes = nullptr;
  size_t bytes_length = 0;
  double* numbers = nullptr;
  size_t numbers_length = 0;
  uint32_t* table = nullptr;
  size_t table_length = 0;
  double* entries = nullptr;
  size_t entries_length = 0;
  std::string path;
  std::string path2;
  // Of kCompact; made and freed by the thread that changes indexes.
  IndexVersions versions;
  // For kPack and kUnpack; null: none.
  std::shared_ptr<Dictionary> dictionary;
  // What kUnpack decompresses with; null: it makes a context of its own.
  Decompressors* decompressors = nullptr;
  // When it turns true, long work ends early with -ECANCELED; null: never.
  const std::atomic<bool>* canceled = nullptr;

  // Results: a value >= 0 or -errno, and the names of kList.
  int64_t status = 0;
  std::string text;

  // Memory of the caller is read or written while it executes.
  bool BorrowsMemory() const {
    return bytes != nullptr || numbers != nullptr || table != nullptr || entries != nullptr;
  }
};

// Null when operands fit the operation: arrays that it needs are there and long enough.
const char* CheckFileRequest(const FileRequest& request);
void ExecuteFileRequest(Io& io, FileRequest* request);

}  // namespace sealog
