/** Content and positions of sealed chunks: the twin and the addon write the same, which is what the records say. */
import { closeSync, openSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { getU64, viewOf } from '../../lib/format/bytes.js'
import { Log, type RecordInput } from '../../lib/index.js'
import { crc32c } from '../../lib/kernels/js/crc32c.js'
import * as k from '../../lib/kernels/kernels.js'
import type { FileRequest, Procedure } from '../../lib/kernels/procedure.js'
import { backends, environmentOf } from '../support/backends.js'
import { freshPath, readFiles } from '../support/directories.js'
import { groupsOf, type Image, Workplace, withFile } from '../support/images.js'
import { fixedSources, range } from '../support/logs.js'
import { segmentName } from '../support/reference-logs.js'

const RUNS = Number(process.env.SEALOG_DIFFERENTIAL_RUNS ?? 25)
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)
const NAME = segmentName(0)
const HEADER = 128
const MAX_RECORD = 720_000
const { EINVAL, ENOSPC } = constants.errno
const FORMS = [k.FORM_JSON, k.FORM_NDJSON, k.FORM_RAW]
const both = backends.length === 2
if (!both) console.warn('SKIPPED: differential tests need both backends')

const work = new Workplace()

interface Element {
  readonly offset: number
  /** Absent: a tombstone. */
  readonly value?: Uint8Array
  readonly endsBatch: boolean
}

interface Segment {
  readonly image: Image
  readonly content: Buffer
  readonly seed: number
  /** Where the footer or nothing begins. */
  readonly end: number
  readonly elements: readonly Element[]
}

/** A real log of these batches, all in one segment. */
async function write(batches: readonly (readonly RecordInput<Uint8Array>[])[], backend: k.Backend): Promise<Segment> {
  const directory = freshPath('render')
  const options = { backend, durability: 'flush' as const, maxRecordBytes: MAX_RECORD, idleMarkMs: 3_600_000 }
  const log = await Log.openWith<Uint8Array>(directory, options, fixedSources(5))
  const elements: Element[] = []
  for (const batch of batches) {
    await log.appendRecords(batch)
    batch.forEach((record, i) => {
      elements.push({ offset: elements.length, value: 'value' in record ? record.value : undefined, endsBatch: i === batch.length - 1 })
    })
  }
  await log.close()
  const image = readFiles(directory)
  const content = image.get(NAME)
  if (content === undefined) throw new Error('there is no segment')
  return { image, content, seed: viewOf(content).getUint32(124, true), end: groupsOf(content).end, elements }
}

interface Query {
  readonly form: number
  readonly chunkBytes: number
  readonly position?: number
  readonly offset?: number
  readonly from?: number
  readonly batchFirst?: number
  readonly end?: number
  readonly sparse?: number
}

interface Rendered {
  readonly status: number
  readonly numbers: Float64Array
  readonly content: Buffer
  readonly positions: Buffer
}

/** A render that has its files and its numbers, and only has to be run. */
class Render {
  readonly numbers = new Float64Array(k.RENDER_LENGTH)
  readonly fd: number
  readonly from: number
  readonly end: number
  readonly #paths = ['chunk', 'positions'].map((name) => `${work.directory}/${name}`)
  readonly #fds: readonly number[]

