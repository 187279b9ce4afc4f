/**
 * The seam between the engine (TypeScript) and bytes and system calls: one interface, two implementations.
 * `native.ts` is the C++ addon, `js/` its pure-JavaScript twin; both write the same bytes for the same groups and timestamps.
 *
 * Rules of the seam: numbers in, numbers out; nothing here throws but for programmer errors; no policy below it.
 * Statuses are ≥ 0 for success and −errno for a failed system call. Typed arrays that are handed in belong to the library
 * (never to the user) and stay untouched by it until the call, or for asynchronous requests the DONE row, has come back.
 */

export type Backend = 'native' | 'js'

export interface Capabilities {
  /** Space is reserved with fallocate before a group is written. */
  readonly preallocate: boolean
  /** The writer lock is an open-file-description lock; without it the twin holds an abstract socket. */
  readonly fileLock: boolean
  /** Disk work runs on threads of sealog's own, not on libuv's pool. */
  readonly ownThreads: boolean
  /** `sendFile` moves bytes from files to sockets inside the kernel. */
  readonly sendfile: boolean
  /** There is zstd: FILE_PACK, FILE_UNPACK and dictionaries. The twin has Node's, which is complete from 22.19 and 24.6 on. */
  readonly compress: boolean
}

/** Budgets of the environment (one per thread of JavaScript), see `configure`. */
export interface KernelLimits {
  /** Threads that write and sync groups of `fsync` logs and run background syncs. */
  syncThreads: number
  /** Threads that write groups of `flush` and `none` logs. */
  writeThreads: number
  /** Threads that serve file requests: reads, scans, opens, renames … */
  readerThreads: number
  /** Threads for long work behind everything else: FILE_RENDER, FILE_CHECKSUM and FILE_COMPACT. */
  sealThreads: number
  /** Threads for FILE_PACK, behind everything else. */
  archiveThreads: number
  /** Threads that send files to sockets, at least 2. Started with the first transfer that does not end at once. */
  sendThreads: number
  /** Most bytes that the tail caches of all logs hold together; the oldest group of any log goes first. */
  cacheBytes: number
  /** Bytes of the staging slab, a multiple of 8. */
  stagingBytes: number
}

/** Memory that both sides read and write on the loop thread only; allocated once per environment, never reachable by users. */
export interface Shared {
  /**
   * Bodies of staged records, each where its frame will have it: 24 bytes behind where the frame begins. Frames lie one behind the other, each padded to 8.
   */
  readonly staging: Uint8Array
  /** One row of ROW_WIDTH numbers per staged record: log, bodyLength, type | flags << 8, timestamp. */
  readonly rows: Float64Array
  /** Completion rows, EVENT_WIDTH numbers each; valid during `wake` only. */
  readonly events: Float64Array
  /** Results of `readRecord`. */
  readonly out: Float64Array
  /** Bytes of the frame that `readRecord` found. */
  readonly copyOut: Uint8Array
  /** Keys for calls of the key index. */
  readonly keys: Uint8Array
}

export * from './numbers.js'

/** A small integer with a generation; never 0, never a pointer. */
export type LogHandle = number
/** The same for key indexes. */
export type IndexHandle = number
/** The same for dictionaries. */
export type DictionaryHandle = number
/** Chosen by TypeScript (> 0); comes back exactly once in a DONE row. */
export type Ticket = number

export interface Kernels {
  readonly backend: Backend
  readonly can: Capabilities
  readonly shared: Shared

  /** Keep the event loop alive while anything is awaited. */
  ref(): void
  unref(): void
  /** Writes what was submitted (no sync), stops the threads; outstanding tickets never come back. Idempotent. */
  stop(): void

  // ── commit path ────────────────────────────────────────────────────────────────────────────────────────────────
  /** `holdBytes`: nothing is written before so many bytes are queued or `commit` is called (mode none); 0: at once. */
  createLog(mode: number, holdBytes: number): LogHandle
  /** Frees the slot. The queue must be empty or the log failed. */
  destroyLog(log: LogHandle): void
  /** Gives the log a segment to write to (copied out of `state`) and lets it go on. */
  attach(log: LogHandle, state: Float64Array): void
  /** Takes the segment away; DONE when no write or sync is under way. Queued records stay queued; NEED_SEGMENT comes when there are any. */
  detach(log: LogHandle, ticket: Ticket): void
  /** The same, waiting on the calling thread (the twin: finishing the work under way synchronously). */
  detachSync(log: LogHandle): void
  /** Copies the current state vector of the log; behind a detach it is the one that the segment was left with. */
  state(log: LogHandle, into: Float64Array): void
  /**
   * Frames staged rows 0 … n−1 and queues them; `staging` and `rows` are free at return. A batch may span submits; no group ends inside one.
   * `held`: a log whose `commitSync` follows at once and writes its records, so that no thread is woken for them; 0: none.
   */
  submit(rows: number, held: LogHandle): void
  /** One record that is not staged (order with staged ones: call `submit` first). `key` and `value` are copied before return. */
  submitLarge(log: LogHandle, meta: number, timestamp: number, key: Uint8Array | undefined, value: Uint8Array): void
  /** Drives what is queued now to a COMMIT_… level; DONE with status 0 or STATUS_FAILED / STATUS_REJECTED. NEED_SEGMENT may come in between. */
  commit(log: LogHandle, level: number, ticket: Ticket): void
  /** The same on the calling thread. Rows of everything that happened have been given to `wake` before it returns. 0 or STATUS_…. */
  commitSync(log: LogHandle, level: number): number
  /**
   * Drops whatever is queued (nothing may be under way), leaves the rejecting state, and lets the next record have `nextOffset`. Called after createLog
   * (where offsets begin), after REJECTED, and when the segment that NEED_SEGMENT asked for cannot be had; the log waits for none afterwards.
   */
  resume(log: LogHandle, nextOffset: number): void

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────
  /**
   * Reads one record on the calling thread: one pread of 8 KiB at `position` (an index entry), walks to `offset` by frame lengths, verifies that frame.
   * Frames are listed in `Shared.out`, bytes in `Shared.copyOut`. `end`: bytes behind it do not exist. `flags`: READ_SPARSE, READ_RESIDENT.
   */
  readRecord(fd: number, seed: number, position: number, end: number, entryOffset: number, batchFirst: number, offset: number, flags: number): number
  /** CRC-32C of `bytes`, continued from `seed` (0: fresh). */
  crc32c(bytes: Uint8Array, seed: number): number

