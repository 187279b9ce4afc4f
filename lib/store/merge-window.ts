import { setImmediate as nextTurn } from 'node:timers/promises'
import { LogError } from '../errors.js'
import { frameBytes } from '../format/constants.js'
import { decodeValue, encodeValue } from '../log/codec.js'
import { type CompactionRules, removeUnfinished } from '../log/compaction.js'
import { dropGenerations, type NextGeneration, nameGeneration, nextHeader, removeReplaced, switchGenerations, temporaryPath } from '../log/generations.js'
import type { Log } from '../log/log.js'
import type { ClosedSegment } from '../log/manifest.js'
import type { RecordBatch } from '../log/record-batch.js'
import type { Segment } from '../segment/segment.js'
import { SparseWriter, type Survivor } from '../segment/sparse-writer.js'
import type { KeyIndex } from './key-index.js'
import { isClear, keptRanges } from './store-records.js'

/** The value that stands for two consecutive puts of a key; undefined: both stay. Declared as a method, so that a store of some type is one of `unknown`, as with the log. */
export type Merge<V> = { merge(older: V, newer: V): V | undefined }['merge']

const BLOCK_BYTES = 256 * 1024
/** Values of runs that wait for their next put, and folded ones, held in memory; beyond it puts stay as they are until a later pass. */
const VALUE_BYTES = 64 * 1024 * 1024
/** The event loop has its turn after so many ms of folding. */
const TURN_MS = 2

/** A put that the next one of its key may be folded with. */
interface Run {
  readonly offset: number
  /** As it lies in the log, or folded; not shared with anybody. */
  readonly value: Uint8Array
}

/** What is to become of the records of a window. */
interface Plan {
  /** Offsets of puts that were folded into a later one. */
  readonly dropped: ReadonlySet<number>
  /** New values by offset. */
  readonly folded: ReadonlyMap<number, Uint8Array>
  /** Frame bytes that go, less those by which folded values are larger. */
  readonly bytesSaved: number
  /** Frame bytes of all records. */
  readonly bytesRead: number
  /** By base of the segments that change: by how many bytes their values grow. */
  readonly growth: ReadonlyMap<number, number>
}

export interface MergedWindow {
  readonly segments: number
  readonly recordsRemoved: number
  readonly bytesBefore: number
  readonly bytesAfter: number
}

/** Gives the event loop its turn now and then, and asks whether to go on. */
class Turns {
  readonly #pace: CompactionRules['pace']
  #since = performance.now()

  constructor(pace: CompactionRules['pace']) {
    this.#pace = pace
  }

  get due(): boolean {
    return performance.now() - this.#since > TURN_MS
  }

  async take(): Promise<void> {
    await nextTurn()
    await this.#pace(0)
    this.#since = performance.now()
  }
}

/**
 * Folds the runs of a window of consecutive segments and switches to all new generations with one record of MANIFEST, since a fold must not be made twice. What a view
 * in `views` reads stays as it is. Memory: the keys of the window and VALUE_BYTES.
 */
export async function mergeWindow<V>(
  log: Log<V>,
  window: readonly ClosedSegment[],
  merge: Merge<V>,
  views: () => readonly KeyIndex[],
  rules: CompactionRules,
): Promise<MergedWindow> {
  const turns = new Turns(rules.pace)
  const plan = await new Folding(log, merge, views).plan(window, turns, rules.pace)
  const changed = window.filter((facts) => plan.growth.has(facts.base))
  if (plan.dropped.size === 0 || plan.bytesSaved <= 0 || plan.bytesSaved < rules.minDeadRatio * plan.bytesRead)
    return { segments: 0, recordsRemoved: 0, bytesBefore: 0, bytesAfter: 0 }
  const { runner } = log.environment
  const { parts } = log.commitDriver()
  const pinned: Segment[] = []
  const generations: NextGeneration[] = []
  let switching = false
  try {
    for (const facts of changed) {
      const segment = parts.segments.find(facts.base)
      if (segment === undefined || segment.base !== facts.base || segment.generation !== facts.generation)
        throw new LogError('ERR_SEALOG_CONFLICT', `${log.directory}: the segment at offset ${facts.base} was changed while it was compacted`)
      segment.pins++
      pinned.push(segment)
      generations.push(await rewrite(log, segment, facts, plan, turns, rules.pace))
    }
    switching = true
    await parts.tasks.add(() => switchGenerations(log, parts, generations, rules.through))
  } catch (error) {
    if (!switching) await runner.run(dropGenerations(log, generations))
    throw error
  } finally {
    for (const segment of pinned) {
      segment.pins--
      if (segment.retired) await runner.run(segment.release())
    }
  }
  await runner.run(removeReplaced(log, generations))
  const sum = (list: readonly ClosedSegment[]) => list.reduce((total, facts) => total + facts.bytes, 0)
  return { segments: changed.length, recordsRemoved: plan.dropped.size, bytesBefore: sum(changed), bytesAfter: sum(generations.map(({ facts }) => facts)) }
}

