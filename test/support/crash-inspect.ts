/** What a power loss must leave beside the records: saved tails, and the means to tell rot from a torn write. */
import fs from 'node:fs'
import path from 'node:path'
import { FRAME_RECORD, FRAME_TOMBSTONE, frameBytes, SEGMENT_HEADER_BYTES } from '../../lib/format/constants.js'
import { isTornFile, parseSegmentFile, segmentFile } from '../../lib/format/names.js'
import { Log, LogError } from '../../lib/index.js'
import type { Moment } from './crash-history.js'
import { LOG_NAME, type Run } from './crash-run.js'
import { type DiskImage, materialize } from './replay.js'

const SEGMENTS = path.join(LOG_NAME, 'segments')
let scratch = 0

export async function inspect(run: Run, image: DiskImage, moment: Moment, point: number, root: string): Promise<string | undefined> {
  return lostTail(run, image, moment, point) ?? (await silentCut(image, moment, path.join(root, `rot-${scratch++}`)))
}

/** While the first session recovers, whatever it has cut is in a saved file. */
function lostTail(run: Run, image: DiskImage, moment: Moment, point: number): string | undefined {
  if (moment !== run.history.moments[0]) return undefined
  for (const [at, event] of run.events.entries()) {
    if (at > point) return undefined
    if (event.kind !== 'rename' || !isTornFile(path.basename(event.to)) || image.has(event.to)) continue
    const [base, position] = path
      .basename(event.to)
      .split(/\.torn-|-/)
      .map(Number)
    const name = path.join(SEGMENTS, segmentFile(base))
    const tail = (from: DiskImage) =>
      Buffer.from(from.get(name)?.data.subarray(position) ?? [])
        .toString('latin1')
        .replace(/\0+$/, '')
    if (tail(image) !== tail(run.initial)) return `${event.to} is missing, and so are the bytes it should have saved`
  }
  return undefined
}

/** After a clean close damage of the last group is refused, never cut as if it were torn: the mark proves that it was durable. */
async function silentCut(image: DiskImage, moment: Moment, directory: string): Promise<string | undefined> {
  if (!moment.what.startsWith('close')) return undefined
  const last = [...image.keys()]
    .filter((name) => parseSegmentFile(path.basename(name)) !== undefined)
    .sort()
    .at(-1)
  const file = last === undefined ? undefined : image.get(last)
  if (last === undefined || file === undefined) return undefined
  const at = lastRecord(file.data)
  if (at < 0) return undefined
  const data = Uint8Array.from(file.data)
  data[at + 16] ^= 1
  fs.mkdirSync(directory)
  try {
    materialize(new Map(image).set(last, { data, size: file.size }), directory)
    const log = await Log.open(path.join(directory, LOG_NAME), { backend: 'js' })
    const { endOffset } = log
    const durable = Math.max(...moment.candidates.map((candidate) => candidate.durable))
    await log.close()
    return endOffset < durable ? `a damaged record of the last group was cut: the log ends at ${endOffset}, closed cleanly at ${durable}` : undefined
  } catch (error) {
    if (error instanceof LogError && error.code === 'ERR_SEALOG_CORRUPT') return undefined
    throw error
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

/** Position of the last record frame, by lengths alone; −1: none. */
function lastRecord(data: Uint8Array): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  let found = -1
  for (let at = SEGMENT_HEADER_BYTES; at + 24 <= data.length && data[at + 22] !== 0; at += frameBytes(view.getUint32(at + 4, true))) {
    if (data[at + 22] === FRAME_RECORD || data[at + 22] === FRAME_TOMBSTONE) found = at
  }
  return found
}
