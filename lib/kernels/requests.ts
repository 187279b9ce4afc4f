import * as k from './kernels.js'
import type { FileRequest, Procedure } from './procedure.js'
import { EEXIST, EFBIG, ENOENT, EOPNOTSUPP, fileError } from './system-error.js'

export interface FileFacts {
  readonly size: number
  readonly deviceMajor: number
  readonly deviceMinor: number
  readonly inode: number
}

/** Steps of procedures. Each throws a LogError for a failed call unless it says otherwise; `file` names the file in it. */
export function* open(path: string, flags: number): Procedure<number> {
  return check(yield { operation: k.FILE_OPEN, fd: 0, a: flags, b: 0o644, path }, k.FILE_OPEN, path)
}

/** The descriptor, or undefined when there is no such file. */
export function* openExisting(path: string, flags: number): Procedure<number | undefined> {
  const status = yield { operation: k.FILE_OPEN, fd: 0, a: flags, b: 0o644, path }
  return status === -ENOENT ? undefined : check(status, k.FILE_OPEN, path)
}

export function* close(fd: number): Procedure<void> {
  check(yield { operation: k.FILE_CLOSE, fd, a: 0, b: 0 }, k.FILE_CLOSE)
}

/** As many bytes as the file has from `position`, at most `into.length`. */
export function* read(fd: number, position: number, into: Uint8Array, file: string): Procedure<number> {
  return check(yield { operation: k.FILE_READ, fd, a: position, b: 0, bytes: into }, k.FILE_READ, file)
}

export function* write(fd: number, position: number, bytes: Uint8Array, file: string): Procedure<void> {
  check(yield { operation: k.FILE_WRITE, fd, a: position, b: 0, bytes }, k.FILE_WRITE, file)
}

export function* datasync(fd: number, file: string): Procedure<void> {
  check(yield { operation: k.FILE_DATASYNC, fd, a: 0, b: 0 }, k.FILE_DATASYNC, file)
}

export function* sync(fd: number, file: string): Procedure<void> {
  check(yield { operation: k.FILE_SYNC, fd, a: 0, b: 0 }, k.FILE_SYNC, file)
}

export function* truncate(fd: number, size: number, file: string): Procedure<void> {
  check(yield { operation: k.FILE_TRUNCATE, fd, a: size, b: 0 }, k.FILE_TRUNCATE, file)
}

/** Reserves space; false where the file system or the backend cannot. */
export function* allocate(fd: number, from: number, to: number, file: string): Procedure<boolean> {
  const status = yield { operation: k.FILE_ALLOCATE, fd, a: from, b: to }
  if (status === -EOPNOTSUPP) return false
  if (status === -EFBIG) throw fileError(status, k.FILE_ALLOCATE, file)
  check(status, k.FILE_ALLOCATE, file)
  return true
}

export function* stat(fd: number, file: string): Procedure<FileFacts> {
  const numbers = new Float64Array(4)
  check(yield { operation: k.FILE_STAT, fd, a: 0, b: 0, numbers }, k.FILE_STAT, file)
  return facts(numbers)
}

/** undefined when there is no such file. */
export function* statPath(path: string): Procedure<FileFacts | undefined> {
  const numbers = new Float64Array(4)
  const status = yield { operation: k.FILE_STAT_PATH, fd: 0, a: 0, b: 0, numbers, path }
  if (status === -ENOENT) return undefined
  check(status, k.FILE_STAT_PATH, path)
  return facts(numbers)
}

export function* rename(from: string, to: string): Procedure<void> {
  check(yield { operation: k.FILE_RENAME, fd: 0, a: 0, b: 0, path: from, path2: to }, k.FILE_RENAME, from)
}

/** A file that is not there any more is fine. */
export function* unlink(path: string): Procedure<void> {
  const status = yield { operation: k.FILE_UNLINK, fd: 0, a: 0, b: 0, path }
  if (status !== -ENOENT) check(status, k.FILE_UNLINK, path)
}

/** True when it was created now. */
export function* mkdir(path: string): Procedure<boolean> {
  const status = yield { operation: k.FILE_MKDIR, fd: 0, a: 0, b: 0o755, path }
  if (status === -EEXIST) return false
  check(status, k.FILE_MKDIR, path)
  return true
}

export function* syncDirectory(path: string): Procedure<void> {
  check(yield { operation: k.FILE_SYNC_DIRECTORY, fd: 0, a: 0, b: 0, path }, k.FILE_SYNC_DIRECTORY, path)
}

/** Names in a directory; undefined when there is none. */
export function* list(path: string): Procedure<string[] | undefined> {
  const request: FileRequest = { operation: k.FILE_LIST, fd: 0, a: 0, b: 0, path }
  const status = yield request
  if (status === -ENOENT) return undefined
  check(status, k.FILE_LIST, path)
  return (request.text ?? '').split('\0').filter((name) => name !== '')
}

/** Position of the first byte that is not zero in from … to, `to` when there is none. */
export function* firstNonZero(fd: number, from: number, to: number, file: string): Procedure<number> {
  const numbers = new Float64Array(4)
  check(yield { operation: k.FILE_ZEROS, fd, a: from, b: to, numbers }, k.FILE_ZEROS, file)
  return numbers[0]
}

export function* evict(fd: number): Procedure<void> {
  yield { operation: k.FILE_EVICT, fd, a: 0, b: 0 }
}

/** Whether somebody else may have the file, open or by another name. */
export function* hasOtherUsers(fd: number): Procedure<boolean> {
  return (yield { operation: k.FILE_HAS_OTHER_USERS, fd, a: 0, b: 0 }) !== 0
}

/** The whole file; undefined when there is none. `limit` guards against allocating by a size read from disk. */
export function* readFile(path: string, flags: number, limit: number): Procedure<Uint8Array | undefined> {
  const fd = yield* openExisting(path, flags)
  if (fd === undefined) return undefined
  try {
    const { size } = yield* stat(fd, path)
    const bytes = new Uint8Array(Math.min(size, limit))
    const length = yield* read(fd, 0, bytes, path)
    return bytes.subarray(0, length)
  } finally {
    yield* close(fd)
  }
}

export function check(status: number, operation: number, file?: string): number {
  if (status < 0) throw fileError(status, operation, file)
  return status
}

function facts(numbers: Float64Array): FileFacts {
  return { size: numbers[0], deviceMajor: numbers[1], deviceMinor: numbers[2], inode: numbers[3] }
}
