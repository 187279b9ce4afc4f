import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { copyDirectory, freshPath } from '../support/directories.js'
import { bytes, codeOf, errorOf, offsets, range, readAll, text, withLog } from '../support/logs.js'

const OPTIONS = { durability: 'flush', segmentBytes: 1024, maxBatchBytes: 512, indexIntervalBytes: 256 } as const
/** Sizes of the batches of the reference log, several groups to a segment, several batches to a group. */
const BATCHES = [1, 1, 3, 1, 4, 2, 1, 1, 5, 1, 2, 1, 1, 3, 1, 1, 2]
const TOTAL = BATCHES.reduce((sum, n) => sum + n, 0)
/** First offset of the batch that holds each offset, and the offset behind it. */
const firsts = BATCHES.flatMap((size, i) => Array<number>(size).fill(BATCHES.slice(0, i).reduce((sum, n) => sum + n, 0)))
const ends = BATCHES.flatMap((size, i) => Array<number>(size).fill(BATCHES.slice(0, i + 1).reduce((sum, n) => sum + n, 0)))
const valueAt = (offset: number): string => `value ${offset} ${'-'.repeat((offset * 13) % 40)}`

function segmentBases(directory: string): number[] {
  return readdirSync(path.join(directory, 'segments'))
    .filter((name) => name.endsWith('.log'))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b)
}

