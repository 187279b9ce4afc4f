/** Blocks of archives: segments come back byte for byte on every backend and across them, and what is damaged is refused. */
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { getU64, viewOf } from '../../lib/format/bytes.js'
import { FOOTER_FRAME_BYTES, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES } from '../../lib/format/constants.js'
import { Log } from '../../lib/index.js'
import { crc32c } from '../../lib/kernels/js/crc32c.js'
import * as k from '../../lib/kernels/kernels.js'
import type { FileRequest, Procedure } from '../../lib/kernels/procedure.js'
import { backends, environmentOf, freshEnvironment } from '../support/backends.js'
import { freshPath, listFiles, makeDirectory } from '../support/directories.js'

const RUNS = Number(process.env.SEALOG_DIFFERENTIAL_RUNS ?? 25)
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)
const MAX_RECORD = 720_000
const { EINVAL, ENOSPC, ENOSYS } = constants.errno
const packers = backends.filter((backend) => environmentOf(backend).kernels.can.compress)
if (packers.length < 2)
  console.warn(`SKIPPED: packing on ${backends.filter((name) => !packers.includes(name))}: Node ${process.version} has no zstd with dictionaries`)

const BASE = 100
const work = makeDirectory('pack')
const FILE = `${work}/segment`
const ARCHIVE = `${work}/archive`

interface Written {
  readonly value: Uint8Array
  readonly key?: Uint8Array
  readonly tombstone?: boolean
  /** The next record is of the same batch. */
  readonly more?: boolean
  /** Offsets left out before it; sparse segments only. */
  readonly skip?: number
  readonly batchIndex?: number
  readonly commit?: boolean
}

interface Segment {
  readonly bytes: Buffer
  readonly seed: number
  readonly sparse: boolean
  /** Offset of the first record. */
  readonly base: number
  readonly records: number
  readonly nextOffset: number
}

/** A segment of any shape, as docs/format.md says; packing looks at no header but for its CRC, the seed. */
function segmentOf(records: readonly Written[], sparse = false): Segment {
  const seed = 0x5ea106
  const parts: Buffer[] = [Buffer.alloc(SEGMENT_HEADER_BYTES, 7)]
  let position = SEGMENT_HEADER_BYTES
  let offset = BASE
  let group = { start: position, crcs: [] as number[] }
  let chain = 0
  const frame = (type: number, flags: number, at: number, body: Uint8Array) => {
    const bytes = Buffer.alloc(FRAME_HEADER_BYTES + Math.ceil(body.length / 8) * 8)
    bytes.writeUInt32LE(body.length, 4)
    bytes.writeBigUInt64LE(BigInt(at), 8)
    bytes.writeUIntLE(1000 + at, 16, 6)
    bytes.writeUInt8(type, 22)
    bytes.writeUInt8(flags, 23)
    bytes.set(body, FRAME_HEADER_BYTES)
    const crc = crc32c(bytes.subarray(4, FRAME_HEADER_BYTES + body.length), seed)
    bytes.writeUInt32LE(crc, 0)
    parts.push(bytes)
    position += bytes.length
    return crc
  }
  const commit = () => {
    const body = Buffer.alloc(32)
    const { start, crcs } = group
    body.writeBigUInt64LE(BigInt(crcs.length === 0 ? position : start), 0)
    body.writeUInt32LE(crcs.length, 16)
    body.writeUInt32LE(chain, 24)
    if (crcs.length > 0) chain = crc32c(new Uint8Array(Uint32Array.from([chain, ...crcs]).buffer), 0)
    body.writeUInt32LE(chain, 28)
    frame(3, 0, offset, body)
    group = { start: position, crcs: [] }
  }
  records.forEach(({ value, key, tombstone = false, more = false, skip = 0, batchIndex, commit: commits }, i) => {
    offset += sparse ? skip : 0
    const body: Uint8Array[] = []
    const withIndex = sparse && batchIndex !== undefined
    if (withIndex) body.push(new Uint8Array(Uint32Array.of(batchIndex).buffer))
    if (key !== undefined) body.push(new Uint8Array(Uint16Array.of(key.length).buffer), key)
    if (!tombstone) body.push(value)
    const continues = more && i < records.length - 1
    group.crcs.push(frame(tombstone ? 2 : 1, (key === undefined ? 0 : 1) | (continues ? 2 : 0) | (withIndex ? 4 : 0), offset++, Buffer.concat(body)))
    if (commits === true && !continues) commit()
  })
  commit()
  commit()
  frame(4, 0, offset, Buffer.alloc(64, 1))
  return { bytes: Buffer.concat(parts), seed, sparse, base: BASE, records: records.length, nextOffset: offset }
}

