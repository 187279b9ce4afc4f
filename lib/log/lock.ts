import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { createServer, type Server } from 'node:net'
import path from 'node:path'
import { threadId } from 'node:worker_threads'
import { LockedError, LogError } from '../errors.js'
import { LOCK_FILE } from '../format/names.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { EADDRINUSE, EAGAIN, ENOSYS } from '../kernels/system-error.js'
import type { TaskRunner } from '../kernels/task.js'
import type { Durability } from '../options.js'

const RECORD_BYTES = 512

/** What LOCK says about who wrote last. Informational while a lock of the system is held; decisive only with `lock: 'pid'`. */
export interface OwnerRecord {
  readonly pid: number
  readonly thread: number
  readonly startTime: string
  readonly bootId: string
  readonly pidNamespace: string
  readonly token: string
  readonly durability: Durability
  readonly state: 'open' | 'closed'
  /** A session ended uncleanly in `flush` or `none` on another boot: visible records may be gone, the epoch has to be raised. */
  readonly raiseEpoch: boolean
}

/**
 * The one writer of a directory. Native: an open-file-description lock on LOCK. The twin, which has no fcntl: an abstract socket named by device and
 * inode, held by this process. Each takes its own first and then looks for the other's, so of two that race at least one sees the other.
 */
export class WriterLock {
  /** How the session before ended; undefined: nothing is known of one. */
  readonly previousState: OwnerRecord['state'] | undefined
  /** The log was opened under this lock before (truncation, reopen()): how it ended is known, not guessed from `previousState`. */
  opened = false
  readonly #fd: number
  readonly #directory: string
  readonly #server: Server | undefined
  readonly #durability: Durability
  #owner: OwnerRecord

  private constructor(
    fd: number,
    directory: string,
    server: Server | undefined,
    previousState: OwnerRecord['state'] | undefined,
    durability: Durability,
    owner: OwnerRecord,
  ) {
    this.#fd = fd
    this.#directory = directory
    this.#server = server
    this.previousState = previousState
    this.#durability = durability
    this.#owner = owner
  }

