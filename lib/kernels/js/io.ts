import fs from 'node:fs'
import { constants } from 'node:os'

export type IoKind = 'open' | 'close' | 'read' | 'write' | 'datasync' | 'sync' | 'truncate' | 'stat' | 'rename' | 'unlink' | 'mkdir' | 'list' | 'syncDirectory'

/**
 * One system call: what native/os/io.h has as functions is data here, so that one generator can be driven synchronously and asynchronously and
 * one decorator sees every call. What Node cannot do (fallocate, SEEK_DATA, fadvise, fcntl locks) is missing.
 */
export interface IoCall {
  readonly kind: IoKind
  /** open, rename, unlink, mkdir, list, syncDirectory have none; `stat` goes by `path` when it has one. */
  readonly fd: number
  /** open: flags · read, write: position · truncate: size · mkdir: mode */
  readonly a: number
  /** open: mode */
  readonly b: number
  readonly path: string | undefined
  readonly path2: string | undefined
  /** read: exactly one; write: one behind the other in the file. */
  readonly parts: readonly Uint8Array[]
  /** stat: size, device major, device minor, inode. */
  readonly numbers: Float64Array | undefined
  /** list: receives the names, each followed by NUL. */
  text: string
}

/** Results are ≥ 0 or −errno. */
export interface Io {
  call(call: IoCall): number
  /** On libuv's pool; `done` never comes within this call. */
  start(call: IoCall, done: IoDone): void
}

export type IoDone = (result: number) => void

const NONE: readonly Uint8Array[] = []
const OPEN_DIRECTORY = fs.constants.O_RDONLY | (fs.constants.O_DIRECTORY ?? 0)

export function fileCall(kind: 'close' | 'datasync' | 'sync' | 'truncate', fd: number, a = 0): IoCall {
  return { kind, fd, a, b: 0, path: undefined, path2: undefined, parts: NONE, numbers: undefined, text: '' }
}

export function readCall(fd: number, into: Uint8Array, position: number): IoCall {
  return { kind: 'read', fd, a: position, b: 0, path: undefined, path2: undefined, parts: [into], numbers: undefined, text: '' }
}

export function writeCall(fd: number, parts: readonly Uint8Array[], position: number): IoCall {
  return { kind: 'write', fd, a: position, b: 0, path: undefined, path2: undefined, parts, numbers: undefined, text: '' }
}

export function pathCall(kind: 'open' | 'rename' | 'unlink' | 'mkdir' | 'list' | 'syncDirectory', path: string, a = 0, b = 0, path2?: string): IoCall {
  return { kind, fd: -1, a, b, path, path2, parts: NONE, numbers: undefined, text: '' }
}

export function statCall(fd: number, path: string | undefined, numbers: Float64Array): IoCall {
  return { kind: 'stat', fd, a: 0, b: 0, path, path2: undefined, parts: NONE, numbers, text: '' }
}

/** The parts behind the first `skip` bytes, together at most `limit` bytes. */
export function slice(parts: readonly Uint8Array[], skip: number, limit: number): readonly Uint8Array[] {
  const chosen: Uint8Array[] = []
  for (const part of parts) {
    if (skip >= part.length) {
      skip -= part.length
      continue
    }
    if (limit <= 0) break
    const end = Math.min(part.length, skip + limit)
    chosen.push(skip === 0 && end === part.length ? part : part.subarray(skip, end))
    limit -= end - skip
    skip = 0
  }
  return chosen
}

export function byteLength(parts: readonly Uint8Array[]): number {
  let bytes = 0
  for (const part of parts) bytes += part.length
  return bytes
}

export class NodeIo implements Io {
  call(call: IoCall): number {
    try {
      return callSync(call)
    } catch (error) {
      return statusOf(error)
    }
  }

