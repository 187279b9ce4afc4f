import { constants } from 'node:fs'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import * as k from '../../lib/kernels/kernels.js'
import { backends, environmentOf } from '../support/backends.js'
import { freshPath, readFiles } from '../support/directories.js'
import { groupsOf, type Image, Workplace, withFile } from '../support/images.js'
import { bytes, fixedSources, range } from '../support/logs.js'
import { segmentName } from '../support/reference-logs.js'

const RUNS = Number(process.env.SEALOG_DIFFERENTIAL_RUNS ?? 25) * 40
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)
const NAME = segmentName(0)
const both = backends.length === 2
if (!both) console.warn('SKIPPED: differential tests need both backends')

describe.runIf(both)('both implementations of Kernels give the same numbers for the same bytes', () => {
  const all = (both ? backends : []).map((backend) => environmentOf(backend).kernels)
  const work = new Workplace()
  let image: Image
  let seed = 0
  let end = 0

  beforeAll(async () => {
    const log = await Log.openWith<Uint8Array>(freshPath('kernels'), { backend: 'js', segmentBytes: 65_536, idleMarkMs: 20 }, fixedSources(11))
    for (let i = 0; i < 12; i++) {
      await log.appendRecords(
        range(0, 1 + (i % 4)).map((n) =>
          n === 2
            ? { key: `key ${i}`, tombstone: true as const }
            : { value: bytes('v'.repeat((i * 31 + n * 17) % 140)), key: n % 2 === 0 ? `key ${n}` : undefined },
        ),
      )
      if (i % 4 === 3) await log.truncateAfter(log.endOffset - 1)
    }
    await log.close()
    image = new Map(readFiles(log.directory))
    const content = image.get(NAME) as Uint8Array
    end = groupsOf(content).end
    seed = new DataView(content.buffer, content.byteOffset).getUint32(124, true)
  })

  /** Runs `use` with the damaged segment opened by each implementation; all have to say the same. */
  function compare(content: Uint8Array, use: (kernels: k.Kernels, fd: number) => unknown): void {
    work.restore(withFile(image, NAME, content))
    const [first, ...others] = all.map((kernels) => {
      const fd = kernels.requestSync(k.FILE_OPEN, 0, constants.O_RDONLY, 0, undefined, undefined, undefined, `${work.directory}/${NAME}`)
      expect(fd).toBeGreaterThan(0)
      try {
        return use(kernels, fd)
      } finally {
        kernels.requestSync(k.FILE_CLOSE, fd, 0, 0)
      }
    })
    for (const other of others) expect(other).toEqual(first)
  }

  const damaged = fc
    .record({
      cut: fc.option(fc.nat({ max: 4096 }), { freq: 3 }),
      flips: fc.array(fc.nat({ max: 32_767 }), { maxLength: 4 }),
      zeroed: fc.option(fc.tuple(fc.nat({ max: 4095 }), fc.nat({ max: 600 })), { freq: 3 }),
      copied: fc.option(fc.tuple(fc.nat({ max: 500 }), fc.nat({ max: 500 }), fc.nat({ max: 300 })), { freq: 3 }),
    })
    .map(({ cut, flips, zeroed, copied }) => {
      let content = Uint8Array.from(image.get(NAME) as Uint8Array)
      if (copied !== null) content.copyWithin((copied[0] * 8) % end, (copied[1] * 8) % end, ((copied[1] * 8) % end) + copied[2])
      for (const bit of flips) content[(bit >> 3) % content.length] ^= 1 << (bit & 7)
      if (zeroed !== null) content.fill(0, zeroed[0] % end, (zeroed[0] % end) + zeroed[1])
      if (cut !== null) content = content.slice(0, 128 + (cut % content.length))
      return content
    })
  const aligned = fc.nat({ max: 520 }).map((n) => n * 8)
  const parameters = { numRuns: RUNS, seed: SEED }

  it('FILE_SCAN', () => {
    fc.assert(
      fc.property(
        damaged,
        fc.record({
          from: aligned,
          room: fc.integer({ min: 64, max: 6000 }),
          rows: fc.integer({ min: 1, max: 60 }),
          offset: fc.integer({ min: -1, max: 30 }),
          first: fc.integer({ min: -1, max: 5 }),
          low: fc.nat({ max: 30 }),
          sparse: fc.nat({ max: 1 }),
        }),
        (content, how) => {
          compare(content, (kernels, fd) => {
            const numbers = new Float64Array(k.SCAN_LENGTH)
            numbers.set([seed, how.offset, how.first, how.low, 1000, how.sparse])
            const table = new Uint32Array(how.rows * k.SCAN_COLUMNS)
            const buffer = new Uint8Array(how.room)
            const status = kernels.requestSync(k.FILE_SCAN, fd, 128 + how.from, content.length, buffer, numbers, table)
            return { status, numbers: [...numbers], table: [...table.subarray(0, numbers[k.SCAN_COUNT] * k.SCAN_COLUMNS)] }
          })
        },
      ),
      parameters,
    )
  })

  it('FILE_WALK, from the start of the segment', () => {
    fc.assert(
      fc.property(damaged, fc.integer({ min: 64, max: 2000 }), (content, interval) => {
        compare(content, (kernels, fd) => {
          const numbers = new Float64Array(k.WALK_LENGTH)
          numbers[k.STATE_FD] = fd
          numbers[k.STATE_COMMITTED_FD] = -1
          numbers[k.STATE_SEED] = seed
          numbers[k.STATE_POSITION] = 128
          numbers[k.STATE_ALLOCATED] = 128
          numbers[k.STATE_RUNNING_TIME] = -1
          numbers[k.STATE_MIN_TIME] = Number.POSITIVE_INFINITY
          numbers[k.STATE_MAX_TIME] = -1
          numbers[k.STATE_CHUNK_BYTES] = 300
          numbers[k.STATE_LAST_INDEXED] = -1
          numbers[k.STATE_INDEX_INTERVAL] = interval
          numbers[k.STATE_MAX_RECORD_BYTES] = 1000
          const entries = new Float64Array(k.ENTRY_WIDTH * 100)
          const status = kernels.requestSync(k.FILE_WALK, fd, 128, content.length, new Uint8Array(65_536), numbers, entries)
          const facts = [...numbers]
          facts[k.STATE_FD] = 0
          return { status, facts, entries: [...entries.subarray(0, numbers[k.WALK_ENTRIES] * k.ENTRY_WIDTH)] }
        })
      }),
      parameters,
    )
  })

  it('FILE_FIND_GROUP, from any position', () => {
    fc.assert(
      fc.property(damaged, aligned, (content, from) => {
        compare(content, (kernels, fd) => {
          const numbers = new Float64Array(k.FIND_LENGTH)
          numbers[k.FIND_SEED] = seed
          numbers[k.FIND_MAX_RECORD] = 1000
          const status = kernels.requestSync(k.FILE_FIND_GROUP, fd, from, content.length, undefined, numbers)
          return { status, numbers: status === 1 ? [...numbers] : [] }
        })
      }),
      parameters,
    )
  })

  it('FILE_ZEROS', () => {
    fc.assert(
      fc.property(damaged, fc.nat({ max: 5000 }), fc.nat({ max: 5000 }), (content, a, b) => {
        compare(content, (kernels, fd) => {
          const numbers = new Float64Array(4)
          const status = kernels.requestSync(k.FILE_ZEROS, fd, Math.min(a, b), Math.max(a, b), undefined, numbers)
          return { status, position: numbers[0] }
        })
      }),
      parameters,
    )
  })

  it('readRecord, at any offset from any index entry', () => {
    fc.assert(
      fc.property(
        damaged,
        fc.record({ from: fc.oneof(fc.constant(0), aligned), entry: fc.nat({ max: 12 }), offset: fc.nat({ max: 34 }), sparse: fc.nat({ max: 1 }) }),
        (content, how) => {
          compare(content, (kernels, fd) => {
            const { out, copyOut } = kernels.shared
            const status = kernels.readRecord(fd, seed, 128 + how.from, content.length, how.entry, how.entry, how.offset, how.sparse)
            if (status === k.READ_OK) {
              const value = copyOut.slice(out[k.OUT_VALUE_START], out[k.OUT_VALUE_START] + out[k.OUT_VALUE_LENGTH])
              const keyLength = out[k.OUT_KEY_LENGTH]
              const key = keyLength < 0 ? undefined : copyOut.slice(out[k.OUT_KEY_START], out[k.OUT_KEY_START] + keyLength)
              return { status, value, key, facts: [out[k.OUT_TYPE], out[k.OUT_TIMESTAMP], out[k.OUT_BATCH_FIRST]] }
            }
            return { status, large: status === k.READ_LARGE ? [out[k.OUT_FRAME_POSITION], out[k.OUT_FRAME_BYTES]] : undefined }
          })
        },
      ),
      parameters,
    )
  })

  it('crc32c, of any length, seed and alignment', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000, size: 'max' }), fc.nat({ max: 0xffffffff }), fc.nat({ max: 15 }), (data, start, skip) => {
        const [first, ...others] = all.map((kernels) => kernels.crc32c(data.subarray(Math.min(skip, data.length)), start))
        for (const other of others) expect(other).toBe(first)
      }),
      parameters,
    )
    for (const kernels of all) expect(kernels.crc32c(bytes('123456789'), 0)).toBe(0xe3069283)
  })
})
