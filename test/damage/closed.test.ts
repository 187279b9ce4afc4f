import { readdirSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { isLogError, Log, type LogError, verify } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { type Group, groupsOf, type Image, Workplace, withBitFlipped, withFile } from '../support/images.js'
import { codeOf, errorOf, text } from '../support/logs.js'
import { closedLog, OPTIONS, type Reference, segmentName } from '../support/reference-logs.js'
import { catchWarnings, SyncLog } from '../support/sync-log.js'

catchWarnings()
// Tens of thousands of opens: seconds on a free machine, minutes on a busy one.
vi.setConfig({ testTimeout: 300_000 })
const DAMAGE = ['ERR_SEALOG_CHECKSUM', 'ERR_SEALOG_FORMAT', 'ERR_SEALOG_FORMAT_NEWER', 'ERR_SEALOG_CORRUPT']
const FIRST = segmentName(0)

describe.each(backends)('damage of a closed segment (%s)', (backend) => {
  let reference: Reference
  let groups: Group[]
  /** Where the footer of the first segment begins; offsets of the first segment end at `firstEnd`. */
  let footer = 0
  let firstEnd = 0
  const work = new Workplace()

  beforeAll(async () => {
    reference = await closedLog(backend)
    expect(reference.bases.length).toBe(2)
    const layout = groupsOf(reference.image.get(FIRST) as Uint8Array)
    groups = layout.groups
    footer = layout.end
    firstEnd = reference.bases[1]
    expect((reference.image.get(FIRST) as Uint8Array).length).toBe(footer + 88)
    expect([...reference.image.keys()]).toContain(FIRST.replace('.log', '.index'))
  })

  function open(image: Image, recovery: 'tail' | 'strict' = 'tail'): SyncLog | LogError {
    work.restore(image)
    try {
      return SyncLog.open(work.directory, backend, { ...OPTIONS, recovery })
    } catch (error) {
      if (!isLogError(error)) throw error
      return error
    }
  }

  /** Reads everything: right values in order, then perhaps one typed error; every single record right or a typed error. */
  function readEverything(log: SyncLog): { scanned: number; single: number[]; errors: LogError[] } {
    const errors: LogError[] = []
    const { records, error } = log.scan()
    if (error !== undefined) errors.push(error)
    records.forEach((record, i) => {
      if (record.offset !== i || text(record.value) !== reference.values[i]) throw new Error(`silently wrong: record ${i} of a scan`)
    })
    const single: number[] = []
    for (let offset = 0; offset < log.committedOffset; offset++) {
      try {
        const record = log.getSync(offset)
        if (record === undefined || text(record.value) !== reference.values[offset]) throw new Error(`silently wrong: record ${offset}`)
        single.push(offset)
      } catch (error) {
        if (!isLogError(error)) throw error
        errors.push(error)
      }
    }
    return { scanned: records.length, single, errors }
  }

  it('as it was closed: everything is there, under strict and verify too', async () => {
    for (const recovery of ['tail', 'strict'] as const) {
      const log = open(reference.image, recovery)
      if (isLogError(log)) throw log
      expect(readEverything(log)).toMatchObject({ scanned: reference.values.length, errors: [] })
      log.release()
    }
    work.restore(reference.image)
    expect(await verify(work.directory, { backend })).toMatchObject({ ok: true, segments: 2, records: reference.values.length, problems: [] })
  })

  it('G4: every bit flipped: open trusts it, each read is right or a typed error that names the file, the other segment is untouched; strict refuses', () => {
    const size = (reference.image.get(FIRST) as Uint8Array).length
    const file = path.join(work.directory, FIRST)
    for (let bit = 0; bit < size * 8; bit++) {
      const position = bit >> 3
      const image = withBitFlipped(reference.image, FIRST, bit)
      const log = open(image)
      if (isLogError(log)) throw new Error(`bit ${bit}: open refused with ${log.code}: ${log.message}`)
      try {
        const { scanned, single, errors } = readEverything(log)
        const group = groups.find((candidate) => position >= candidate.start && position < candidate.end)
        for (const error of errors) if (!DAMAGE.includes(error.code) || error.file !== file) throw new Error(`bit ${bit}: ${error.code}: ${error.message}`)
        if (position < 128 && (scanned > 0 || errors.length === 0)) throw new Error(`bit ${bit}: a damaged header was read over`)
        // A record behind the damaged frame of a group may be out of reach, those before it and all other groups never.
        if (group !== undefined && scanned < group.firstOffset) throw new Error(`bit ${bit}: only ${scanned} records before group ${group.firstOffset}`)
        const lost = Array.from({ length: reference.values.length }, (_, offset) => offset).filter((offset) => !single.includes(offset))
        if (position >= 128 && lost.some((offset) => group === undefined || offset < group.firstOffset || offset >= firstEnd))
          throw new Error(`bit ${bit}: offsets ${lost} are not readable`)
        if (position >= footer && errors.length > 0) throw new Error(`bit ${bit} of the footer: ${errors[0]}`)
      } finally {
        log.release()
      }
      const strict = open(image, 'strict')
      if (!isLogError(strict) || strict.file !== file) throw new Error(`bit ${bit}: strict accepts it (${isLogError(strict) ? strict.message : 'opened'})`)
    }
  })

  it('verify names every damaged byte, with file and offsets', async () => {
    const size = (reference.image.get(FIRST) as Uint8Array).length
    for (let bit = 3; bit < size * 8; bit += 131) {
      work.restore(withBitFlipped(reference.image, FIRST, bit))
      const before = work.files()
      const report = await verify(work.directory, { backend })
      const group = groups.find((candidate) => bit >> 3 >= candidate.start && bit >> 3 < candidate.end)
      expect([bit, report.ok, report.problems.length > 0]).toEqual([bit, false, true])
      const problem = report.problems[0]
      expect([bit, problem.file]).toEqual([bit, path.join(work.directory, FIRST)])
      if (group !== undefined) {
        expect([bit, problem.firstOffset >= group.firstOffset, problem.firstOffset <= group.nextOffset]).toEqual([bit, true, true])
        expect(problem.position).toBeGreaterThanOrEqual(group.start)
        expect(problem.position).toBeLessThan(group.end)
      }
      expect(work.files()).toEqual(before)
    }
  })

  it('cut at every byte: whole records before the cut read right, the rest is a typed error; strict and the footer notice', () => {
    const content = reference.image.get(FIRST) as Uint8Array
    for (let length = 0; length < content.length; length++) {
      const image = withFile(reference.image, FIRST, content.subarray(0, length))
      const log = open(image)
      if (isLogError(log)) throw new Error(`length ${length}: ${log.message}`)
      const { single, errors } = readEverything(log)
      log.release()
      const whole = groups.filter((group) => group.end <= length).at(-1)?.nextOffset ?? 0
      for (let offset = 0; offset < (length < 128 ? 0 : whole); offset++)
        if (!single.includes(offset)) throw new Error(`length ${length}: offset ${offset} is lost`)
      // Without its closing commit frame a group of good records reads well; that one is for strict and verify.
      if (errors.length === 0 && single.filter((offset) => offset < firstEnd).length < firstEnd) throw new Error(`length ${length}: nobody noticed`)
      const strict = open(image, 'strict')
      if (!isLogError(strict)) throw new Error(`length ${length}: strict accepts it`)
    }
  })

  it('every bit of its index flipped, every length: the same answers', () => {
    const name = FIRST.replace('.log', '.index')
    const content = reference.image.get(name) as Uint8Array
    const check = (image: Image, what: string) => {
      const log = open(image)
      if (isLogError(log)) throw log
      const { scanned, single, errors } = readEverything(log)
      log.release()
      if (errors.length > 0 || scanned !== reference.values.length || single.length !== scanned) throw new Error(`${what}: ${errors[0]}`)
    }
    for (let bit = 0; bit < content.length * 8; bit++) check(withBitFlipped(reference.image, name, bit), `bit ${bit}`)
    for (let length = 0; length < content.length; length++) check(withFile(reference.image, name, content.subarray(0, length)), `length ${length}`)
  })

  it('every bit of the segment behind it, which ends with a mark: refused, or exact', () => {
    const name = segmentName(firstEnd)
    const content = reference.image.get(name) as Uint8Array
    const layout = groupsOf(content)
    const mark = layout.groups[layout.groups.length - 1]
    expect(mark.firstOffset).toBe(mark.nextOffset)
    for (let bit = 0; bit < content.length * 8; bit++) {
      const log = open(withBitFlipped(reference.image, name, bit))
      if (isLogError(log)) {
        if (!DAMAGE.includes(log.code) || log.file !== path.join(work.directory, name)) throw new Error(`bit ${bit}: ${log.message}`)
        continue
      }
      const { scanned, errors } = readEverything(log)
      log.release()
      // The mark proves everything before it; only damage of the mark itself may pass, and costs nothing.
      if (bit >> 3 < mark.start || errors.length > 0 || scanned !== reference.values.length) throw new Error(`bit ${bit}: accepted with ${scanned} records`)
    }
  })

  it('MANIFEST, every bit and length: a typed error or equal data', () => {
    const content = reference.image.get('MANIFEST') as Uint8Array
    const check = (image: Image, what: string) => {
      const log = open(image)
      if (isLogError(log)) {
        if (log.code !== 'ERR_SEALOG_MANIFEST' && log.code !== 'ERR_SEALOG_FORMAT_NEWER') throw new Error(`${what}: ${log.code} ${log.message}`)
        return
      }
      const { scanned, single, errors } = readEverything(log)
      log.release()
      if (errors.length > 0 || scanned !== reference.values.length || single.length !== scanned) throw new Error(`${what}: ${scanned} records, ${errors[0]}`)
    }
    for (let bit = 0; bit < content.length * 8; bit += 3) check(withBitFlipped(reference.image, 'MANIFEST', bit), `bit ${bit}`)
    for (let length = 0; length < content.length; length++) check(withFile(reference.image, 'MANIFEST', content.subarray(0, length)), `length ${length}`)
  })

  it('a missing segment file is named, whichever it is', async () => {
    for (const base of reference.bases) {
      const log = open(withFile(reference.image, segmentName(base), undefined))
      if (!isLogError(log)) throw new Error(`segment ${base} is missing and nobody noticed`)
      expect(log.code).toBe('ERR_SEALOG_CORRUPT')
      expect(await codeOf(() => Log.open(work.directory, { ...OPTIONS, backend }))).toBe('ERR_SEALOG_CORRUPT')
      expect((await verify(work.directory, { backend })).ok).toBe(false)
    }
  })

  it('the asynchronous reads say the same as the synchronous ones', async () => {
    for (let bit = 128 * 8 + 1; bit < footer * 8; bit += 201) {
      const image = withBitFlipped(reference.image, FIRST, bit)
      const log = open(image)
      if (isLogError(log)) throw log
      const scan = log.scan()
      const { single } = readEverything(log)
      log.release()
      work.restore(image)
      const reader = await Log.openReader(work.directory, { backend })
      const records: string[] = []
      const iterate = async () => {
        for await (const record of reader.read({ maxBytes: 4096 })) records.push(text(record.value))
      }
      if (scan.error === undefined) await iterate()
      else
        expect(await errorOf(iterate)).toMatchObject({ code: scan.error.code, file: scan.error.file, position: scan.error.position, offset: scan.error.offset })
      expect(records).toEqual(reference.values.slice(0, scan.records.length))
      const found: number[] = []
      for (let offset = 0; offset < reference.values.length; offset++) {
        const record = await reader.get(offset).catch((problem) => problem as LogError)
        if (isLogError(record)) expect(record.code).toBe('ERR_SEALOG_CHECKSUM')
        else if (text(record?.value ?? new Uint8Array(0)) === reference.values[offset]) found.push(offset)
      }
      expect(found).toEqual(single)
      await reader.close()
    }
  })

  it.runIf(process.platform === 'linux')('a refused open leaks no descriptor', async () => {
    work.restore(withBitFlipped(reference.image, segmentName(firstEnd), 130 * 8))
    const count = () => readdirSync('/proc/self/fd').length
    expect(isLogError(open(withBitFlipped(reference.image, segmentName(firstEnd), 130 * 8)))).toBe(true)
    const before = count()
    for (let i = 0; i < 10; i++) {
      await errorOf(() => Log.open(work.directory, { ...OPTIONS, backend }))
      await errorOf(() => Log.openReader(work.directory, { backend }))
    }
    expect(count()).toBeLessThanOrEqual(before + 2)
  })
})
