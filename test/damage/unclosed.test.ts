import { beforeAll, describe, expect, it, vi } from 'vitest'
import { isLogError, Log, type LogError } from '../../lib/index.js'
import { environmentFor } from '../../lib/log/environment.js'
import { backends } from '../support/backends.js'
import { type Group, groupsOf, type Image, Workplace, withBitFlipped, withFile } from '../support/images.js'
import { codeOf, readAll, text } from '../support/logs.js'
import { parseRecording } from '../support/recording.js'
import { killedLog, OPTIONS, type Reference, segmentName } from '../support/reference-logs.js'
import { catchWarnings, SyncLog } from '../support/sync-log.js'

const NAME = segmentName(0)
const warnings = catchWarnings()
// Tens of thousands of opens: seconds on a free machine, minutes on a busy one.
vi.setConfig({ testTimeout: 300_000 })

interface Outcome {
  readonly values: readonly string[]
  readonly error: LogError | undefined
}

describe.each(backends)('damage of an unclosed segment (%s)', (backend) => {
  let reference: Reference
  let groups: Group[]
  let end = 0
  const work = new Workplace()

  beforeAll(async () => {
    reference = await killedLog(backend)
    const layout = groupsOf(reference.image.get(NAME) as Uint8Array)
    groups = layout.groups
    end = layout.end
    expect(groups.map((group) => group.nextOffset)).toEqual([1, 4, 6])
    expect(end).toBeLessThan(1024)
  })

  /** Opens for writing, reads everything both ways; records are values in order, or the test fails. */
  function open(image: Image, recovery: 'tail' | 'strict' = 'tail'): Outcome {
    work.restore(image)
    let log: SyncLog
    try {
      log = SyncLog.open(work.directory, backend, { ...OPTIONS, recovery })
    } catch (error) {
      if (!isLogError(error)) throw error
      return { values: [], error }
    }
    try {
      const { records, error } = log.scan()
      records.forEach((record, i) => {
        if (record.offset !== i || text(log.getSync(i)?.value ?? new Uint8Array(0)) !== text(record.value)) throw new Error(`record ${i} reads in two ways`)
      })
      if (error === undefined && records.length !== log.committedOffset) throw new Error(`${records.length} records below the end ${log.committedOffset}`)
      return { values: records.map((record) => text(record.value)), error }
    } finally {
      log.release()
    }
  }

  const isPrefix = (values: readonly string[]) => values.every((value, i) => value === reference.values[i])
  /** The group that a position lies in; undefined behind the last. */
  const groupAt = (position: number) => groups.find((group) => position >= group.start && position < group.end)
  const without = (name: string) => withFile(reference.image, name, undefined)

  it('as it was left: everything is there, under strict too', () => {
    expect(open(reference.image)).toEqual({ values: reference.values, error: undefined })
    expect(open(reference.image, 'strict').values).toEqual(reference.values)
    expect(open(without('COMMITTED')).values).toEqual(reference.values)
  })

  it('T3, T4: cut at every byte: whole groups are left, or COMMITTED proves the loss and open refuses', () => {
    const content = reference.image.get(NAME) as Uint8Array
    for (let length = 0; length < content.length; length++) {
      for (const base of [reference.image, without('COMMITTED')]) {
        const whole = groups.filter((group) => group.end <= length).at(-1)?.nextOffset ?? 0
        const outcome = open(withFile(base, NAME, content.subarray(0, length)))
        const place = `length ${length}, COMMITTED ${base.has('COMMITTED')}`
        if (length < 128) expect([place, outcome.error?.code]).toEqual([place, 'ERR_SEALOG_CORRUPT'])
        else if (base.has('COMMITTED') && whole < 6) expect([place, outcome.error?.code, outcome.error?.offset]).toEqual([place, 'ERR_SEALOG_CORRUPT', whole])
        else expect([place, outcome]).toEqual([place, { values: reference.values.slice(0, whole), error: undefined }])
      }
    }
  })

  it('G5: every bit of history flipped: refused and named exactly; of the last group: refused by COMMITTED, else cut to the exact prefix', () => {
    const last = groups[groups.length - 1]
    for (let bit = 0; bit < end * 8; bit++) {
      const position = bit >> 3
      const group = groupAt(position)
      for (const base of [reference.image, without('COMMITTED')]) {
        const outcome = open(withBitFlipped(base, NAME, bit))
        const place = `bit ${bit}, COMMITTED ${base.has('COMMITTED')}`
        if (group === undefined) {
          if (outcome.error === undefined || outcome.values.length > 0) throw new Error(`${place}: a flipped header was accepted`)
          expect(['ERR_SEALOG_CORRUPT', 'ERR_SEALOG_FORMAT', 'ERR_SEALOG_FORMAT_NEWER']).toContain(outcome.error.code)
        } else if (group === last && !base.has('COMMITTED')) {
          // The stated limit (format.md 16): nothing tells rot of the very last group from a torn write.
          if (outcome.error !== undefined || outcome.values.length !== last.firstOffset || !isPrefix(outcome.values))
            throw new Error(`${place}: ${outcome.error ?? outcome.values.length}`)
        } else {
          const found = {
            code: outcome.error?.code,
            file: outcome.error?.file,
            position: outcome.error?.position,
            offset: outcome.error?.offset,
            values: outcome.values,
          }
          const named = { code: 'ERR_SEALOG_CORRUPT', file: `${work.directory}/${NAME}`, position: group.start, offset: group.firstOffset, values: [] }
          if (JSON.stringify(found) !== JSON.stringify(named)) expect([place, found]).toEqual([place, named])
          if (group !== last && outcome.error?.endOffset !== group.nextOffset) throw new Error(`${place}: good again at ${outcome.error?.endOffset}`)
        }
      }
    }
  })

  it('any bit set in the zeros behind the end is a torn write: cut, nothing lost', () => {
    for (let bit = end * 8; bit < (end + 64) * 8; bit++) {
      const outcome = open(withBitFlipped(reference.image, NAME, bit))
      if (outcome.error !== undefined || outcome.values.length !== 6 || !isPrefix(outcome.values))
        throw new Error(`bit ${bit}: ${outcome.error ?? outcome.values}`)
      expect(work.read(NAME).length).toBe(end)
    }
  })

  it('strict refuses what tail would cut', () => {
    for (let bit = end * 8; bit < (end + 64) * 8; bit += 5)
      expect(open(withBitFlipped(reference.image, NAME, bit), 'strict').error?.code).toBe('ERR_SEALOG_CORRUPT')
    const content = reference.image.get(NAME) as Uint8Array
    for (let length = end - 1; length > groups[2].start; length -= 7) {
      expect(open(withFile(without('COMMITTED'), NAME, content.subarray(0, length)), 'strict').error?.code).toBe('ERR_SEALOG_CORRUPT')
    }
  })

  it('G8: what was cut is kept beside the log, and opening again finds nothing more to do', () => {
    const content = reference.image.get(NAME) as Uint8Array
    const image = withFile(without('COMMITTED'), NAME, content.subarray(0, end - 3))
    expect(open(image).values).toEqual(reference.values.slice(0, 4))
    expect(warnings.get('SEALOG_TORN_TAIL')).toBeGreaterThan(0)
    const after = work.files()
    const torn = [...after.keys()].filter((name) => name.includes('.torn-'))
    expect(torn.length).toBe(1)
    expect(Buffer.compare(after.get(torn[0]) as Buffer, content.subarray(groups[2].start, end - 3))).toBe(0)
    expect(open(new Map(after)).values).toEqual(reference.values.slice(0, 4))
    expect([...work.files().keys()].filter((name) => name.includes('.torn-'))).toEqual(torn)
  })

  it('an equal copy that a killed recovery left is made durable before anything is cut', () => {
    const content = reference.image.get(NAME) as Uint8Array
    open(withFile(without('COMMITTED'), NAME, content.subarray(0, end - 3)))
    const copy = [...work.files()].filter(([name]) => name.includes('.torn-'))
    const image = withFile(without('COMMITTED'), NAME, content.subarray(0, end - 3))
    const { testing } = environmentFor(backend).kernels
    testing.record(true)
    open(new Map([...image, ...copy]))
    const events = parseRecording(testing.takeRecording(), work.directory)
    testing.record(false)
    const cut = events.findIndex((event) => event.kind === 'truncate')
    expect(events.some((event) => event.kind === 'rename' && event.to.includes('.torn-'))).toBe(false)
    expect(events.slice(0, cut).some((event) => event.kind === 'syncDirectoryEnd' && event.path === '')).toBe(true)
  })

  it('COMMITTED, every bit and length: equal data or a typed error', () => {
    const content = reference.image.get('COMMITTED') as Uint8Array
    expect(content.length).toBe(128)
    for (let bit = 0; bit < content.length * 8; bit++) {
      const outcome = open(withBitFlipped(reference.image, 'COMMITTED', bit))
      expect(outcome.error === undefined ? outcome.values : outcome.error.code).toEqual(outcome.error === undefined ? reference.values : 'ERR_SEALOG_CORRUPT')
    }
    for (let length = 0; length < 128; length++)
      expect(open(withFile(reference.image, 'COMMITTED', content.subarray(0, length))).values).toEqual(reference.values)
  })

  it('MANIFEST, every bit and length: a typed error or equal data', () => {
    const content = reference.image.get('MANIFEST') as Uint8Array
    const check = (image: Image, what: string) => {
      const { values, error } = open(image)
      if (
        error === undefined
          ? values.length !== 6 || !isPrefix(values)
          : !['ERR_SEALOG_MANIFEST', 'ERR_SEALOG_FORMAT_NEWER', 'ERR_SEALOG_FORMAT', 'ERR_SEALOG_CORRUPT'].includes(error.code)
      ) {
        throw new Error(`${what}: ${error ?? JSON.stringify(values)}`)
      }
    }
    for (let bit = 0; bit < content.length * 8; bit++) check(withBitFlipped(reference.image, 'MANIFEST', bit), `bit ${bit}`)
    for (let length = 0; length < content.length; length++) check(withFile(reference.image, 'MANIFEST', content.subarray(0, length)), `length ${length}`)
    expect(open(without('MANIFEST')).error?.code).toBe('ERR_SEALOG_MANIFEST')
  })

  it('the asynchronous open and the read-only one say the same as the synchronous one', async () => {
    for (let bit = 5; bit < (end + 64) * 8; bit += 397) {
      for (const base of [reference.image, without('COMMITTED')]) {
        const image = withBitFlipped(base, NAME, bit)
        const { values, error } = open(image)
        work.restore(image)
        const before = work.files()
        if (error !== undefined) {
          expect(await codeOf(() => Log.openReader(work.directory, { backend }))).toBe(error.code)
          expect(await codeOf(() => Log.open(work.directory, { ...OPTIONS, backend }))).toBe(error.code)
          continue
        }
        const reader = await Log.openReader(work.directory, { backend })
        expect((await readAll(reader)).map((record) => text(record.value))).toEqual(values)
        await reader.close()
        expect(work.files()).toEqual(before)
        const log = await Log.open(work.directory, { ...OPTIONS, backend })
        expect((await readAll(log)).map((record) => text(record.value))).toEqual(values)
        await log.close()
      }
    }
  })
})