  // ── tail cache ─────────────────────────────────────────────────────────────────────────────────────────────────
  /**
   * What a log's tail cache may hold; `records` 0 (as after createLog): nothing, and what it held is dropped. The committer feeds it with the frames of
   * every group when the group counts as committed (never before, and before its COMMITTED row), of a large group only the last frames that fit; it is
   * always a contiguous suffix of the log as committed. `resume`, REJECTED and FAILED drop nothing that was committed; destroyLog drops all. `bytes` bounds
   * memory: 64 per block of records, 8 per record, and frames. What is too old is dropped by `cacheSweep`, `cacheState` and the next group; age is measured
   * on a monotonic clock from the commit. Look-ups drop nothing.
   */
  cacheLimits(log: LogHandle, records: number, ageMs: number, bytes: number): void
  /**
   * One cached record. READ_PLACED: it has no key, and its value has been copied to `into` from `at` on, where it fits; READ_OK: it is in `copyOut`, as after
   * `readRecord`; both set `Shared.out`, but for OUT_FRAME_POSITION and OUT_FRAME_BYTES. READ_NOT_FOUND: not cached. READ_LARGE: cached, but fits neither.
   */
  cacheRecord(log: LogHandle, offset: number, into: ArrayBuffer, at: number): number
  /**
   * Copies cached frames from `offset` up to `limit` (exclusive) into `bytes` as they lie on disk, without commit frames, and lists them in `table` as FILE_SCAN
   * does; whole batches only (apart from the two ends of the range), as many as have `maxBytes` together and fit the table, or a larger one alone.
   * numbers (SCAN_LENGTH): SCAN_COUNT, SCAN_NEXT_OFFSET, SCAN_NEEDED. Status: 1 hit; 0 not cached, or (SCAN_NEEDED > 0) no room: SCAN_NEEDED bytes and
   * SCAN_COUNT rows hold it.
   */
  cacheBlock(log: LogHandle, offset: number, limit: number, maxBytes: number, bytes: Uint8Array, numbers: Float64Array, table: Uint32Array): number
  /** The records below are not part of the log any more; how many were cached. They do not count as evicted. */
  cacheDropBelow(log: LogHandle, offset: number): number
  /** Fills CACHE_LENGTH numbers. */
  cacheState(log: LogHandle, numbers: Float64Array): void
  /** Drops what is too old in any log; bytes that are still cached over all logs. */
  cacheSweep(): number

  // ── key index ──────────────────────────────────────────────────────────────────────────────────────────────────
  // An ordered table in memory from keys (1 … KEY_BYTES bytes, ordered as unsigned bytes, a prefix before what it begins) to numbers (0 … 2^53 − 1).
  // Keys are handed in as the first `keyLength` bytes of `Shared.keys`, which are free again at return.

  createIndex(): IndexHandle
  /** The same content as another index, whatever becomes of either: constant time (native), what they share is copied piece by piece when one changes. */
  copyIndex(index: IndexHandle): IndexHandle
  destroyIndex(index: IndexHandle): void
  /** The value that the key had, −1: none. */
  indexPut(index: IndexHandle, keyLength: number, value: number): number
  /** −1: the key is not there. */
  indexGet(index: IndexHandle, keyLength: number): number
  /** The value that the key had, −1: it was not there. */
  indexDelete(index: IndexHandle, keyLength: number): number
  /** Puts `count` keys as `indexScan` lays them out; the value −1 deletes. Each value is replaced by the one that its key had, −1: none. Ascending keys are the fastest. */
  indexPutMany(index: IndexHandle, count: number, bytes: Uint8Array, table: Float64Array): void
  /**
   * Copies keys in order, one behind the other, to `bytes` (at least KEY_BYTES), and for each a row of INDEX_COLUMNS to `table`: where it ends in `bytes`, its value.
   * Ends with `limit`, a full table, a key that does not fit, or the range: the keys between `from`, the first `fromLength` bytes of `Shared.keys`, and `until`,
   * the `untilLength` bytes behind them, 0: unbounded; INDEX_… flags. Goes on behind a page with its last key as exclusive `from`. Returns the number of keys.
   */
  indexScan(index: IndexHandle, fromLength: number, untilLength: number, flags: number, limit: number, bytes: Uint8Array, table: Float64Array): number
  indexClear(index: IndexHandle): void
  indexSize(index: IndexHandle): number
  /** Bytes of memory of the index and its copies together; the twin estimates. */
  indexBytes(index: IndexHandle): number

