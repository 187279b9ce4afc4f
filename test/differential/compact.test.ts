/** Compacted segments: the twin and the addon write the same bytes, which are those that a sparse segment of the surviving records has. */
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { getU48, getU64, viewOf } from '../../lib/format/bytes.js'
import * as f from '../../lib/format/constants.js'
import { decodeSegmentHeader, type SegmentHeader } from '../../lib/format/segment-header.js'
import { Log, type RecordInput } from '../../lib/index.js'
import { crc32c } from '../../lib/kernels/js/crc32c.js'
import * as k from '../../lib/kernels/kernels.js'
import type { FileRequest, Procedure } from '../../lib/kernels/procedure.js'
import { SparseWriter, type Survivor } from '../../lib/segment/sparse-writer.js'
import { backends, environmentOf } from '../support/backends.js'
import { freshPath, readFiles } from '../support/directories.js'
import { groupsOf } from '../support/images.js'
import { fixedSources, range } from '../support/logs.js'
import { segmentName } from '../support/reference-logs.js'

const RUNS = Number(process.env.SEALOG_DIFFERENTIAL_RUNS ?? 25)
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)
const MAX_RECORD = 720_000
const OUT_EPOCH = 6
const { ENOSPC } = constants.errno
const both = backends.length === 2
if (!both) console.warn('SKIPPED: differential tests need both backends')

/** By key, one character per byte. */
type Content = ReadonlyMap<string, number>

interface Segment {
  readonly content: Uint8Array
  readonly header: SegmentHeader
  /** Where the footer begins. */
  readonly end: number
  readonly records: readonly Survivor[]
}

function segmentOf(content: Uint8Array, end: number): Segment {
  const header = decodeSegmentHeader(content, crc32c)
  if (typeof header === 'string') throw new Error(header)
  const view = viewOf(content)
  const records: Survivor[] = []
  let batchFirst = -1
  for (let at = f.SEGMENT_HEADER_BYTES; at < end; at += f.frameBytes(view.getUint32(at + 4, true))) {
    const type = view.getUint8(at + 22)
    const flags = view.getUint8(at + 23)
    if (type === f.FRAME_COMMIT) continue
    const offset = getU64(view, at + 8)
    const indexed = (flags & f.FLAG_BATCH_INDEX) !== 0
    let start = at + f.FRAME_HEADER_BYTES + (indexed ? 4 : 0)
    if (indexed) batchFirst = offset - view.getUint32(start - 4, true)
    const batched = indexed || batchFirst >= 0 || (flags & f.FLAG_BATCH_CONTINUES) !== 0
    if (batchFirst < 0) batchFirst = offset
    let key: Uint8Array | undefined
    if ((flags & f.FLAG_KEY) !== 0) {
      key = content.subarray(start + 2, start + 2 + view.getUint16(start, true))
      start += 2 + key.length
    }
    const value = content.subarray(start, at + f.FRAME_HEADER_BYTES + view.getUint32(at + 4, true))
    records.push({ offset, timestamp: getU48(view, at + 16), key, value, tombstone: type === f.FRAME_TOMBSTONE, batchIndex: offset - batchFirst, batched })
    if ((flags & f.FLAG_BATCH_CONTINUES) === 0) batchFirst = -1
  }
  return { content, header, end, records }
}

/** A real log of these batches, all in one segment. */
async function write(batches: readonly (readonly RecordInput<Uint8Array>[])[], backend: k.Backend): Promise<Segment> {
  const directory = freshPath('compact')
  const options = { backend, durability: 'flush' as const, maxRecordBytes: MAX_RECORD, idleMarkMs: 3_600_000 }
  const log = await Log.openWith<Uint8Array>(directory, options, fixedSources(5))
  for (const batch of batches) await log.appendRecords(batch)
  await log.close()
  const content = readFiles(directory).get(segmentName(0))
  if (content === undefined) throw new Error('there is no segment')
  return segmentOf(content, groupsOf(content).end)
}

const text = (key: Uint8Array): string => Buffer.from(key).toString('latin1')

