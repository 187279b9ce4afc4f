/** The numbers of the seam (kernels.ts): rows, state vectors, requests and their results. native/core/seam.h holds the same for C++. */

export const STAGED_WIDTH = 4
export const STAGED_ROWS = 8192
export const EVENT_WIDTH = 8
export const EVENT_ROWS = 512
export const OUT_LENGTH = 16
export const COPY_OUT_BYTES = 128 * 1024

/**
 * Completion rows; column 0 is the kind.
 *
 * - COMMITTED `log, committedOffset, durableOffset, position, releasedBytes, groups, syncs`: all ends exclusive; `position` is the file
 *   position behind the last commit frame; `releasedBytes` are the bytes (24 + padded body per record, as accounted at submit) that left the
 *   queue since the last row; `groups` and `syncs` count what was written and synced for this log since the last row.
 *   Also sent (with unchanged offsets) when only the durable offset moved.
 * - INDEX `log, offset, position, batchFirst, runningMaxTimestamp`: before the COMMITTED row of its group.
 * - FAILED `log, errno, operation, position`: a write or sync failed; the log is poisoned: its queue is dropped, nothing more is written.
 * - REJECTED `log, errno, nextOffset, releasedBytes`: space could not be reserved (ENOSPC, EDQUOT, EFBIG); the whole queue is dropped with nothing written;
 *   everything submitted until `resume` is dropped too. `nextOffset` is the first dropped offset.
 * - NEED_SEGMENT `log, nextOffset, bytes`: the next group (of `bytes`, commit frame included) does not fit, or no segment is attached. Sent once; the log waits for `attach`.
 * - DONE `ticket, status, a, b`: every asynchronous call, exactly once.
 */
export const EVENT_COMMITTED = 1
export const EVENT_INDEX = 2
export const EVENT_FAILED = 3
export const EVENT_REJECTED = 4
export const EVENT_NEED_SEGMENT = 5
export const EVENT_DONE = 6

/** Operations named in FAILED rows. */
export const FAILED_WRITE = 1
export const FAILED_SYNC = 2

export const MODE_FSYNC = 0
export const MODE_FLUSH = 1
export const MODE_NONE = 2

/** How far `commit` and `commitSync` go. */
export const COMMIT_WRITTEN = 0
/** As the log's mode says. */
export const COMMIT_MODE = 1
/** Everything queued is written and synced. */
export const COMMIT_SYNCED = 2
/** And an empty commit frame (a mark) with syncedOffset = end follows, itself synced. No mark is written twice in a row. */
export const COMMIT_MARKED = 3

/** `commitSync` and DONE statuses above zero. */
export const STATUS_NEED_SEGMENT = 1
export const STATUS_FAILED = 2
export const STATUS_REJECTED = 3

/** Indexes into the state vector of a log in one segment: `attach`, `state`, and `walk` requests. */
export const STATE_FD = 0
/** COMMITTED file, −1: not published. */
export const STATE_COMMITTED_FD = 1
/** CRC of the segment header, u32. */
export const STATE_SEED = 2
/** Where the next frame goes. */
export const STATE_POSITION = 3
/** File size; space up to here is reserved. */
export const STATE_ALLOCATED = 4
/** A group that would not leave room for a footer within these bytes needs the next segment. */
export const STATE_SEGMENT_BYTES = 5
export const STATE_NEXT_OFFSET = 6
export const STATE_CHAIN = 7
export const STATE_EPOCH = 8
/** All records below are known durable. */
export const STATE_SYNCED_OFFSET = 9
/** Running maximum of the timestamps of the whole log, −1: none. */
export const STATE_RUNNING_TIME = 10
/** Smallest and largest timestamp in this segment; Infinity and −1: none. */
export const STATE_MIN_TIME = 11
export const STATE_MAX_TIME = 12
/** Payload bytes (values without keys) after which a chunk closes at a batch end; 0: chunks are not counted. */
export const STATE_CHUNK_BYTES = 13
/** Chunks closed in this segment so far. */
export const STATE_CHUNKS = 14
/** Payload bytes and records of the open chunk. */
export const STATE_CHUNK_PAYLOAD = 15
export const STATE_CHUNK_RECORDS = 16
/** Position of the last indexed record of this segment; −1: none, the next is indexed. */
export const STATE_LAST_INDEXED = 17
export const STATE_INDEX_INTERVAL = 18
export const STATE_BASE_OFFSET = 19
/** crc32c of the log id: seeds the slots of COMMITTED. */
export const STATE_LOG_SEED = 20
/** 1 while the last frame is a mark. */
export const STATE_MARKED = 21
export const STATE_MAX_RECORD_BYTES = 22
/** 1: offsets strictly increase instead of being dense, FLAG_BATCH_INDEX may occur. */
export const STATE_SPARSE = 23
/** Records seen in this segment. */
export const STATE_RECORDS = 24
export const STATE_LENGTH = 28

