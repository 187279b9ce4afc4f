// The numbers of lib/kernels/numbers.ts that the core reads and writes; the comments that explain them are there.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealog {

inline constexpr double kMaxSafeInteger = 9007199254740991.0;

// A number of JavaScript as a position, offset or count: what is no such thing (negative, NaN) becomes 0, and Infinity
// the largest safe integer.
inline uint64_t ToUnsigned(double number) {
  if (!(number > 0)) return 0;
  return static_cast<uint64_t>(number < kMaxSafeInteger ? number : kMaxSafeInteger);
}

inline constexpr size_t kStateFd = 0;
inline constexpr size_t kStateCommittedFd = 1;
inline constexpr size_t kStateSeed = 2;
inline constexpr size_t kStatePosition = 3;
inline constexpr size_t kStateAllocated = 4;
inline constexpr size_t kStateSegmentBytes = 5;
inline constexpr size_t kStateNextOffset = 6;
inline constexpr size_t kStateChain = 7;
inline constexpr size_t kStateEpoch = 8;
inline constexpr size_t kStateSyncedOffset = 9;
inline constexpr size_t kStateRunningTime = 10;
inline constexpr size_t kStateMinTime = 11;
inline constexpr size_t kStateMaxTime = 12;
inline constexpr size_t kStateChunkBytes = 13;
inline constexpr size_t kStateChunks = 14;
inline constexpr size_t kStateChunkPayload = 15;
inline constexpr size_t kStateChunkRecords = 16;
inline constexpr size_t kStateLastIndexed = 17;
inline constexpr size_t kStateIndexInterval = 18;
inline constexpr size_t kStateBaseOffset = 19;
inline constexpr size_t kStateLogSeed = 20;
inline constexpr size_t kStateMarked = 21;
inline constexpr size_t kStateMaxRecordBytes = 22;
inline constexpr size_t kStateSparse = 23;
inline constexpr size_t kStateRecords = 24;
inline constexpr size_t kStateLength = 28;

inline constexpr int kStopEnd = 0;
inline constexpr int kStopTableFull = 1;
inline constexpr int kStopChecksum = 2;
inline constexpr int kStopFraming = 3;
inline constexpr int kStopOrder = 4;
inline constexpr int kStopNewer = 5;
inline constexpr int kStopFooter = 6;
inline constexpr int kStopZero = 7;
inline constexpr int kStopLarge = 8;
inline constexpr int kStopFull = 9;

inline constexpr size_t kScanColumns = 4;
inline constexpr size_t kScanSeed = 0;
inline constexpr size_t kScanOffset = 1;
inline constexpr size_t kScanBatchFirst = 2;
inline constexpr size_t kScanFrom = 3;
inline constexpr size_t kScanMaxRecord = 4;
inline constexpr size_t kScanSparse = 5;
inline constexpr size_t kScanCount = 6;
inline constexpr size_t kScanNextPosition = 7;
inline constexpr size_t kScanNextOffset = 8;
inline constexpr size_t kScanNextBatchFirst = 9;
inline constexpr size_t kScanStop = 10;
inline constexpr size_t kScanNeeded = 11;
inline constexpr size_t kScanBatchEnd = 12;
inline constexpr size_t kScanLength = 16;

inline constexpr size_t kWalkStop = kStateLength;
inline constexpr size_t kWalkStopPosition = kStateLength + 1;
inline constexpr size_t kWalkGroups = kStateLength + 2;
inline constexpr size_t kWalkMarks = kStateLength + 3;
inline constexpr size_t kWalkLastSynced = kStateLength + 4;
inline constexpr size_t kWalkLastCommit = kStateLength + 5;
inline constexpr size_t kWalkLastEpoch = kStateLength + 6;
inline constexpr size_t kWalkEntries = kStateLength + 7;
inline constexpr size_t kWalkNewer = kStateLength + 8;
inline constexpr size_t kWalkMaxSynced = kStateLength + 9;
inline constexpr size_t kWalkLength = kStateLength + 12;
inline constexpr size_t kEntryWidth = 4;
inline constexpr size_t kMinWorkBytes = 64 * 1024;