/** What the records below `end` leave behind. */
function replay({ records }: Segment, end = Infinity): Map<string, number> {
  const content = new Map<string, number>()
  for (const { key, offset, tombstone } of records) {
    if (key === undefined || offset >= end) continue
    if (tombstone) content.delete(text(key))
    else content.set(text(key), offset)
  }
  return content
}

interface Query {
  /** The newest first. */
  readonly contents: readonly Content[]
  readonly tombstonesBefore: number
  /** 0: no limit. */
  readonly sliceBytes: number
}

function survives({ key, offset, timestamp, tombstone }: Survivor, { contents, tombstonesBefore }: Query): boolean {
  if (key === undefined || contents.some((content) => content.get(text(key)) === offset)) return true
  const newest = contents[0].get(text(key)) ?? -1
  return tombstone && newest < offset && (newest >= 0 || timestamp >= tombstonesBefore)
}

function survivorsOf({ records }: Segment, query: Query): Survivor[] {
  return records.filter((record) => survives(record, query))
}

/** Comparing texts is much faster than comparing arrays. */
const shown = ({ key, value, ...rest }: Survivor) => ({ ...rest, key: key && text(key), value: text(value) })

const outHeader = (header: SegmentHeader) => ({ ...header, salt: new Uint8Array(8), epoch: OUT_EPOCH, generation: header.generation + 1, sparse: true })

/** The file that the writer of salvage makes of them, without its footer. */
function reference({ header, records }: Segment, query: Query): Buffer {
  const { runner } = environmentOf('js')
  const writer = new SparseWriter(freshPath('reference'), outHeader(header), crc32c)
  runner.runSync(writer.begin())
  let batch: Survivor[] = []
  records.forEach((record, i) => {
    if (survives(record, query)) batch.push(record)
    const next = records[i + 1]
    if (next?.batched && record.batched && next.offset - next.batchIndex === record.offset - record.batchIndex) return
    runner.runSync(writer.addBatch(batch))
    batch = []
  })
  runner.runSync(writer.finish(records.length, 0, 0))
  return readFileSync(writer.path).subarray(0, -f.FOOTER_FRAME_BYTES)
}

/** A compaction that has its files, indexes and numbers, and only has to be run. */
class Compaction {
  readonly numbers: Float64Array
  readonly fd: number
  readonly end: number
  readonly seed: number
  readonly #kernels: k.Kernels
  readonly #path = freshPath('compacted')
  readonly #out: number
  #indexes: readonly k.IndexHandle[]