  start(call: IoCall, done: IoDone): void {
    const plain = (error: NodeJS.ErrnoException | null) => done(error === null ? 0 : statusOf(error))
    const counted = (error: NodeJS.ErrnoException | null, result: number) => done(error === null ? result : statusOf(error))
    switch (call.kind) {
      case 'open':
        return fs.open(pathOf(call), call.a, call.b, counted)
      case 'close':
        return fs.close(call.fd, (error) => done(error ? statusOf(error) : 0))
      case 'read':
        return fs.read(call.fd, call.parts[0], 0, call.parts[0].length, call.a, counted)
      case 'write':
        if (call.parts.length === 1) return fs.write(call.fd, call.parts[0], 0, call.parts[0].length, call.a, counted)
        return fs.writev(call.fd, call.parts, call.a, counted)
      case 'datasync':
        return fs.fdatasync(call.fd, plain)
      case 'sync':
        return fs.fsync(call.fd, plain)
      case 'truncate':
        return fs.ftruncate(call.fd, call.a, plain)
      case 'stat': {
        const stated = (error: NodeJS.ErrnoException | null, stats: fs.BigIntStats) => {
          if (error === null) listStats(stats, call)
          plain(error)
        }
        if (call.path === undefined) return fs.fstat(call.fd, { bigint: true }, stated)
        return fs.stat(call.path, { bigint: true }, stated)
      }
      case 'rename':
        return fs.rename(pathOf(call), call.path2 ?? '', plain)
      case 'unlink':
        return fs.unlink(pathOf(call), plain)
      case 'mkdir':
        return fs.mkdir(pathOf(call), call.a, plain)
      case 'list':
        return fs.readdir(pathOf(call), (error, names) => {
          if (error === null) listNames(names, call)
          plain(error)
        })
      case 'syncDirectory':
        return fs.open(pathOf(call), OPEN_DIRECTORY, (error, fd) => {
          if (error !== null) return plain(error)
          fs.fsync(fd, (failed) => fs.close(fd, () => plain(failed)))
        })
    }
  }
}

function callSync(call: IoCall): number {
  switch (call.kind) {
    case 'open':
      return fs.openSync(pathOf(call), call.a, call.b)
    case 'close':
      fs.closeSync(call.fd)
      return 0
    case 'read':
      return fs.readSync(call.fd, call.parts[0], 0, call.parts[0].length, call.a)
    case 'write':
      if (call.parts.length === 1) return fs.writeSync(call.fd, call.parts[0], 0, call.parts[0].length, call.a)
      return fs.writevSync(call.fd, call.parts, call.a)
    case 'datasync':
      fs.fdatasyncSync(call.fd)
      return 0
    case 'sync':
      fs.fsyncSync(call.fd)
      return 0
    case 'truncate':
      fs.ftruncateSync(call.fd, call.a)
      return 0
    case 'stat':
      listStats(call.path === undefined ? fs.fstatSync(call.fd, { bigint: true }) : fs.statSync(call.path, { bigint: true }), call)
      return 0
    case 'rename':
      fs.renameSync(pathOf(call), call.path2 ?? '')
      return 0
    case 'unlink':
      fs.unlinkSync(pathOf(call))
      return 0
    case 'mkdir':
      fs.mkdirSync(pathOf(call), call.a)
      return 0
    case 'list':
      listNames(fs.readdirSync(pathOf(call)), call)
      return 0
    case 'syncDirectory': {
      const fd = fs.openSync(pathOf(call), OPEN_DIRECTORY)
      try {
        fs.fsyncSync(fd)
      } finally {
        fs.closeSync(fd)
      }
      return 0
    }
  }
}

function pathOf(call: IoCall): string {
  if (call.path === undefined) throw new TypeError(`${call.kind} needs a path`)
  return call.path
}

function listNames(names: readonly string[], call: IoCall): void {
  call.text = names.map((name) => `${name}\0`).join('')
}

function listStats(stats: fs.BigIntStats, call: IoCall): void {
  const { size, dev, ino } = stats
  // glibc's gnu_dev_major and gnu_dev_minor.
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)
  call.numbers?.set([Number(size), Number(major), Number(minor), Number(ino)])
}

/** −errno of a failed system call. Anything else is a mistake of ours and is thrown. */
function statusOf(error: unknown): number {
  const { code, errno } = error as NodeJS.ErrnoException
  if (code === undefined || code.startsWith('ERR_')) throw error
  return -(constants.errno[code as keyof typeof constants.errno] ?? Math.abs(errno ?? constants.errno.EIO))
}
