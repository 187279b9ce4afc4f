import path from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { isLogError, Log, type LogError } from '../../lib/index.js'
import { environmentFor } from '../../lib/log/environment.js'
import { backends } from '../support/backends.js'
import { freshPath, readFiles } from '../support/directories.js'
import { type Group, groupsOf, type Image, Workplace, withFile } from '../support/images.js'
import { bytes, codeOf, fixedSources, range, segmentPath, text } from '../support/logs.js'
import { closedLog, killedLog, OPTIONS, type Reference, segmentName } from '../support/reference-logs.js'
import { catchWarnings, SyncLog } from '../support/sync-log.js'

catchWarnings()
// Tens of thousands of opens: seconds on a free machine, minutes on a busy one.
vi.setConfig({ testTimeout: 300_000 })
const NAME = segmentName(0)
const PAGE = 4096

describe.each(backends)('forged, foreign and misplaced bytes (%s)', (backend) => {
  const { crc32c } = environmentFor(backend).kernels
  const work = new Workplace()

  function open(image: Image, options = OPTIONS): SyncLog | LogError {
    work.restore(image)
    try {
      return SyncLog.open(work.directory, backend, options)
    } catch (error) {
      if (!isLogError(error)) throw error
      return error
    }
  }

  /** Values that a log serves; all of them must be what was appended. */
  function served(image: Image, values: readonly string[], options = OPTIONS): number | LogError {
    const log = open(image, options)
    if (isLogError(log)) return log
    const { records, error } = log.scan()
    log.release()
    records.forEach((record, i) => {
      if (record.offset !== i || text(record.value) !== values[i]) throw new Error(`silently wrong: record ${i}`)
    })
    return error ?? records.length
  }

  const seedOf = (segment: Uint8Array) => new DataView(segment.buffer, segment.byteOffset).getUint32(124, true)

  /** A frame whose CRC is right for the segment. */
  function frame(segment: Uint8Array, type: number, flags: number, offset: number, body: Uint8Array): Uint8Array {
    const result = new Uint8Array(24 + Math.ceil(body.length / 8) * 8)
    const view = new DataView(result.buffer)
    view.setUint32(4, body.length, true)
    view.setBigUint64(8, BigInt(offset), true)
    view.setUint8(22, type)
    view.setUint8(23, flags)
    result.set(body, 24)
    view.setUint32(0, crc32c(result.subarray(4, 24 + body.length), seedOf(segment)), true)
    return result
  }

  const placed = (content: Uint8Array, position: number, part: Uint8Array) => {
    const result = new Uint8Array(Math.max(content.length, position + part.length))
    result.set(content)
    result.set(part, position)
    return result
  }

  it.each([
    ['an unknown type', 9, 0],
    ['type 0', 0, 4],
    ['an unknown flag', 1, 8],
    ['every flag', 1, 255],
    ['a flag on a commit frame', 3, 1],
  ])('a frame of good CRC with %s is ERR_SEALOG_FORMAT_NEWER wherever it stands, with nothing written', async (_what, type, flags) => {
    const killed = await killedLog(backend)
    const content = killed.image.get(NAME) as Uint8Array
    const { groups, end } = groupsOf(content)
    const body = new Uint8Array(32).fill(1)
    for (const position of [end, groups[0].start, groups[1].end]) {
      const image = withFile(killed.image, NAME, placed(content, position, frame(content, type, flags, groups[0].firstOffset, body)))
      const outcome = served(image, killed.values)
      expect(outcome).toMatchObject({ code: 'ERR_SEALOG_FORMAT_NEWER', file: path.join(work.directory, NAME), position })
      const files = work.files()
      // COMMITTED is derived; readers must not believe a dead writer's value.
      for (const [name, before] of image) if (name !== 'COMMITTED') expect([name, Buffer.compare(files.get(name) as Buffer, before)]).toEqual([name, 0])
      expect(files.size).toBe(image.size)
      expect(await codeOf(() => Log.open(work.directory, { ...OPTIONS, backend }))).toBe('ERR_SEALOG_FORMAT_NEWER')
      expect(await codeOf(() => Log.openReader(work.directory, { backend }))).toBe('ERR_SEALOG_FORMAT_NEWER')
    }
    // In a closed segment the read that meets it says so.
    const closed = await closedLog(backend)
    const first = closed.image.get(NAME) as Uint8Array
    const group = groupsOf(first).groups[1]
    expect(served(withFile(closed.image, NAME, placed(first, group.start, frame(first, type, flags, group.firstOffset, body))), closed.values)).toMatchObject({
      code: 'ERR_SEALOG_FORMAT_NEWER',
    })
  })

  it('an unknown feature bit or version in a header of good CRC is ERR_SEALOG_FORMAT_NEWER, in segments and in MANIFEST', async () => {
    const { image, values } = await killedLog(backend)
    for (const [name, length, at] of [
      [NAME, 128, 12],
      [NAME, 128, 15],
      [NAME, 128, 8],
      ['MANIFEST', 64, 12],
      ['MANIFEST', 64, 8],
    ] as const) {
      const content = Uint8Array.from(image.get(name) as Uint8Array)
      content[at] ^= 0x40
      new DataView(content.buffer).setUint32(length - 4, crc32c(content.subarray(0, length - 4), 0), true)
      expect([name, at, (served(withFile(image, name, content), values) as LogError).code]).toEqual([name, at, 'ERR_SEALOG_FORMAT_NEWER'])
    }
  })

  describe('whole pages', () => {
    let reference: Reference
    let groups: Group[]
    let end = 0
    const options = { segmentBytes: 1024 * 1024 }

    beforeAll(async () => {
      const log = await Log.openWith<Uint8Array>(freshPath('pages'), { ...options, backend, idleMarkMs: 3_600_000 }, fixedSources(9))
      const values = range(0, 60).map((i) => `record ${i} ${'p'.repeat((i * 97) % 900)}`)
      for (let i = 0; i < 60; i += 3) await log.appendBatch(values.slice(i, i + 3).map(bytes))
      const files: Image = readFiles(log.directory)
      const content = files.get(NAME) as Uint8Array
      const layout = groupsOf(content)
      groups = layout.groups
      end = layout.end
      reference = { image: withFile(withFile(files, NAME, content.slice(0, end)), 'segments/next.tmp', undefined), values, bases: [0] }
      await log.close()
      expect(end).toBeGreaterThan(6 * PAGE)
      expect(served(reference.image, values, options)).toBe(60)
    })

    /** What has to come of damage between two positions. */
    function judged(content: Uint8Array, what: string): void {
      const good = reference.image.get(NAME) as Uint8Array
      const first = content.findIndex((byte, i) => byte !== good[i])
      if (first < 0) return
      const group = groups.find((candidate) => first < candidate.end) as Group
      for (const committed of [true, false]) {
        const image = withFile(reference.image, NAME, content)
        const outcome = served(committed ? image : withFile(image, 'COMMITTED', undefined), reference.values, options)
        const later = groups.some(
          (candidate) =>
            candidate.firstOffset > group.firstOffset &&
            Buffer.compare(content.subarray(candidate.start, candidate.end), good.subarray(candidate.start, candidate.end)) === 0,
        )
        if (first < 128) expect([what, typeof outcome]).toEqual([what, 'object'])
        else if (later || committed)
          expect([what, outcome]).toMatchObject([
            what,
            { code: 'ERR_SEALOG_CORRUPT', file: path.join(work.directory, NAME), position: group.start, offset: group.firstOffset },
          ])
        else expect([what, outcome]).toEqual([what, group.firstOffset])
      }
    }

    it('zeroed: refused and named, or at the very end an exact prefix', () => {
      for (let page = 0; page < end; page += PAGE) {
        const content = Uint8Array.from(reference.image.get(NAME) as Uint8Array)
        content.fill(0, page, page + PAGE)
        judged(content, `page at ${page}`)
      }
    })

    it('swapped', () => {
      const good = reference.image.get(NAME) as Uint8Array
      for (let a = 0; a + PAGE <= end; a += PAGE) {
        for (let b = a + PAGE; b + PAGE <= end; b += PAGE) {
          const content = Uint8Array.from(good)
          content.set(good.subarray(b, b + PAGE), a)
          content.set(good.subarray(a, a + PAGE), b)
          judged(content, `pages at ${a} and ${b}`)
        }
      }
    })

    it('stale: as an earlier state of the file had them', () => {
      const good = reference.image.get(NAME) as Uint8Array
      for (let page = 0; page < end; page += PAGE) {
        for (const group of groups.filter((candidate) => candidate.end > page && candidate.end < page + PAGE)) {
          const content = Uint8Array.from(good)
          content.fill(0, group.end, Math.min(end, page + PAGE))
          judged(content, `page at ${page} as of position ${group.end}`)
        }
      }
    })

    it('of another log with the same records', async () => {
      const log = await Log.openWith<Uint8Array>(freshPath('other'), { ...options, backend, idleMarkMs: 3_600_000 }, fixedSources(77))
      for (let i = 0; i < 60; i += 3) await log.appendBatch(reference.values.slice(i, i + 3).map(bytes))
      const other = readFiles(log.directory).get(NAME) as Uint8Array
      await log.close()
      const good = reference.image.get(NAME) as Uint8Array
      for (let page = PAGE; page < end; page += PAGE) {
        const content = Uint8Array.from(good)
        content.set(other.subarray(page, Math.min(end, page + PAGE)), page)
        judged(content, `page at ${page}`)
        // Everything from here on: a recycled file.
        const tail = Uint8Array.from(good)
        tail.set(other.subarray(page, end), page)
        judged(tail, `all from ${page}`)
      }
      expect((served(withFile(reference.image, NAME, other.slice(0, end)), reference.values, options) as LogError).code).toBe('ERR_SEALOG_FORMAT')
    })
  })

  it('frames smuggled inside a payload are never taken for frames, wherever the file is torn', async () => {
    const directory = freshPath('smuggled')
    const options = { segmentBytes: 65_536 }
    const log = await Log.openWith<Uint8Array>(directory, { ...options, backend, idleMarkMs: 3_600_000 }, fixedSources(5))
    const values = ['one', 'two', 'three']
    for (const value of values) await log.append(bytes(value))
    // Real frames of this very file, with a commit frame that proves durability, in a payload that begins at a multiple of 8.
    const content = (readFiles(directory).get(NAME) as Buffer).subarray(0, 65_536)
    const { groups, end } = groupsOf(content)
    const stolen = Uint8Array.from(content.subarray(128, end))
    const forged = Buffer.concat([stolen, frame(content, 1, 0, 3, bytes('forged')), stolen])
    const latin = (value: Uint8Array) => new TextDecoder().decode(value)
    await log.append(forged)
    values.push(latin(forged))
    const image = withFile(readFiles(directory), 'segments/next.tmp', undefined)
    await log.close()
    const whole = image.get(NAME) as Uint8Array
    const last = groupsOf(whole)
    expect(groups.length).toBe(3)
    const without = withFile(image, 'COMMITTED', undefined)
    for (let length = end; length < last.end; length += 8) {
      expect([length, served(withFile(without, NAME, whole.slice(0, length)), values, options)]).toEqual([length, 3])
    }
    for (let position = end; position < last.end; position += 8) {
      const content = whole.slice(0, last.end)
      content.fill(0, position, position + 8)
      if (Buffer.compare(content, whole.subarray(0, last.end)) === 0) continue
      expect([position, served(withFile(without, NAME, content), values, options)]).toEqual([position, 3])
    }
    // The file begins anew with the smuggled bytes at its end: no group of theirs counts.
    expect(served(withFile(without, NAME, placed(whole.slice(0, end), end, stolen)), values, options)).toBe(3)
  })

  it('a segment copied in from another place, or exchanged with its neighbour, is ERR_SEALOG_FORMAT or named as damage', async () => {
    const { image, values, bases } = await closedLog(backend)
    const [a, b] = bases.map((base) => segmentName(base))
    const exchanged = withFile(withFile(image, a, image.get(b)), b, image.get(a) as Uint8Array)
    const outcome = served(exchanged, values)
    expect(isLogError(outcome) && ['ERR_SEALOG_FORMAT', 'ERR_SEALOG_CORRUPT'].includes(outcome.code)).toBe(true)
    const copied = withFile(image, segmentName(bases[1] + 100), image.get(b))
    expect(isLogError(served(copied, values))).toBe(true)
    expect(segmentPath('', 5).endsWith('00000000000000000005.log')).toBe(true)
  })
})