/** Why a `scan` or `walk` stopped. */
export const STOP_END = 0
export const STOP_TABLE_FULL = 1
/** A frame's CRC does not match. */
export const STOP_CHECKSUM = 2
/** A length or padding that cannot be, or a frame that runs over the end. */
export const STOP_FRAMING = 3
/** Good CRC, but not the offset that comes next, or a commit frame that does not fit its group. */
export const STOP_ORDER = 4
/** Good CRC, unknown type or flag. */
export const STOP_NEWER = 5
export const STOP_FOOTER = 6
/** 24 zero bytes. */
export const STOP_ZERO = 7
/** `scan` only: the next frame is larger than the buffer; numbers[SCAN_NEEDED] bytes hold it. */
export const STOP_LARGE = 8

/**
 * File requests. All take `fd, a, b, bytes, numbers, table, path, path2`, unused ones undefined or 0; the status is the result.
 * They run through the Io table on kernel threads (`request`) or on the calling thread (`requestSync`).
 */
/** path, a = flags (O_*; O_CLOEXEC is added), b = mode → fd */
export const FILE_OPEN = 1
export const FILE_CLOSE = 2
/** a = position, fills `bytes` as far as the file goes → bytes read */
export const FILE_READ = 3
/** a = position, writes all of `bytes` (short writes are continued) → bytes written */
export const FILE_WRITE = 4
export const FILE_DATASYNC = 5
export const FILE_SYNC = 6
/** a = size */
export const FILE_TRUNCATE = 7
/** Real fallocate of a … b; −EOPNOTSUPP where there is none. */
export const FILE_ALLOCATE = 8
/** → numbers[0] = size, [1] = device major, [2] = device minor, [3] = inode */
export const FILE_STAT = 9
/** path → path2 */
export const FILE_RENAME = 10
export const FILE_UNLINK = 11
export const FILE_MKDIR = 12
/** path → names, NUL-separated, through `takeText(ticket)` (0 for a synchronous request) */
export const FILE_LIST = 13
/** path: opens the directory, fsyncs, closes */
export const FILE_SYNC_DIRECTORY = 14
/** Drops clean pages from the page cache, best effort. */
export const FILE_EVICT = 15
/** Exclusive open-file-description lock, not waited for → −EAGAIN when held elsewhere, −ENOSYS where there is none */
export const FILE_LOCK = 16
/** path = name of an abstract socket → 0 when nobody is bound to it, −EADDRINUSE otherwise, −ENOSYS off Linux */
export const FILE_PROBE_SOCKET = 17
/** a … b → numbers[0] = position of the first byte that is not zero, or b */
export const FILE_ZEROS = 18

/**
 * Verifies the frames from `a` on and lists the records among them; frames stay in `bytes` as they lie on disk.
 * In: a = position, b = end (bytes behind it do not exist for this call), numbers[SCAN_SEED …]. `bytes` receives the file from `a`.
 * table: SCAN_COLUMNS u32 per record at or above numbers[SCAN_FROM]: frame start, value start, value length (all within `bytes`), offset − batch first.
 * Out: numbers[SCAN_COUNT …]. Commit frames are checked for CRC and skipped. Status: 0 or −errno of the read.
 */
