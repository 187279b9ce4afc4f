import path from 'node:path'
import { argumentError, describe, LogError, optionError } from './errors.js'
import { COMMIT_FRAME_BYTES, FOOTER_FRAME_BYTES, RECORD_BYTES_LIMIT, SEGMENT_HEADER_BYTES } from './format/constants.js'
import { ARCHIVE_DIRECTORY } from './format/names.js'

const KiB = 1024
const MiB = 1024 * KiB

export type Durability = 'fsync' | 'flush' | 'none'
export type CodecName = 'bytes' | 'json'
export type ChunkForm = 'json' | 'ndjson' | 'raw'
/** Content encodings that sealed chunks may have compressed siblings in. */
export type ChunkEncoding = 'gzip' | 'zstd'
export type RecoveryPolicy = 'tail' | 'strict'

/** How many of the newest records a writing log keeps in memory for its readers. */
export interface CacheOptions {
  /** Most records. Default 1000. */
  records?: number
  /** Longest time after the commit, in ms. Default 60,000. */
  maxAgeMs?: number
  /** Most bytes of memory. Default 16 MiB. All caches of the thread share `cacheBytes` of `configure`. */
  maxBytes?: number
  /** Lets `records` grow while too few reads find what they ask for; `true`: with the defaults. Default false. */
  adaptive?: boolean | AdaptiveCacheOptions
}

export interface AdaptiveCacheOptions {
  /** Grows while the share of reads that the cache answers is lower, 0 to 1. Default 0.9. */
  targetHitRate?: number
  /** Most records. Default 100 times `records`. */
  maxRecords?: number
}

/** What a log may keep. Whole closed segments go, the oldest first, as long as the oldest that is left is beyond any of the limits. Default of each: no limit. */
export interface RetentionLimits {
  /** Most bytes of segment files; with `archive: 'delete'` of archives too. */
  maxBytes?: number
  /** Longest time since a segment was closed, in ms. */
  maxAgeMs?: number
  /** Most records, counted by offsets: those that compaction removed count too. */
  maxRecords?: number
  /** Offset below which nothing needs to be kept. */
  before?: number
}

/**
 * What becomes of segments beyond the limits. `delete`: they go, their archives too, and `startOffset` rises. `archive`: the segment files of those that are archived
 * go, `startOffset` stays, reads go to the archives. `keep`: `startOffset` rises, segment files go once they are archived, and the archives stay as history.
 */
export type RetentionMode = 'delete' | 'archive' | 'keep'

/** One pass of retention. */
export interface RetentionPolicy extends RetentionLimits {
  /** Default `delete`. */
  archive?: RetentionMode
  /** Also what named consumers have not acknowledged may go. Default false. */
  ignoreConsumers?: boolean
  /** Also quarantined segments may go, of which there is no other copy. Default false. */
  force?: boolean
  /** Only tell what would be done. Default false. */
  dryRun?: boolean
}

/** Retention in the background. */
export interface RetentionOptions extends Omit<RetentionPolicy, 'force' | 'dryRun'> {
  /** Time between two passes, in ms. Default 60,000. */
  intervalMs?: number
}

