#include "read_many.h"

#include <cstring>

#include "read_record.h"
#include "window_check.h"

namespace sealog {

namespace {
// Holds an index interval (4 KiB) and a record of the usual size behind it.
constexpr size_t kReadWindowBytes = 8 * 1024;
}  // namespace

int ReadMany(Io& io, double* numbers, size_t count, uint8_t* bytes, size_t bytes_length) {
  size_t used = 0;
  for (size_t i = 0; i < count; i++) {
    double* row = numbers + i * kManyWidth;
    // Offsets may skip: a row does not say whether its segment is sparse, and the target is verified anyway.
    const RecordQuery query{static_cast<int>(row[kManyFd]),
                            static_cast<uint32_t>(ToUnsigned(row[kManySeed])),
                            true,
                            ToUnsigned(row[kManyPosition]),
                            ToUnsigned(row[kManyEnd]),
                            false,
                            0,
                            row[kManyBatchFirst],
                            ToUnsigned(row[kManyOffset]),
                            kReadWindowBytes};
    LocatedRecord record;
    const size_t room = bytes_length - used;
    int status = kReadNoRoom;
    if (room >= kMinWindowBytes) status = LocateRecord(io, query, bytes + used, room, &record);
    if (status == kReadLarge) status = kReadNoRoom;
    row[kManyStatus] = status;
    if (status != kReadOk) continue;
    const size_t frame_start = used;
    memmove(bytes + used, bytes + used + record.frame_at, static_cast<size_t>(record.frame_bytes));
    row[kManyFrameStart] = static_cast<double>(frame_start);
    row[kManyValueStart] = static_cast<double>(frame_start + record.body.value_start);
    row[kManyValueLength] = record.body.value_length;
    row[kManyBatchFirst] = static_cast<double>(record.batch_first);
    used = frame_start + static_cast<size_t>(record.frame_bytes);
  }
  return 0;
}

}  // namespace sealog