/** Goes through the records of a window in order and decides which put each run is folded to. */
class Folding<V> {
  readonly #log: Log<V>
  readonly #merge: Merge<V>
  readonly #views: () => readonly KeyIndex[]
  readonly #maxRecordBytes: number
  /** Keys whose first put of the window, or behind their last deletion, has come; with the run that follows it, if there is one. */
  readonly #runs = new Map<string, Run | undefined>()
  readonly #dropped = new Set<number>()
  readonly #folded = new Map<number, Uint8Array>()
  readonly #growth = new Map<number, number>()
  /** Base of the segment that a run's last put lies in: folding changes that one too. */
  readonly #window: number[] = []
  #valueBytes = 0
  #bytesSaved = 0
  #bytesRead = 0

  constructor(log: Log<V>, merge: Merge<V>, views: () => readonly KeyIndex[]) {
    this.#log = log
    this.#merge = merge
    this.#views = views
    this.#maxRecordBytes = log.commitDriver().parts.settings.maxRecordBytes
  }

  async plan(window: readonly ClosedSegment[], turns: Turns, pace: CompactionRules['pace']): Promise<Plan> {
    for (const facts of window) {
      this.#window.push(facts.base)
      for await (const batch of batchesOf(this.#log, facts)) {
        for (let row = 0; row < batch.length; row++) {
          this.#take(batch, row)
          if (turns.due) await turns.take()
        }
      }
      await pace(facts.bytes)
    }
    return { dropped: this.#dropped, folded: this.#folded, bytesSaved: this.#bytesSaved, bytesRead: this.#bytesRead, growth: this.#growth }
  }

  #take(batch: RecordBatch<V>, row: number): void {
    const bytes = batch.key(row)
    if (bytes === undefined) return
    this.#bytesRead += frameBytes(2 + bytes.length + batch.bytes(row).length)
    if (isClear(bytes, batch.tombstone(row))) {
      for (const run of this.#runs.values()) this.#end(run)
      this.#runs.clear()
      return
    }
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
    const before = this.#runs.get(key)
    if (batch.tombstone(row)) {
      this.#end(before)
      this.#runs.delete(key)
      return
    }
    if (!this.#runs.has(key)) {
      this.#runs.set(key, undefined)
      return
    }
    const offset = batch.offset(row)
    if (this.#views().some((view) => view.getEncoded(bytes) === offset)) {
      this.#end(before)
      this.#runs.set(key, undefined)
      return
    }
    const value = batch.bytes(row)
    const folded = before === undefined ? undefined : this.#fold(before.value, value, bytes.length)
    if (before !== undefined && folded !== undefined) this.#drop(before, offset, value, folded, bytes.length)
    this.#end(before)
    this.#runs.set(key, this.#begin(offset, folded ?? value))
  }

  #begin(offset: number, value: Uint8Array): Run | undefined {
    if (this.#valueBytes + value.length > VALUE_BYTES) return undefined
    this.#valueBytes += value.length
    return { offset, value: value.slice() }
  }

  /** What was folded stays in memory until it is written. */
  #end(run: Run | undefined): void {
    if (run !== undefined && !this.#folded.has(run.offset)) this.#valueBytes -= run.value.length
  }

  /** undefined: both stay. */
  #fold(older: Uint8Array, newer: Uint8Array, keyBytes: number): Uint8Array | undefined {
    const { codec } = this.#log
    const merge = this.#merge
    // The function gets values of its own: what it does to them changes nothing here.
    const merged = merge(decodeValue(codec, older.slice()) as V, decodeValue(codec, newer.slice()) as V)
    if (merged === undefined) return undefined
    const encoded = encodeValue(codec, merged)
    return encoded.length + keyBytes > this.#maxRecordBytes ? undefined : encoded.slice()
  }

  #drop(before: Run, offset: number, value: Uint8Array, folded: Uint8Array, keyBytes: number): void {
    const frame = (length: number) => frameBytes(2 + keyBytes + length)
    this.#dropped.add(before.offset)
    this.#folded.delete(before.offset)
    this.#folded.set(offset, folded)
    this.#bytesSaved += frame(before.value.length) + frame(value.length) - frame(folded.length)
    this.#grow(before.offset, -before.value.length)
    this.#grow(offset, folded.length - value.length)
  }