/** Options of `Log.open`. Codec, limits and chunking are properties of the log: given when it is created, adopted (or checked) afterwards. */
export interface LogOptions {
  /** When an append counts as committed: `fsync` (default) after fdatasync, `flush` after the write, `none` like `flush` but resolved at acceptance. */
  durability?: Durability
  /** `bytes` (default): values are Uint8Array. `json`: any JSON value; a Uint8Array is ready JSON text, stored on one line. */
  codec?: CodecName
  /** Size at which a segment is closed and the next begins. Default 64 MiB, at least 1 KiB. Takes effect with the next segment. */
  segmentBytes?: number
  /** Payload bytes after which a chunk closes. Default 10 MiB. Takes effect with the next segment. */
  chunkBytes?: number
  /** Form of sealed chunks, finished ranges as immutable files to be served; `false`: none. Default: `json` for codec json, none for codec bytes. */
  seal?: ChunkForm | false
  /** Compressed siblings that are written beside each sealed chunk. Default: none. `zstd` needs Node 22.15. */
  chunkEncodings?: readonly ChunkEncoding[]
  /** Largest record (value and key bytes). Default 16 MiB. */
  maxRecordBytes?: number
  /** Largest batch (sum of values and keys). Default 16 MiB. */
  maxBatchBytes?: number
  /** Distance of entries in the sparse offset index. Default 4096. */
  indexIntervalBytes?: number
  /** Longest time that `flush` and `none` leave written records unsynced, in ms. Default 1000. */
  syncIntervalMs?: number
  /** Idle time after which an empty commit frame marks the end as durable and the files are let go, in ms. Default 1000. */
  idleMarkMs?: number
  /** `tail` (default): a torn tail is cut, rot refuses. `strict`: any damage refuses, closed segments are verified too. */
  recovery?: RecoveryPolicy
  /** `auto` (default): the addon, or with one warning the pure-JavaScript twin. */
  backend?: 'auto' | 'native' | 'js'
  /** The tail cache: the newest records in memory, for every way of reading this object offers. `false`: none. Default: 1000 records, 60 s, 16 MiB. */
  cache?: false | CacheOptions
  /** Passes of retention in the background. Default: none. */
  retention?: RetentionOptions
  /** Create the directory and the log when there is none. Default true. */
  create?: boolean
  /** `os` (default): lock of the operating system. `pid`: the owner record alone decides; for the js backend where the system offers no lock. */
  lock?: 'os' | 'pid'
  /** Where the archives of this log are; not stored. Default: `archive` in its directory. */
  archive?: ArchiveLocation
}

export interface ArchiveLocation {
  /** Of this log alone. Default: `archive` in the directory of the log. */
  directory?: string
}

export interface ReaderOptions {
  backend?: 'auto' | 'native' | 'js'
  /** Where the archives of the log are. Default: `archive` in its directory. */
  archive?: ArchiveLocation
  /** Fallback polling of COMMITTED while something follows, in ms. Default 250. */
  pollIntervalMs?: number
}

/** Budgets of this thread of JavaScript, shared by all its logs. */
export interface EnvironmentOptions {
  /** Threads that write `flush` and `none` logs. Default 2. */
  writeThreads?: number
  /** Threads that write and sync `fsync` logs and run background syncs. Default 4. */
  syncThreads?: number
  /** Threads that read. Default 4. */
  readerThreads?: number
  /** Chunks that are sealed at the same time, each on a thread of its own behind everything else. Default 2. */
  sealThreads?: number
  /** Segments that are compressed for the archive at the same time, each on a thread of its own behind everything else. Default 3. */
  archiveThreads?: number
  /** Threads that send sealed chunks to sockets. Default 2, at least 2. */
  sendThreads?: number
  /** Most bytes that the tail caches of all logs hold together. Default 64 MiB. */
  cacheBytes?: number
  /** Most bytes that may wait to be written, over all logs. Default 64 MiB; `writableNeedDrain` turns true at a quarter of it. */
  queueBytes?: number
  /** Most segment files held open for reading and writing. Default 512. */
  maxOpenFiles?: number
}

/** Settings that are stored in MANIFEST. */
export interface LogSettings {
  readonly codec: CodecName
  readonly maxRecordBytes: number
  readonly maxBatchBytes: number
  readonly chunkBytes: number
  readonly form: ChunkForm | 'none'
}

export interface CacheSettings {
  readonly records: number
  readonly maxAgeMs: number
  readonly maxBytes: number
  readonly adaptive: Readonly<Required<AdaptiveCacheOptions>> | undefined
}

export interface RetentionSettings {
  readonly policy: RetentionPolicy
  readonly intervalMs: number
}