inline constexpr size_t kFindSeed = 0;
inline constexpr size_t kFindMaxRecord = 1;
inline constexpr size_t kFindGroupStart = 2;
inline constexpr size_t kFindCommitPosition = 3;
inline constexpr size_t kFindFirstOffset = 4;
inline constexpr size_t kFindRecords = 5;
inline constexpr size_t kFindSyncedOffset = 6;
inline constexpr size_t kFindEpoch = 7;
inline constexpr size_t kFindPrevChain = 8;
inline constexpr size_t kFindChain = 9;
inline constexpr size_t kFindEndOffset = 10;
inline constexpr size_t kFindLength = 12;

// Columns of a row of ReadMany.
inline constexpr size_t kManyFd = 0;
inline constexpr size_t kManySeed = 1;
inline constexpr size_t kManyPosition = 2;
inline constexpr size_t kManyEnd = 3;
inline constexpr size_t kManyOffset = 4;
inline constexpr size_t kManyBatchFirst = 5;
inline constexpr size_t kManyStatus = 6;
inline constexpr size_t kManyValueStart = 7;
inline constexpr size_t kManyValueLength = 8;
inline constexpr size_t kManyFrameStart = 9;
inline constexpr size_t kManyWidth = 10;

inline constexpr int kReadOk = 0;
inline constexpr int kReadNotFound = 1;
inline constexpr int kReadChecksum = 2;
inline constexpr int kReadLarge = 3;
inline constexpr int kReadNewer = 4;
inline constexpr int kReadNoRoom = 5;
inline constexpr int kReadPlaced = 6;

// Bits of ReadRecord's flags.
inline constexpr uint32_t kReadSparse = 1;
inline constexpr uint32_t kReadResident = 2;

inline constexpr size_t kOutFramePosition = 0;
inline constexpr size_t kOutFrameBytes = 1;
inline constexpr size_t kOutValueStart = 2;
inline constexpr size_t kOutValueLength = 3;
inline constexpr size_t kOutKeyStart = 4;
inline constexpr size_t kOutKeyLength = 5;
inline constexpr size_t kOutType = 6;
inline constexpr size_t kOutTimestamp = 7;
inline constexpr size_t kOutBatchFirst = 8;
inline constexpr size_t kOutLength = 16;

inline constexpr int kFormJson = 1;
inline constexpr int kFormNdjson = 2;
inline constexpr int kFormRaw = 3;

inline constexpr size_t kRenderSeed = 0;
inline constexpr size_t kRenderMaxRecord = 1;
inline constexpr size_t kRenderSparse = 2;
inline constexpr size_t kRenderFrom = 3;
inline constexpr size_t kRenderOffset = 4;
inline constexpr size_t kRenderBatchFirst = 5;
inline constexpr size_t kRenderForm = 6;
inline constexpr size_t kRenderChunkBytes = 7;
inline constexpr size_t kRenderContentFd = 8;
inline constexpr size_t kRenderPositionsFd = 9;
inline constexpr size_t kRenderCount = 10;
inline constexpr size_t kRenderLast = 11;
inline constexpr size_t kRenderBytes = 12;
inline constexpr size_t kRenderCrc = 13;
inline constexpr size_t kRenderPositionsCrc = 14;
inline constexpr size_t kRenderPayload = 15;
inline constexpr size_t kRenderStop = 16;
inline constexpr size_t kRenderNextPosition = 17;
inline constexpr size_t kRenderNextOffset = 18;
inline constexpr size_t kRenderLength = 20;
inline constexpr uint64_t kRenderPositionsStart = 128;