  #grow(offset: number, bytes: number): void {
    let at = this.#window.length - 1
    while (this.#window[at] > offset) at--
    const base = this.#window[at]
    this.#growth.set(base, (this.#growth.get(base) ?? 0) + bytes)
  }
}

/** The records of a segment that are not lost, block by block. */
async function* batchesOf<V>(log: Log<V>, { base, end }: ClosedSegment): AsyncGenerator<RecordBatch<V>, void, undefined> {
  for (const range of keptRanges(log.lost, Math.max(base, log.startOffset), end)) yield* log.batches({ ...range, maxBytes: BLOCK_BYTES })
}

/** The next generation of a segment of the window, complete and under its name. */
async function rewrite<V>(
  log: Log<V>,
  segment: Segment,
  facts: ClosedSegment,
  plan: Plan,
  turns: Turns,
  pace: CompactionRules['pace'],
): Promise<NextGeneration> {
  const { runner, kernels } = log.environment
  const { parts } = log.commitDriver()
  await runner.run(log.prepare(segment))
  if (segment.header === undefined) throw new Error('the segment is not open')
  const header = nextHeader(parts, segment.header, facts)
  // Values that grow must not make more chunks than the segment had numbers for.
  const chunkBytes = (plan.growth.get(facts.base) ?? 0) > 0 ? 2 ** 32 - 1 : header.chunkBytes
  // And they may be as large as the settings of now allow.
  const maxRecordBytes = Math.max(header.maxRecordBytes, parts.settings.maxRecordBytes)
  const writer = new SparseWriter(temporaryPath(log.directory, facts), { ...header, chunkBytes, maxRecordBytes }, kernels.crc32c)
  try {
    await runner.run(writer.begin())
    for await (const batch of batchesOf(log, facts)) {
      for (let row = 0; row < batch.length; ) {
        const next = behindBatch(batch, row)
        const survivors = survivorsOf(batch, row, next, plan)
        if (survivors.length > 0) await runner.run(writer.addBatch(survivors))
        row = next
        if (turns.due) await turns.take()
      }
    }
    const { bytes } = await runner.run(writer.finish(facts.end, facts.linkChain, facts.closedAt))
    await pace(facts.bytes)
    return await runner.run(nameGeneration(log, segment, facts, bytes))
  } catch (error) {
    await removeUnfinished(log, writer)
    throw error
  }
}

function behindBatch<V>(batch: RecordBatch<V>, row: number): number {
  const first = batch.batch(row)
  let next = row + 1
  while (next < batch.length && batch.batch(next) === first) next++
  return next
}

/** What stays of the writer's batch in the rows from `row` to `next`. */
function survivorsOf<V>(batch: RecordBatch<V>, row: number, next: number, { dropped, folded }: Plan): Survivor[] {
  const survivors: Survivor[] = []
  const first = batch.batch(row)
  for (let i = row; i < next; i++) {
    const offset = batch.offset(i)
    if (dropped.has(offset)) continue
    survivors.push({
      offset,
      timestamp: batch.timestamp(i),
      key: batch.key(i),
      value: folded.get(offset) ?? batch.bytes(i),
      tombstone: batch.tombstone(i),
      batchIndex: offset - first,
      batched: next - row > 1 || offset > first,
    })
  }
  return survivors
}