/** Options of this opening of the log, not stored. */
export interface SessionOptions {
  readonly durability: Durability
  readonly segmentBytes: number
  readonly indexIntervalBytes: number
  readonly syncIntervalMs: number
  readonly idleMarkMs: number
  readonly recovery: RecoveryPolicy
  readonly backend: 'auto' | 'native' | 'js'
  readonly chunkEncodings: readonly ChunkEncoding[]
  /** undefined: nothing is cached. */
  readonly cache: CacheSettings | undefined
  /** undefined: none in the background. */
  readonly retention: RetentionSettings | undefined
  readonly create: boolean
  readonly lock: 'os' | 'pid'
  /** Directory of the archives, undefined: the default one. */
  readonly archive: string | undefined
}

export interface ResolvedReaderOptions {
  readonly backend: 'auto' | 'native' | 'js'
  readonly pollIntervalMs: number
  readonly archive: string | undefined
}

export const DEFAULT_ENVIRONMENT: Readonly<Required<EnvironmentOptions>> = {
  writeThreads: 2,
  syncThreads: 4,
  readerThreads: 4,
  sealThreads: 2,
  archiveThreads: 3,
  sendThreads: 2,
  cacheBytes: 64 * MiB,
  queueBytes: 64 * MiB,
  maxOpenFiles: 512,
}

const SETTINGS: readonly (keyof LogSettings)[] = ['codec', 'maxRecordBytes', 'maxBatchBytes', 'chunkBytes', 'form']
const DEFAULT_CACHE: CacheSettings = { records: 1000, maxAgeMs: 60_000, maxBytes: 16 * MiB, adaptive: undefined }
const NO_ENCODINGS: readonly ChunkEncoding[] = []

const LOG_OPTION_NAMES: ReadonlySet<string> = new Set<keyof LogOptions>([
  'durability',
  'codec',
  'segmentBytes',
  'chunkBytes',
  'seal',
  'chunkEncodings',
  'maxRecordBytes',
  'maxBatchBytes',
  'indexIntervalBytes',
  'syncIntervalMs',
  'idleMarkMs',
  'recovery',
  'backend',
  'cache',
  'retention',
  'create',
  'lock',
  'archive',
])
const CACHE_OPTION_NAMES: ReadonlySet<string> = new Set<keyof CacheOptions>(['records', 'maxAgeMs', 'maxBytes', 'adaptive'])
const ADAPTIVE_OPTION_NAMES: ReadonlySet<string> = new Set<keyof AdaptiveCacheOptions>(['targetHitRate', 'maxRecords'])
const LIMIT_NAMES: readonly (keyof RetentionLimits)[] = ['maxBytes', 'maxAgeMs', 'maxRecords', 'before']
const RETENTION_NAMES: ReadonlySet<string> = new Set<keyof RetentionPolicy>([...LIMIT_NAMES, 'archive', 'ignoreConsumers', 'force', 'dryRun'])
const RETENTION_OPTION_NAMES: ReadonlySet<string> = new Set<keyof RetentionOptions>([...LIMIT_NAMES, 'archive', 'ignoreConsumers', 'intervalMs'])
const ARCHIVE_LOCATION_NAMES: ReadonlySet<string> = new Set<keyof ArchiveLocation>(['directory'])
const READER_OPTION_NAMES: ReadonlySet<string> = new Set<keyof ReaderOptions>(['backend', 'pollIntervalMs', 'archive'])

export function checkDirectory(directory: unknown): asserts directory is string {
  if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) throw argumentError('directory', directory, 'a path')
}

