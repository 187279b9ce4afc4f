import { beforeAll, describe, expect, it, vi } from 'vitest'
import { isLogError } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { type Image, Workplace, withFile } from '../support/images.js'
import { text } from '../support/logs.js'
import { Random } from '../support/random.js'
import { closedLog, killedLog, OPTIONS, type Reference } from '../support/reference-logs.js'
import { catchWarnings, SyncLog } from '../support/sync-log.js'

/** Seconds per target and backend. `npm run fuzz` gives more. */
const SECONDS = Number(process.env.SEALOG_FUZZ_SECONDS ?? 2)
// The suite repeats itself; fuzzing is given the time to go where nobody was.
const SEED = Number(process.env.SEALOG_SEED ?? (process.env.SEALOG_FUZZ_SECONDS === undefined ? 1 : Date.now() % 2 ** 32))

catchWarnings()
vi.setConfig({ testTimeout: (SECONDS + 60) * 1000 })

/** What the four native fuzz targets do to frames, done to whole files below the TypeScript that reads them. */
const TARGETS = { recover: /\.log$/, index: /\.index$/, manifest: /^MANIFEST$/, committed: /^COMMITTED$/ }

/** One to four changes: bits, overwritten, removed, repeated and inserted stretches, other lengths, stretches of another file. */
function mutate(random: Random, content: Uint8Array, other: Uint8Array): Uint8Array {
  let bytes = Uint8Array.from(content)
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = random.below(bytes.length + 1)
    const length = 1 + random.below(random.chance(0.5) ? 8 : 200)
    const [before, behind] = [bytes.subarray(0, at), bytes.subarray(at)]
    switch (random.below(7)) {
      case 0:
        if (at < bytes.length) bytes[at] ^= 1 << random.below(8)
        break
      case 1:
        bytes.set(random.bytes(Math.min(length, bytes.length - at)), at)
        break
      case 2:
        bytes.fill(0, at, Math.min(at + length, bytes.length))
        break
      case 3:
        bytes = Buffer.concat([before, behind.subarray(length)])
        break
      case 4:
        bytes = Buffer.concat([before, behind.subarray(0, length), behind])
        break
      case 5:
        bytes = Buffer.from(before)
        break
      default: {
        const from = random.below(other.length)
        bytes = Buffer.concat([before, other.subarray(from, from + length), behind])
      }
    }
  }
  return bytes
}

describe.each(backends)('G4: files changed at random (%s)', (backend) => {
  const work = new Workplace()
  const references: Reference[] = []

  beforeAll(async () => {
    references.push(await killedLog(backend), await closedLog(backend))
  })

  /** Records that are served must be those appended; anything else must be a typed error. */
  function check(image: Image, values: readonly string[]): void {
    work.restore(image)
    try {
      const log = SyncLog.open(work.directory, backend, OPTIONS)
      try {
        for (const record of log.scan().records) expect(text(record.value)).toBe(values[record.offset])
        for (let offset = 0; offset < Math.min(log.committedOffset, 64); offset++) {
          try {
            const record = log.getSync(offset)
            if (record !== undefined) expect(text(record.value)).toBe(values[offset])
          } catch (error) {
            if (!isLogError(error)) throw error
          }
        }
      } finally {
        log.release()
      }
    } catch (error) {
      if (!isLogError(error)) throw error
    }
  }

  it.each(Object.entries(TARGETS))(`%s: never a wrong record, never an untyped error (${SECONDS} s, seed ${SEED})`, (_target, pattern) => {
    const random = new Random(SEED)
    const end = Date.now() + SECONDS * 1000
    let tried = 0
    while (Date.now() < end) {
      const { image, values } = random.pick(references)
      const names = [...image.keys()].filter((name) => pattern.test(name))
      if (names.length === 0) continue
      const name = random.pick(names)
      const changed = mutate(random, image.get(name) as Uint8Array, image.get(random.pick([...image.keys()])) as Uint8Array)
      try {
        check(withFile(image, name, changed), values)
      } catch (error) {
        throw new Error(`${name} after ${tried} good tries, seed ${SEED}: ${Buffer.from(changed).toString('base64')}`, { cause: error })
      }
      tried++
    }
    expect(tried).toBeGreaterThan(SECONDS * 10)
  })
})
