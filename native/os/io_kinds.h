// The kinds of system calls that tests can count and let fail; the names are those of `Testing` in
// lib/kernels/kernels.ts.
#pragma once

#include <cstddef>

namespace sealog {

enum class IoKind : unsigned char {
  kOpen,
  kRead,
  kWrite,
  kDatasync,
  kSync,
  kTruncate,
  kAllocate,
  kRename,
  kUnlink,
  kMkdir,
  kList,
  kSyncDirectory,
  kStat,
  kClose,
  kSendFile,
};

inline constexpr const char* kIoKindNames[] = {"open",     "read",          "write",  "datasync", "sync",
                                               "truncate", "allocate",      "rename", "unlink",   "mkdir",
                                               "list",     "syncDirectory", "stat",   "close",    "sendfile"};
inline constexpr size_t kIoKinds = sizeof kIoKindNames / sizeof kIoKindNames[0];
static_assert(kIoKinds == static_cast<size_t>(IoKind::kSendFile) + 1);

}  // namespace sealog