interface Query {
  readonly level?: number
  readonly blockBytes?: number
  /** Rows of the table of one call. */
  readonly rows?: number
  readonly dictionary?: Uint8Array
}

interface Block {
  readonly position: number
  readonly frameBytes: number
  readonly offset: number
  readonly batchFirst: number
  readonly outPosition: number
  readonly outBytes: number
}

interface Packed {
  readonly status: number
  readonly numbers: Float64Array
  readonly blocks: readonly Block[]
  readonly archive: Buffer
}

function* requested(request: FileRequest): Procedure<number> {
  return yield request
}

/** Packs all there is, in as many calls as the table's rows ask for; every other one asynchronously. */
async function pack(backend: k.Backend, segment: Segment, { level = 3, blockBytes = 4096, rows = 64, dictionary }: Query = {}): Promise<Packed> {
  const { kernels, runner } = environmentOf(backend)
  writeFileSync(FILE, segment.bytes)
  const fd = openSync(FILE, 'r')
  const out = openSync(ARCHIVE, 'w+')
  const handle = dictionary === undefined ? -1 : kernels.createDictionary(dictionary)
  const numbers = new Float64Array(k.PACK_LENGTH)
  numbers.set([segment.seed, MAX_RECORD, segment.sparse ? 1 : 0, out, level, blockBytes, handle, segment.base, -1])
  const table = new Float64Array(rows * k.PACK_COLUMNS)
  const blocks: Block[] = []
  let status = 0
  let a = SEGMENT_HEADER_BYTES
  for (let call = 0; status === 0; call++) {
    if (call % 2 === 0) status = await runner.run(requested({ operation: k.FILE_PACK, fd, a, b: segment.bytes.length, numbers, table }))
    else status = kernels.requestSync(k.FILE_PACK, fd, a, segment.bytes.length, undefined, numbers, table)
    if (status !== 0) break
    for (let i = 0; i < numbers[k.PACK_COUNT]; i++) {
      const [position, frameBytes, offset, batchFirst, outPosition, outBytes] = table.subarray(i * k.PACK_COLUMNS)
      blocks.push({ position, frameBytes, offset, batchFirst, outPosition, outBytes })
    }
    a = numbers[k.PACK_NEXT_POSITION]
    if (numbers[k.PACK_STOP] !== k.STOP_TABLE_FULL) break
  }
  if (handle !== -1) kernels.destroyDictionary(handle)
  closeSync(fd)
  closeSync(out)
  return { status, numbers, blocks, archive: readFileSync(ARCHIVE) }
}

interface Unpacked {
  readonly status: number
  readonly bytes: Buffer
}

/** Blocks of an archive with these bytes. */
function unpack(backend: k.Backend, segment: Segment, archive: Uint8Array, blocks: readonly Block[], dictionary?: Uint8Array): Unpacked[] {
  const { kernels } = environmentOf(backend)
  writeFileSync(ARCHIVE, archive)
  const fd = openSync(ARCHIVE, 'r')
  const handle = dictionary === undefined ? -1 : kernels.createDictionary(dictionary)
  try {
    return blocks.map(({ outPosition, outBytes, frameBytes }) => {
      const bytes = Buffer.alloc(frameBytes)
      const status = kernels.requestSync(k.FILE_UNPACK, fd, outPosition, outBytes, bytes, Float64Array.of(segment.seed, handle, 0))
      return { status, bytes }
    })
  } finally {
    closeSync(fd)
    if (handle !== -1) kernels.destroyDictionary(handle)
  }
}