export const FILE_SCAN = 19
/**
 * Follows groups from the state vector `numbers` (of STATE_LENGTH, then WALK_LENGTH results) to b = end of file, verifying every frame, dense
 * offsets, commit frames and chain. On return the state stands behind the last good commit frame; results tell why and where it stopped.
 * `bytes`: a work buffer (≥ 64 KiB). `rows`, when given as `entries`: index entries of 4 numbers (offset, position, batchFirst, runningTime).
 */
export const FILE_WALK = 20
/**
 * Looks from a … b at every 8-aligned position for the first commit frame whose group verifies entirely (all frames, dense offsets, chain,
 * syncedOffset ≤ first offset; marks count). numbers[FIND_SEED] in, numbers[FIND_…] out; status 1 found, 0 not.
 */
export const FILE_FIND_GROUP = 21
/**
 * Single records at scattered positions. numbers: MANY_WIDTH per read (fd, seed, position, end, offset, batchFirst, status out, value start out,
 * value length out, frame start out); a = count; frames are laid one behind the other into `bytes`. A status of STATUS_NO_ROOM: `bytes` is full.
 */
export const FILE_READ_MANY = 22
/** path → numbers as FILE_STAT */
export const FILE_STAT_PATH = 23

/**
 * Renders the records of one chunk as the content of a sealed chunk file, streaming: frames are read from `fd` (position a … b), verified as FILE_SCAN
 * does, and their values written to numbers[RENDER_CONTENT_FD] from position 0 on, in the form FORM_…; for every element its position in the content
 * goes to numbers[RENDER_POSITIONS_FD] from byte RENDER_POSITIONS_START on: u64 position, in sparse segments followed by u64 offset.
 * It ends behind the batch that brings the payload (value bytes) to numbers[RENDER_CHUNK_BYTES], or at b. Memory does not depend on the chunk's size.
 * A tombstone is `null` in json and ndjson and nothing in raw. json: `[` elements joined by `,` `]`; ndjson: every element with a line feed behind it.
 * numbers: RENDER_LENGTH. Status 0, or −errno of a read or write; damage is told by RENDER_STOP, what was written is worthless then.
 */
export const FILE_RENDER = 24
/** CRC-32C (fresh) of the bytes a … b → numbers[0]; numbers[1] = bytes that were there. Reads in pieces. */
export const FILE_CHECKSUM = 25

/**
 * Copies the records of a segment that are still needed to the sparse file that replaces it; frames are read from `fd` (position a … b) and verified as
 * FILE_SCAN does. A record is needed when COMPACT_INDEX, or one of the further indexes behind COMPACT_LENGTH, holds its offset under its key, when it has no key,
 * and when it is a tombstone that no newer version of its key in COMPACT_INDEX replaces and that is not older than COMPACT_TOMBSTONES_BEFORE. Indexes are taken
 * as they are when the request is made; they may be changed and destroyed meanwhile.
 * It ends behind the batch that brings the bytes read to COMPACT_SLICE_BYTES, or at b; the next call goes on with the same numbers and a = COMPACT_NEXT_POSITION.
 * What is written ends with a whole group; survivors of a batch of several records carry their index in it, bit 1 is made anew. numbers: COMPACT_LENGTH, then handles of
 * further indexes. Status 0, or −errno; damage is told by COMPACT_STOP, what was written behind COMPACT_OUT_POSITION is worthless then and no sum has changed. Footer, size and sync are the caller's.
 */