export function resolveSession(options: LogOptions): SessionOptions {
  checkNames(options, LOG_OPTION_NAMES, 'Log.open')
  return {
    durability: oneOf(options.durability, 'durability', ['fsync', 'flush', 'none'], 'fsync'),
    segmentBytes: integer(options.segmentBytes, 'segmentBytes', KiB, 32 * 1024 * MiB, 64 * MiB),
    indexIntervalBytes: integer(options.indexIntervalBytes, 'indexIntervalBytes', 64, 64 * MiB, 4096),
    syncIntervalMs: integer(options.syncIntervalMs, 'syncIntervalMs', 1, 3_600_000, 1000),
    idleMarkMs: integer(options.idleMarkMs, 'idleMarkMs', 1, 3_600_000, 1000),
    recovery: oneOf(options.recovery, 'recovery', ['tail', 'strict'], 'tail'),
    backend: oneOf(options.backend, 'backend', ['auto', 'native', 'js'], 'auto'),
    chunkEncodings: encodings(options.chunkEncodings),
    cache: options.cache === undefined ? DEFAULT_CACHE : options.cache === false ? undefined : cacheSettings(options.cache),
    retention: options.retention === undefined ? undefined : retentionSettings(options.retention),
    create: boolean(options.create, 'create', true),
    lock: oneOf(options.lock, 'lock', ['os', 'pid'], 'os'),
    archive: archiveLocation(options.archive),
  }
}

/** Directory of the archives of the log in `directory`. */
export function archiveDirectory(directory: string, archive: string | undefined): string {
  return archive ?? path.join(directory, ARCHIVE_DIRECTORY)
}

/** The directory that was given, as an absolute path. */
export function archiveLocation(archive: ArchiveLocation | undefined): string | undefined {
  if (archive === undefined) return undefined
  checkNames(archive, ARCHIVE_LOCATION_NAMES, 'archive')
  if (archive.directory === undefined) return undefined
  checkDirectory(archive.directory)
  return path.resolve(archive.directory)
}

function cacheSettings(options: CacheOptions): CacheSettings {
  checkNames(options, CACHE_OPTION_NAMES, 'cache')
  const records = integer(options.records, 'records', 1, 2 ** 31, DEFAULT_CACHE.records)
  return {
    records,
    maxAgeMs: integer(options.maxAgeMs, 'maxAgeMs', 1, 2 ** 40, DEFAULT_CACHE.maxAgeMs),
    maxBytes: integer(options.maxBytes, 'maxBytes', 1, 2 ** 40, DEFAULT_CACHE.maxBytes),
    adaptive: adaptiveSettings(options.adaptive, records),
  }
}

function adaptiveSettings(given: CacheOptions['adaptive'], records: number): CacheSettings['adaptive'] {
  if (given === undefined || given === false) return undefined
  const options = given === true ? {} : given
  checkNames(options, ADAPTIVE_OPTION_NAMES, 'cache.adaptive')
  const { targetHitRate = 0.9 } = options
  if (!(targetHitRate >= 0 && targetHitRate <= 1)) throw optionError('targetHitRate', targetHitRate, 'a number from 0 to 1')
  return { targetHitRate, maxRecords: integer(options.maxRecords, 'maxRecords', records, 2 ** 38, records * 100) }
}

/** Throws ERR_SEALOG_OPTION for what is unknown or out of range. */
export function resolveRetention(policy: RetentionPolicy): Required<Omit<RetentionPolicy, keyof RetentionLimits>> & RetentionLimits {
  checkNames(policy, RETENTION_NAMES, 'retain')
  const limit = (name: keyof RetentionLimits) => (policy[name] === undefined ? undefined : integer(policy[name], name, 0, 2 ** 53 - 1, 0))
  return {
    maxBytes: limit('maxBytes'),
    maxAgeMs: limit('maxAgeMs'),
    maxRecords: limit('maxRecords'),
    before: limit('before'),
    archive: oneOf(policy.archive, 'archive', ['delete', 'archive', 'keep'], 'delete'),
    ignoreConsumers: boolean(policy.ignoreConsumers, 'ignoreConsumers', false),
    force: boolean(policy.force, 'force', false),
    dryRun: boolean(policy.dryRun, 'dryRun', false),
  }
}

function retentionSettings(options: RetentionOptions): RetentionSettings {
  checkNames(options, RETENTION_OPTION_NAMES, 'retention')
  const { intervalMs, ...policy } = options
  return { policy: resolveRetention(policy), intervalMs: integer(intervalMs, 'intervalMs', 1, 2 ** 31 - 1, 60_000) }
}