inline constexpr size_t kCompactIndex = 0;
inline constexpr size_t kCompactSeed = 1;
inline constexpr size_t kCompactMaxRecord = 2;
inline constexpr size_t kCompactSparse = 3;
inline constexpr size_t kCompactOffset = 4;
inline constexpr size_t kCompactSliceBytes = 5;
inline constexpr size_t kCompactTombstonesBefore = 6;
inline constexpr size_t kCompactOutFd = 7;
inline constexpr size_t kCompactOutSeed = 8;
inline constexpr size_t kCompactOutEpoch = 9;
inline constexpr size_t kCompactOutPosition = 10;
inline constexpr size_t kCompactOutChain = 11;
inline constexpr size_t kCompactRunningTime = 12;
inline constexpr size_t kCompactReadRecords = 13;
inline constexpr size_t kCompactReadBytes = 14;
inline constexpr size_t kCompactKeptRecords = 15;
inline constexpr size_t kCompactKeptBytes = 16;
inline constexpr size_t kCompactKeptTombstones = 17;
inline constexpr size_t kCompactFirstOffset = 18;
inline constexpr size_t kCompactLastOffset = 19;
inline constexpr size_t kCompactMinTime = 20;
inline constexpr size_t kCompactMaxTime = 21;
inline constexpr size_t kCompactStop = 22;
inline constexpr size_t kCompactNextPosition = 23;
inline constexpr size_t kCompactNextOffset = 24;
inline constexpr size_t kCompactLength = 26;
inline constexpr size_t kPackSeed = 0;
inline constexpr size_t kPackMaxRecord = 1;
inline constexpr size_t kPackSparse = 2;
inline constexpr size_t kPackOutFd = 3;
inline constexpr size_t kPackLevel = 4;
inline constexpr size_t kPackBlockBytes = 5;
inline constexpr size_t kPackDictionary = 6;
inline constexpr size_t kPackOffset = 7;
inline constexpr size_t kPackBatchFirst = 8;
inline constexpr size_t kPackOutPosition = 9;
inline constexpr size_t kPackRecords = 10;
inline constexpr size_t kPackCrc = 11;
inline constexpr size_t kPackCount = 12;
inline constexpr size_t kPackNextPosition = 13;
inline constexpr size_t kPackStop = 14;
inline constexpr size_t kPackLength = 16;
// Of a row of blocks.
inline constexpr size_t kPackBlockPosition = 0;
inline constexpr size_t kPackBlockFrameBytes = 1;
inline constexpr size_t kPackBlockOffset = 2;
inline constexpr size_t kPackBlockBatchFirst = 3;
inline constexpr size_t kPackBlockOutPosition = 4;
inline constexpr size_t kPackBlockOutBytes = 5;
inline constexpr size_t kPackColumns = 6;

inline constexpr size_t kUnpackSeed = 0;
inline constexpr size_t kUnpackDictionary = 1;
inline constexpr size_t kUnpackCount = 2;
inline constexpr size_t kUnpackLength = 3;
// Of a row of blocks.
inline constexpr size_t kUnpackBlockFrameBytes = 0;
inline constexpr size_t kUnpackBlockPackedBytes = 1;
inline constexpr size_t kUnpackColumns = 2;
inline constexpr int kUnpackDamaged = 1;

inline constexpr size_t kCacheOldest = 0;
inline constexpr size_t kCacheEnd = 1;
inline constexpr size_t kCacheRecords = 2;
inline constexpr size_t kCacheBytes = 3;
inline constexpr size_t kCacheEvictedRecords = 4;
inline constexpr size_t kCacheEvictedAge = 5;
inline constexpr size_t kCacheEvictedBytes = 6;
inline constexpr size_t kCacheEvictedBudget = 7;
inline constexpr size_t kCacheLength = 8;

inline constexpr int kSentAtOnce = 1;

inline constexpr size_t kIndexColumns = 2;
inline constexpr uint64_t kIndexReverse = 1;
inline constexpr uint64_t kIndexFromExclusive = 2;
inline constexpr uint64_t kIndexUntilInclusive = 4;

}  // namespace sealog
