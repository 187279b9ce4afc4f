import type { Testing } from '../kernels.js'
import { type Io, type IoCall, type IoDone, type IoKind, slice } from './io.js'
import { RecordingIo } from './recording.js'

interface Fault {
  readonly kind: string
  /** Calls of the kind until it strikes. */
  left: number
  readonly errno: number
  readonly forever: boolean
  readonly shortBytes: number
}

/** Counts calls and lets chosen ones fail; what it lets through is recorded below it, so a recording holds what really reached the system. */
export class TestingIo implements Io, Testing {
  readonly #io: RecordingIo
  readonly #counts = new Map<IoKind, number>()
  #faults: Fault[] = []

  constructor(io: Io) {
    this.#io = new RecordingIo(io)
  }

  call(call: IoCall): number {
    const fault = this.#meet(call.kind)
    if (fault === undefined) return this.#io.call(call)
    const short = shortened(call, fault)
    if (short !== undefined) return this.#io.call(short)
    // close(2) frees the number whatever it answers.
    if (call.kind === 'close') this.#io.call(call)
    return -fault.errno
  }

  start(call: IoCall, done: IoDone): void {
    const fault = this.#meet(call.kind)
    if (fault === undefined) return this.#io.start(call, done)
    const short = shortened(call, fault)
    if (short !== undefined) return this.#io.start(short, done)
    if (call.kind === 'close') this.#io.start(call, () => done(-fault.errno))
    else setImmediate(done, -fault.errno)
  }

  fault(kind: string, nth: number, errno: number, forever: boolean, shortBytes: number): void {
    this.#faults.push({ kind, left: nth, errno, forever, shortBytes })
  }

  clearFaults(): void {
    this.#faults = []
  }

  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }

  resetCounts(): void {
    this.#counts.clear()
  }

  record(on: boolean): void {
    this.#io.record(on)
  }

  note(number: number): void {
    this.#io.note(number)
  }

  takeRecording(): Uint8Array {
    return this.#io.take()
  }

  #meet(kind: IoKind): Fault | undefined {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1)
    if (this.#faults.length === 0) return undefined
    let met: Fault | undefined
    for (const fault of this.#faults) {
      if (fault.kind !== kind || --fault.left > 0) continue
      if (fault.left === 0 || fault.forever) met ??= fault
    }
    return met
  }
}

/** The same call for fewer bytes; undefined when the fault is a failure. */
function shortened(call: IoCall, fault: Fault): IoCall | undefined {
  if (fault.shortBytes <= 0 || (call.kind !== 'read' && call.kind !== 'write')) return undefined
  return { ...call, parts: slice(call.parts, 0, fault.shortBytes) }
}
