/** When the sealer is told to look: as soon as there may be something to seal, and not before. */
import { beforeEach, expect, it, vi } from 'vitest'
import * as k from '../../lib/kernels/kernels.js'
import { LogChunks } from '../../lib/log/log-chunks.js'
import { Sealer } from '../../lib/sealing/sealer.js'
import { Segment } from '../../lib/segment/segment.js'
import { SegmentSet } from '../../lib/segment/segment-set.js'

const kick = vi.spyOn(Sealer.prototype, 'kick').mockImplementation(() => {})

beforeEach(() => {
  kick.mockClear()
})

/** A log of which only the figures move. */
class MovingLog {
  readonly directory = '/log'
  readonly logId = new Uint8Array(16)
  readonly segments = new SegmentSet()
  readonly startOffset = 0
  readonly epoch = 1
  readonly writable = true
  readonly form = 'json'
  durableOffset = 0
  readonly #state = new Float64Array(k.STATE_LENGTH)
  readonly chunks: LogChunks

  constructor() {
    this.#state[k.STATE_CHUNK_BYTES] = 1000
    this.begin(0)
    this.chunks = new LogChunks(this as unknown as ConstructorParameters<typeof LogChunks>[0], [])
  }

  commitDriver() {
    return { writer: { state: () => this.#state } }
  }

  begin(base: number): Segment {
    const segment = new Segment(this.directory, base, 0, base, 0, false)
    this.segments.push(segment)
    this.#state[k.STATE_CHUNKS] = 0
    return segment
  }

  /** So many chunks of the last segment have finished, the last of them at `end`. */
  finished(chunks: number, end: number): void {
    this.#state[k.STATE_CHUNKS] = chunks
    this.#state[k.STATE_NEXT_OFFSET] = end
    const { last } = this.segments
    if (last !== undefined) last.endPosition = end * 1000
  }

  /** How often it is told to look when the durable end has moved. */
  durable(offset: number): number {
    kick.mockClear()
    this.durableOffset = offset
    this.chunks.advanced()
    return kick.mock.calls.length
  }
}

it('when a chunk is durable, however many more have finished since, and again for those', () => {
  const log = new MovingLog()
  expect(log.durable(0)).toBe(0)
  log.finished(1, 100)
  expect(log.durable(50)).toBe(0)
  log.finished(2, 200)
  expect(log.durable(150)).toBe(1)
  log.finished(3, 300)
  expect(log.durable(160)).toBe(0)
  expect(log.durable(250)).toBe(1)
  expect(log.durable(260)).toBe(0)
  expect(log.durable(300)).toBe(1)
  expect(log.durable(301)).toBe(0)
})

it('when a full segment is closed, though the next is full by then', () => {
  const log = new MovingLog()
  const [first] = log.segments.all
  log.durable(0)
  const second = log.begin(100)
  expect(log.durable(100)).toBe(0)
  log.begin(200)
  first.closed = true
  expect(log.durable(200)).toBe(1)
  expect(log.durable(200)).toBe(0)
  second.closed = true
  expect(log.durable(200)).toBe(1)
  expect(log.durable(200)).toBe(0)
})

it('an empty segment that was replaced holds nothing up', () => {
  const log = new MovingLog()
  log.durable(0)
  for (const segment of log.segments.remove(() => true)) segment.retired = true
  log.begin(0)
  expect(log.durable(0)).toBe(1)
})