describe.each(backends)('truncation (%s)', (backend) => {
  let reference = ''
  beforeAll(async () => {
    reference = freshPath('reference')
    await withLog(reference, { ...OPTIONS, backend }, async (log) => {
      let next = 0
      for (const [i, size] of BATCHES.entries()) {
        void log.appendBatch(range(next, next + size).map((offset) => bytes(valueAt(offset))))
        next += size
        if (i % 2 === 1) await log.flush()
      }
    })
    expect(segmentBases(reference).length).toBeGreaterThan(3)
  })

  const check = async (log: Log, start: number, end: number, extra: readonly string[] = []) => {
    const records = await readAll(log)
    expect(records.map((record) => record.offset)).toEqual(range(start, end + extra.length))
    expect(records.map((record) => text(record.value))).toEqual([...range(start, end).map(valueAt), ...extra])
    for (const record of records) expect(log.getSync(record.offset)).toEqual(record)
  }

  it('T16: truncateBefore at every offset keeps exactly what is at and above the batch, on disk too', async () => {
    const bases = segmentBases(reference)
    for (let offset = 0; offset <= TOTAL; offset++) {
      const directory = copyDirectory(reference)
      const start = offset === TOTAL ? TOTAL : firsts[offset]
      await withLog(directory, { ...OPTIONS, backend }, async (log) => {
        expect(await log.truncateBefore(offset)).toBe(start)
        expect(log.startOffset).toBe(start)
        await check(log, start, TOTAL)
        expect(log.epoch).toBe(1)
      })
      // Only segments wholly below go, with their indexes, and never the last.
      const kept = bases.filter((_base, i) => i === bases.length - 1 || bases[i + 1] > start)
      expect(segmentBases(directory)).toEqual(kept)
      for (const name of readdirSync(path.join(directory, 'segments'))) expect(kept).toContain(Number.parseInt(name, 10))
      await withLog(directory, { ...OPTIONS, backend }, async (log) => {
        await check(log, start, TOTAL)
        expect(await log.append(bytes('more'))).toBe(TOTAL)
        await check(log, start, TOTAL, ['more'])
      })
    }
  })

  it('T16: truncateAfter at every offset ends at the end of the batch, raises the epoch once, and appends go on there', async () => {
    for (let offset = 0; offset < TOTAL; offset++) {
      const directory = copyDirectory(reference)
      const end = ends[offset]
      const epoch = end === TOTAL ? 1 : 2
      await withLog(directory, { ...OPTIONS, backend }, async (log) => {
        expect(await log.truncateAfter(offset)).toBe(end)
        expect([log.endOffset, log.committedOffset, log.durableOffset, log.epoch]).toEqual([end, end, end, epoch])
        await check(log, 0, end)
        expect(await log.append(bytes('new'))).toBe(end)
        await check(log, 0, end, ['new'])
      })
      await withLog(directory, { ...OPTIONS, backend, recovery: 'strict' }, async (log) => {
        expect(log.epoch).toBe(epoch)
        await check(log, 0, end, ['new'])
        expect(await log.appendBatch([bytes('x'), bytes('y')])).toEqual({ first: end + 1, last: end + 2 })
      })
    }
  })

  it('both, one after the other, on one open log', async () => {
    await withLog(copyDirectory(reference), { ...OPTIONS, backend }, async (log) => {
      await log.truncateBefore(10)
      await log.truncateAfter(25)
      await check(log, firsts[10], ends[25])
      await log.truncateBefore(firsts[20])
      await log.truncateAfter(firsts[20])
      await check(log, firsts[20], ends[20])
      expect(log.epoch).toBe(3)
      await log.truncateBefore(log.endOffset)
      expect(await readAll(log)).toEqual([])
      expect(await log.append(bytes('after all'))).toBe(ends[20])
      expect(await offsets(log)).toEqual([ends[20]])
    })
  })

  it('offsets outside are refused; below the start truncateBefore changes nothing', async () => {
    await withLog(copyDirectory(reference), { ...OPTIONS, backend }, async (log) => {
      expect(await errorOf(() => log.truncateBefore(TOTAL + 1))).toMatchObject({ code: 'ERR_SEALOG_OFFSET_RANGE', offset: TOTAL + 1, endOffset: TOTAL })
      expect(await errorOf(() => log.truncateAfter(TOTAL))).toMatchObject({ code: 'ERR_SEALOG_OFFSET_RANGE', offset: TOTAL, endOffset: TOTAL })
      await log.truncateBefore(20)
      const start = log.startOffset
      expect(await log.truncateBefore(3)).toBe(start)
      expect(await codeOf(() => log.truncateAfter(3))).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
      await check(log, start, TOTAL)
    })
  })

  it('appends that were accepted before a truncation keep their order; during truncateAfter they are refused', async () => {
    await withLog(copyDirectory(reference), { ...OPTIONS, backend }, async (log) => {
      const pending = log.append(bytes('pending'))
      const cut = log.truncateAfter(TOTAL)
      expect(await pending).toBe(TOTAL)
      expect(await cut).toBe(TOTAL + 1)
      const running = log.truncateAfter(5)
      const outcomes: string[] = []
      for (let i = 0; i < 30; i++) {
        await log.append(bytes('race')).then(
          () => outcomes.push('ok'),
          (error) => outcomes.push(error.code),
        )
      }
      const end = await running
      expect(outcomes).toContain('ERR_SEALOG_CONFLICT')
      expect(end).toBe(ends[5])
      const appended = outcomes.slice(outcomes.lastIndexOf('ERR_SEALOG_CONFLICT') + 1).filter((outcome) => outcome === 'ok').length
      await check(log, 0, end, Array<string>(appended).fill('race'))
    })
  })

  it('T6, T57: an iterator that stands on a removed segment still ends with a typed error, never with wrong data', async () => {
    await withLog(copyDirectory(reference), { ...OPTIONS, backend }, async (log) => {
      const iterator = log.batches({ maxBytes: 64 })
      const first = await iterator.next()
      expect(first.done).toBe(false)
      await log.truncateBefore(TOTAL)
      expect(await codeOf(() => iterator.next())).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
      if (first.done !== true) expect(text(first.value.value(0))).toBe(valueAt(0))
    })
  })

  it('G17: after a cut the same offset of another epoch is told apart: readers elsewhere get ERR_SEALOG_EPOCH, then the new history', async () => {
    const directory = copyDirectory(reference)
    await withLog(directory, { ...OPTIONS, backend }, async (log) => {
      const reader = await Log.openReader(directory, { backend })
      const iterator = reader.read({ from: 10, maxBytes: 1, follow: true })
      await iterator.next()
      await log.truncateAfter(12)
      await log.append(bytes('rewritten'))
      const drain = async () => {
        for (;;) await iterator.next()
      }
      expect(await errorOf(drain)).toMatchObject({ code: 'ERR_SEALOG_EPOCH', epoch: 2 })
      expect((await iterator.next()).done).toBe(true)
      expect(reader.epoch).toBe(2)
      expect((await readAll(reader)).map((record) => text(record.value))).toEqual([...range(0, ends[12]).map(valueAt), 'rewritten'])
      await reader.close()
    })
  })

  it('both ends at the same time: one of the two is refused, and the log is whole', async () => {
    const offset = firsts[20]
    for (const last of [0, 9]) {
      const directory = copyDirectory(reference)
      await withLog(directory, { ...OPTIONS, backend }, async (log) => {
        const before = codeOf(() => log.truncateBefore(offset))
        const end = await log.truncateAfter(last)
        expect(await before).toBe('ERR_SEALOG_CONFLICT')
        expect([log.startOffset, log.endOffset]).toEqual([0, end])
      })
      await withLog(directory, { ...OPTIONS, backend }, async (log) => expect(await offsets(log)).toEqual(range(0, ends[last])))
    }
  })

  it('a reader that does not know of the cut yet leaves nothing out, and takes nothing for damage', async () => {
    await withLog(freshPath(), { ...OPTIONS, backend }, async (log) => {
      const reader = await Log.openReader(log.directory, { backend })
      for (let i = 0; i < TOTAL; i++) await log.append(bytes(valueAt(i)))
      await reader.refresh()
      const [, second] = reader.segments.all
      await log.truncateAfter(second.base + 1)
      await log.commitDriver().roll()
      for (const offset of [second.base, second.base + 1]) expect(text(reader.getSync(offset)?.value ?? bytes(''))).toBe(valueAt(offset))
      const seen: number[] = []
      const read = async () => {
        for await (const { offset } of reader.read({ maxBytes: 1 })) seen.push(offset)
      }
      expect(await codeOf(read)).toBe('ERR_SEALOG_EPOCH')
      expect(seen).toEqual(range(0, second.base + 2))
      await reader.close()
    })
  })

  it('getSync of a reader looks again before it calls a cut damage', async () => {
    await withLog(freshPath(), { ...OPTIONS, backend }, async (log) => {
      const reader = await Log.openReader(log.directory, { backend })
      for (let i = 0; i < TOTAL; i++) await log.append(bytes(valueAt(i)))
      await reader.refresh()
      const [, second] = reader.segments.all
      await log.truncateAfter(second.base + 1)
      expect(reader.getSync(second.base + 3)).toBeUndefined()
      expect([reader.epoch, reader.committedOffset]).toEqual([2, second.base + 2])
      await reader.close()
    })
  })

  it('a reader whose records were removed reads on from the new start', async () => {
    const directory = copyDirectory(reference)
    await withLog(directory, { ...OPTIONS, backend }, async (log) => {
      const reader = await Log.openReader(directory, { backend })
      const start = await log.truncateBefore(TOTAL - 1)
      expect(existsSync(path.join(directory, 'segments', '00000000000000000000.log'))).toBe(false)
      expect(await errorOf(() => reader.get(0))).toMatchObject({ code: 'ERR_SEALOG_OFFSET_TRUNCATED', startOffset: start })
      expect(reader.startOffset).toBe(start)
      expect(await offsets(reader)).toEqual(range(start, TOTAL))
      await reader.close()
    })
  })
})