/** Neighbouring blocks with one request; `changes` of the table of their bytes, in the segment and in the archive. */
function unpackTogether(backend: k.Backend, segment: Segment, archive: Uint8Array, blocks: readonly Block[], dictionary?: Uint8Array, changes: number[] = []) {
  const { kernels } = environmentOf(backend)
  writeFileSync(ARCHIVE, archive)
  const fd = openSync(ARCHIVE, 'r')
  const handle = dictionary === undefined ? -1 : kernels.createDictionary(dictionary)
  const numbers = Float64Array.of(segment.seed, handle, -1)
  const bytes = Buffer.alloc(blocks.reduce((sum, { frameBytes }) => sum + frameBytes, 0))
  const table = Float64Array.from(blocks.flatMap(({ frameBytes, outBytes }) => [frameBytes, outBytes]))
  changes.forEach((change, at) => {
    table[at] += change
  })
  try {
    const status = kernels.requestSync(k.FILE_UNPACK, fd, blocks[0].outPosition, 0, bytes, numbers, table)
    return { status, count: numbers[k.UNPACK_COUNT], bytes }
  } finally {
    closeSync(fd)
    if (handle !== -1) kernels.destroyDictionary(handle)
  }
}

/** Of a block: rows, and where and how a scan of its bytes ends. */
function scan(backend: k.Backend, segment: Segment, block: Block, bytes: Uint8Array): { rows: number[]; numbers: number[] } {
  const numbers = new Float64Array(k.SCAN_LENGTH)
  numbers.set([segment.seed, block.offset, block.batchFirst, 0, MAX_RECORD, segment.sparse ? 1 : 0])
  const table = new Uint32Array(4 * 1000)
  const { kernels } = environmentOf(backend)
  expect(kernels.requestSync(k.FILE_SCAN_BYTES, -1, block.position, block.position + bytes.length, bytes, numbers, table)).toBe(0)
  return { rows: [...table.subarray(0, numbers[k.SCAN_COUNT] * k.SCAN_COLUMNS)], numbers: [...numbers] }
}

function expectRoundTrip(by: k.Backend, segment: Segment, packed: Packed, query: Query): void {
  const { blocks, archive, numbers, status } = packed
  expect(status).toBe(0)
  expect(numbers[k.PACK_STOP]).toBe(k.STOP_END)
  expect(numbers[k.PACK_RECORDS]).toBe(segment.records)
  expect(numbers[k.PACK_OFFSET]).toBe(segment.nextOffset)
  expect(numbers[k.PACK_OUT_POSITION]).toBe(archive.length)
  expect(numbers[k.PACK_CRC]).toBe(crc32c(archive, 0))
  const parts = unpack(by, segment, archive, blocks, query.dictionary)
  expect(parts.every((part) => part.status === 0)).toBe(true)
  expect(Buffer.concat(parts.map(({ bytes }) => bytes)).equals(segment.bytes.subarray(SEGMENT_HEADER_BYTES))).toBe(true)
  const together = unpackTogether(by, segment, archive, blocks, query.dictionary)
  expect(together.bytes.equals(segment.bytes.subarray(SEGMENT_HEADER_BYTES))).toBe(true)
  expect([together.status, together.count]).toEqual([0, blocks.length])
  let records = 0
  parts.forEach(({ bytes }, i) => {
    const { rows, numbers: scanned } = scan(by, segment, blocks[i], bytes)
    records += rows.length / k.SCAN_COLUMNS
    const last = i === parts.length - 1
    expect(scanned[k.SCAN_STOP]).toBe(last ? k.STOP_FOOTER : k.STOP_END)
    expect(segment.sparse || last || scanned[k.SCAN_NEXT_OFFSET] === blocks[i + 1].offset).toBe(true)
    expect(last || scanned[k.SCAN_NEXT_BATCH_FIRST] === blocks[i + 1].batchFirst).toBe(true)
  })
  expect(records).toBe(segment.records)
}

