import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { LogError } from '../errors.js'
import * as k from './kernels.js'

const SYSTEM_CALLS: Readonly<Record<number, string>> = {
  [k.FILE_OPEN]: 'open',
  [k.FILE_CLOSE]: 'close',
  [k.FILE_READ]: 'pread',
  [k.FILE_WRITE]: 'pwrite',
  [k.FILE_DATASYNC]: 'fdatasync',
  [k.FILE_SYNC]: 'fsync',
  [k.FILE_TRUNCATE]: 'ftruncate',
  [k.FILE_ALLOCATE]: 'fallocate',
  [k.FILE_STAT]: 'fstat',
  [k.FILE_STAT_PATH]: 'stat',
  [k.FILE_RENAME]: 'rename',
  [k.FILE_UNLINK]: 'unlink',
  [k.FILE_MKDIR]: 'mkdir',
  [k.FILE_LIST]: 'readdir',
  [k.FILE_SYNC_DIRECTORY]: 'fsync',
  [k.FILE_LOCK]: 'fcntl',
  [k.FILE_SCAN]: 'pread',
  [k.FILE_WALK]: 'pread',
  [k.FILE_FIND_GROUP]: 'pread',
  [k.FILE_ZEROS]: 'pread',
  [k.FILE_READ_MANY]: 'pread',
  [k.FILE_RENDER]: 'pread or pwrite',
  [k.FILE_CHECKSUM]: 'pread',
  [k.FILE_COMPACT]: 'pread or pwrite',
  [k.FILE_PACK]: 'pread or pwrite',
  [k.FILE_UNPACK]: 'pread',
}

const { ENOENT, ENOSPC, EDQUOT, EFBIG, EEXIST, EAGAIN, EACCES, ENOSYS, EOPNOTSUPP, EADDRINUSE, EROFS, EPERM, EINVAL } = constants.errno

export { EACCES, EADDRINUSE, EAGAIN, EDQUOT, EEXIST, EFBIG, EINVAL, ENOENT, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EROFS }

/** The error Node would have thrown for this system call: the `cause` of a LogError. */
export function systemError(errno: number, syscall: string, path?: string): NodeJS.ErrnoException {
  const code = errno > 0 ? getSystemErrorName(-errno) : 'UNKNOWN'
  const error: NodeJS.ErrnoException = new Error(`${code}: ${syscall}${path === undefined ? '' : ` '${path}'`}`)
  error.code = code
  error.errno = -errno
  error.syscall = syscall
  if (path !== undefined) error.path = path
  return error
}

/** A failed file request as an error of ours. */
export function fileError(status: number, operation: number, path?: string): LogError {
  const cause = systemError(-status, SYSTEM_CALLS[operation] ?? 'io', path)
  const code = isNoSpace(-status) ? 'ERR_SEALOG_NO_SPACE' : 'ERR_SEALOG_IO'
  return new LogError(code, `${cause.syscall} failed${path === undefined ? '' : ` on ${path}`}: ${cause.code}`, { cause, file: path })
}

export function isNoSpace(errno: number): boolean {
  return errno === ENOSPC || errno === EDQUOT || errno === EFBIG
}
