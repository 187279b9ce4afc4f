/** Numbers of the on-disk format, version 1. The prose twin is docs/format.md; native/core/format.h holds the same numbers for C++. */

export const FORMAT_VERSION = 1

/** Segment header: magic `SEALOGS1` and everything the file's frames depend on. */
export const SEGMENT_MAGIC = 'SEALOGS1'
export const SEGMENT_HEADER_BYTES = 128
export const SEGMENT_FEATURE_SPARSE = 1
export const SEGMENT_FEATURES_KNOWN = SEGMENT_FEATURE_SPARSE

export const FRAME_HEADER_BYTES = 24
export const FRAME_ALIGNMENT = 8

export const FRAME_RECORD = 1
export const FRAME_TOMBSTONE = 2
export const FRAME_COMMIT = 3
export const FRAME_FOOTER = 4

/** The body starts with u16 key length and the key. */
export const FLAG_KEY = 1
/** The next record belongs to the same batch. */
export const FLAG_BATCH_CONTINUES = 2
/** The body starts with the u32 index of the record in its batch (sparse segments only). */
export const FLAG_BATCH_INDEX = 4
export const FLAGS_KNOWN = FLAG_KEY | FLAG_BATCH_CONTINUES | FLAG_BATCH_INDEX

export const COMMIT_BODY_BYTES = 32
export const COMMIT_FRAME_BYTES = FRAME_HEADER_BYTES + COMMIT_BODY_BYTES
export const FOOTER_BODY_BYTES = 64
export const FOOTER_FRAME_BYTES = FRAME_HEADER_BYTES + FOOTER_BODY_BYTES

/** No record, whatever a header says, is larger than this. */
export const RECORD_BYTES_LIMIT = 2 ** 30
/** The largest offset a record can have: its successor is still a safe integer. */
export const OFFSET_LIMIT = Number.MAX_SAFE_INTEGER - 1
export const TIMESTAMP_LIMIT = 2 ** 48 - 1
export const KEY_BYTES_LIMIT = 65_535

export const COMMITTED_BYTES = 128
export const COMMITTED_SLOT = 0
export const DURABLE_SLOT = 64

/** Header of a chunk index: magic `SEALOGC1`; the element positions follow. */
export const CHUNK_INDEX_MAGIC = 'SEALOGC1'
export const CHUNK_INDEX_HEADER_BYTES = 128
/** u64 position of the element; in sparse segments u64 offset behind it. */
export const CHUNK_POSITION_BYTES = 8
export const CHUNK_SPARSE_POSITION_BYTES = 16

/** Bytes a frame with this body occupies, padding included. */
export function frameBytes(bodyLength: number): number {
  return FRAME_HEADER_BYTES + bodyLength + 7 - ((bodyLength + 7) % FRAME_ALIGNMENT)
}