const text = (length: number) => Buffer.from('abcdefgh'.repeat(length / 8 + 1).slice(0, length))
const feed = (count: number): Written[] =>
  Array.from({ length: count }, (_, i) => ({
    value: Buffer.from(`{"id":${i * 7919},"name":"a name","text":"${'xyz'.repeat(i % 50)}"}`),
    ...(i % 3 === 0 ? { key: Buffer.from(`key${i % 20}`) } : {}),
    more: i % 5 === 1,
    commit: i % 10 === 9,
  }))

const record: fc.Arbitrary<Written> = fc.record(
  {
    value: fc.oneof({ weight: 8, arbitrary: fc.uint8Array({ maxLength: 300 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 600_000 }).map(text) }),
    key: fc.uint8Array({ maxLength: 40 }),
    more: fc.boolean(),
    skip: fc.nat({ max: 3 }),
    batchIndex: fc.nat({ max: 5 }),
    commit: fc.boolean(),
  },
  { requiredKeys: ['value'] },
)
const query = fc.record(
  {
    level: fc.constantFrom(1, 3, 7),
    blockBytes: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.constantFrom(16_384, 262_144)),
    rows: fc.integer({ min: 1, max: 20 }),
    dictionary: fc.uint8Array({ minLength: 8, maxLength: 5000 }),
  },
  { requiredKeys: [] },
)