  constructor(segment: Segment, query: Query, content: Uint8Array = segment.content) {
    work.restore(withFile(segment.image, NAME, content))
    this.fd = openSync(`${work.directory}/${NAME}`, 'r')
    this.#fds = this.#paths.map((path) => openSync(path, 'w+'))
    const { form, chunkBytes, position = HEADER, offset = 0, from = 0, batchFirst = -1, end = segment.end, sparse = 0 } = query
    this.from = position
    this.end = end
    this.numbers.set([segment.seed, MAX_RECORD, sparse, from, offset, batchFirst, form, chunkBytes, ...this.#fds])
  }

  finish(status: number): Rendered {
    for (const fd of [this.fd, ...this.#fds]) closeSync(fd)
    const [content, positions] = this.#paths.map((path) => readFileSync(path))
    return { status, numbers: this.numbers, content, positions }
  }
}

function render(backend: k.Backend, segment: Segment, query: Query, content?: Uint8Array): Rendered {
  const run = new Render(segment, query, content)
  return run.finish(environmentOf(backend).kernels.requestSync(k.FILE_RENDER, run.fd, run.from, run.end, undefined, run.numbers))
}

/** What a chunk has to be, said in the simplest way. */
function expected({ elements }: Segment, { form, chunkBytes, from = 0 }: Query) {
  const chosen: Element[] = []
  let payload = 0
  let full = false
  for (const element of elements.slice(from)) {
    chosen.push(element)
    payload += element.value?.length ?? 0
    full = chunkBytes > 0 && element.endsBatch && payload >= chunkBytes
    if (full) break
  }
  const pieces: Uint8Array[] = []
  const positions: number[] = []
  let length = 0
  const put = (piece: Uint8Array) => {
    pieces.push(piece)
    length += piece.length
  }
  if (form === k.FORM_JSON) put(Buffer.from('['))
  chosen.forEach(({ value }, i) => {
    if (form === k.FORM_JSON && i > 0) put(Buffer.from(','))
    positions.push(length)
    put(value ?? Buffer.from(form === k.FORM_RAW ? '' : 'null'))
    if (form === k.FORM_NDJSON) put(Buffer.from('\n'))
  })
  if (form === k.FORM_JSON) put(Buffer.from(']'))
  const last = chosen.at(-1)?.offset ?? -1
  return { content: Buffer.concat(pieces), positions, payload, last, stop: full ? k.STOP_FULL : k.STOP_END }
}

function positionsOf(file: Buffer): number[] {
  const view = viewOf(file)
  return range(0, Math.max(0, file.length - k.RENDER_POSITIONS_START) / 8).map((i) => getU64(view, k.RENDER_POSITIONS_START + i * 8))
}

function expectChunk(segment: Segment, query: Query, { status, numbers, content, positions }: Rendered): void {
  const wanted = expected(segment, query)
  expect(status).toBe(0)
  expect(content.equals(wanted.content)).toBe(true)
  expect(positionsOf(positions)).toEqual(wanted.positions)
  expect([...numbers.subarray(k.RENDER_COUNT, k.RENDER_NEXT_POSITION)]).toEqual([
    wanted.positions.length,
    wanted.last,
    wanted.content.length,
    crc32c(wanted.content, 0),
    crc32c(positions.subarray(k.RENDER_POSITIONS_START), 0),
    wanted.payload,
    wanted.stop,
  ])
}

function* requested(request: FileRequest): Procedure<number> {
  return yield request
}

const text = (length: number, seed = 0) => Buffer.from(`"${'abcdefgh'.repeat(length / 8 + 1).slice(seed % 7, (seed % 7) + Math.max(0, length - 2))}"`)
const one = (length: number): RecordInput<Uint8Array>[] => [{ value: text(length) }]

describe.each(backends)('FILE_RENDER on %s', (backend) => {
  it.each(FORMS)('values of every length of UTF-8, empty ones, tombstones and keys, form %d', async (form) => {
    const segment = await write(
      [
        [{ value: Buffer.from('"é"') }, { value: Buffer.from('"€"'), key: 'key' }, { value: Buffer.from('"😀"') }, { value: Buffer.from('"\u0000a"') }],
        [{ value: new Uint8Array(0) }],
        [{ key: 'gone', tombstone: true }],
        [{ value: new Uint8Array(0), key: '' }, { value: Buffer.from('[1, {"a": "😀é"}]') }, { key: 'also gone', tombstone: true }],
      ],
      backend,
    )
    for (const chunkBytes of range(0, 40)) {
      for (const from of [0, 4, 5, 9]) expectChunk(segment, { form, chunkBytes, from }, render(backend, segment, { form, chunkBytes, from }))
    }
  })

  it('one record, and none', async () => {
    const segment = await write([one(10)], backend)
    for (const form of FORMS) {
      expectChunk(segment, { form, chunkBytes: 1 }, render(backend, segment, { form, chunkBytes: 1 }))
      const none = render(backend, segment, { form, chunkBytes: 1, end: HEADER })
      expect(none.content.toString()).toBe(form === k.FORM_JSON ? '[]' : '')
      expect([...none.numbers.subarray(k.RENDER_COUNT, k.RENDER_LAST + 1)]).toEqual([0, -1])
      expect(none.numbers[k.RENDER_STOP]).toBe(k.STOP_END)
    }
  })

  it('payloads around the limit, batches across it, and one chunk after the other', async () => {
    const limit = 1000
    const single = range(limit - 3, limit + 3).map((length) => one(length))
    const across = [...range(0, 9).map(() => one(100)), range(0, 30).map((i) => ({ value: text(60 + i, i) })), one(999), one(2)]
    const segment = await write([...single, ...across], backend)
    let position = HEADER
    let from = 0
    for (let stop = k.STOP_FULL; stop === k.STOP_FULL; ) {
      const query = { form: k.FORM_JSON, chunkBytes: limit, from, offset: from, position }
      const chunk = render(backend, segment, query)
      expectChunk(segment, query, chunk)
      // The same chunk from the start of the segment: the records before it are passed over.
      expectChunk(segment, query, render(backend, segment, { ...query, position: HEADER, offset: 0 }))
      stop = chunk.numbers[k.RENDER_STOP]
      position = chunk.numbers[k.RENDER_NEXT_POSITION]
      from = chunk.numbers[k.RENDER_NEXT_OFFSET]
    }
    expect(from).toBe(segment.elements.length)
    expect(position).toBe(segment.end)
  })

  it('values around the size of a window, and far larger ones', async () => {
    const kib = 256 * 1024
    const lengths = [kib - 40, kib - 25, kib - 24, kib - 23, kib, kib + 1, 2 * kib - 24, 2 * kib, 650_001]
    const segment = await write(
      lengths.flatMap((length) => [one(5), one(length), [{ value: text(length, 1), key: 'k'.repeat(length % 60_000) }, { value: text(30) }]]),
      backend,
    )
    for (const form of FORMS) expectChunk(segment, { form, chunkBytes: 0 }, render(backend, segment, { form, chunkBytes: 0 }))
  })

  it('an asynchronous request comes to the same', async () => {
    const segment = await write(
      range(0, 60).map((i) => one(20_000 + i)),
      backend,
    )
    const query = { form: k.FORM_NDJSON, chunkBytes: 0 }
    const { runner } = environmentOf(backend)
    const run = new Render(segment, query)
    let turns = 0
    let waiting = true
    const turn = () => {
      turns++
      if (waiting) setImmediate(turn)
    }
    turn()
    const status = await runner.run(requested({ operation: k.FILE_RENDER, fd: run.fd, a: run.from, b: run.end, numbers: run.numbers }))
    waiting = false
    expectChunk(segment, query, run.finish(status))
    // The twin works on the loop's thread: five windows are read and five are written, one after the other.
    if (backend === 'js') expect(turns).toBeGreaterThanOrEqual(10)
  })

  it('a failed read or write is the status; short ones go on', async () => {
    const segment = await write([one(1000), one(400_000)], backend)
    const { testing } = environmentOf(backend).kernels
    const query = { form: k.FORM_RAW, chunkBytes: 0 }
    try {
      for (const kind of ['read', 'write']) {
        testing.fault(kind, 1, ENOSPC, false, 0)
        expect(render(backend, segment, query).status).toBe(-ENOSPC)
        testing.fault(kind, 1, 0, true, 10_000)
        expectChunk(segment, query, render(backend, segment, query))
        testing.clearFaults()
      }
    } finally {
      testing.clearFaults()
    }
    expect(render(backend, segment, { ...query, form: 0 }).status).toBe(-EINVAL)
  })

  it('FILE_CHECKSUM tells how far the file goes', async () => {
    const segment = await write([one(700)], backend)
    work.restore(segment.image)
    const fd = openSync(`${work.directory}/${NAME}`, 'r')
    const { kernels } = environmentOf(backend)
    try {
      for (const [a, b] of [
        [0, 0],
        [0, 1],
        [5, 128],
        [128, segment.content.length],
        [1, segment.content.length + 9],
        [segment.content.length + 3, segment.content.length + 9],
      ]) {
        const numbers = new Float64Array(2)
        expect(kernels.requestSync(k.FILE_CHECKSUM, fd, a, b, undefined, numbers)).toBe(0)
        const bytes = segment.content.subarray(a, b)
        expect([...numbers]).toEqual([crc32c(bytes, 0), bytes.length])
      }
    } finally {
      closeSync(fd)
    }
  })
})

describe.runIf(both)('FILE_RENDER: both backends', () => {
  const value = fc.oneof(
    { weight: 6, arbitrary: fc.uint8Array({ maxLength: 300 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 300_000 }).map((length) => text(length)) },
  )
  const record: fc.Arbitrary<RecordInput<Uint8Array>> = fc.oneof(
    { weight: 5, arbitrary: fc.record({ value }) },
    { weight: 2, arbitrary: fc.record({ value, key: fc.uint8Array({ maxLength: 40 }) }) },
    { weight: 1, arbitrary: fc.record({ key: fc.string({ maxLength: 9 }), tombstone: fc.constant(true as const) }) },
  )
  const batches = fc.array(fc.array(record, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 30, size: 'max' })
  const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
  const query = fc.record({
    form: fc.constantFrom(...FORMS),
    chunkBytes: fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: 600_000 })),
    from: place,
  })
  const damage = fc.record({
    flips: fc.array(place, { maxLength: 2 }),
    cut: fc.option(place, { freq: 3 }),
    zeroed: fc.option(fc.tuple(place, fc.nat({ max: 400 })), { freq: 3 }),
    copied: fc.option(fc.tuple(place, place, fc.nat({ max: 300 })), { freq: 3 }),
    end: fc.option(place),
    offset: fc.constantFrom(0, 0, 0, -1, 1),
    batchFirst: fc.constantFrom(-1, -1, -1, 0),
    sparse: fc.nat({ max: 1 }),
  })
  type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never

  function spoil({ content, end }: Segment, { flips, cut, zeroed, copied }: Damage): Uint8Array {
    const spoilt = Uint8Array.from(content)
    const at = (share: number) => Math.floor(share * end)
    const aligned = (share: number) => at(share) & ~7
    if (copied !== null) spoilt.copyWithin(aligned(copied[0]), aligned(copied[1]), aligned(copied[1]) + copied[2])
    for (const flip of flips) spoilt[at(flip)] ^= 1 << (at(flip) % 8)
    if (zeroed !== null) spoilt.fill(0, at(zeroed[0]), at(zeroed[0]) + zeroed[1])
    return cut === null ? spoilt : spoilt.subarray(0, at(cut))
  }

  /** Of a chunk that ends in damage the files are worthless: only where and why counts. */
  function factsOf({ status, numbers, content, positions }: Rendered): unknown {
    const good = numbers[k.RENDER_STOP] === k.STOP_END || numbers[k.RENDER_STOP] === k.STOP_FULL
    if (!good) return { status, where: [...numbers.subarray(k.RENDER_STOP, k.RENDER_NEXT_OFFSET + 1)] }
    const given = numbers.slice()
    given[k.RENDER_CONTENT_FD] = given[k.RENDER_POSITIONS_FD] = 0
    return { status, numbers: [...given], content: content.toString('latin1'), positions: positions.toString('latin1') }
  }

  it(
    'write the same bytes and numbers, and stop for the same reason where a segment is damaged',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          batches,
          fc.constantFrom(...backends),
          fc.array(fc.tuple(query, damage), { minLength: 12, maxLength: 12 }),
          async (given, writer, asked) => {
            const segment = await write(given, writer)
            for (const [how, what] of asked) {
              const sound = { ...how, from: Math.floor(how.from * segment.elements.length) }
              const rendered = backends.map((backend) => render(backend, segment, sound))
              expectChunk(segment, sound, rendered[0])
              expect(factsOf(rendered[1])).toEqual(factsOf(rendered[0]))

              const { offset, batchFirst, sparse } = what
              const query = { ...sound, offset, batchFirst, sparse, end: Math.floor((what.end ?? 1) * segment.end) }
              const spoilt = spoil(segment, what)
              const [first, second] = backends.map((backend) => factsOf(render(backend, segment, query, spoilt)))
              expect(second).toEqual(first)
            }
          },
        ),
        { numRuns: RUNS, seed: SEED, endOnFailure: process.env.SEALOG_MODEL_SHRINK === undefined },
      )
    },
    Math.max(60_000, RUNS * 4000),
  )
})
