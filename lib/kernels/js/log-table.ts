import type { LogHandle } from '../kernels.js'
import type { LogCommitter } from './log-committer.js'

const SLOT_BITS = 20
const SLOT_MASK = 2 ** SLOT_BITS - 1
/** They begin with 1 and never come back to 0: no handle is 0. */
const GENERATIONS = 2 ** 10 - 1

/** Handles are slot | generation << SLOT_BITS: a small integer, and one that was freed is not mistaken for the slot's next owner. */
export class LogTable {
  readonly #slots: (LogCommitter | undefined)[] = []
  readonly #generations: number[] = []
  readonly #free: number[] = []

  add(create: (handle: LogHandle) => LogCommitter): LogHandle {
    const slot = this.#free.pop() ?? this.#slots.length
    if (slot > SLOT_MASK) throw new RangeError('too many logs')
    const generation = ((this.#generations[slot] ?? 0) % GENERATIONS) + 1
    const handle = slot | (generation << SLOT_BITS)
    this.#generations[slot] = generation
    this.#slots[slot] = create(handle)
    return handle
  }

  get(handle: LogHandle): LogCommitter {
    const log = this.#slots[handle & SLOT_MASK]
    if (log === undefined || log.handle !== handle) throw new RangeError(`no log has the handle ${handle}`)
    return log
  }

  remove(handle: LogHandle): void {
    const slot = handle & SLOT_MASK
    this.#slots[slot] = undefined
    this.#free.push(slot)
  }

  *values(): Iterable<LogCommitter> {
    for (const log of this.#slots) if (log !== undefined) yield log
  }
}