export const FILE_COMPACT = 26
/**
 * Compresses segment bytes from a (a frame begins there) … b into blocks: each a zstd frame with content size and checksum, of whole segment frames (records, commits, footer)
 * of about PACK_BLOCK_BYTES together, a larger one alone. The 4 bytes of each frame's CRC are left out. Frames are read from `fd` and verified first.
 * Blocks go to PACK_OUT_FD from PACK_OUT_POSITION on; `entries` gets PACK_COLUMNS numbers for each; it ends when that is full, or at b. numbers: PACK_LENGTH.
 * A footer is the last frame before b. Status 0, or −errno, or −ENOSYS without zstd (`can.compress`); damage is told by PACK_STOP, what was written is worthless then.
 */
export const FILE_PACK = 27
/**
 * The segment bytes of one block (b compressed bytes at position a of `fd`), with their CRCs, into `bytes`, which is as long as the entry of the block says. numbers: UNPACK_LENGTH.
 * With `entries`, UNPACK_COLUMNS numbers for each of several blocks, those lie one behind the other in the file, from a on, and in `bytes`; b is not used.
 * Status: 0; UNPACK_DAMAGED when one cannot be decompressed, is of another length, or no frames come of it; −errno, −ENOSYS without zstd. Never more memory than
 * `bytes` has. What its frames say is not looked at (CRCs are new and therefore good): FILE_SCAN_BYTES does. `bytes` is worthless unless the status is 0.
 */
export const FILE_UNPACK = 28
/** FILE_SCAN over frames that are in `bytes` already: a = segment position of the first byte, which commit frames are checked against, b = a + their length; `fd` is unused. */
export const FILE_SCAN_BYTES = 29
/** → 0 when the file has no name any more and no process has it open by another descriptor, 1 otherwise or when nobody can tell */
export const FILE_HAS_OTHER_USERS = 30

/** In: handle of the index; segment seed; largest record; sparse; offset expected at `a` (−1: unknown; it moves on with the calls); bytes to read before it ends (0: no limit); time (ms), −1: no tombstone goes. */
export const COMPACT_INDEX = 0
export const COMPACT_SEED = 1
export const COMPACT_MAX_RECORD = 2
export const COMPACT_SPARSE = 3
export const COMPACT_OFFSET = 4
export const COMPACT_SLICE_BYTES = 5
export const COMPACT_TOMBSTONES_BEFORE = 6
/** In: the file to write (−1: nothing is written, all is counted), its seed and epoch. In and out: position and chain behind its last group, running maximum of timestamps. */
export const COMPACT_OUT_FD = 7
export const COMPACT_OUT_SEED = 8
export const COMPACT_OUT_EPOCH = 9
export const COMPACT_OUT_POSITION = 10
export const COMPACT_OUT_CHAIN = 11
export const COMPACT_RUNNING_TIME = 12
/** In and out, sums over the calls: records and frame bytes read; records, frame bytes and tombstones kept; first and last offset kept (−1: none), their least and greatest timestamp (Infinity, −1). */
export const COMPACT_READ_RECORDS = 13
export const COMPACT_READ_BYTES = 14
export const COMPACT_KEPT_RECORDS = 15
export const COMPACT_KEPT_BYTES = 16
export const COMPACT_KEPT_TOMBSTONES = 17
export const COMPACT_FIRST_OFFSET = 18
export const COMPACT_LAST_OFFSET = 19
export const COMPACT_MIN_TIME = 20
export const COMPACT_MAX_TIME = 21
/** Out: STOP_END at b, STOP_FULL before it, or the damage met; position and offset expected behind the last good frame. */
export const COMPACT_STOP = 22
export const COMPACT_NEXT_POSITION = 23
export const COMPACT_NEXT_OFFSET = 24
export const COMPACT_LENGTH = 26

