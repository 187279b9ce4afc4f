import { rmSync } from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Log, type LogOptions, type LogReader, type RecordInput } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, errorOf, readAll } from '../support/logs.js'
import { LogModel, type ModelRecord } from '../support/model.js'

const RUNS = Number(process.env.SEALOG_MODEL_RUNS ?? 60)
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)

/** A log under test, which may be opened anew by either backend. */
class Subject {
  readonly directory = freshPath('model')
  log!: Log
  reader: LogReader | undefined

  async open(backend: Backend, options: LogOptions): Promise<void> {
    this.log = await Log.open(this.directory, { ...options, backend })
  }

  async end(): Promise<void> {
    await this.reader?.close()
    await this.log.close()
    rmSync(path.dirname(this.directory), { recursive: true, force: true })
  }
}

type Command = fc.AsyncCommand<LogModel, Subject>
type Run = (model: LogModel, subject: Subject) => Promise<void>

class Step implements Command {
  readonly #name: string
  readonly #run: Run

  constructor(name: string, run: Run) {
    this.#name = name
    this.#run = run
  }

  check(): boolean {
    return true
  }

  run(model: LogModel, subject: Subject): Promise<void> {
    return this.#run(model, subject)
  }

  toString(): string {
    return this.#name
  }
}

const step = <T>(name: string, arbitrary: fc.Arbitrary<T>, run: (argument: T) => Run): fc.Arbitrary<Command> =>
  arbitrary.map((argument) => new Step(`${name}(${JSON.stringify(argument)?.slice(0, 200) ?? ''})`, run(argument)))

/** Eight of 150 bytes, with keys, fit the smallest segment as one batch. */
const recordOf = (longest: number): fc.Arbitrary<ModelRecord> =>
  fc.record({
    value: fc.oneof(
      { weight: 6, arbitrary: fc.string({ maxLength: 60 }) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: longest }).map((n) => 'z'.repeat(n)) },
    ),
    key: fc.option(fc.string({ maxLength: 12 }), { nil: undefined, freq: 2 }),
    tombstone: fc.constant(false),
    timestamp: fc.option(fc.integer({ min: 0, max: 2 ** 42 }), { nil: undefined, freq: 3 }),
  })
const record = recordOf(900)
const tombstone: fc.Arbitrary<ModelRecord> = fc.record({
  value: fc.constant(''),
  key: fc.string({ maxLength: 12 }),
  tombstone: fc.constant(true),
  timestamp: fc.constant(undefined),
})
const batch = fc.array(fc.oneof({ weight: 5, arbitrary: recordOf(150) }, { weight: 1, arbitrary: tombstone }), { minLength: 1, maxLength: 8 })
/** A place in the log as a fraction, so that it hits at every length. */
const place = fc.double({ min: 0, max: 1, noNaN: true })
const at = (model: LogModel, fraction: number): number => model.start + Math.floor(fraction * (model.end - model.start))

const inputOf = ({ value, key, timestamp, tombstone }: ModelRecord): RecordInput<Uint8Array> =>
  tombstone ? { key: key ?? '', tombstone: true } : { value: bytes(value), key, timestamp }