/** Settings for a log that is created now. */
export function newSettings(options: LogOptions, session: SessionOptions): LogSettings {
  const codec = oneOf(options.codec, 'codec', ['bytes', 'json'], 'bytes')
  const largest = largestBatch(session.segmentBytes)
  const maxBatchBytes = integer(options.maxBatchBytes, 'maxBatchBytes', 1, RECORD_BYTES_LIMIT, Math.min(16 * MiB, largest))
  const maxRecordBytes = integer(options.maxRecordBytes, 'maxRecordBytes', 1, RECORD_BYTES_LIMIT, Math.min(16 * MiB, maxBatchBytes))
  const form = chunkForm(options.seal, codec)
  return checkLimits({ codec, maxRecordBytes, maxBatchBytes, chunkBytes: integer(options.chunkBytes, 'chunkBytes', 1, 2 ** 31, 10 * MiB), form }, session)
}

function chunkForm(seal: LogOptions['seal'], codec: CodecName): LogSettings['form'] {
  if (seal === false || (seal === undefined && codec === 'bytes')) return 'none'
  const form = oneOf(seal, 'seal', ['json', 'ndjson', 'raw'], 'json')
  if (form !== 'raw' && codec !== 'json') throw optionError('seal', seal, `'raw' or false for codec bytes`)
  return form
}

function encodings(value: LogOptions['chunkEncodings']): readonly ChunkEncoding[] {
  if (value === undefined) return NO_ENCODINGS
  if (!Array.isArray(value)) throw optionError('chunkEncodings', value, 'an array')
  return value.map((encoding) => oneOf(encoding, 'chunkEncodings', ['gzip', 'zstd'], 'gzip'))
}

/** Stored settings with what this opening changes, the same object when that is nothing; a different codec is refused. */
export function adoptSettings(stored: LogSettings, options: LogOptions, session: SessionOptions): LogSettings {
  if (options.codec !== undefined && oneOf(options.codec, 'codec', ['bytes', 'json'], 'bytes') !== stored.codec) {
    throw new LogError('ERR_SEALOG_CODEC_MISMATCH', `the log has codec ${stored.codec}, not ${options.codec}`, { field: 'codec', value: options.codec })
  }
  const maxBatchBytes = integer(
    options.maxBatchBytes,
    'maxBatchBytes',
    1,
    RECORD_BYTES_LIMIT,
    Math.min(stored.maxBatchBytes, largestBatch(session.segmentBytes)),
  )
  const settings = checkLimits(
    {
      codec: stored.codec,
      maxBatchBytes,
      maxRecordBytes: integer(options.maxRecordBytes, 'maxRecordBytes', 1, RECORD_BYTES_LIMIT, Math.min(stored.maxRecordBytes, maxBatchBytes)),
      chunkBytes: integer(options.chunkBytes, 'chunkBytes', 1, 2 ** 31, stored.chunkBytes),
      form: options.seal === undefined ? stored.form : chunkForm(options.seal, stored.codec),
    },
    session,
  )
  return orStored(stored, settings)
}

/** Stored settings with what the options gave anew; the same object when they gave nothing new. */
export function storedSettings(stored: LogSettings, resolved: LogSettings, options: LogOptions): LogSettings {
  const next: LogSettings = {
    codec: stored.codec,
    maxRecordBytes: options.maxRecordBytes === undefined ? stored.maxRecordBytes : resolved.maxRecordBytes,
    maxBatchBytes: options.maxBatchBytes === undefined ? stored.maxBatchBytes : resolved.maxBatchBytes,
    chunkBytes: resolved.chunkBytes,
    form: resolved.form,
  }
  return orStored(stored, next)
}

function orStored(stored: LogSettings, next: LogSettings): LogSettings {
  return SETTINGS.every((name) => next[name] === stored[name]) ? stored : next
}

