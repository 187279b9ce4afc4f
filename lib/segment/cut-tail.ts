import { constants } from 'node:fs'
import path from 'node:path'
import { warn } from '../errors.js'
import { toHex } from '../format/bytes.js'
import { isTornFile, SEGMENTS_DIRECTORY, tornFile } from '../format/names.js'
import type { Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { Damage } from './recovery.js'
import type { Segment } from './segment.js'

const COPY_BYTES = 1024 * 1024
const TORN_FILES = 8
const TORN_BYTES = 256 * 1024 * 1024

/** Copies what is to be cut beside the log, synced, before anything is removed (rule 6); equal copies are not repeated. */
export function* saveTail(directory: string, damage: Damage, later: readonly Segment[], kernels: Kernels): Procedure<void> {
  yield* saveBytes(directory, damage.segment, damage.position, kernels)
  for (const segment of later) yield* saveBytes(directory, segment, 0, kernels)
}

/** Cuts a torn tail whose bytes are saved. */
export function* cutTail(directory: string, damage: Damage, later: readonly Segment[]): Procedure<void> {
  const folder = path.join(directory, SEGMENTS_DIRECTORY)
  for (const segment of [...later].reverse()) {
    yield* segment.release()
    yield* io.unlink(segment.path)
    yield* io.unlink(segment.indexPath)
  }
  if (later.length > 0) yield* io.syncDirectory(folder)
  yield* io.truncate(damage.segment.fd, damage.position, damage.segment.path)
  yield* io.sync(damage.segment.fd, damage.segment.path)
  warn(
    'SEALOG_TORN_TAIL',
    `${damage.segment.path}: an unfinished write behind offset ${damage.end} was cut at position ${damage.position} (${damage.why}); the bytes were saved beside the log`,
  )
}

/** Copies a file from `position` to its last byte that is not zero. */
export function* saveBytes(directory: string, segment: Segment, position: number, kernels: Kernels): Procedure<void> {
  const { size } = yield* io.stat(segment.fd, segment.path)
  const end = yield* lastNonZero(segment, position, size)
  if (end <= position) return
  const temporary = path.join(directory, `${path.basename(segment.path)}.torn.tmp`)
  let checksum = 0
  const out = yield* io.open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC)
  try {
    const buffer = new Uint8Array(Math.min(COPY_BYTES, end - position))
    for (let at = position; at < end; ) {
      const part = buffer.subarray(0, Math.min(buffer.length, end - at))
      const length = yield* io.read(segment.fd, at, part, segment.path)
      if (length === 0) break
      checksum = kernels.crc32c(part.subarray(0, length), checksum)
      yield* io.write(out, at - position, part.subarray(0, length), temporary)
      at += length
    }
    yield* io.sync(out, temporary)
  } catch (error) {
    yield* io.unlink(temporary)
    throw error
  } finally {
    yield* io.close(out)
  }
  const target = path.join(directory, tornFile(segment.base, position, toHex(checksum)))
  if ((yield* io.statPath(target)) === undefined) {
    yield* makeRoom(directory, end - position)
    yield* io.rename(temporary, target)
  } else {
    yield* io.unlink(temporary)
  }
  // Also for an equal copy: a recovery killed behind its rename may have left a name that is not durable yet.
  yield* io.syncDirectory(directory)
}

function* lastNonZero(segment: Segment, from: number, size: number): Procedure<number> {
  const buffer = new Uint8Array(64 * 1024)
  for (let end = size; end > from; ) {
    const start = Math.max(from, end - buffer.length)
    const length = yield* io.read(segment.fd, start, buffer.subarray(0, end - start), segment.path)
    for (let i = length - 1; i >= 0; i--) if (buffer[i] !== 0) return start + i + 1
    end = start
  }
  return from
}

/** Keeps the saved tails within their number and size; those of the lowest offsets go first. */
function* makeRoom(directory: string, bytes: number): Procedure<void> {
  const names = ((yield* io.list(directory)) ?? []).filter(isTornFile).sort()
  let total = bytes
  let count = 1
  for (const name of names.reverse()) {
    const facts = yield* io.statPath(path.join(directory, name))
    total += facts?.size ?? 0
    count++
    if (count > TORN_FILES || total > TORN_BYTES) yield* io.unlink(path.join(directory, name))
  }
}