describe.each(packers)('FILE_PACK and FILE_UNPACK on %s', (backend) => {
  it('levels, sizes of blocks, records larger than a block and than a window', async () => {
    const records = [...feed(200), { value: text(300_000) }, { value: text(5), key: Buffer.from('k'), tombstone: true }, { value: text(700_000) }, ...feed(20)]
    for (const segment of [segmentOf(records), segmentOf([]), segmentOf(feed(1))]) {
      for (const given of [{}, { level: 22, blockBytes: 262_144 }, { blockBytes: 1, rows: 7 }, { blockBytes: 2 ** 30 }, { dictionary: text(1000) }]) {
        expectRoundTrip(backend, segment, await pack(backend, segment, given), given)
      }
    }
  })

  it('segments of a real log', async () => {
    const directory = freshPath('packed')
    const log = await Log.open<Uint8Array>(directory, {
      backend,
      durability: 'flush',
      segmentBytes: 64 * 1024,
      maxBatchBytes: 16 * 1024,
      idleMarkMs: 3_600_000,
    })
    for (let i = 0; i < 500; i++) {
      await log.appendRecords([{ value: text(i * 3), key: `key ${i % 7}` }, { value: text(i % 90) }, { key: 'gone', tombstone: true as const }].slice(i % 3))
    }
    await log.close()
    const names = listFiles(directory).filter((name) => name.startsWith('segments/') && name.endsWith('.log'))
    expect(names.length).toBeGreaterThan(2)
    for (const name of names.slice(0, -1)) {
      const bytes = readFileSync(`${directory}/${name}`)
      const view = viewOf(bytes)
      const footer = bytes.length - FOOTER_FRAME_BYTES + FRAME_HEADER_BYTES
      const segment = { bytes, seed: view.getUint32(124, true), sparse: false, records: getU64(view, footer + 16), base: getU64(view, 40) }
      const whole = { ...segment, nextOffset: getU64(view, footer + 8) + 1 }
      expectRoundTrip(backend, whole, await pack(backend, whole), {})
    }
  })

  it('refuses levels and sizes that do not exist; a dictionary ends with its last request', async () => {
    const segment = segmentOf(feed(300))
    for (const given of [{ level: 0 }, { level: 23 }, { blockBytes: 0 }, { blockBytes: 2 ** 30 + 1 }])
      expect((await pack(backend, segment, given)).status).toBe(-EINVAL)
    const { kernels } = environmentOf(backend)
    expect(() => kernels.createDictionary(new Uint8Array(7))).toThrow()
    expect(() => kernels.destroyDictionary(12_345)).toThrow()
    const handle = kernels.createDictionary(text(100))
    const numbers = new Float64Array(k.PACK_LENGTH)
    numbers[k.PACK_DICTIONARY] = handle
    kernels.destroyDictionary(handle)
    expect(() => kernels.requestSync(k.FILE_PACK, -1, 0, 0, undefined, numbers, new Float64Array(6))).toThrow()

    // Destroyed while the request is under way.
    const fd = openSync(FILE, 'r')
    const out = openSync(ARCHIVE, 'w+')
    const used = environmentOf(backend).kernels.createDictionary(text(100_000))
    numbers.set([segment.seed, MAX_RECORD, 0, out, 3, 4096, used, BASE, -1])
    const table = new Float64Array(1000)
    const done = environmentOf(backend).runner.run(requested({ operation: k.FILE_PACK, fd, a: SEGMENT_HEADER_BYTES, b: segment.bytes.length, numbers, table }))
    kernels.destroyDictionary(used)
    expect(await done).toBe(0)
    expect(numbers[k.PACK_STOP]).toBe(k.STOP_END)
    closeSync(fd)
    closeSync(out)
  })

  it('a failed read or write is the status; short ones go on', async () => {
    const segment = segmentOf([...feed(50), { value: text(400_000) }, ...feed(50)])
    const { testing } = environmentOf(backend).kernels
    try {
      for (const kind of ['read', 'write']) {
        testing.fault(kind, 1, ENOSPC, false, 0)
        expect((await pack(backend, segment)).status).toBe(-ENOSPC)
        testing.fault(kind, 1, 0, true, 1000)
        expectRoundTrip(backend, segment, await pack(backend, segment), {})
        testing.clearFaults()
      }
    } finally {
      testing.clearFaults()
    }
  })

  it('a request under way does not outlive its kernels', () => {
    const environment = freshEnvironment(backend)
    const segment = segmentOf(feed(2000))
    writeFileSync(FILE, segment.bytes)
    const fd = openSync(FILE, 'r')
    const out = openSync(ARCHIVE, 'w+')
    const numbers = new Float64Array(k.PACK_LENGTH)
    numbers.set([segment.seed, MAX_RECORD, 0, out, 19, 4096, -1, BASE, -1])
    environment.kernels.request(1, k.FILE_PACK, fd, SEGMENT_HEADER_BYTES, segment.bytes.length, undefined, numbers, new Float64Array(6000))
    environment.kernels.stop()
    closeSync(fd)
    closeSync(out)
  })

  it('each bit of a block flipped, each length of it: equal bytes or damage', async () => {
    const segment = segmentOf(feed(6))
    for (const dictionary of [undefined, segment.bytes.subarray(200, 400)]) {
      const { archive, blocks } = await pack(backend, segment, { dictionary })
      expect(blocks.length).toBe(1)
      const good = segment.bytes.subarray(SEGMENT_HEADER_BYTES)
      const step = backend === 'native' ? 1 : 5
      for (let bit = 0; bit < archive.length * 8; bit += step) {
        const damaged = Uint8Array.from(archive)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        const [{ status, bytes }] = unpack(backend, segment, damaged, blocks, dictionary)
        expect(status === k.UNPACK_DAMAGED || (status === 0 && bytes.equals(good))).toBe(true)
      }
      const statuses = (changes: Partial<Block>, content = archive) => unpack(backend, segment, content, [{ ...blocks[0], ...changes }], dictionary)[0].status
      for (let length = 0; length < archive.length; length += step) {
        expect(statuses({ outBytes: length })).toBe(k.UNPACK_DAMAGED)
        expect(statuses({}, archive.subarray(0, length))).toBe(k.UNPACK_DAMAGED)
      }
      for (const more of [1, 4, archive.length]) expect(statuses({ outBytes: archive.length + more }, Buffer.concat([archive, archive]))).toBe(k.UNPACK_DAMAGED)
      for (const by of [-8, -4, -1, 1, 4, 8, 1000]) expect(statuses({ frameBytes: blocks[0].frameBytes + by })).toBe(k.UNPACK_DAMAGED)
      expect(statuses({ outBytes: 2 ** 40 })).toBe(k.UNPACK_DAMAGED)
      if (dictionary !== undefined) expect(unpack(backend, segment, archive, blocks)[0].status).toBe(k.UNPACK_DAMAGED)
    }
  })

  it('of several blocks at once those before the first damaged one are good', async () => {
    const segment = segmentOf(feed(100))
    const { archive, blocks } = await pack(backend, segment, { blockBytes: 2000 })
    expect(blocks.length).toBeGreaterThan(4)
    const damaged = Uint8Array.from(archive)
    damaged[blocks[3].outPosition + blocks[3].outBytes - 1] ^= 1
    const { status, count, bytes } = unpackTogether(backend, segment, damaged, blocks)
    expect([status, count]).toEqual([k.UNPACK_DAMAGED, 3])
    const good = blocks[3].position - blocks[0].position
    expect(bytes.subarray(0, good).equals(segment.bytes.subarray(SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + good))).toBe(true)
    // Tables that do not fill the bytes, or ask for more than there are.
    for (const changes of [[8], [-8], [0, 1], [0, -1], [2 ** 40], [-(2 ** 40)], [0, 2 ** 40]]) {
      expect(unpackTogether(backend, segment, archive, blocks, undefined, changes).status).toBe(k.UNPACK_DAMAGED)
    }
    expect(unpackTogether(backend, segment, archive, blocks.slice(0, 2), undefined, [8, 0, -8]).status).toBe(k.UNPACK_DAMAGED)
  })
})

