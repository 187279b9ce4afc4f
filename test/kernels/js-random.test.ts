/** Random histories of one log over small segments: every ticket comes back, every record is in the files, in order, and COMMITTED never lies. */
import fs from 'node:fs'
import { expect, test } from 'vitest'
import * as k from '../../lib/kernels/kernels.js'
import { HEADER, type Input, immediate, Rig } from './js-harness.js'

function random(seed: number): (below: number) => number {
  let x = (seed * 2654435761 + 1) >>> 0
  return (below) => {
    x = (x + 0x6d2b79f5) >>> 0
    let t = Math.imul(x ^ (x >>> 15), 1 | x)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

class History {
  readonly rig = new Rig()
  readonly log: k.LogHandle
  readonly values: string[] = []
  readonly segments: { fd: number; state: Float64Array }[] = []
  readonly #committedFd: number
  readonly #random: (below: number) => number
  #needed = false
  #rolls = 0

  constructor(seed: number) {
    this.#random = random(seed)
    const mode = seed % 3
    this.log = this.rig.kernels.createLog(mode, mode === k.MODE_NONE ? 300 : 0)
    this.#committedFd = this.#random(2) === 0 ? fs.openSync(this.rig.file('COMMITTED'), 'w+') : -1
    let committed = 0
    let durable = 0
    this.rig.onRow = ({ kind, columns }) => {
      if (kind === k.EVENT_NEED_SEGMENT) {
        this.#needed = true
        void this.#roll()
      }
      if (kind !== k.EVENT_COMMITTED) return
      expect(columns[1]).toBeGreaterThanOrEqual(committed)
      expect(columns[2]).toBeGreaterThanOrEqual(durable)
      expect(columns[2]).toBeLessThanOrEqual(columns[1])
      committed = columns[1]
      durable = columns[2]
    }
  }

  attachNext(): void {
    const last = this.rig.state(this.log)
    // What is left behind was synced, as the engine does before it rolls.
    const { fd, state } = this.rig.segment(`s${this.segments.length}`, {
      base: last[k.STATE_NEXT_OFFSET],
      chain: last[k.STATE_CHAIN],
      bytes: 1024 + this.#random(2048),
      committedFd: this.#committedFd,
    })
    state[k.STATE_RUNNING_TIME] = last[k.STATE_RUNNING_TIME]
    this.segments.push({ fd, state })
    this.#needed = false
    this.#rolls++
    this.rig.kernels.attach(this.log, state)
  }

  async #roll(): Promise<void> {
    const rolls = this.#rolls
    await this.rig.detach(this.log)
    if (rolls === this.#rolls && this.#needed) this.attachNext()
  }

  commitSync(level: number): void {
    while (this.rig.kernels.commitSync(this.log, level) === k.STATUS_NEED_SEGMENT) {
      this.rig.kernels.detachSync(this.log)
      this.attachNext()
    }
  }

  async run(): Promise<void> {
    const { rig, log } = this
    const pending: Promise<number>[] = []
    let open = false
    for (let step = 0; step < 80; step++) {
      switch (this.#random(8)) {
        case 0:
        case 1:
        case 2:
        case 3: {
          const inputs: Input[] = []
          for (let n = 1 + this.#random(5); n > 0; n--) {
            open = this.#random(4) === 0
            const value = `${this.values.length}:${'v'.repeat(this.#random(120))}`
            this.values.push(value)
            inputs.push({ value, more: open, time: 1000 + this.#random(100), key: this.#random(3) === 0 ? 'key' : undefined })
          }
          rig.submit(log, inputs)
          break
        }
        case 4:
          pending.push(rig.commit(log, this.#random(4)))
          break
        case 5:
          this.commitSync(this.#random(4))
          break
        case 6:
          await immediate()
          break
        default:
          await Promise.all(pending.splice(0))
      }
    }
    if (open) {
      this.values.push('last')
      rig.submit(log, [{ value: 'last' }])
    }
    expect(await Promise.all(pending)).toEqual(pending.map(() => 0))
    expect(await rig.commit(log, k.COMMIT_MARKED)).toBe(0)
    expect(rig.of(k.EVENT_FAILED)).toEqual([])
    if (this.#committedFd >= 0) {
      const bytes = fs.readFileSync(rig.file('COMMITTED'))
      expect([bytes.readUInt32LE(0), bytes.readUInt32LE(64)]).toEqual([this.values.length, this.values.length])
    }
    this.#verify()
  }

  #verify(): void {
    const found: string[] = []
    let released = 0
    let bytes = 0
    for (const { fd, state } of this.segments) {
      const end = fs.fstatSync(fd).size
      const walk = this.rig.walk(fd, state, end)
      expect([walk[k.WALK_STOP], walk[k.STATE_POSITION]]).toEqual([k.STOP_END, end])
      found.push(...this.rig.scan(fd, state[k.STATE_SEED], HEADER, end, { offset: found.length }).values)
      bytes += end - HEADER - 56 * (walk[k.WALK_GROUPS] + walk[k.WALK_MARKS])
    }
    for (const row of this.rig.of(k.EVENT_COMMITTED)) released += row[4]
    expect(found).toEqual(this.values)
    expect(released).toBe(bytes)
  }
}

test('150 random histories', async () => {
  let segments = 0
  for (let seed = 0; seed < 150; seed++) {
    const history = new History(seed)
    using _ = history.rig
    history.attachNext()
    try {
      await Promise.race([history.run(), new Promise((_, reject) => setTimeout(reject, 10_000, new Error('a ticket did not come back')).unref())])
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
    for (const { fd } of history.segments) fs.closeSync(fd)
    segments += history.segments.length
  }
  expect(segments).toBeGreaterThan(400)
})
