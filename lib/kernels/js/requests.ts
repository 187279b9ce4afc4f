import fs from 'node:fs'
import { constants } from 'node:os'
import * as s from '../kernels.js'
import { checksumFile } from './checksum.js'
import { compactFrames } from './compact.js'
import { findGroup } from './find-group.js'
import { fileCall, type IoCall, pathCall, statCall } from './io.js'
import type { OrderedIndex } from './ordered-index.js'
import { packFrames } from './pack.js'
import { readMany } from './read-record.js'
import { renderChunk } from './render.js'
import { scanBytes, scanFrames } from './scan.js'
import type { Task } from './task.js'
import { unpackBlocks } from './unpack.js'
import { walkGroups } from './walk.js'
import { readFull } from './window.js'
import { writeFull } from './write-full.js'

const { EINVAL, ENOSYS, EOPNOTSUPP } = constants.errno
const ZEROS_READ_BYTES = 128 * 1024

export interface FileRequest {
  readonly operation: number
  readonly fd: number
  readonly a: number
  readonly b: number
  readonly bytes: Uint8Array | undefined
  readonly numbers: Float64Array | undefined
  readonly table: Uint32Array | Float64Array | undefined
  readonly path: string | undefined
  readonly path2: string | undefined
  /** Versions of key indexes, taken when the request was made. */
  readonly indexes: readonly OrderedIndex[]
  /** FILE_PACK and FILE_UNPACK: that of the handle in their numbers. */
  readonly dictionary: Uint8Array | undefined
  /** FILE_LIST: the names. */
  text: string
}

/** Whether running the request again, beside or behind a first run, comes to the same. The others are never left pending. */
export function isRepeatable({ operation, a }: FileRequest): boolean {
  switch (operation) {
    case s.FILE_RENAME:
    case s.FILE_UNLINK:
    case s.FILE_MKDIR:
      return false
    case s.FILE_OPEN:
      return (a & fs.constants.O_EXCL) === 0
    default:
      return true
  }
}

/** The system calls of a request, or its status where Node has none for it. */
export function taskOf(request: FileRequest): Task | number {
  const { operation, fd, a, b, path } = request
  switch (operation) {
    case s.FILE_OPEN:
      return single(pathCall('open', needed(path), a, b))
    case s.FILE_CLOSE:
      return single(fileCall('close', fd))
    case s.FILE_READ:
      return readFull(fd, needed(request.bytes), a)
    case s.FILE_WRITE:
      return writeFull(fd, needed(request.bytes), a)
    case s.FILE_DATASYNC:
      return single(fileCall('datasync', fd))
    case s.FILE_SYNC:
      return single(fileCall('sync', fd))
    case s.FILE_TRUNCATE:
      return single(fileCall('truncate', fd, a))
    case s.FILE_ALLOCATE:
      return -EOPNOTSUPP
    case s.FILE_STAT:
      return single(statCall(fd, undefined, needed(request.numbers)))
    case s.FILE_STAT_PATH:
      return single(statCall(-1, needed(path), needed(request.numbers)))
    case s.FILE_RENAME:
      return single(pathCall('rename', needed(path), 0, 0, needed(request.path2)))
    case s.FILE_UNLINK:
      return single(pathCall('unlink', needed(path)))
    case s.FILE_MKDIR:
      return single(pathCall('mkdir', needed(path), b))
    case s.FILE_LIST:
      return list(request, needed(path))
    case s.FILE_SYNC_DIRECTORY:
      return single(pathCall('syncDirectory', needed(path)))
    case s.FILE_EVICT:
      return 0
    case s.FILE_HAS_OTHER_USERS:
      return 1
    case s.FILE_LOCK:
    case s.FILE_PROBE_SOCKET:
      return -ENOSYS
    case s.FILE_ZEROS:
      return firstNonZero(fd, a, b, needed(request.numbers))
    case s.FILE_SCAN:
      return scanFrames(fd, a, b, needed(request.bytes), needed(request.numbers), neededTable(request.table))
    case s.FILE_WALK:
      return walkGroups(fd, b, needed(request.bytes), needed(request.numbers), request.table instanceof Float64Array ? request.table : undefined)
    case s.FILE_FIND_GROUP:
      return findGroup(fd, a, b, needed(request.numbers))
    case s.FILE_READ_MANY:
      return readMany(needed(request.numbers), a, needed(request.bytes))
    case s.FILE_RENDER:
      return renderChunk(fd, a, b, needed(request.numbers))
    case s.FILE_CHECKSUM:
      return checksumFile(fd, a, b, needed(request.numbers))
    case s.FILE_COMPACT:
      return compactFrames(fd, a, b, needed(request.numbers), request.indexes)
    case s.FILE_PACK:
      return packFrames(fd, a, b, needed(request.numbers), neededEntries(request.table), request.dictionary)
    case s.FILE_UNPACK:
      return unpackBlocks(
        fd,
        a,
        b,
        needed(request.bytes),
        needed(request.numbers),
        request.table === undefined ? undefined : neededEntries(request.table),
        request.dictionary,
      )
    case s.FILE_SCAN_BYTES:
      return scanBytes(a, b, needed(request.bytes), needed(request.numbers), neededTable(request.table))
    default:
      return -EINVAL
  }
}

function* single(call: IoCall): Task {
  return yield call
}

function* list(request: FileRequest, path: string): Task {
  const call = pathCall('list', path)
  const status = yield call
  request.text = call.text
  return status
}

/** What lies behind the end of the file counts as zero. */
function* firstNonZero(fd: number, from: number, end: number, numbers: Float64Array): Task {
  const buffer = Buffer.allocUnsafe(ZEROS_READ_BYTES)
  numbers[0] = end
  for (let position = from; position < end; position += buffer.length) {
    const got = yield* readFull(fd, buffer.subarray(0, Math.min(buffer.length, end - position)), position)
    if (got < 0) return got
    for (let at = 0; at < got; at++) {
      if (buffer[at] === 0) continue
      numbers[0] = position + at
      return 0
    }
    if (got < buffer.length) break
  }
  return 0
}

function needed<T>(argument: T | undefined): T {
  if (argument === undefined) throw new TypeError('an argument of the request is missing')
  return argument
}

function neededEntries(table: Uint32Array | Float64Array | undefined): Float64Array {
  if (!(table instanceof Float64Array)) throw new TypeError('the table of blocks is a Float64Array')
  return table
}

function neededTable(table: Uint32Array | Float64Array | undefined): Uint32Array {
  if (!(table instanceof Uint32Array)) throw new TypeError('the table of a scan is a Uint32Array')
  return table
}