function checkLimits(settings: LogSettings, session: SessionOptions): LogSettings {
  if (settings.maxRecordBytes > settings.maxBatchBytes)
    throw optionError('maxRecordBytes', settings.maxRecordBytes, `at most maxBatchBytes (${settings.maxBatchBytes})`)
  if (settings.maxBatchBytes > session.segmentBytes)
    throw optionError('maxBatchBytes', settings.maxBatchBytes, `at most segmentBytes (${session.segmentBytes})`)
  return settings
}

/** Frame bytes that a batch may have so that it fits an empty segment beside header, commit frame and footer. */
export function batchFrameLimit(segmentBytes: number): number {
  return segmentBytes - SEGMENT_HEADER_BYTES - COMMIT_FRAME_BYTES - FOOTER_FRAME_BYTES
}

function largestBatch(segmentBytes: number): number {
  return Math.max(1, batchFrameLimit(segmentBytes) - 32)
}

export function resolveReader(options: ReaderOptions): ResolvedReaderOptions {
  checkNames(options, READER_OPTION_NAMES, 'Log.openReader')
  return {
    backend: oneOf(options.backend, 'backend', ['auto', 'native', 'js'], 'auto'),
    pollIntervalMs: integer(options.pollIntervalMs, 'pollIntervalMs', 1, 3_600_000, 250),
    archive: archiveLocation(options.archive),
  }
}

export function resolveEnvironment(options: EnvironmentOptions): Required<EnvironmentOptions> {
  checkNames(options, new Set(Object.keys(DEFAULT_ENVIRONMENT)), 'configure')
  return {
    writeThreads: integer(options.writeThreads, 'writeThreads', 1, 64, DEFAULT_ENVIRONMENT.writeThreads),
    syncThreads: integer(options.syncThreads, 'syncThreads', 1, 64, DEFAULT_ENVIRONMENT.syncThreads),
    readerThreads: integer(options.readerThreads, 'readerThreads', 1, 64, DEFAULT_ENVIRONMENT.readerThreads),
    sealThreads: integer(options.sealThreads, 'sealThreads', 1, 64, DEFAULT_ENVIRONMENT.sealThreads),
    archiveThreads: integer(options.archiveThreads, 'archiveThreads', 1, 64, DEFAULT_ENVIRONMENT.archiveThreads),
    sendThreads: integer(options.sendThreads, 'sendThreads', 2, 64, DEFAULT_ENVIRONMENT.sendThreads),
    cacheBytes: integer(options.cacheBytes, 'cacheBytes', 0, 2 ** 40, DEFAULT_ENVIRONMENT.cacheBytes),
    queueBytes: integer(options.queueBytes, 'queueBytes', KiB, 2 ** 40, DEFAULT_ENVIRONMENT.queueBytes),
    maxOpenFiles: integer(options.maxOpenFiles, 'maxOpenFiles', 1, 1_000_000, DEFAULT_ENVIRONMENT.maxOpenFiles),
  }
}

export function checkNames(options: unknown, known: ReadonlySet<string>, of: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) throw argumentError('options', options, 'an object')
  for (const name of Object.keys(options)) {
    if (!known.has(name)) {
      throw new LogError('ERR_SEALOG_OPTION', `${of} has no option ${describe(name)}; it has ${[...known].join(', ')}`, {
        field: name,
        value: (options as Record<string, unknown>)[name],
      })
    }
  }
}

export function integer(value: number | undefined, field: string, min: number, max: number, fallback: number): number {
  if (value === undefined) return fallback
  if (!Number.isSafeInteger(value) || value < min || value > max) throw optionError(field, value, `an integer from ${min} to ${max}`)
  return value
}

export function oneOf<T extends string>(value: T | undefined, field: string, allowed: readonly T[], fallback: T): T {
  if (value === undefined) return fallback
  if (!allowed.includes(value)) throw optionError(field, value, `one of ${allowed.map((name) => `'${name}'`).join(', ')}`)
  return value
}

export function boolean(value: boolean | undefined, field: string, fallback: boolean): boolean {
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw optionError(field, value, 'true or false')
  return value
}
