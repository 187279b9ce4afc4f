import { Log, type LogOptions } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { freshPath, readFiles } from './directories.js'
import { groupsOf, type Image, withFile } from './images.js'
import { fixedSources, segmentPath } from './logs.js'

export const SEGMENT_BYTES = 1024
export const OPTIONS: LogOptions = { segmentBytes: SEGMENT_BYTES, indexIntervalBytes: 128 }

/** Records 0 … 5 in groups of 1, 3 and 2: with key, with a batch, with padding, empty. */
const GROUPS: readonly (readonly { value: string; key?: string }[])[] = [
  [{ value: 'first record' }],
  [{ value: 'b' }, { value: 'a batch of three records', key: 'key' }, { value: '' }],
  [{ value: 'x'.repeat(41), key: 'k2' }, { value: 'last' }],
]

export interface Reference {
  readonly image: Image
  readonly values: readonly string[]
  /** Bases of its segments. */
  readonly bases: readonly number[]
}

export const segmentName = (base: number): string => segmentPath('', base)

async function write(backend: Backend, groups: readonly (readonly { value: string; key?: string }[])[]): Promise<{ log: Log; values: string[] }> {
  const log = await Log.openWith<Uint8Array>(freshPath('reference'), { ...OPTIONS, backend, idleMarkMs: 3_600_000 }, fixedSources())
  const values: string[] = []
  for (const [i, group] of groups.entries()) {
    await log.appendRecords(group.map(({ value, key }, n) => ({ value: Buffer.from(value), key, timestamp: 1_700_000_000_000 + i * 100 + n })))
    values.push(...group.map((record) => record.value))
  }
  return { log, values }
}

/** What a kill leaves behind right after the last acknowledgement; space that was reserved is cut to 64 bytes of zeros. */
export async function killedLog(backend: Backend): Promise<Reference> {
  const { log, values } = await write(backend, GROUPS)
  let image: Image = readFiles(log.directory)
  const bases = [...image.keys()].filter((name) => name.endsWith('.log')).map((name) => Number.parseInt(name.split('/')[1], 10))
  const last = segmentName(Math.max(...bases))
  const content = image.get(last) as Uint8Array
  const { end } = groupsOf(content)
  image = withFile(
    image,
    last,
    Uint8Array.from({ length: end + 64 }, (_, i) => (i < end ? content[i] : 0)),
  )
  for (const name of [...image.keys()]) if (name.endsWith('.tmp')) image = withFile(image, name, undefined)
  await log.close()
  return { image, values, bases: bases.sort((a, b) => a - b) }
}

/** A log that was closed: a closed segment with footer and index, an active one that ends with a mark. */
export async function closedLog(backend: Backend): Promise<Reference> {
  const { log, values } = await write(backend, [...GROUPS, [{ value: 'y'.repeat(400) }], [{ value: 'tail', key: 'k' }, { value: '' }]])
  await log.close()
  const image = readFiles(log.directory)
  const bases = [...image.keys()].filter((name) => name.endsWith('.log')).map((name) => Number.parseInt(name.split('/')[1], 10))
  return { image, values, bases: bases.sort((a, b) => a - b) }
}