  // ── dictionaries ───────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * A dictionary for FILE_PACK and FILE_UNPACK: bytes that blocks are expected to resemble, whatever they are (no trained dictionary of zstd), at least 8.
   * They are copied. What is prepared of them, per level and for unpacking, is prepared when it is first used. Throws where `can.compress` is false.
   */
  createDictionary(content: Uint8Array): DictionaryHandle
  /** Requests that were made with it keep it until they have run. */
  destroyDictionary(dictionary: DictionaryHandle): void

  // ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────
  request(
    ticket: Ticket,
    operation: number,
    fd: number,
    a: number,
    b: number,
    bytes?: Uint8Array,
    numbers?: Float64Array,
    table?: Uint32Array | Float64Array,
    path?: string,
    path2?: string,
  ): void
  requestSync(
    operation: number,
    fd: number,
    a: number,
    b: number,
    bytes?: Uint8Array,
    numbers?: Float64Array,
    table?: Uint32Array | Float64Array,
    path?: string,
    path2?: string,
  ): number
  /**
   * Waits on the calling thread until the request of `ticket` is done and returns its status; its DONE row never comes.
   * The twin runs the request again, synchronously: requests that cannot be repeated (rename, unlink, open with O_EXCL, mkdir) are never left pending by it.
   */
  finishSync(ticket: Ticket): number
  takeText(ticket: Ticket): string

  // ── sockets ────────────────────────────────────────────────────────────────────────────────────────────────────
  /**
   * Sends the bytes `position` … `position + length` of a file to a connected, non-blocking stream socket with sendfile(2), on threads of its own.
   * The socket's descriptor is duplicated before this returns; `fileFd` must stay open until the transfer has ended. The first attempt is made by the calling thread
   * if the bytes are in the page cache (it never waits for a disk); if that sends all, the result is SENT_AT_ONCE. Result 0: the end comes as a DONE row, exactly once:
   * status 0, −errno of the socket or file (−EPIPE, −ECONNRESET …), −ETIMEDOUT when nothing moved for `stallMs`, −ECANCELED after `cancelSend` or `stop`, −ENODATA when the file
   * is shorter; a = bytes sent. Negative result: −errno, nothing was begun. When a transfer does not succeed the socket is shut down in both directions before the duplicate is
   * closed, so that no peer waits for the rest. −ENOSYS where `can.sendfile` is false.
   */
  sendFile(ticket: Ticket, socketFd: number, fileFd: number, position: number, length: number, stallMs: number): number
  /** Ends a transfer early; its DONE row still comes. Nothing happens when it has ended. */
  cancelSend(ticket: Ticket): void

  /** For tests only; the same code paths serve the product. */
  readonly testing: Testing
}

/** Controls of the Io table's faulting and recording implementations. */
export interface Testing {
  /**
   * Lets the `nth` (1-based, from now) system call of the kind fail with `errno`, once or from then on for ever; `shortBytes` > 0 makes a read,
   * write or sendfile return that many bytes instead of failing. `kind`: 'open' | 'read' | 'write' | 'datasync' | 'sync' | 'truncate' | 'allocate' | 'rename' | 'unlink' | 'mkdir' | 'list' | 'syncDirectory' | 'stat' | 'close' | 'sendfile'.
   */
  fault(kind: string, nth: number, errno: number, forever: boolean, shortBytes: number): void
  clearFaults(): void
  /** Calls made per kind since `resetCounts`. */
  counts(): Record<string, number>
  resetCounts(): void
  /** Starts to record every changing call; see docs of `takeRecording`. */
  record(on: boolean): void
  /** Puts a marker with this number into the recording. */
  note(number: number): void
  /**
   * The recording so far, and starts a new one. Entries: u32 total bytes (this field included), u8 kind, 3 zero bytes, i32 fd, i32 result, f64 a, f64 b,
   * u32 path bytes, path, u32 path2 bytes, path2, data to the end. Kinds: 1 open (path, a = flags, result = fd), 2 close, 3 write (a = position, data; recorded before the call),
   * 4 sync begin, 5 sync end (result), 6 truncate (a), 7 allocate (a, b), 8 rename, 9 unlink, 10 mkdir, 11 syncDirectory begin (path), 12 syncDirectory end, 13 note (a).
   */
  takeRecording(): Uint8Array
}

export type Wake = (events: number) => void