  constructor(kernels: k.Kernels, segment: Segment, query: Query, content = segment.content, end = segment.end) {
    const source = freshPath('source')
    writeFileSync(source, content)
    this.#kernels = kernels
    this.#indexes = query.contents.map((each) => makeIndex(kernels, each))
    this.fd = openSync(source, 'r')
    this.end = end
    this.#out = openSync(this.#path, 'w+')
    const writer = new SparseWriter(this.#path, outHeader(segment.header), crc32c)
    const { runner } = environmentOf('js')
    runner.runSync(writer.begin())
    runner.runSync(writer.abandon())
    this.seed = viewOf(readFileSync(this.#path)).getUint32(124, true)
    this.numbers = new Float64Array(k.COMPACT_LENGTH + query.contents.length - 1)
    this.numbers.set([this.#indexes[0], segment.header.seed, MAX_RECORD, segment.header.sparse ? 1 : 0, 0, query.sliceBytes, query.tombstonesBefore])
    this.numbers.set([this.#out, this.seed, OUT_EPOCH, f.SEGMENT_HEADER_BYTES, 0, -1], k.COMPACT_OUT_FD)
    this.numbers.set([-1, -1, Infinity, -1], k.COMPACT_FIRST_OFFSET)
    this.numbers.set(this.#indexes.slice(1), k.COMPACT_LENGTH)
  }

  runSync(from = f.SEGMENT_HEADER_BYTES): number {
    return this.#kernels.requestSync(k.FILE_COMPACT, this.fd, from, this.end, undefined, this.numbers)
  }

  /** Slice after slice. */
  runAll(): number {
    for (let from: number = f.SEGMENT_HEADER_BYTES; ; from = this.numbers[k.COMPACT_NEXT_POSITION]) {
      const status = this.runSync(from)
      if (status !== 0 || this.numbers[k.COMPACT_STOP] !== k.STOP_FULL) return status
    }
  }

  get request(): FileRequest {
    return { operation: k.FILE_COMPACT, fd: this.fd, a: f.SEGMENT_HEADER_BYTES, b: this.end, numbers: this.numbers }
  }

  /** The indexes get other values, and are gone. */
  destroyIndexes(): void {
    const { keys } = this.#kernels.shared
    for (const index of this.#indexes) {
      keys[0] = 107
      this.#kernels.indexPut(index, 1, 1e6)
      this.#kernels.indexClear(index)
      this.#kernels.destroyIndex(index)
    }
    this.#indexes = []
  }

  bytes(): Buffer {
    return readFileSync(this.#path)
  }

  close(): void {
    this.destroyIndexes()
    closeSync(this.fd)
    closeSync(this.#out)
  }
}

function makeIndex(kernels: k.Kernels, content: Content): k.IndexHandle {
  const index = kernels.createIndex()
  for (const [key, offset] of content) {
    kernels.shared.keys.set(Buffer.from(key, 'latin1'))
    kernels.indexPut(index, key.length, offset)
  }
  return index
}

function compact(backend: k.Backend, segment: Segment, query: Query, content?: Uint8Array, end?: number) {
  const run = new Compaction(environmentOf(backend).kernels, segment, query, content, end)
  const status = run.runAll()
  run.close()
  return { status, numbers: run.numbers, bytes: run.bytes(), seed: run.seed }
}

type Compacted = ReturnType<typeof compact>

const sums = (numbers: Float64Array) => [...numbers.subarray(k.COMPACT_RUNNING_TIME, k.COMPACT_STOP)]

/** What is in the file and in the numbers, whatever the slices; in one slice to the byte. */
function expectCompacted(backend: k.Backend, segment: Segment, query: Query, { status, numbers, bytes, seed }: Compacted): void {
  const survivors = survivorsOf(segment, query)
  const times = survivors.map(({ timestamp }) => timestamp)
  expect(status).toBe(0)
  expect(numbers[k.COMPACT_STOP]).toBe(k.STOP_END)
  expect(numbers[k.COMPACT_NEXT_POSITION]).toBe(segment.end)
  expect(numbers[k.COMPACT_OUT_POSITION]).toBe(bytes.length)
  expect(numbers[k.COMPACT_READ_RECORDS]).toBe(segment.records.length)
  expect(numbers[k.COMPACT_KEPT_RECORDS]).toBe(survivors.length)
  expect(numbers[k.COMPACT_KEPT_TOMBSTONES]).toBe(survivors.filter(({ tombstone }) => tombstone).length)
  expect(numbers[k.COMPACT_FIRST_OFFSET]).toBe(survivors.at(0)?.offset ?? -1)
  expect(numbers[k.COMPACT_LAST_OFFSET]).toBe(survivors.at(-1)?.offset ?? -1)
  expect(numbers[k.COMPACT_MIN_TIME]).toBe(Math.min(...times))
  expect(numbers[k.COMPACT_MAX_TIME]).toBe(Math.max(-1, ...times))
  expect(numbers[k.COMPACT_RUNNING_TIME]).toBe(numbers[k.COMPACT_MAX_TIME])
  if (query.sliceBytes === 0) expect(bytes.equals(reference(segment, query))).toBe(true)
  expect(segmentOf(bytes, bytes.length).records.map(shown)).toEqual(survivors.map(shown))
  expectClean(backend, bytes, seed, numbers[k.COMPACT_OUT_CHAIN])
}

/** As recovery and readers would see it. */
function expectClean(backend: k.Backend, bytes: Buffer, seed: number, chain: number): void {
  const { kernels } = environmentOf(backend)
  const path = freshPath('walked')
  writeFileSync(path, bytes)
  const fd = openSync(path, 'r')
  const walked = new Float64Array(k.WALK_LENGTH)
  for (const field of [k.STATE_RUNNING_TIME, k.STATE_MAX_TIME, k.STATE_LAST_INDEXED]) walked[field] = -1
  walked[k.STATE_SEED] = seed
  walked[k.STATE_POSITION] = f.SEGMENT_HEADER_BYTES
  walked[k.STATE_MAX_RECORD_BYTES] = MAX_RECORD
  walked[k.STATE_SPARSE] = 1
  walked[k.STATE_INDEX_INTERVAL] = 4096
  expect(kernels.requestSync(k.FILE_WALK, fd, 0, bytes.length, new Uint8Array(64 * 1024), walked)).toBe(0)
  expect([walked[k.WALK_STOP], walked[k.STATE_POSITION], walked[k.STATE_CHAIN]]).toEqual([k.STOP_END, bytes.length, chain])
  closeSync(fd)
}

const value = (length: number) => Buffer.alloc(length, 'value of a record ')

describe.each(backends)('FILE_COMPACT on %s', (backend) => {
  const { kernels, runner } = environmentOf(backend)

  async function mixed(): Promise<Segment> {
    const record = (i: number): RecordInput<Uint8Array> => {
      if (i % 9 === 4) return { value: value(i) }
      return i % 5 === 3 ? { key: `key ${i % 4}`, tombstone: true } : { key: `key ${i % 4}`, value: value(i % 60) }
    }
    const single = range(0, 30).map((i) => [record(i)])
    return await write([...single, range(30, 37).map(record), range(37, 39).map(record), ...range(39, 60).map((i) => [record(i)])], backend)
  }

  it('keeps what is live, batches and their indexes; compacted once more it comes to what one compaction would have', async () => {
    const segment = await mixed()
    const newest = replay(segment)
    const query = { contents: [newest, replay(segment, 20), replay(segment, 36)], tombstonesBefore: -1, sliceBytes: 0 }
    const once = compact(backend, segment, query)
    expectCompacted(backend, segment, query, once)
    const again = { ...query, contents: [newest], tombstonesBefore: Infinity }
    const sparse = segmentOf(once.bytes, once.bytes.length)
    const twice = compact(backend, sparse, again)
    expectCompacted(backend, sparse, again, twice)
    expect(twice.bytes.subarray(f.SEGMENT_HEADER_BYTES).length).toBe(reference(segment, again).length - f.SEGMENT_HEADER_BYTES)
    expect(segmentOf(twice.bytes, twice.bytes.length).records.map(shown)).toEqual(survivorsOf(segment, again).map(shown))
  })

  it('slices of any size give the same records', async () => {
    const segment = await mixed()
    for (const sliceBytes of [1, 50, 100, 333, 1000, 2000, 100_000]) {
      const query = { contents: [replay(segment)], tombstonesBefore: 0, sliceBytes }
      expectCompacted(backend, segment, query, compact(backend, segment, query))
    }
  })

  it('records around and far beyond the size of a window, batches beyond the size of a group', async () => {
    const kib = 256 * 1024
    const large = [kib - 40, kib - 24, kib, kib + 1, 2 * kib, 660_000].map((length, i) => [{ value: value(length), key: `${i % 4}`.repeat(i * 9000 + 1) }])
    const batch = range(0, 5).map((i) => ({ value: value(600_000 + i), key: `${i % 3}` }))
    const segment = await write([...large, batch, ...large, ...range(0, 90).map((i) => [{ value: value(30_000), key: `${i % 60}` }])], backend)
    for (const sliceBytes of [0, 700_000]) {
      const query = { contents: [replay(segment), replay(segment, 6)], tombstonesBefore: -1, sliceBytes }
      expectCompacted(backend, segment, query, compact(backend, segment, query))
    }
  })

  it('an asynchronous request takes the indexes as they are; they may change and go at once', async () => {
    const segment = await write(
      range(0, 200).map((i) => [{ value: value(6000 + i), key: `key ${i % 150}` }]),
      backend,
    )
    const query = { contents: [replay(segment), replay(segment, 100)], tombstonesBefore: -1, sliceBytes: 0 }
    const run = new Compaction(kernels, segment, query)
    function* requested(): Procedure<number> {
      return yield run.request
    }
    const running = runner.run(requested())
    run.destroyIndexes()
    const status = await running
    expectCompacted(backend, segment, query, { status, numbers: run.numbers, bytes: run.bytes(), seed: run.seed })
    run.close()

    const finished = new Compaction(kernels, segment, query)
    const ticket = runner.start(finished.request, () => {})
    finished.destroyIndexes()
    const late = runner.finish(ticket, finished.request)
    expectCompacted(backend, segment, query, { status: late, numbers: finished.numbers, bytes: finished.bytes(), seed: finished.seed })
    finished.close()
  })

  it('an index that does not exist is a mistake', async () => {
    const segment = await write([[{ value: value(5) }]], backend)
    const run = new Compaction(kernels, segment, { contents: [new Map(), new Map()], tombstonesBefore: -1, sliceBytes: 0 })
    run.destroyIndexes()
    expect(() => run.runSync()).toThrow('there is no such index')
    expect(() => kernels.request(1e9, k.FILE_COMPACT, run.fd, 0, 0, undefined, run.numbers)).toThrow('there is no such index')
    expect(() => kernels.requestSync(k.FILE_COMPACT, run.fd, 0, 0, undefined, run.numbers.subarray(0, k.COMPACT_LENGTH - 1))).toThrow('too short')
    run.close()
  })

  it('every flipped byte is told, and no sum changes', async () => {
    const segment = await write(
      [[{ value: value(9), key: 'a' }], [{ value: value(3), key: 'a' }, { value: value(0) }], [{ key: 'b', tombstone: true }]],
      backend,
    )
    const query = { contents: [replay(segment)], tombstonesBefore: -1, sliceBytes: 0 }
    const before = new Compaction(kernels, segment, query)
    for (let at: number = f.SEGMENT_HEADER_BYTES; at < segment.end; at++) {
      const spoilt = Uint8Array.from(segment.content)
      spoilt[at] ^= 1 << (at % 8)
      const { status, numbers } = compact(backend, segment, query, spoilt)
      expect(status).toBe(0)
      expect([k.STOP_CHECKSUM, k.STOP_FRAMING, k.STOP_ORDER, k.STOP_NEWER]).toContain(numbers[k.COMPACT_STOP])
      expect(numbers[k.COMPACT_NEXT_POSITION]).toBeLessThanOrEqual(at)
      expect(sums(numbers)).toEqual(sums(before.numbers))
    }
    before.close()
  })

  it('a failed read or write is the status and leaves the numbers for another try; short ones go on', async () => {
    const segment = await write([[{ value: value(1000) }], [{ value: value(400_000), key: 'k' }]], backend)
    const query = { contents: [replay(segment)], tombstonesBefore: -1, sliceBytes: 0 }
    const { testing } = kernels
    try {
      for (const kind of ['read', 'write']) {
        for (const nth of kind === 'read' ? [1, 2, 3] : [1]) {
          const run = new Compaction(kernels, segment, query)
          const before = [...run.numbers]
          testing.fault(kind, nth, ENOSPC, false, 0)
          expect(run.runSync()).toBe(-ENOSPC)
          expect([...run.numbers]).toEqual(before)
          testing.fault(kind, 1, 0, true, 10_000)
          const status = run.runSync()
          testing.clearFaults()
          expectCompacted(backend, segment, query, { status, numbers: run.numbers, bytes: run.bytes(), seed: run.seed })
          run.close()
        }
      }
    } finally {
      testing.clearFaults()
    }
  })
})

describe.runIf(both)('FILE_COMPACT: both backends', () => {
  const key = fc.oneof(
    { weight: 9, arbitrary: fc.nat({ max: 9 }).map((n) => Buffer.from(`key ${n}`)) },
    { weight: 1, arbitrary: fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 600 })).map(([n, length]) => Buffer.alloc(length, `é${n}`)) },
  )
  const bytes = fc.oneof(
    { weight: 9, arbitrary: fc.uint8Array({ maxLength: 200 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 300_000 }).map((length) => value(length)) },
  )
  const timestamp = fc.option(fc.integer({ min: 0, max: 5000 }), { nil: undefined })
  const record: fc.Arbitrary<RecordInput<Uint8Array>> = fc.oneof(
    { weight: 1, arbitrary: fc.record({ value: bytes, timestamp }) },
    { weight: 6, arbitrary: fc.record({ value: bytes, key, timestamp }) },
    { weight: 2, arbitrary: fc.record({ key, tombstone: fc.constant(true as const), timestamp }) },
  )
  const batch = fc.oneof(fc.array(record, { minLength: 1, maxLength: 1 }), fc.array(record, { minLength: 2, maxLength: 9 }))
  const batches = fc.array(batch, { minLength: 1, maxLength: 40, size: 'max' })
  const share = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
  const asked = fc.record({
    /** Of what comes behind the segment, keys that are written once more and keys that are deleted. */
    rewritten: fc.subarray(range(0, 10)),
    deleted: fc.subarray(range(0, 10)),
    versions: fc.array(share, { maxLength: 3 }),
    tombstonesBefore: fc.constantFrom(-1, 0, 2500, Infinity),
    sliceBytes: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 5000 })),
  })
  const damage = fc.record({
    flips: fc.array(share, { maxLength: 2 }),
    cut: fc.option(share, { freq: 3 }),
    zeroed: fc.option(fc.tuple(share, fc.nat({ max: 400 })), { freq: 3 }),
    copied: fc.option(fc.tuple(share, share, fc.nat({ max: 300 })), { freq: 3 }),
    end: fc.option(share),
  })
  type Asked = typeof asked extends fc.Arbitrary<infer T> ? T : never
  type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never

  function queryOf(segment: Segment, { rewritten, deleted, versions, tombstonesBefore, sliceBytes }: Asked): Query {
    const newest = replay(segment)
    for (const n of rewritten) newest.set(`key ${n}`, 1e6 + n)
    for (const n of deleted) newest.delete(`key ${n}`)
    const older = versions.map((at) => replay(segment, Math.floor(at * segment.records.length)))
    return { contents: [newest, ...older], tombstonesBefore, sliceBytes }
  }

  function spoil({ content, end }: Segment, { flips, cut, zeroed, copied }: Damage): Uint8Array {
    const spoilt = Uint8Array.from(content)
    const at = (where: number) => Math.floor(where * end)
    const aligned = (where: number) => at(where) & ~7
    if (copied !== null) spoilt.copyWithin(aligned(copied[0]), aligned(copied[1]), aligned(copied[1]) + copied[2])
    for (const flip of flips) spoilt[at(flip)] ^= 1 << (at(flip) % 8)
    if (zeroed !== null) spoilt.fill(0, at(zeroed[0]), at(zeroed[0]) + zeroed[1])
    return cut === null ? spoilt : spoilt.subarray(0, at(cut))
  }

  /** Everything but descriptors, handles and what was written in front of damage. */
  function factsOf({ status, numbers, bytes }: Compacted): unknown {
    const good = numbers[k.COMPACT_STOP] === k.STOP_END
    const given = [...numbers.subarray(k.COMPACT_OUT_SEED, k.COMPACT_LENGTH)]
    return { status, given, bytes: good ? bytes.toString('latin1') : '' }
  }

  it(
    'write the same bytes and numbers, and stop for the same reason where a segment is damaged',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          batches,
          fc.constantFrom(...backends),
          fc.array(fc.tuple(asked, asked, damage), { minLength: 4, maxLength: 4 }),
          async (given, writer, runs) => {
            const dense = await write(given, writer)
            for (const [first, second, how] of runs) {
              let segment = dense
              for (const each of [first, second]) {
                const query = queryOf(segment, each)
                const compacted = backends.map((backend) => compact(backend, segment, query))
                expectCompacted(backends[0], segment, query, compacted[0])
                expect(factsOf(compacted[1])).toEqual(factsOf(compacted[0]))

                const spoilt = spoil(segment, how)
                const end = Math.floor((how.end ?? 1) * segment.end)
                const [one, other] = backends.map((backend) => factsOf(compact(backend, segment, query, spoilt, end)))
                expect(other).toEqual(one)
                segment = segmentOf(compacted[0].bytes, compacted[0].bytes.length)
              }
            }
          },
        ),
        { numRuns: RUNS, seed: SEED, endOnFailure: process.env.SEALOG_MODEL_SHRINK === undefined },
      )
    },
    Math.max(60_000, RUNS * 4000),
  )
})
