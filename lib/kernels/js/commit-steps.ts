import type { BlockPool } from './blocks.js'
import type { EventQueue } from './events.js'
import type { Group } from './group.js'
import { type Io, type IoCall, slice, writeCall } from './io.js'
import type { TailCaches } from './tail-cache.js'

const WRITE_BYTES_LIMIT = 2 ** 20

/** What all logs of an environment share. */
export interface CommitterHost {
  readonly io: Io
  readonly events: EventQueue
  readonly pool: BlockPool
  readonly caches: TailCaches
}

/** How much of a log is written. */
export interface Written {
  readonly records: number
  readonly offset: number
  readonly position: number
  /** Groups and marks. */
  readonly writes: number
}

/** A step under way on libuv's pool. A log that has moved on holds another one, or none: what comes back late finds that out and leaves it alone. */
export interface WriteStep {
  readonly group: Group
  done: number
}

export interface SyncStep {
  readonly covers: Written
  /** Mode `fsync`: how many of the unsynced groups it covers. */
  readonly groups: number
  /** All that it covers has been written once more since, so its failure means nothing. */
  superseded: boolean
}

/** The call that goes on with a group of which `done` bytes are written. */
export function nextWrite(fd: number, group: Group, done: number): IoCall {
  return writeCall(fd, slice(group.parts, done, WRITE_BYTES_LIMIT), group.position + done)
}
