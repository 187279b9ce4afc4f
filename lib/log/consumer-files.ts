import { constants } from 'node:fs'
import path from 'node:path'
import { threadId } from 'node:worker_threads'
import { LogError } from '../errors.js'
import { CONSUMER_FILE_BYTES, CONSUMER_SLOT_DISTANCE, type ConsumerSlot, decodeConsumer, encodeConsumerSlot } from '../format/consumer-file.js'
import { CONSUMERS_DIRECTORY, isConsumerName } from '../format/names.js'
import type { Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'

/** Whose consumers: the parts of a log that is open for writing are one. */
export interface ConsumerPlace {
  readonly directory: string
  readonly environment: { readonly kernels: Kernels }
  /** CRC-32C of the log id. */
  readonly logSeed: number
}

/** What a consumer's file says: a position, or why there is none that can be trusted. */
export type ConsumerFile = GoodConsumerFile | { readonly name: string; readonly error: LogError }

export interface GoodConsumerFile {
  readonly name: string
  readonly slot: ConsumerSlot
  /** The slot that holds, 0 or 1; the next one goes to the other. */
  readonly place: number
  readonly error?: undefined
}

/** The consumer that holds most of the log. */
export interface SlowestConsumer {
  readonly name: string
  /** Records at and above are not acknowledged; 0 for one whose file is damaged: it holds everything. */
  readonly offset: number
  /** What is wrong with its file; undefined: nothing. */
  readonly error: LogError | undefined
}

function folderOf(place: ConsumerPlace): string {
  return path.join(place.directory, CONSUMERS_DIRECTORY)
}

export function consumerPath(place: ConsumerPlace, name: string): string {
  return path.join(folderOf(place), name)
}

/** Names in the order of their code units, so that two looks agree. */
export function* readConsumers(place: ConsumerPlace): Procedure<ConsumerFile[]> {
  const names = ((yield* io.list(folderOf(place))) ?? []).filter(isConsumerName).sort()
  const files: ConsumerFile[] = []
  for (const name of names) {
    const file = yield* readConsumer(place, name)
    if (file !== undefined) files.push(file)
  }
  return files
}

/** undefined when there is none. A file that cannot be read throws: nobody may take it for a consumer that is not there. */
export function* readConsumer(place: ConsumerPlace, name: string): Procedure<ConsumerFile | undefined> {
  const file = consumerPath(place, name)
  const bytes = yield* io.readFile(file, constants.O_RDONLY, CONSUMER_FILE_BYTES)
  return bytes === undefined ? undefined : judge(place, name, bytes)
}

function judge(place: ConsumerPlace, name: string, bytes: Uint8Array): ConsumerFile {
  const content = decodeConsumer(bytes, place.logSeed, place.environment.kernels.crc32c)
  const file = consumerPath(place, name)
  if (content === 'newer') return { name, error: new LogError('ERR_SEALOG_FORMAT_NEWER', `${file} was written by a newer version of sealog`, { file }) }
  if (content === 'damaged')
    return { name, error: new LogError('ERR_SEALOG_CONSUMER', `${file} is damaged, or of another log; reset or delete the consumer`, { file, position: 0 }) }
  return { name, ...content }
}

/** The consumer whose position is lowest; undefined: there is none. Compaction and retention leave alone what lies at and above it. */
export function* slowestConsumer(place: ConsumerPlace): Procedure<SlowestConsumer | undefined> {
  return slowestOf(yield* readConsumers(place))
}

export function slowestOf(files: readonly ConsumerFile[]): SlowestConsumer | undefined {
  let slowest: SlowestConsumer | undefined
  for (const file of files) {
    const offset = file.error === undefined ? file.slot.offset : 0
    if (slowest === undefined || offset < slowest.offset) slowest = { name: file.name, offset, error: file.error }
  }
  return slowest
}

let created = 0

/** Makes the file, durably, or replaces the one that is there: tmp, sync, rename, directory sync. */
export function* createConsumer(place: ConsumerPlace, name: string, slot: ConsumerSlot): Procedure<GoodConsumerFile> {
  const folder = folderOf(place)
  const file = consumerPath(place, name)
  yield* io.mkdir(folder)
  // Also when it was there: who made it may have been killed before it came to this.
  yield* io.syncDirectory(place.directory)
  const temporary = path.join(folder, `.${name}.${process.pid}-${threadId}-${++created}.tmp`)
  const bytes = new Uint8Array(CONSUMER_FILE_BYTES)
  bytes.set(encodeConsumerSlot(slot, place.logSeed, place.environment.kernels.crc32c))
  try {
    const fd = yield* io.open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC)
    try {
      yield* io.write(fd, 0, bytes, temporary)
      yield* io.sync(fd, temporary)
    } finally {
      yield* io.close(fd)
    }
    yield* io.rename(temporary, file)
  } catch (error) {
    yield* io.unlink(temporary)
    throw error
  }
  yield* io.syncDirectory(folder)
  return { name, slot, place: 0 }
}

/**
 * Makes durable what is there. Who wrote it may have been killed before the sync, or lost power since, and the page cache may hold lost, clean pages: the slot that
 * holds is written once more in place, so that the next write, which goes to the other one, never meets two that are in doubt.
 */
export function* settleConsumer(place: ConsumerPlace, file: GoodConsumerFile): Procedure<void> {
  yield* writeSlot(place, file.name, file.slot, file.place)
  yield* io.syncDirectory(folderOf(place))
}

/** Writes `slot` beside the one that holds in `before`. Throws ERR_SEALOG_CONSUMER when the consumer is gone. */
export function* updateConsumer(place: ConsumerPlace, before: GoodConsumerFile, slot: ConsumerSlot): Procedure<GoodConsumerFile> {
  const next = { name: before.name, slot, place: 1 - before.place }
  yield* writeSlot(place, next.name, slot, next.place)
  return next
}

/**
 * Records are being cut: positions beyond `end` go back to it, so that what is appended there is held for those who have never seen it. In the epoch they had: their
 * owners are told.
 */
export function* setBackConsumers(place: ConsumerPlace, end: number): Procedure<void> {
  for (const file of yield* readConsumers(place)) {
    if (file.error !== undefined || file.slot.offset <= end) continue
    try {
      yield* updateConsumer(place, file, { ...file.slot, sequence: file.slot.sequence + 1, offset: end })
    } catch (error) {
      // It was deleted meanwhile.
      if (!(error instanceof LogError) || error.code !== 'ERR_SEALOG_CONSUMER') throw error
    }
  }
}

function* writeSlot(place: ConsumerPlace, name: string, slot: ConsumerSlot, at: number): Procedure<void> {
  const file = consumerPath(place, name)
  const fd = yield* io.openExisting(file, constants.O_RDWR)
  if (fd === undefined) throw consumerGone(place, name)
  try {
    yield* io.write(fd, at * CONSUMER_SLOT_DISTANCE, encodeConsumerSlot(slot, place.logSeed, place.environment.kernels.crc32c), file)
    yield* io.datasync(fd, file)
  } finally {
    yield* io.close(fd)
  }
}

/** True when it was there. */
export function* removeConsumer(place: ConsumerPlace, name: string): Procedure<boolean> {
  if ((yield* io.statPath(consumerPath(place, name))) === undefined) return false
  yield* io.unlink(consumerPath(place, name))
  yield* io.syncDirectory(folderOf(place))
  return true
}

export function consumerGone(place: ConsumerPlace, name: string): LogError {
  const file = consumerPath(place, name)
  return new LogError('ERR_SEALOG_CONSUMER', `there is no consumer ${JSON.stringify(name)} any more: it was deleted, or dropped because it lagged`, { file })
}