/** In: segment seed; largest record; sparse; file to write; level 1 to 22; segment bytes per block (1 to 2^30, −EINVAL for others); dictionary handle, −1: none. */
export const PACK_SEED = 0
export const PACK_MAX_RECORD = 1
export const PACK_SPARSE = 2
export const PACK_OUT_FD = 3
export const PACK_LEVEL = 4
export const PACK_BLOCK_BYTES = 5
export const PACK_DICTIONARY = 6
/** In and out: offset and batch first expected at `a` (−1 as in FILE_SCAN); where the next block goes; records packed; CRC-32C over what was written (fresh: 0). */
export const PACK_OFFSET = 7
export const PACK_BATCH_FIRST = 8
export const PACK_OUT_POSITION = 9
export const PACK_RECORDS = 10
export const PACK_CRC = 11
/** Out: blocks written; segment position behind the last, with damage: of the bad frame; STOP_TABLE_FULL, STOP_END at b, or the damage met (STOP_FOOTER: a footer before b). */
export const PACK_COUNT = 12
export const PACK_NEXT_POSITION = 13
export const PACK_STOP = 14
export const PACK_LENGTH = 16
/** Of a block: segment position, segment bytes; offset and batch first expected at its first frame; position and bytes in the archive. */
export const PACK_COLUMNS = 6

/** In: segment seed; dictionary handle, −1: none. Out: good blocks before the first that is not. */
export const UNPACK_SEED = 0
export const UNPACK_DICTIONARY = 1
export const UNPACK_COUNT = 2
export const UNPACK_LENGTH = 3
/** Of a block: segment bytes; bytes in the archive. */
export const UNPACK_COLUMNS = 2
export const UNPACK_DAMAGED = 1

/** Forms of sealed chunks, as in segment headers. */
export const FORM_JSON = 1
export const FORM_NDJSON = 2
export const FORM_RAW = 3

/** In: segment seed; largest record; sparse; first offset of the chunk (frames before it are verified and passed over); offset expected at `a`; batch first at `a` (−1: a batch begins). */
export const RENDER_SEED = 0
export const RENDER_MAX_RECORD = 1
export const RENDER_SPARSE = 2
export const RENDER_FROM = 3
export const RENDER_OFFSET = 4
export const RENDER_BATCH_FIRST = 5
export const RENDER_FORM = 6
export const RENDER_CHUNK_BYTES = 7
export const RENDER_CONTENT_FD = 8
export const RENDER_POSITIONS_FD = 9
/** Out: elements; last offset (−1: no element); bytes and CRC-32C (fresh) of the content; CRC-32C (fresh) of the positions written; payload bytes. */
export const RENDER_COUNT = 10
export const RENDER_LAST = 11
export const RENDER_BYTES = 12
export const RENDER_CRC = 13
export const RENDER_POSITIONS_CRC = 14
export const RENDER_PAYLOAD = 15
/** Out: STOP_FULL, STOP_END at b, or the damage met; position and offset expected behind the last good frame. */
export const RENDER_STOP = 16
export const RENDER_NEXT_POSITION = 17
export const RENDER_NEXT_OFFSET = 18
export const RENDER_LENGTH = 20
export const RENDER_POSITIONS_START = 128
/** `FILE_RENDER` and `FILE_COMPACT` only: the chunk or slice has reached its size. */
export const STOP_FULL = 9

export const SCAN_COLUMNS = 4
/** In: segment seed; offset expected at `a` (−1: unknown, take the first); batch first at `a` (−1: starts a batch); lowest offset to list; max record bytes; sparse. */
export const SCAN_SEED = 0
export const SCAN_OFFSET = 1
export const SCAN_BATCH_FIRST = 2
export const SCAN_FROM = 3
export const SCAN_MAX_RECORD = 4
export const SCAN_SPARSE = 5
/** Out: records listed; position, offset and batch first behind the last good frame; stop; for STOP_LARGE the bytes needed; listed records up to the last complete batch. */
export const SCAN_COUNT = 6
export const SCAN_NEXT_POSITION = 7
export const SCAN_NEXT_OFFSET = 8
export const SCAN_NEXT_BATCH_FIRST = 9
export const SCAN_STOP = 10
export const SCAN_NEEDED = 11
export const SCAN_BATCH_END = 12
export const SCAN_LENGTH = 16

