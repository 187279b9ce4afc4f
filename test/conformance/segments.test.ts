import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends, testingOf } from '../support/backends.js'
import { copyDirectory, freshPath, listFiles } from '../support/directories.js'
import { bytes, offsets, range, readAll, segmentPath, text, withLog } from '../support/logs.js'

const OPTIONS = { durability: 'flush', segmentBytes: 16_384, indexIntervalBytes: 1024 } as const
const RECORDS = 1200
const valueAt = (offset: number): string => `record ${offset} ${'.'.repeat(offset % 61)}`

function indexFiles(directory: string): string[] {
  return listFiles(directory).filter((name) => name.endsWith('.index'))
}

describe.each(backends)('segments (%s)', (backend) => {
  it('roll at segmentBytes, never inside a batch, and a closed one has its footer and exact size', async () => {
    const directory = freshPath()
    await withLog(directory, { ...OPTIONS, backend }, async (log) => {
      for (let i = 0; i < 200; i++) await log.appendBatch(range(0, 6).map((n) => bytes(valueAt(i * 6 + n))))
      expect(log.stats().segments).toBeGreaterThan(3)
    })
    const bases = readdirSync(path.join(directory, 'segments'))
      .filter((name) => name.endsWith('.log'))
      .map((name) => Number.parseInt(name, 10))
    for (const base of bases) {
      expect(base % 6).toBe(0)
      expect(readFileSync(segmentPath(directory, base)).length).toBeLessThanOrEqual(16_384)
    }
    await withLog(directory, { ...OPTIONS, backend, recovery: 'strict' }, async (log) => {
      expect((await readAll(log)).map((record) => text(record.value))).toEqual(range(0, RECORDS).map(valueAt))
    })
  })

  it('a group larger than what is left begins the next segment; the largest record a segment holds fits', async () => {
    await withLog(freshPath(), { backend, segmentBytes: 4096 }, async (log) => {
      const largest = 4096 - 128 - 56 - 88 - 24
      let accepted = 0
      for (let size = largest + 8; size > largest - 64; size -= 8) {
        await log.append(new Uint8Array(size)).then(
          () => (accepted = Math.max(accepted, size)),
          (error) => expect(error).toMatchObject({ code: 'ERR_SEALOG_RECORD_TOO_LARGE' }),
        )
      }
      expect(accepted).toBeGreaterThan(largest - 64)
      for (let i = 0; i < 20; i++) await log.append(new Uint8Array(1000 + i * 100).fill(i))
      const records = await readAll(log)
      expect(records.length).toBe(log.endOffset)
      expect(records.at(-1)?.value.length).toBe(2900)
    })
  })

  it('T14: bases of any size order as numbers', async () => {
    const directory = freshPath()
    await withLog(directory, { backend, durability: 'flush', segmentBytes: 1024, maxBatchBytes: 512 }, async (log) => {
      for (let i = 0; i < 400; i++) await log.append(bytes('x'.repeat(200)))
    })
    await withLog(directory, { backend, segmentBytes: 1024 }, async (log) => expect(await offsets(log)).toEqual(range(0, 400)))
  })

  it('changing segmentBytes takes effect with the next segment', async () => {
    const directory = freshPath()
    for (const [i, segmentBytes] of [4096, 65_536, 2048, 1_048_576].entries()) {
      await withLog(directory, { backend, durability: 'flush', segmentBytes, maxBatchBytes: 512 }, async (log) => {
        for (let n = 0; n < 100; n++) await log.append(bytes(valueAt(i * 100 + n)))
      })
    }
    await withLog(directory, { backend, segmentBytes: 4096 }, async (log) => {
      expect((await readAll(log)).map((record) => text(record.value))).toEqual(range(0, 400).map(valueAt))
    })
  })

  describe('T2, T8: the offset index is derived', () => {
    let reference = ''
    beforeAll(async () => {
      reference = freshPath('reference')
      await withLog(reference, { ...OPTIONS, backend }, async (log) => {
        for (let i = 0; i < RECORDS; i++) {
          log.enqueue(bytes(valueAt(i)))
          if (i % 10 === 9) await log.flush()
        }
      })
    })

    /** Every offset gives the right answer, with reads bounded by the interval once the index is loaded. */
    async function check(directory: string): Promise<void> {
      await withLog(directory, { ...OPTIONS, backend }, async (log) => {
        for (let i = 0; i < RECORDS; i += 7) expect(text(log.getSync(i)?.value ?? bytes(''))).toBe(valueAt(i))
        const testing = testingOf(backend)
        testing.resetCounts()
        for (let i = 3; i < RECORDS; i += 7) expect(text(log.getSync(i)?.value ?? bytes(''))).toBe(valueAt(i))
        // One read of 8 KiB from the entry: the index has an entry at most 1 KiB (and a record) before each record.
        expect(testing.counts().read).toBe(Math.ceil((RECORDS - 3) / 7))
        const out = new Float64Array(1)
        for (let i = 0; i < RECORDS; i += 11) {
          const position = log.index.lookup(i, out)
          const next = log.index.lookup(i + 40, out)
          expect(position).toBeGreaterThanOrEqual(128)
          expect(next).toBeGreaterThanOrEqual(-1)
        }
        expect((await readAll(log)).map((record) => text(record.value))).toEqual(range(0, RECORDS).map(valueAt))
      })
    }

    it('as written', async () => {
      expect(indexFiles(reference).length).toBeGreaterThan(3)
      await check(copyDirectory(reference))
    })

    it('deleted', async () => {
      const directory = copyDirectory(reference)
      for (const name of indexFiles(directory)) rmSync(path.join(directory, name))
      await check(directory)
      // What had to be built for closed segments is kept for the next time.
      expect(indexFiles(directory).length).toBeGreaterThan(3)
    })

    it('truncated at every eighth byte', async () => {
      for (const name of indexFiles(reference).slice(0, 1)) {
        const length = readFileSync(path.join(reference, name)).length
        for (let size = 0; size < length; size += 8) {
          const directory = copyDirectory(reference)
          truncateSync(path.join(directory, name), size)
          await check(directory)
          rmSync(directory, { recursive: true })
        }
      }
    })

    it('extended by garbage, zeros or entries of its own', async () => {
      for (const tail of [new Uint8Array(24), new Uint8Array(24).fill(255), new Uint8Array(7), undefined]) {
        const directory = copyDirectory(reference)
        for (const name of indexFiles(directory)) {
          const file = path.join(directory, name)
          appendFileSync(file, tail ?? readFileSync(file).subarray(32))
        }
        await check(directory)
      }
    })

    it('with any bit flipped', async () => {
      const name = indexFiles(reference)[1]
      const good = readFileSync(path.join(reference, name))
      for (let bit = 0; bit < good.length * 8; bit += 29) {
        const directory = copyDirectory(reference)
        const flipped = Buffer.from(good)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        writeFileSync(path.join(directory, name), flipped)
        await withLog(directory, { ...OPTIONS, backend }, async (log) => {
          const out = new Float64Array(1)
          for (let i = 0; i < RECORDS; i += 60) expect(text(log.getSync(i)?.value ?? bytes(''))).toBe(valueAt(i))
          log.index.lookup(0, out)
        })
        rmSync(directory, { recursive: true })
      }
    })

    it('swapped with that of another segment or of another log', async () => {
      const directory = copyDirectory(reference)
      const [a, b] = indexFiles(directory).map((name) => path.join(directory, name))
      const kept = readFileSync(a)
      writeFileSync(a, readFileSync(b))
      writeFileSync(b, kept)
      await check(directory)
    })

    it('T2: a log whose first kept offset is 7 finds it with an interval that never comes', async () => {
      const directory = freshPath()
      const options = { backend, durability: 'flush', segmentBytes: 1024, maxBatchBytes: 600, indexIntervalBytes: 64 * 1024 * 1024 } as const
      await withLog(directory, options, async (log) => {
        for (let i = 0; i < 7; i++) await log.append(bytes('small'))
        await log.append(bytes('x'.repeat(500)))
        await log.append(bytes('behind'))
        expect(existsSync(segmentPath(directory, 7))).toBe(true)
        await log.truncateBefore(7)
      })
      await withLog(directory, options, async (log) => {
        expect(log.startOffset).toBe(7)
        const testing = testingOf(backend)
        log.getSync(7)
        testing.resetCounts()
        expect(log.getSync(7)?.value.length).toBe(500)
        expect(testing.counts().read).toBe(1)
        const out = new Float64Array(1)
        expect([log.index.lookup(7, out), out[0]]).toEqual([128, 7])
        expect(await offsets(log)).toEqual([7, 8])
      })
    })
  })

  it('G13: COMMITTED, indexes, torn copies and *.tmp deleted: nothing changes', async () => {
    const directory = freshPath()
    await withLog(directory, { ...OPTIONS, backend }, async (log) => {
      for (let i = 0; i < 500; i++) await log.append(bytes(valueAt(i)))
    })
    for (const name of listFiles(directory)) {
      if (name === 'COMMITTED' || name.endsWith('.index') || name.includes('.torn-')) rmSync(path.join(directory, name))
    }
    writeFileSync(path.join(directory, 'segments', 'next.tmp'), 'left behind')
    writeFileSync(path.join(directory, 'MANIFEST.tmp'), 'left behind')
    const reader = await Log.openReader(directory, { backend })
    expect((await readAll(reader)).map((record) => text(record.value))).toEqual(range(0, 500).map(valueAt))
    await reader.close()
    await withLog(directory, { ...OPTIONS, backend }, async (log) => {
      expect(listFiles(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
      expect(log.epoch).toBe(1)
      expect((await readAll(log)).map((record) => text(record.value))).toEqual(range(0, 500).map(valueAt))
      expect(await log.append(bytes('on'))).toBe(500)
    })
  })
})
