/** What a run was told: records accepted, acknowledgements, epochs. Every crash is held against it. */
import type { Log, Record } from '../../lib/index.js'

export interface Written {
  readonly value: Uint8Array
  readonly key: string | undefined
  readonly tombstone: boolean
  /** First offset of its batch. */
  readonly batch: number
}

/** One line of records; cutting the log, or losing its end, begins another. */
export class Lineage {
  readonly records: Written[]

  constructor(records: readonly Written[] = []) {
    this.records = [...records]
  }

  get end(): number {
    return this.records.length
  }

  /** No batch is cut in two by an end here. */
  isBoundary(end: number): boolean {
    return end === this.end || (end < this.end && this.records[end].batch === end)
  }
}

/** A state that may be found after a crash: a prefix of the lineage, at least up to `durable`. */
export interface Candidate {
  readonly lineage: number
  readonly durable: number
}

/** What is known at some time; crashes after it are held against it, up to the next moment. */
export interface Moment {
  readonly candidates: readonly Candidate[]
  /** `startOffset` lies between them. */
  readonly start: number
  readonly startLimit: number
  /** By epoch: the lineage, and the end, that readers may have seen in it. */
  readonly visible: ReadonlyMap<number, Candidate>
  readonly what: string
}

const NOTHING: Moment = { candidates: [{ lineage: 0, durable: 0 }], start: 0, startLimit: 0, visible: new Map(), what: 'nothing' }

export class History {
  readonly lineages: Lineage[]
  readonly moments: Moment[] = []
  #now: Moment

  constructor(lineages: readonly Lineage[] = [new Lineage()], now: Moment = NOTHING) {
    this.lineages = lineages.map((lineage) => new Lineage(lineage.records))
    this.#now = now
    this.moments.push(now)
  }

  get now(): Moment {
    return this.#now
  }

  get lineage(): Lineage {
    return this.lineages[this.lineages.length - 1]
  }

  /** Notes a change and returns its number. */
  note(change: Partial<Moment> & { what: string }): number {
    this.#now = { ...this.#now, ...change }
    this.moments.push(this.#now)
    return this.moments.length - 1
  }

  /** The log acknowledged `durable`, shows `committed` in `epoch`. */
  watermarks(epoch: number, committed: number, durable: number, what: string): number {
    const lineage = this.lineages.length - 1
    const before = this.#now.candidates.find((candidate) => candidate.lineage === lineage)?.durable ?? 0
    const visible = new Map(this.#now.visible)
    visible.set(epoch, { lineage, durable: Math.max(committed, visible.get(epoch)?.durable ?? 0) })
    return this.note({ candidates: [{ lineage, durable: Math.max(before, durable) }], visible, what })
  }

  /** A new line that shares the records below `end` with another; acknowledged when `watermarks` is called next. */
  fork(end: number, from = this.lineages.length - 1): void {
    this.lineages.push(new Lineage(this.lineages[from].records.slice(0, end)))
  }

  /** What came after this moment has not happened. */
  rewind(moment: number): void {
    this.#now = this.moments[moment]
  }

  /** A session found these records: the line that goes on from them is the last from here on. */
  adopt(records: readonly Record<Uint8Array>[], start: number): void {
    const end = start + records.length
    const line = this.#now.candidates.map((candidate) => candidate.lineage).find((number) => isPrefix(this.lineages[number], records, end))
    if (line === undefined) throw new Error(`after '${this.#now.what}' a session found ${start} to ${end}: nothing that was accepted`)
    if (line !== this.lineages.length - 1 || end !== this.lineages[line].end) this.fork(end, line)
  }
}

/** Are `records`, which end at `end`, the line's own up to there? */
export function isPrefix(lineage: Lineage, records: readonly Record<Uint8Array>[], end: number): boolean {
  return lineage.end >= end && records.every((record) => isWritten(record, lineage.records[record.offset]))
}

function isWritten(record: Record<Uint8Array>, written: Written): boolean {
  const key = written.key === undefined ? undefined : Buffer.from(written.key)
  return record.batch === written.batch && record.tombstone === written.tombstone && equalBytes(record.value, written.value) && equalBytes(record.key, key)
}

export function equalBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return Buffer.compare(a, b) === 0
}

/** Every record of a log, one by one. */
export function readRecords(log: Log): Record<Uint8Array>[] {
  const records: Record<Uint8Array>[] = []
  for (let offset = log.startOffset; offset < log.endOffset; offset++) {
    const record = log.getSync(offset)
    if (record === undefined || record.offset !== offset) throw new Error(`there is no record ${offset} below the end ${log.endOffset}`)
    records.push(record)
  }
  return records
}

/** What opening an image brought to light. */
export interface Recovered {
  readonly start: number
  readonly end: number
  readonly epoch: number
  /** Numbers of the lineages of which the records are a prefix. */
  readonly lineages: readonly number[]
  /** Anything that must never be, whatever was promised. */
  readonly failure: string | undefined
}

/** Why this is not what `moment` promises; undefined when it is. */
export function judge(history: History, moment: Moment, recovered: Recovered): string | undefined {
  const { start, end, epoch, lineages, failure } = recovered
  if (failure !== undefined) return failure
  if (start < moment.start || start > moment.startLimit) return `startOffset is ${start}, promised were ${moment.start} to ${moment.startLimit}`
  const reasons = moment.candidates.map(({ lineage, durable }) => {
    if (!lineages.includes(lineage)) return `the records below ${end} are no prefix of what was accepted (line ${lineage})`
    if (end < durable) return `the log ends at ${end}, acknowledged as durable was ${durable}`
    if (!history.lineages[lineage].isBoundary(end)) return `the log ends at ${end}, within a batch`
    return undefined
  })
  if (!reasons.includes(undefined)) return reasons.join('; ')
  const seen = moment.visible.get(epoch)
  const latest = Math.max(0, ...moment.visible.keys())
  if (epoch < latest) return `the epoch went back from ${latest} to ${epoch}`
  if (seen !== undefined && (end < seen.durable || !lineages.includes(seen.lineage))) {
    return `records below ${seen.durable} (line ${seen.lineage}) were visible in epoch ${epoch}; the log ends at ${end} in the same epoch`
  }
  return undefined
}
