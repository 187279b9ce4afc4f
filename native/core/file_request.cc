#include "file_request.h"

#include <errno.h>

#include "checksum.h"
#include "find_group.h"
#include "pack.h"
#include "read_many.h"
#include "render.h"
#include "scan.h"
#include "seam.h"
#include "segment_state.h"
#include "unpack.h"
#include "walk.h"
#include "zeros.h"

namespace sealog {

namespace {

constexpr size_t kStatNumbers = 4;
constexpr size_t kChecksumNumbers = 2;

int64_t CopyStat(int status, const FileStat& found, double* numbers) {
  if (status < 0) return status;
  numbers[0] = static_cast<double>(found.size);
  numbers[1] = found.device_major;
  numbers[2] = found.device_minor;
  numbers[3] = static_cast<double>(found.inode);
  return 0;
}

int64_t WriteAll(Io& io, const FileRequest& request) {
  const int status = WriteFull(io, request.fd, request.bytes, request.bytes_length, ToU64(request.a));
  return status < 0 ? status : static_cast<int64_t>(request.bytes_length);
}

int64_t Allocate(Io& io, const FileRequest& request) {
  const uint64_t from = ToU64(request.a);
  const uint64_t to = ToU64(request.b);
  return to <= from ? 0 : io.Allocate(request.fd, from, to - from);
}

int64_t Execute(Io& io, FileRequest* request) {
  const int fd = request->fd;
  const char* path = request->path.c_str();
  const uint64_t a = ToU64(request->a);
  const uint64_t b = ToU64(request->b);
  FileStat found = {};
  switch (request->operation) {
    case FileOperation::kOpen:
      return io.Open(path, static_cast<int>(a), static_cast<int>(b));
    case FileOperation::kClose:
      return io.Close(fd);
    case FileOperation::kRead:
      return ReadFull(io, fd, request->bytes, request->bytes_length, a);
    case FileOperation::kWrite:
      return WriteAll(io, *request);
    case FileOperation::kDatasync:
      return io.Fdatasync(fd);
    case FileOperation::kSync:
      return io.Fsync(fd);
    case FileOperation::kTruncate:
      return io.Ftruncate(fd, a);
    case FileOperation::kAllocate:
      return Allocate(io, *request);
    case FileOperation::kStat:
      return CopyStat(io.Stat(fd, &found), found, request->numbers);
    case FileOperation::kStatPath:
      return CopyStat(io.StatPath(path, &found), found, request->numbers);
    case FileOperation::kRename:
      return io.Rename(path, request->path2.c_str());
    case FileOperation::kUnlink:
      return io.Unlink(path);
    case FileOperation::kMkdir:
      return io.Mkdir(path, static_cast<int>(b));
    case FileOperation::kList:
      return io.List(path, &request->text);
    case FileOperation::kSyncDirectory:
      return io.SyncDirectory(path);
    case FileOperation::kEvict:
      return io.Evict(fd);
    case FileOperation::kHasOtherUsers:
      return io.HasOtherUsers(fd);
    case FileOperation::kLock:
      return io.Lock(fd);
    case FileOperation::kProbeSocket:
      return io.ProbeAbstractSocket(path);
    case FileOperation::kZeros:
      return FindNonZero(io, fd, a, b, request->numbers);
    case FileOperation::kScan:
      return ScanFrames(io, fd, a, b, request->bytes, request->bytes_length, request->numbers, request->table,
                        request->table_length);
    case FileOperation::kWalk:
      return WalkGroups(io, fd, b, request->bytes, request->bytes_length, request->numbers, request->entries,
                        request->entries_length);
    case FileOperation::kFindGroup:
      return FindGroup(io, fd, a, b, request->numbers);
    case FileOperation::kReadMany:
      return ReadMany(io, request->numbers, a, request->bytes, request->bytes_length);
    case FileOperation::kRender:
      return RenderChunk(io, fd, a, b, request->numbers, request->canceled);
    case FileOperation::kChecksum:
      return ChecksumFile(io, fd, a, b, request->numbers, request->canceled);
    case FileOperation::kCompact:
      return CompactFrames(io, fd, a, b, request->numbers, request->versions, request->canceled);
    case FileOperation::kPack:
      return PackFrames(io, fd, a, b, request->numbers, request->entries, request->entries_length,
                        request->dictionary.get(), request->canceled);
    case FileOperation::kUnpack:
      return UnpackBlocks(io, fd, a, b, request->bytes, request->bytes_length, request->numbers, request->entries,
                          request->entries_length, request->dictionary.get(), request->decompressors);
    case FileOperation::kScanBytes:
      ScanBytes(a, b, request->bytes, request->bytes_length, request->numbers, request->table, request->table_length);
      return 0;
  }
  return -EINVAL;
}

const char* NeedNumbers(const FileRequest& request, size_t length) {
  return request.numbers_length >= length ? nullptr : "`numbers` is missing or too short";
}

const char* NeedBytes(const FileRequest& request, size_t length) {
  return request.bytes != nullptr && request.bytes_length >= length ? nullptr : "`bytes` is missing or too short";
}

}  // namespace

const char* CheckFileRequest(const FileRequest& request) {
  const char* mistake = nullptr;
  switch (request.operation) {
    case FileOperation::kOpen:
    case FileOperation::kUnlink:
    case FileOperation::kMkdir:
    case FileOperation::kList:
    case FileOperation::kSyncDirectory:
    case FileOperation::kProbeSocket:
      return request.path.empty() ? "`path` is missing" : nullptr;
    case FileOperation::kRename:
      return request.path.empty() || request.path2.empty() ? "`path` or `path2` is missing" : nullptr;
    case FileOperation::kStatPath:
      return request.path.empty() ? "`path` is missing" : NeedNumbers(request, kStatNumbers);
    case FileOperation::kClose:
    case FileOperation::kDatasync:
    case FileOperation::kSync:
    case FileOperation::kTruncate:
    case FileOperation::kAllocate:
    case FileOperation::kEvict:
    case FileOperation::kHasOtherUsers:
    case FileOperation::kLock:
    // An array without bytes has no address.
    case FileOperation::kRead:
    case FileOperation::kWrite:
      return nullptr;
    case FileOperation::kStat:
      return NeedNumbers(request, kStatNumbers);
    case FileOperation::kZeros:
      return NeedNumbers(request, 1);
    case FileOperation::kScan:
    case FileOperation::kScanBytes:
      mistake = NeedNumbers(request, kScanLength);
      if (mistake != nullptr) return mistake;
      return request.table_length < kScanColumns ? "`table` is missing or too short" : NeedBytes(request, 1);
    case FileOperation::kWalk:
      mistake = NeedNumbers(request, kWalkLength);
      return mistake != nullptr ? mistake : NeedBytes(request, kMinWorkBytes);
    case FileOperation::kFindGroup:
      return NeedNumbers(request, kFindLength);
    case FileOperation::kRender:
      return NeedNumbers(request, kRenderLength);
    case FileOperation::kCompact:
      return NeedNumbers(request, kCompactLength);
    case FileOperation::kChecksum:
      return NeedNumbers(request, kChecksumNumbers);
    case FileOperation::kPack:
      if (request.entries_length < kPackColumns) return "`table` is missing or too short";
      return NeedNumbers(request, kPackLength);
    case FileOperation::kUnpack:
      mistake = NeedNumbers(request, kUnpackLength);
      return mistake != nullptr ? mistake : NeedBytes(request, 1);
    case FileOperation::kReadMany:
      mistake = NeedBytes(request, 1);
      if (mistake != nullptr || ToU64(request.a) == 0) return mistake;
      return request.numbers_length / kManyWidth >= ToU64(request.a) ? nullptr : "`numbers` is missing or too short";
  }
  return "there is no such operation";
}

void ExecuteFileRequest(Io& io, FileRequest* request) { request->status = Execute(io, request); }

}  // namespace sealog