/** Results of a walk, behind the state vector. */
export const WALK_STOP = STATE_LENGTH
export const WALK_STOP_POSITION = STATE_LENGTH + 1
/** Good groups and marks passed. */
export const WALK_GROUPS = STATE_LENGTH + 2
export const WALK_MARKS = STATE_LENGTH + 3
/** syncedOffset, position and epoch of the last good commit frame; −1: none. */
export const WALK_LAST_SYNCED = STATE_LENGTH + 4
export const WALK_LAST_COMMIT = STATE_LENGTH + 5
export const WALK_LAST_EPOCH = STATE_LENGTH + 6
/** Index entries written. */
export const WALK_ENTRIES = STATE_LENGTH + 7
/** For STOP_NEWER: type | flags << 8 of the frame. */
export const WALK_NEWER = STATE_LENGTH + 8
/** Largest syncedOffset met in any good commit frame. */
export const WALK_MAX_SYNCED = STATE_LENGTH + 9
export const WALK_LENGTH = STATE_LENGTH + 12
export const ENTRY_WIDTH = 4

export const FIND_SEED = 0
export const FIND_MAX_RECORD = 1
export const FIND_GROUP_START = 2
export const FIND_COMMIT_POSITION = 3
export const FIND_FIRST_OFFSET = 4
export const FIND_RECORDS = 5
export const FIND_SYNCED_OFFSET = 6
export const FIND_EPOCH = 7
export const FIND_PREV_CHAIN = 8
export const FIND_CHAIN = 9
export const FIND_END_OFFSET = 10
export const FIND_LENGTH = 12

export const MANY_WIDTH = 10

/** Statuses of `readRecord` and FILE_READ_MANY above zero. */
export const READ_OK = 0
/** The frames walked over do not lead to the offset. */
export const READ_NOT_FOUND = 1
export const READ_CHECKSUM = 2
/** The frame does not fit `copyOut`: out[OUT_FRAME_POSITION] and out[OUT_FRAME_BYTES] are set, read it with FILE_SCAN. */
export const READ_LARGE = 3
export const READ_NEWER = 4
export const READ_NO_ROOM = 5
/** `cacheRecord` only: the value is in the buffer that was given for it. */
export const READ_PLACED = 6

/** Flags of `readRecord`: offsets may skip. */
export const READ_SPARSE = 1
/** Nothing is read that may have to wait for a disk: −EAGAIN then, or −EOPNOTSUPP where the system cannot tell. */
export const READ_RESIDENT = 2

export const OUT_FRAME_POSITION = 0
export const OUT_FRAME_BYTES = 1
/** Within copyOut. */
export const OUT_VALUE_START = 2
export const OUT_VALUE_LENGTH = 3
/** Key bytes lie at OUT_KEY_START; length −1: no key. */
export const OUT_KEY_START = 4
export const OUT_KEY_LENGTH = 5
export const OUT_TYPE = 6
export const OUT_TIMESTAMP = 7
export const OUT_BATCH_FIRST = 8

/** Results of `cacheState`: bounds are offsets, end exclusive; both 0 while nothing is cached. Evictions count records since the log was created. */
export const CACHE_OLDEST = 0
export const CACHE_END = 1
export const CACHE_RECORDS = 2
export const CACHE_BYTES = 3
export const CACHE_EVICTED_RECORDS = 4
export const CACHE_EVICTED_AGE = 5
export const CACHE_EVICTED_BYTES = 6
/** The budget of the environment was needed for other logs. */
export const CACHE_EVICTED_BUDGET = 7
export const CACHE_LENGTH = 8

/** `sendFile`: the whole range was sent before it returned; no DONE row comes. */
export const SENT_AT_ONCE = 1

/** Longest key of a key index. */
export const KEY_BYTES = 65_535
/** Room for two keys. */
export const KEYS_LENGTH = 2 * 65_536
export const INDEX_COLUMNS = 2
/** From `from` downwards to `until`; without it: upwards. */
export const INDEX_REVERSE = 1
export const INDEX_FROM_EXCLUSIVE = 2
export const INDEX_UNTIL_INCLUSIVE = 4
