import { argumentError, LogError } from '../errors.js'
import { SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { isConsumerName } from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import type { TaskRunner } from '../kernels/task.js'
import { checkNames, integer } from '../options.js'
import type { Segment } from '../segment/segment.js'
import type { SegmentSet } from '../segment/segment-set.js'
import { Consumer, type ConsumerLog } from './consumer.js'
import { consumerGone, createConsumer, readConsumer, readConsumers, removeConsumer } from './consumer-files.js'

export interface ConsumerOptions {
  /** Bytes of lag beyond which retention drops the consumer instead of keeping segments for it. Stored; default: as stored, at first never. `Infinity`: never. */
  maxLagBytes?: number
}

const CONSUMER_OPTIONS: ReadonlySet<string> = new Set<keyof ConsumerOptions>(['maxLagBytes'])

/** A named consumer as it is on disk. */
export interface ConsumerInfo {
  readonly name: string
  /** Everything below is acknowledged; undefined when the file is damaged, see `error`. */
  readonly offset: number | undefined
  /** Epoch of the log at the last acknowledgement. */
  readonly epoch: number | undefined
  /** Offsets from the position to the committed end; of a damaged one all. */
  readonly lagRecords: number
  /** Bytes of frames from the position to the committed end, up to one interval of the offset index more. */
  readonly lagBytes: number
  /** ms since the epoch. */
  readonly acknowledgedAt: number | undefined
  readonly maxLagBytes: number | undefined
  /** ERR_SEALOG_CONSUMER: damaged; ERR_SEALOG_FORMAT_NEWER. Retention takes such a consumer as one that holds everything. */
  readonly error: LogError | undefined
}

/** The segments of an open log, for measuring how far behind a position is. */
export interface LagSource {
  readonly segments: SegmentSet
  prepare(segment: Segment): Procedure<void>
}

export interface ConsumersLog extends ConsumerLog, LagSource {
  readonly environment: ConsumerLog['environment'] & { readonly runner: TaskRunner }
}

/** The named positions of a log, see `LogView.consumer`. */
export class Consumers {
  readonly #log: ConsumersLog
  /** One after the other: nobody makes the file that somebody else is making. */
  #opening: Promise<unknown> = Promise.resolve()

  constructor(log: ConsumersLog) {
    this.#log = log
  }

  /** Opens a consumer; one that is not there yet begins at `startOffset`. */
  open(name: string, options: ConsumerOptions): Promise<Consumer> {
    const opened = this.#opening.then(() => this.#open(name, options))
    this.#opening = opened.catch(() => {})
    return opened
  }

  async #open(name: string, options: ConsumerOptions): Promise<Consumer> {
    const log = this.#log
    checkName(name)
    checkNames(options, CONSUMER_OPTIONS, 'consumer')
    const maxLagBytes = options.maxLagBytes === Number.POSITIVE_INFINITY ? undefined : integer(options.maxLagBytes, 'maxLagBytes', 1, 2 ** 53 - 1, 0)
    log.checkOpen()
    const { runner } = log.environment
    const there = await runner.run(readConsumer(log, name))
    if (there?.error !== undefined) throw there.error
    if (there === undefined) {
      const slot = { sequence: 1, offset: log.startOffset, epoch: log.epoch, time: Date.now(), maxLagBytes: maxLagBytes || undefined }
      return new Consumer(log, await runner.run(createConsumer(log, name, slot)))
    }
    const consumer = new Consumer(log, there)
    await consumer.settle(options.maxLagBytes === undefined ? there.slot.maxLagBytes : maxLagBytes)
    return consumer
  }

  /** All of them, by name. */
  async list(): Promise<ConsumerInfo[]> {
    const log = this.#log
    log.checkOpen()
    const files = await log.environment.runner.run(readConsumers(log))
    const infos: ConsumerInfo[] = []
    for (const file of files) {
      const { slot = undefined, error } = file.error === undefined ? { slot: file.slot, error: undefined } : { error: file.error }
      const from = Math.max(slot?.offset ?? 0, log.startOffset)
      infos.push({
        name: file.name,
        offset: slot?.offset,
        epoch: slot?.epoch,
        lagRecords: Math.max(0, log.committedOffset - from),
        lagBytes: await log.environment.runner.run(lagBytes(log, from)),
        acknowledgedAt: slot?.time,
        maxLagBytes: slot?.maxLagBytes,
        error,
      })
    }
    return infos
  }

  /**
   * Sets a position without opening the consumer; also of one that is damaged, whose file is made anew. ERR_SEALOG_CONSUMER: there is none of the name;
   * ERR_SEALOG_OFFSET_RANGE, _OFFSET_TRUNCATED: `offset` is not in the log.
   */
  async reset(name: string, offset: number): Promise<void> {
    const log = this.#log
    checkName(name)
    log.checkOpen()
    const { runner } = log.environment
    const there = await runner.run(readConsumer(log, name))
    if (there === undefined) throw consumerGone(log, name)
    const fresh = { sequence: 1, offset: log.startOffset, epoch: log.epoch, time: Date.now(), maxLagBytes: undefined }
    const file = there.error === undefined ? there : await runner.run(createConsumer(log, name, fresh))
    const consumer = new Consumer(log, file)
    await consumer.settle(file.slot.maxLagBytes)
    await consumer.reset(offset)
  }

  /** Resolves to false when there is none of the name. */
  async delete(name: string): Promise<boolean> {
    checkName(name)
    this.#log.checkOpen()
    return this.#log.environment.runner.run(removeConsumer(this.#log, name))
  }
}

function checkName(name: unknown): asserts name is string {
  if (typeof name !== 'string' || !isConsumerName(name))
    throw argumentError('name', name, '1 to 128 of the characters A-Z, a-z, 0-9, ".", "_" and "-", the first not a dot')
}

/** Bytes of frames at and above `offset`: whole segments by what is known of them, the one that holds it by its index. */
export function* lagBytes(log: LagSource, offset: number): Procedure<number> {
  let bytes = 0
  for (const segment of log.segments.all) {
    if (segment.end <= offset) continue
    bytes += segment.endPosition - (segment.base >= offset ? SEGMENT_HEADER_BYTES : yield* positionIn(log, segment, offset))
  }
  return bytes
}

function* positionIn(log: LagSource, segment: Segment, offset: number): Procedure<number> {
  try {
    yield* log.prepare(segment)
  } catch (error) {
    // What is wrong with it is told to those who read it; all of it is behind until then.
    if (!(error instanceof LogError)) throw error
  }
  const entry = segment.index?.find(offset) ?? -1
  return entry < 0 || segment.index === undefined ? SEGMENT_HEADER_BYTES : segment.index.position(entry)
}
