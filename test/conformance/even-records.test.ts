/** Records of one size are found by distance alone (lib/log/read-record-sync.ts): the same answers as by the way through the frames, from fewer bytes. */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { frameBytes } from '../../lib/format/constants.js'
import { Log, type LogOptions } from '../../lib/index.js'
import { backends, environmentOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { codeOf, range, segmentPath } from '../support/logs.js'
import { Random } from '../support/random.js'

const SIZE = 256
const FRAME = frameBytes(SIZE)
const OPTIONS = { durability: 'flush', cache: false } as const satisfies LogOptions

function content(offset: number, size: number): Buffer {
  return Buffer.alloc(size, `${offset} `)
}

/** Sizes of the records in batches, as they are appended. */
type Shape = readonly (readonly number[])[]

const even = (batches: number, of: (i: number) => number): Shape => range(0, batches).map((i) => new Array<number>(of(i)).fill(SIZE))

const SHAPES: Readonly<Record<string, Shape>> = {
  'one size, one by one': even(600, () => 1),
  'one size, in batches of one size': even(200, () => 5),
  'one size, in batches of many sizes': even(200, (i) => 1 + ((i * 7) % 23)),
  'sizes that take turns': range(0, 1000).map((i) => [i % 2 === 0 ? 96 : 176]),
  'sizes at random': range(0, 300).map((i) => range(0, 1 + (i % 4)).map((j) => new Random(i * 10 + j).below(700))),
  'nothing but frames': even(50, () => 40).map((batch) => batch.map(() => 0)),
  'larger than an index interval': range(0, 40).map(() => [9000, 9000]),
}

describe.each(backends)('records at even distances (%s)', (backend) => {
  afterEach(() => vi.restoreAllMocks())

  /** Appends batch by batch, every few of them in one group. */
  async function write(log: Log, shape: Shape): Promise<void> {
    for (const [i, sizes] of shape.entries()) {
      const first = log.endOffset
      const done = log.appendBatch(sizes.map((size, j) => content(first + j, size)))
      if (i % 7 === 0) await done
    }
    await log.committed()
  }

  function check(log: Log, shape: Shape, start = 0): void {
    let offset = start
    for (const sizes of shape) {
      const batch = offset
      for (const size of sizes) {
        const record = log.getSync(offset)
        expect(record?.offset).toBe(offset)
        expect(record?.batch).toBe(batch)
        expect(content(offset, size).equals(record?.value as Uint8Array)).toBe(true)
        offset++
      }
    }
  }

  it.each(Object.entries(SHAPES))('%s: every record, and where its batch began', async (_, shape) => {
    const directory = freshPath()
    const log = await Log.open(directory, { ...OPTIONS, backend })
    await write(log, shape)
    check(log, shape)
    await log.close()
    const again = await Log.open(directory, { ...OPTIONS, backend })
    check(again, shape)
    await again.close()
  })

  it('reads two frames where records are of one size, and no more often than before where they are not', async () => {
    await using log = await Log.open(freshPath(), { ...OPTIONS, backend })
    const uneven = range(0, 4000).map((i) => 8 + new Random(i).below(500))
    await log.appendBatch(range(0, 4000).map((i) => content(i, SIZE)))
    const calls = vi.spyOn(environmentOf(backend).kernels, 'readRecord')
    for (let i = 0; i < 3900; i += 13) log.getSync(i)
    expect(calls.mock.calls.length).toBe(300)
    for (const [, , position, end] of calls.mock.calls) expect(end - position).toBeLessThanOrEqual(2 * FRAME)

    await using other = await Log.open(freshPath(), { ...OPTIONS, backend })
    await other.appendBatch(uneven.map((size, i) => content(i, size)))
    calls.mockClear()
    for (let i = 0; i < 3900; i++) other.getSync(i)
    expect(calls.mock.calls.length).toBeLessThan(3900 + 100)
  })

  it('after a cut the old records do not come back', async () => {
    await using log = await Log.open(freshPath(), { ...OPTIONS, backend })
    const shape = even(400, () => 1)
    await write(log, shape)
    check(log, shape)
    await log.truncateAfter(99)
    const shorter = range(0, 300).map(() => [SIZE - 40])
    await write(log, shorter)
    check(log, shape.slice(0, 100))
    check(log, shorter, 100)
  })

  it('damage is found, and costs its neighbours nothing', async () => {
    const directory = freshPath()
    await using log = await Log.open(directory, { ...OPTIONS, backend })
    await write(
      log,
      even(200, () => 1),
    )
    const file = segmentPath(directory, 0)
    const at = readFileSync(file).indexOf(content(77, SIZE))
    expect(at).toBeGreaterThan(0)
    expect(log.getSync(77)?.offset).toBe(77)
    flipBit(file, at + 100)
    expect(await codeOf(() => log.getSync(77))).toBe('ERR_SEALOG_CHECKSUM')
    for (const offset of [75, 76, 78, 79]) expect(content(offset, SIZE).equals(log.getSync(offset)?.value as Uint8Array)).toBe(true)
  })
})

function flipBit(file: string, position: number): void {
  const fd = openSync(file, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, position)
  byte[0] ^= 1
  writeSync(fd, byte, 0, 1, position)
  closeSync(fd)
}