  static async acquire(directory: string, runner: TaskRunner, durability: Durability, how: 'os' | 'pid'): Promise<WriterLock> {
    const file = path.join(directory, LOCK_FILE)
    const fd = await runner.run(io.open(file, constants.O_RDWR | constants.O_CREAT))
    let server: Server | undefined
    try {
      const facts = await runner.run(io.stat(fd, file))
      const held = await lockFile(fd, runner)
      const previous = await runner.run(readOwner(fd, file))
      const locked = () => new LockedError(directory, previous?.pid ?? -1, previous?.thread ?? -1)
      if (held === 'busy') throw locked()
      const socket = socketName(facts)
      if (process.platform === 'linux') {
        if (held === 'taken') {
          if ((await runner.run(probeSocket(socket))) === -EADDRINUSE) throw locked()
        } else {
          server = await bindSocket(socket)
          if (server === undefined || (await runner.run(hasFileLock(facts)))) throw locked()
        }
      } else if (held === 'unavailable' && how !== 'pid') {
        throw new LogError('ERR_SEALOG_UNSUPPORTED', `this backend has no file lock on ${process.platform}; open with lock: 'pid' if nothing else writes`, {
          field: 'lock',
        })
      }
      const identity = await runner.run(processIdentity())
      if (how === 'pid' && held === 'unavailable' && previous !== undefined && previous.state === 'open' && isAlive(previous, identity)) throw locked()
      // What a session in another mode left unsynced is still lost by a power loss until recovery has made it durable.
      const weakest = durability === 'fsync' && previous?.state === 'open' ? previous.durability : durability
      const owner: OwnerRecord = {
        startTime: identity.startTime,
        bootId: identity.bootId,
        pidNamespace: identity.pidNamespace,
        pid: process.pid,
        thread: threadId,
        token: randomBytes(8).toString('hex'),
        durability: weakest,
        state: 'open',
        raiseEpoch: mustRaise(previous, identity),
      }
      const lock = new WriterLock(fd, directory, server, previous?.state, durability, owner)
      await runner.run(lock.#write(owner, durability !== 'fsync'))
      return lock
    } catch (error) {
      server?.close()
      await runner.run(io.close(fd))
      throw error
    }
  }

  /** The epoch has to be raised before anything is served. */
  get raiseEpoch(): boolean {
    return this.#owner.raiseEpoch
  }

  /** Everything found is durable and the epoch raised if it had to be: from here on this session's own mode counts. */
  *recovered(): Procedure<void> {
    if (!this.#owner.raiseEpoch && this.#owner.durability === this.#durability) return
    this.#owner = { ...this.#owner, durability: this.#durability, raiseEpoch: false }
    yield* this.#write(this.#owner, false)
  }

  /** `clean`: everything was marked durable; otherwise the record stays as it is and tells of an unclean end. */
  *release(clean: boolean): Procedure<void> {
    try {
      if (clean) yield* this.#write({ ...this.#owner, state: 'closed' }, false)
    } finally {
      this.#server?.close()
      yield* io.close(this.#fd)
    }
  }

  *#write(record: OwnerRecord, durable: boolean): Procedure<void> {
    const file = path.join(this.#directory, LOCK_FILE)
    yield* io.write(this.#fd, 0, Buffer.from(`${JSON.stringify(record).padEnd(RECORD_BYTES - 1)}\n`), file)
    if (durable) yield* io.datasync(this.#fd, file)
  }
}

/** Does a writer hold the log now? For readers; the answer may be old when it arrives. */
export function* isWriterAlive(directory: string): Procedure<boolean> {
  const facts = yield* io.statPath(path.join(directory, LOCK_FILE))
  if (facts === undefined) return false
  if (process.platform === 'linux') {
    if (yield* hasFileLock(facts)) return true
    const sockets = yield* readProc('/proc/net/unix')
    return sockets.split('\n').some((line) => line.endsWith(` @${socketName(facts)}`))
  }
  const bytes = yield* io.readFile(path.join(directory, LOCK_FILE), constants.O_RDONLY, RECORD_BYTES)
  const owner = bytes === undefined ? undefined : parseOwner(bytes)
  return owner !== undefined && owner.state === 'open' && pidExists(owner.pid)
}

async function lockFile(fd: number, runner: TaskRunner): Promise<'taken' | 'busy' | 'unavailable'> {
  const status = await runner.run(
    (function* (): Procedure<number> {
      return yield { operation: k.FILE_LOCK, fd, a: 0, b: 0 }
    })(),
  )
  if (status === -ENOSYS) return 'unavailable'
  if (status === -EAGAIN) return 'busy'
  io.check(status, k.FILE_LOCK)
  return 'taken'
}

function* probeSocket(name: string): Procedure<number> {
  return yield { operation: k.FILE_PROBE_SOCKET, fd: 0, a: 0, b: 0, path: name }
}

/** As long as a socket's name can be: libuv binds shorter abstract names filled up with zeros or not, depending on its version. */
const SOCKET_NAME_LENGTH = 107

function socketName(facts: io.FileFacts): string {
  return `sealog-${facts.deviceMajor}-${facts.deviceMinor}-${facts.inode}`.padEnd(SOCKET_NAME_LENGTH, '.')
}

function bindSocket(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.unref()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(new LogError('ERR_SEALOG_IO', `the lock socket cannot be bound: ${error.code}`, { cause: error }))
    })
    server.listen({ path: `\0${name}`, exclusive: true }, () => resolve(server))
  })
}

/** /proc/locks shows every open-file-description lock, also those of other processes (as pid −1). */
function* hasFileLock(facts: io.FileFacts): Procedure<boolean> {
  const hex = (value: number) => value.toString(16).padStart(2, '0')
  const place = ` ${hex(facts.deviceMajor)}:${hex(facts.deviceMinor)}:${facts.inode} `
  const locks = yield* readProc('/proc/locks')
  return locks.split('\n').some((line) => line.includes('OFDLCK') && line.includes(place))
}

function* readProc(file: string): Procedure<string> {
  const fd = yield* io.openExisting(file, constants.O_RDONLY)
  if (fd === undefined) return ''
  const parts: Buffer[] = []
  try {
    for (let position = 0; ; ) {
      const bytes = Buffer.alloc(64 * 1024)
      const length = yield* io.read(fd, position, bytes, file)
      if (length === 0) return Buffer.concat(parts).toString('latin1')
      parts.push(bytes.subarray(0, length))
      position += length
    }
  } finally {
    yield* io.close(fd)
  }
}

function* readOwner(fd: number, file: string): Procedure<OwnerRecord | undefined> {
  const bytes = new Uint8Array(RECORD_BYTES)
  const length = yield* io.read(fd, 0, bytes, file)
  return parseOwner(bytes.subarray(0, length))
}

function parseOwner(bytes: Uint8Array): OwnerRecord | undefined {
  try {
    const record = JSON.parse(Buffer.from(bytes).toString('utf8')) as OwnerRecord
    return typeof record.pid === 'number' && typeof record.bootId === 'string' ? record : undefined
  } catch {
    return undefined
  }
}

function mustRaise(previous: OwnerRecord | undefined, own: Identity): boolean {
  if (previous === undefined) return false
  return previous.raiseEpoch || (previous.state === 'open' && previous.durability !== 'fsync' && previous.bootId !== own.bootId)
}

type Identity = Pick<OwnerRecord, 'startTime' | 'bootId' | 'pidNamespace'>

let ownIdentity: Identity | undefined

function* processIdentity(): Procedure<Identity> {
  if (ownIdentity === undefined) {
    const status = process.platform === 'linux' ? yield* readProc('/proc/self/stat') : ''
    const bootId = process.platform === 'linux' ? (yield* readProc('/proc/sys/kernel/random/boot_id')).trim() : ''
    ownIdentity = { startTime: startTimeOf(status), bootId, pidNamespace: (yield* readProc('/proc/self/status')).match(/^NSpid:.*$/m)?.[0] ?? '' }
  }
  return ownIdentity
}

/** Field 22 of /proc/<pid>/stat; the command in field 2 may hold spaces and brackets. */
function startTimeOf(status: string): string {
  return status.slice(status.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

function isAlive(owner: OwnerRecord, own: Identity): boolean {
  return owner.bootId === own.bootId && pidExists(owner.pid) && !(owner.pid === process.pid && owner.startTime !== own.startTime)
}

function pidExists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
