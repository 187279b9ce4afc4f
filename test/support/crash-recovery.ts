/** Opens what a power loss left, with both backends, and says what came back. */
import fs from 'node:fs'
import path from 'node:path'
import { isTornFile } from '../../lib/format/names.js'
import { Log, type Record } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { environmentFor } from '../../lib/log/environment.js'
import { equalBytes, type History, isPrefix, type Recovered, readRecords } from './crash-history.js'
import { LOG_NAME } from './crash-run.js'
import { type DiskImage, materialize } from './replay.js'
import type { FileImage } from './replay-file.js'

const LOCK = path.join(LOG_NAME, 'LOCK')
const OTHER_BOOT = 'ffffffff-ffff-4fff-bfff-'
const OPTIONS = { segmentBytes: 2048, idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000 } as const

/** The image as the next boot finds it: LOCK tells of another one. */
export function afterReboot(image: DiskImage): DiskImage {
  const lock = image.get(LOCK)
  if (lock === undefined || lock.data.length === 0) return image
  const text = Buffer.from(lock.data).toString('latin1')
  const changed = text.replace(/("bootId":")[0-9a-f-]{24}/, `$1${OTHER_BOOT}`)
  const file: FileImage = { data: Buffer.from(changed, 'latin1'), size: lock.size }
  return new Map(image).set(LOCK, file)
}

/**
 * Recovers the image with `first`, appends, and looks again with `second`, when given. Failures here hold whatever was promised: open refuses, the second look differs,
 * an append after recovery does not stay, a saved tail is not what its name says.
 */
export async function recoverWith(first: Backend, second: Backend | undefined, image: DiskImage, directory: string, history: History): Promise<Recovered> {
  const place = path.join(directory, LOG_NAME)
  let found: Recovered = { start: 0, end: 0, epoch: 0, lineages: [], failure: undefined }
  fs.mkdirSync(directory)
  try {
    materialize(image, directory)
    let log = await Log.open(place, { ...OPTIONS, backend: first, durability: 'fsync' })
    const records = readRecords(log)
    found = { ...found, start: log.startOffset, end: log.endOffset, epoch: log.epoch, lineages: linesOf(history, records, log.startOffset) }
    const torn = tornMismatch(place)
    if (torn !== undefined) return { ...found, failure: torn }
    if (log.committedOffset !== log.endOffset || log.durableOffset !== log.endOffset)
      return { ...found, failure: 'recovered records are not committed and durable' }
    const value = Buffer.from(`after the crash, by ${first}`)
    const offset = await log.append(value)
    await log.close()
    if (offset !== found.end) return { ...found, failure: `the append after recovery got offset ${offset} instead of ${found.end}` }

    if (second === undefined) return found
    log = await Log.open(place, { ...OPTIONS, backend: second, durability: 'fsync' })
    const again = readRecords(log)
    const last = again.pop()
    const { startOffset, epoch } = log
    await log.close()
    if (last === undefined || last.offset !== offset || !value.equals(last.value))
      return { ...found, failure: `the append after recovery is gone for ${second}` }
    if (startOffset !== found.start || epoch !== found.epoch)
      return { ...found, failure: `${second} found start ${startOffset}, epoch ${epoch} instead of ${found.start}, ${found.epoch}` }
    if (again.length !== records.length || again.some((record, i) => !isSame(record, records[i])))
      return { ...found, failure: `${second} read other records than ${first}` }
    return found
  } catch (error) {
    return { ...found, failure: `${second === undefined ? first : `${first}, then ${second}`}: ${(error as Error).message}` }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

function isSame(a: Record<Uint8Array>, b: Record<Uint8Array>): boolean {
  return (
    a.offset === b.offset &&
    a.timestamp === b.timestamp &&
    a.batch === b.batch &&
    a.tombstone === b.tombstone &&
    equalBytes(a.value, b.value) &&
    equalBytes(a.key, b.key)
  )
}

function linesOf(history: History, records: readonly Record<Uint8Array>[], start: number): number[] {
  return [...history.lineages.keys()].filter((number) => isPrefix(history.lineages[number], records, start + records.length))
}

/** Saved tails carry the CRC of their bytes in their names. */
function tornMismatch(place: string): string | undefined {
  for (const name of fs.readdirSync(place)) {
    if (!isTornFile(name)) continue
    const crc = environmentFor('js')
      .kernels.crc32c(fs.readFileSync(path.join(place, name)), 0)
      .toString(16)
      .padStart(8, '0')
    if (!name.endsWith(crc)) return `${name} holds bytes of CRC ${crc}`
  }
  return undefined
}
