/// <reference lib="esnext.disposable" />

export type { TailCacheStats } from './cache/tail-cache.js'
export type { RecordCacheStats, TierStats } from './cache/tiered-cache.js'
export { ChecksumError, ERROR_CODES, isLogError, LockedError, LogError, type LogErrorCode, OffsetTruncatedError } from './errors.js'
export type { AppendOptions } from './log/append-options.js'
export { BatchWriter, type BatchWriterOptions, type BatchWriterStats, type WriteResult } from './log/batch-writer.js'
export { Consumer } from './log/consumer.js'
export { type ConsumerInfo, type ConsumerOptions, Consumers } from './log/consumers.js'
export type { DiskUsage } from './log/disk-usage.js'
export { configure } from './log/environment.js'
export type { IndexView } from './log/index-view.js'
export type { BatchOptions, ReadOptions } from './log/iterators.js'
export { Log } from './log/log.js'
export { LogReader } from './log/log-reader.js'
export { LogView } from './log/log-view.js'
export { type RepairOptions, type RepairReport, repair, type VerifyOptions, type VerifyProblem, type VerifyReport, verify } from './log/maintenance.js'
export type { OffsetRange } from './log/manifest.js'
export { Record } from './log/record.js'
export { RecordBatch } from './log/record-batch.js'
export type { RecordInput } from './log/record-encoder.js'
export type { RetentionResult } from './log/retention.js'
export type { RetentionHold } from './log/retention-plan.js'
export type { LogStats } from './log/stats.js'
export type { WriteAllOptions, WriteAllResult } from './log/write-all.js'
export type {
  AdaptiveCacheOptions,
  ArchiveLocation,
  CacheOptions,
  ChunkForm,
  CodecName,
  Durability,
  EnvironmentOptions,
  LogOptions,
  ReaderOptions,
  RecoveryPolicy,
  RetentionLimits,
  RetentionMode,
  RetentionOptions,
  RetentionPolicy,
} from './options.js'
export type { ChunkInfo, ChunkSibling, Chunks, OpenChunk, WriterChunks } from './sealing/chunk.js'