describe.each(backends.filter((backend) => !packers.includes(backend)))('without zstd, on %s', (backend) => {
  it('is −ENOSYS', async () => {
    const segment = segmentOf(feed(3))
    expect((await pack(backend, segment)).status).toBe(-ENOSYS)
    expect(unpack(backend, segment, segment.bytes, [{ position: 0, frameBytes: 100, offset: 0, batchFirst: -1, outPosition: 0, outBytes: 50 }])[0].status).toBe(
      -ENOSYS,
    )
    expect(() => environmentOf(backend).kernels.createDictionary(new Uint8Array(8))).toThrow()
  })
})

describe('segments of any shape', () => {
  it('come back, whoever packs and whoever unpacks, in the same blocks', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 40, size: 'max' }), fc.boolean(), query, async (records, sparse, given) => {
        const segment = segmentOf(records, sparse)
        const all = await packers.reduce<Promise<Packed[]>>(
          async (done, backend) => [...(await done), await pack(backend, segment, given)],
          Promise.resolve([]),
        )
        for (const packed of all) for (const backend of packers) expectRoundTrip(backend, segment, packed, given)
        const places = all.map(({ blocks }) => blocks.map(({ position, frameBytes, offset, batchFirst }) => [position, frameBytes, offset, batchFirst]))
        for (const other of places) expect(other).toEqual(places[0])
      }),
      { numRuns: RUNS, seed: SEED },
    )
  })

  it('are not packed when they are damaged: every backend stops where a scan stops', async () => {
    const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { minLength: 1, maxLength: 12 }),
        fc.boolean(),
        query,
        place,
        fc.nat({ max: 7 }),
        async (records, sparse, given, at, bit) => {
          const segment = segmentOf(records, sparse)
          const damaged = Buffer.from(segment.bytes)
          damaged[SEGMENT_HEADER_BYTES + Math.floor(at * (damaged.length - SEGMENT_HEADER_BYTES))] ^= 1 << bit
          const numbers = new Float64Array(k.SCAN_LENGTH)
          numbers.set([segment.seed, BASE, -1, 0, MAX_RECORD, sparse ? 1 : 0])
          const frames = damaged.subarray(SEGMENT_HEADER_BYTES)
          environmentOf('js').kernels.requestSync(k.FILE_SCAN_BYTES, -1, SEGMENT_HEADER_BYTES, damaged.length, frames, numbers, new Uint32Array(4 * 1000))
          for (const backend of packers) {
            const packed = await pack(backend, { ...segment, bytes: damaged }, given)
            expect([packed.status, packed.numbers[k.PACK_STOP], packed.numbers[k.PACK_NEXT_POSITION]]).toEqual([
              0,
              numbers[k.SCAN_STOP],
              numbers[k.SCAN_NEXT_POSITION],
            ])
            expect(packed.numbers[k.PACK_STOP]).not.toBe(k.STOP_END)
          }
        },
      ),
      { numRuns: RUNS, seed: SEED },
    )
  })
})