const commands = (options: LogOptions): fc.Arbitrary<Command>[] => [
  step('append', record, (input) => async (model, { log }) => {
    const { first } = model.append([input])
    expect(await log.append(bytes(input.value), { key: input.key, timestamp: input.timestamp, expectedOffset: first })).toBe(first)
  }),
  step('enqueue', fc.array(record, { minLength: 1, maxLength: 12 }), (inputs) => async (model, { log }) => {
    for (const input of inputs) {
      expect(log.enqueue(bytes(input.value), { key: input.key, timestamp: input.timestamp })).toBe(model.append([input]).first)
    }
  }),
  step('appendSync', record, (input) => async (model, { log }) => {
    expect(log.appendSync(bytes(input.value), { key: input.key, timestamp: input.timestamp })).toBe(model.append([input]).first)
  }),
  step('appendRecords', batch, (inputs) => async (model, { log }) => {
    expect(await log.appendRecords(inputs.map(inputOf))).toEqual(model.append(inputs))
  }),
  step('not waited for', batch, (inputs) => async (model, { log }) => {
    void log.appendRecords(inputs.map(inputOf))
    model.append(inputs)
  }),
  step('flush', fc.boolean(), (sync) => async (model, { log }) => {
    if (sync) log.flushSync()
    else await log.flush()
    expect(log.committedOffset).toBe(model.end)
  }),
  step('sync', fc.boolean(), (sync) => async (model, { log }) => {
    if (sync) log.syncSync()
    else await log.sync()
    expect(log.durableOffset).toBe(model.end)
  }),
  step('getSync', place, (fraction) => async (model, { log }) => {
    log.flushSync()
    model.checkOne(log.getSync(at(model, fraction)), model.at(at(model, fraction)))
  }),
  step('get', place, (fraction) => async (model, { log }) => {
    await log.flush()
    model.checkOne(await log.get(at(model, fraction)), model.at(at(model, fraction)))
  }),
  step('read', fc.tuple(place, place, fc.integer({ min: 1, max: 4000 })), ([low, high, maxBytes]) => async (model, { log }) => {
    await log.flush()
    const from = at(model, low)
    const to = at(model, high)
    model.check(await readAll(log, { from, to, maxBytes }), from, to)
  }),
  step('offsetAt', fc.integer({ min: 0, max: 2 ** 42 }), (time) => async (model, { log }) => {
    await log.flush()
    model.check(await readAll(log), model.start, model.end)
    expect(await log.offsetAt(time)).toBe(model.offsetAt(time))
  }),
  step('truncateBefore', place, (fraction) => async (model, { log }) => {
    await log.flush()
    const offset = at(model, fraction)
    expect(await log.truncateBefore(offset)).toBe(model.truncateBefore(offset))
    expect(log.startOffset).toBe(model.start)
  }),
  step('truncateAfter', place, (fraction) => async (model, { log }) => {
    if (model.start === model.end) return
    const offset = Math.min(at(model, fraction), model.end - 1)
    expect(await log.truncateAfter(offset)).toBe(model.truncateAfter(offset))
    expect([log.endOffset, log.epoch]).toEqual([model.end, model.epoch])
  }),
  step('below the start', fc.constant(undefined), () => async (model, { log }) => {
    if (model.start > 0) expect((await errorOf(() => log.getSync(model.start - 1))).code).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
  }),
  step('reader', place, (fraction) => async (model, subject) => {
    subject.reader ??= await Log.openReader(subject.directory, { backend: subject.log.backend })
    await subject.log.flush()
    const from = at(model, fraction)
    await subject.reader.recheck()
    model.check(await readAll(subject.reader, { from }), from, model.end)
  }),
  step(
    'reopen',
    fc.record({ backend: fc.constantFrom(...backends), sync: fc.boolean(), durability: fc.constantFrom('fsync', 'flush', 'none') }),
    (how) => async (model, subject) => {
      if (how.sync) subject.log.closeSync()
      else await subject.log.close()
      await subject.open(how.backend, { ...options, durability: how.durability as LogOptions['durability'] })
      expect([subject.log.startOffset, subject.log.endOffset, subject.log.epoch]).toEqual([model.start, model.end, model.epoch])
      model.check(await readAll(subject.log), model.start, model.end)
    },
  ),
]

describe.each(backends)('any sequence of commands reads as the model says (%s)', (backend) => {
  it.each([
    { segmentBytes: 2048, indexIntervalBytes: 128 },
    { segmentBytes: 65_536, indexIntervalBytes: 64 },
  ])(
    'with segments of $segmentBytes bytes',
    async (sizes) => {
      const options: LogOptions = { ...sizes, maxBatchBytes: 1800, maxRecordBytes: 1200, idleMarkMs: 3, syncIntervalMs: 5 }
      const large = sizes.segmentBytes > 60_000
      await fc.assert(
        fc.asyncProperty(fc.commands(commands({ ...options, maxBatchBytes: large ? 20_000 : 1700 }), { maxCommands: 60, size: 'max' }), async (steps) => {
          const subject = new Subject()
          await subject.open(backend, { ...options, maxBatchBytes: large ? 20_000 : 1700 })
          try {
            await fc.asyncModelRun(() => ({ model: new LogModel(), real: subject }), steps)
          } finally {
            await subject.end()
          }
        }),
        { numRuns: RUNS, seed: SEED, endOnFailure: process.env.SEALOG_MODEL_SHRINK === undefined },
      )
    },
    Math.max(120_000, RUNS * 2000),
  )
})
