/** Retention on logs: against a model, beside readers, by itself, and through crashes. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { parseChunkFile, parseSegmentFile } from '../../lib/format/names.js'
import { Log, type LogOptions, type RetentionPolicy } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import type { LogParts } from '../../lib/log/parts.js'
import { backends, environmentOf, testingOf } from '../support/backends.js'
import { checkCrashes, recordEvents } from '../support/crash-images.js'
import { freshPath, listFiles } from '../support/directories.js'
import { bytes, codeOf, errorOf, fixedSources, offsets, range, text, until } from '../support/logs.js'
import { startProgram } from '../support/programs.js'
import { Random } from '../support/random.js'

vi.setConfig({ testTimeout: 300_000 })
const SEEDS = process.env.SEALOG_SOAK === undefined ? 8 : 400
const OPTIONS = { durability: 'flush', segmentBytes: 1024, maxBatchBytes: 512, idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000 } as const

const warnings: Array<{ code?: string; message: string }> = []
process.removeAllListeners('warning')
process.on('warning', (warning: Error & { code?: string }) => warnings.push(warning))

const partsOf = <T>(log: Log<T>): LogParts => log.commitDriver().parts
const valueAt = (offset: number): string => `record ${offset} ${'.'.repeat((offset * 13) % 60)}`

async function append(log: Log, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await log.append(bytes(valueAt(log.endOffset)))
}

async function filled(backend: Backend, count: number, options: LogOptions = {}): Promise<Log> {
  const log = await Log.open(freshPath(), { ...OPTIONS, ...options, backend })
  await append(log, count)
  // Full segments are closed when they have been synced.
  await log.sync()
  return log
}

/** Base, end and size of the segment files that are there, by their names and by nothing else. */
function segmentsOf(log: { directory: string; endOffset: number }): Array<{ base: number; end: number; bytes: number }> {
  const folder = path.join(log.directory, 'segments')
  const bases = fs.readdirSync(folder).flatMap((name) => {
    const base = parseSegmentFile(name)?.base
    // A pass in the background may take it away in between.
    const facts = fs.statSync(path.join(folder, name), { throwIfNoEntry: false })
    return base === undefined || facts === undefined ? [] : [{ base, bytes: facts.size }]
  })
  bases.sort((a, b) => a.base - b.base)
  return bases.map(({ base, bytes }, i) => ({ base, end: bases[i + 1]?.base ?? log.endOffset, bytes }))
}

async function expectRecords(log: Log, start: number): Promise<void> {
  expect(log.startOffset).toBe(start)
  expect(await offsets(log)).toEqual(range(start, log.endOffset))
  for (const offset of [start, Math.floor((start + log.endOffset) / 2), log.endOffset - 1])
    if (offset >= start && offset < log.endOffset) expect(text(log.getSync(offset)?.value ?? bytes(''))).toBe(valueAt(offset))
  if (start > 0) {
    expect(await codeOf(() => log.get(start - 1))).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
    expect(await codeOf(() => log.read({ from: 0 }).next())).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
  }
}

describe.each(backends)('retention (%s)', (backend) => {
  it('does what the model says, for random policies and consumers, pass after pass, reopened between', async () => {
    let removals = 0
    let held = 0
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = new Random(seed)
      const directory = freshPath()
      let now = 1_700_000_000_000
      const sources = { ...fixedSources(seed), now: () => now }
      const open = () => Log.openWith<Uint8Array>(directory, { ...OPTIONS, backend, cache: random.chance(0.5) ? false : {} }, sources)
      let log = await open()
      const closedAt = new Map<number, number>()
      let start = 0
      for (let pass = 0; pass < 6; pass++) {
        for (let i = random.below(60); i > 0; i--) {
          now += random.below(10)
          const { all } = log.segments
          const active = all.at(-1)?.base
          await append(log, 1)
          if (active !== undefined && log.segments.last?.base !== active) closedAt.set(active, now)
        }
        await log.sync()
        if (random.chance(0.3)) await (await log.consumer(`c${random.below(3)}`)).reset(start + random.below(log.committedOffset - start + 1))
        if (random.chance(0.2)) await log.consumers.delete(`c${random.below(3)}`)
        const all = segmentsOf(log)
        const total = all.reduce((sum, segment) => sum + (segment === all.at(-1) ? (partsOf(log).segments.last?.endPosition ?? 0) : segment.bytes), 0)
        const policy: RetentionPolicy = {
          maxBytes: random.chance(0.4) ? random.below(total + 1000) : undefined,
          maxAgeMs: random.chance(0.4) ? random.below(400) : undefined,
          maxRecords: random.chance(0.4) ? random.below(log.committedOffset - start + 20) : undefined,
          before: random.chance(0.4) ? random.below(log.committedOffset + 20) : undefined,
          ignoreConsumers: random.chance(0.2),
        }
        const floor = policy.ignoreConsumers ? Number.POSITIVE_INFINITY : Math.min(...(await log.consumers.list()).map(({ offset }) => offset ?? 0))
        let bytesLeft = total
        let expected = start
        const gone: typeof all = []
        let holds = false
        for (const segment of all.slice(0, -1)) {
          const beyond =
            segment.end <= (policy.before ?? 0) ||
            now - (closedAt.get(segment.base) ?? now) > (policy.maxAgeMs ?? Number.POSITIVE_INFINITY) ||
            log.committedOffset - expected > (policy.maxRecords ?? Number.POSITIVE_INFINITY) ||
            bytesLeft > (policy.maxBytes ?? Number.POSITIVE_INFINITY)
          holds = beyond && segment.end > floor
          if (!beyond || holds) break
          gone.push(segment)
          bytesLeft -= segment.bytes
          expected = segment.end
        }
        const result = {
          startOffset: expected,
          removedSegments: gone.length,
          removedBytes: gone.reduce((sum, segment) => sum + segment.bytes, 0),
          heldBy: holds ? expect.objectContaining({ reason: 'consumer', offset: Math.max(floor, gone.at(-1)?.end ?? all[0].base) }) : undefined,
          droppedConsumers: [],
        }
        const before = fs.readFileSync(path.join(directory, 'MANIFEST'))
        expect(await log.retain({ ...policy, dryRun: true }), `seed ${seed}, pass ${pass}`).toEqual(result)
        expect(fs.readFileSync(path.join(directory, 'MANIFEST')).equals(before)).toBe(true)
        expect(segmentsOf(log)).toEqual(all)
        expect(await log.retain(policy), `seed ${seed}, pass ${pass}`).toEqual(result)
        start = expected
        expect(segmentsOf(log)).toEqual(all.slice(gone.length))
        for (const name of fs.readdirSync(path.join(directory, 'segments')))
          if (/^\d/.test(name)) expect(Number.parseInt(name, 10)).toBeGreaterThanOrEqual(all[gone.length].base)
        await expectRecords(log, start)
        removals += gone.length
        if (holds) held++
        if (random.chance(0.5)) {
          await log.close()
          log = await open()
          await expectRecords(log, start)
        }
      }
      await log.close()
    }
    expect(removals).toBeGreaterThan(SEEDS * 2)
    expect(held).toBeGreaterThan(SEEDS / 6)
  })

  it('the last segment stays, and the log goes on', async () => {
    const log = await filled(backend, 60)
    const { startOffset } = await log.retain({ maxBytes: 0 })
    expect(segmentsOf(log)).toHaveLength(1)
    expect(startOffset).toBe(segmentsOf(log)[0].base)
    await append(log, 60)
    await log.sync()
    await expectRecords(log, startOffset)
    expect(await log.retain({ before: Number.MAX_SAFE_INTEGER, maxAgeMs: 0 })).toMatchObject({ startOffset: segmentsOf(log).at(-1)?.base })
    await log.close()
  })

  it('a consumer that lags holds its segments until it goes on, is ignored, or has lagged too much', async () => {
    const log = await filled(backend, 120)
    const bases = segmentsOf(log).map(({ base }) => base)
    const consumer = await log.consumer('slow')
    expect(await log.retain({ maxBytes: 0 })).toMatchObject({ startOffset: 0, removedSegments: 0, heldBy: { reason: 'consumer', consumer: 'slow', offset: 0 } })
    // At every position: exactly the segments below it go.
    for (const offset of range(0, bases[3] + 2)) {
      await consumer.acknowledge(offset)
      const start = Math.max(...bases.filter((base) => base <= offset))
      expect((await log.retain({ maxBytes: 0 })).startOffset).toBe(start)
      expect(await offsets(log, { limit: 1 })).toEqual([start])
    }
    expect((await log.retain({ maxBytes: 0, ignoreConsumers: true })).startOffset).toBe(bases.at(-1))
    expect((await log.consumer('slow')).offset).toBe(bases[3] + 1)

    const dropped: unknown[] = []
    const note = (message: unknown) => dropped.push(message)
    subscribe('sealog:consumer:drop', note)
    await append(log, 60)
    await log.sync()
    const [{ lagBytes }] = await log.consumers.list()
    await log.consumer('slow', { maxLagBytes: lagBytes })
    expect(await log.retain({ maxBytes: 0 })).toMatchObject({ heldBy: { consumer: 'slow' }, droppedConsumers: [] })
    await log.consumer('slow', { maxLagBytes: lagBytes - 1 })
    expect(await log.retain({ maxBytes: 0, dryRun: true })).toMatchObject({ heldBy: undefined, droppedConsumers: ['slow'] })
    expect(await log.consumers.list()).toHaveLength(1)
    expect(await log.retain({ maxBytes: 0 })).toMatchObject({ heldBy: undefined, droppedConsumers: ['slow'], startOffset: segmentsOf(log).at(-1)?.base })
    expect(await log.consumers.list()).toEqual([])
    expect(dropped).toEqual([{ log: log.directory, consumer: 'slow', lagBytes, maxLagBytes: lagBytes - 1 }])
    await until(() => warnings.some(({ code }) => code === 'SEALOG_CONSUMER_DROPPED'), 'the warning')
    expect(await codeOf(() => consumer.acknowledge(log.endOffset))).toBe('ERR_SEALOG_CONSUMER')
    unsubscribe('sealog:consumer:drop', note)
    await log.close()
  })

  it('a damaged consumer holds everything, and retention says so', async () => {
    const log = await filled(backend, 60)
    await (await log.consumer('bad')).acknowledge(60)
    fs.truncateSync(path.join(log.directory, 'consumers', 'bad'), 10)
    expect(await log.retain({ maxBytes: 0 })).toMatchObject({ startOffset: 0, removedSegments: 0, heldBy: { reason: 'damaged-consumer', consumer: 'bad' } })
    await log.consumers.reset('bad', 60)
    expect(await log.retain({ maxBytes: 0 })).toMatchObject({ heldBy: undefined })
    // A directory that cannot be read is no directory without consumers.
    testingOf(backend).fault('list', 1, 5, false, 0)
    await append(log, 60)
    await log.sync()
    const before = segmentsOf(log)
    expect(await codeOf(() => log.retain({ maxBytes: 0 }))).toBe('ERR_SEALOG_IO')
    testingOf(backend).clearFaults()
    expect(segmentsOf(log)).toEqual(before)
    await log.close()
  })

  it('quarantined segments stay unless forced, truncateBefore leaves them too', async () => {
    const log = await filled(backend, 120)
    const bases = segmentsOf(log).map(({ base }) => base)
    const parts = partsOf(log)
    await parts.tasks.add(() => parts.manifest.append({ type: 'quarantined', base: bases[2], why: 'test' }))
    expect(await log.retain({ maxBytes: 0 })).toMatchObject({ startOffset: bases[2], heldBy: { reason: 'quarantined', offset: bases[2], consumer: undefined } })
    await log.truncateBefore(bases[4])
    await expectRecords(log, bases[4])
    expect(segmentsOf(log).map(({ base }) => base)).toEqual(bases.slice(2))
    await log.close()
    const again = await Log.open(log.directory, { ...OPTIONS, backend })
    await expectRecords(again, bases[4])
    expect(await again.retain({ before: 1, force: true })).toMatchObject({ startOffset: bases[4], removedSegments: 2, heldBy: undefined })
    expect(segmentsOf(again).map(({ base }) => base)).toEqual(bases.slice(4))
    await again.close()
  })

  it('not yet archived: `archive` keeps the files, `keep` raises the start and keeps them too', async () => {
    const log = await filled(backend, 120)
    const bases = segmentsOf(log).map(({ base }) => base)
    expect(await log.retain({ before: bases[3], archive: 'archive' })).toEqual({
      startOffset: 0,
      removedSegments: 0,
      removedBytes: 0,
      heldBy: { reason: 'not-archived', offset: 0, consumer: undefined },
      droppedConsumers: [],
    })
    expect(await log.retain({ before: bases[3], archive: 'keep' })).toMatchObject({
      startOffset: bases[3],
      removedSegments: 0,
      heldBy: { reason: 'not-archived' },
    })
    await expectRecords(log, bases[3])
    expect(segmentsOf(log).map(({ base }) => base)).toEqual(bases)
    await log.close()
    const again = await Log.open(log.directory, { ...OPTIONS, backend, recovery: 'strict' })
    await expectRecords(again, bases[3])
    // What was left below the start goes with the first pass that deletes.
    expect(await again.retain({})).toMatchObject({ startOffset: bases[3], removedSegments: 3 })
    expect(segmentsOf(again).map(({ base }) => base)).toEqual(bases.slice(3))
    await again.close()
  })

  it('in the background, at intervals, and no more after the log is closed', async () => {
    const done: Array<{ startOffset: number }> = []
    const note = (message: unknown) => done.push(message as { startOffset: number })
    subscribe('sealog:retention:done', note)
    const log = await filled(backend, 60, { retention: { maxRecords: 20, intervalMs: 5 } })
    await until(() => done.length > 0 && log.committedOffset - log.startOffset <= 20 + 15, 'a pass')
    await append(log, 60)
    await log.sync()
    await until(() => (segmentsOf(log).at(-1)?.base ?? 0) - log.startOffset <= 20, 'another pass')
    // Of its trouble it tells once, and goes on.
    const { length } = warnings
    const consumer = await log.consumer('bad')
    fs.truncateSync(path.join(log.directory, 'consumers', 'bad'), 0)
    await append(log, 60)
    await log.sync()
    await until(() => warnings.slice(length).some(({ code }) => code === 'SEALOG_CONSUMER_DAMAGED'), 'the warning')
    await log.consumers.reset('bad', log.committedOffset)
    await until(() => log.committedOffset - log.startOffset <= 20 + 15, 'it goes on')
    expect(warnings.slice(length).filter(({ code }) => code === 'SEALOG_CONSUMER_DAMAGED')).toHaveLength(1)
    await consumer.close()
    await log.close()
    unsubscribe('sealog:retention:done', note)
  })

  it('bad policies are refused, and nothing is done', async () => {
    const log = await filled(backend, 60)
    for (const policy of [{ maxByte: 1 }, { maxBytes: -1 }, { maxAgeMs: 1.5 }, { before: '3' }, { archive: 'move' }, { force: 1 }, { intervalMs: 5 }, 7])
      expect(await codeOf(() => log.retain(policy as RetentionPolicy))).toMatch(/^ERR_SEALOG_(OPTION|ARGUMENT)$/)
    expect(log.startOffset).toBe(0)
    await log.close()
    expect(await codeOf(() => log.retain({ maxBytes: 0 }))).toBe('ERR_SEALOG_CLOSED')
    for (const retention of [{ dryRun: true }, { force: true }, { intervalMs: 0 }, { maxRecords: -1 }])
      expect(await codeOf(() => Log.open(log.directory, { backend, retention: retention as object }))).toBe('ERR_SEALOG_OPTION')
  })

  it('readers under way finish what they hold; those elsewhere get a typed error with the start', async () => {
    const log = await filled(backend, 200)
    const program = startProgram('follow.mjs', [backend, log.directory, 'end'])
    const reader = await Log.openReader(log.directory, { backend })
    const iterator = reader.batches({ maxBytes: 256 })
    const first = await iterator.next()
    const pending = range(0, 20).map((offset) =>
      reader.get(offset * 3).then(
        (record) => text(record?.value ?? bytes('')),
        (error) => error.code,
      ),
    )
    await until(() => program.lines().length > 0, 'the other process has begun')
    const { startOffset } = await log.retain({ maxRecords: 30 })
    for (const [i, value] of (await Promise.all(pending)).entries()) expect([valueAt(i * 3), 'ERR_SEALOG_OFFSET_TRUNCATED']).toContain(value)
    expect(text(first.value?.bytes(0) ?? bytes(''))).toBe(valueAt(0))
    // What it has open it may read on; from the first file that is gone it knows the new start.
    const seen: number[] = []
    const error = await (async () => {
      try {
        for (;;) {
          const { done, value } = await iterator.next()
          if (done) return undefined
          seen.push(value.offset(0))
        }
      } catch (problem) {
        return problem as { code: string; startOffset: number }
      }
    })()
    expect(error).toMatchObject({ code: 'ERR_SEALOG_OFFSET_TRUNCATED', startOffset })
    expect(reader.startOffset).toBe(startOffset)
    expect((await offsets(reader))[0]).toBe(startOffset)
    await reader.close()
    await log.append(bytes('end'))
    const { status, stderr } = await program.ended
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const lines = program.lines<{ offset?: number; value?: string; code?: string }>()
    for (const { code } of lines) if (code !== undefined) expect(code).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
    expect(lines.filter(({ offset }) => (offset ?? -1) >= startOffset).map(({ offset }) => offset)).toEqual(range(startOffset, log.endOffset))
    await log.close()
  })

  it('diskUsage tells every file once, by kind', async () => {
    const log = await Log.open<unknown>(freshPath(), { ...OPTIONS, codec: 'json', chunkBytes: 300, chunkEncodings: ['gzip'], backend })
    for (let i = 0; i < 60; i++) await log.append({ i, text: 'x'.repeat(40) })
    await log.chunks.seal()
    await log.consumer('c')
    fs.writeFileSync(path.join(log.directory, `${'0'.repeat(20)}.torn-128-00000000`), 'torn')
    fs.writeFileSync(path.join(log.directory, 'notes.txt'), 'not of sealog')
    fs.mkdirSync(path.join(log.directory, 'archive'))
    fs.writeFileSync(path.join(log.directory, 'archive', `${'0'.repeat(20)}-${'0'.repeat(20)}.zst`), 'archive!')
    fs.writeFileSync(path.join(log.directory, 'archive', 'dict-00000001'), 'dictionary')
    fs.writeFileSync(path.join(log.directory, 'SNAPSHOT'), 'snap')
    const usage = await log.diskUsage()
    const sizes = new Map(listFiles(log.directory).map((name) => [name, fs.statSync(path.join(log.directory, name)).size]))
    const sum = (holds: (name: string) => boolean) => [...sizes].reduce((total, [name, size]) => total + (holds(name) ? size : 0), 0)
    expect(usage).toEqual({
      segments: sum((name) => name.startsWith('segments') && name.endsWith('.log')),
      indexes: sum((name) => name.endsWith('.index')),
      chunks: sum((name) => /^chunks.*\.(json|idx)$/.test(name)),
      siblings: sum((name) => name.endsWith('.gz')),
      archives: 8,
      dictionaries: 10,
      snapshot: 4,
      consumers: sum((name) => name.startsWith('consumers')),
      torn: 4,
      other: sum((name) => !/segments.*(log|index)$|chunks|archive|SNAPSHOT|consumers|torn/.test(name)),
      total: sum(() => true),
    })
    for (const kind of ['segments', 'indexes', 'chunks', 'siblings', 'consumers', 'other'] as const) expect(usage[kind], kind).toBeGreaterThan(0)
    const reader = await Log.openReader(log.directory, { backend })
    expect(await reader.diskUsage()).toEqual(usage)
    await reader.close()
    await log.close()
  })

  it('killed, or without power, at every step of a pass: old or new start, every record above it, nothing left behind', async () => {
    const testing = testingOf(backend)
    const options = { ...OPTIONS, codec: 'json', chunkBytes: 300, backend } as const
    let startOffset = 0
    const events = await recordEvents(backend, async (place) => {
      const log = await Log.open<unknown>(place, options)
      for (let i = 0; i < 60; i++) await log.append({ i, text: 'x'.repeat(30) })
      await log.chunks.seal()
      await (await log.consumer('c')).acknowledge(35)
      testing.note(1)
      const result = await log.retain({ maxBytes: 0 })
      startOffset = result.startOffset
      testing.note(2)
      expect(result.removedSegments).toBeGreaterThan(2)
      await log.close()
    })

    const starts = { old: 0, raised: 0 }
    const begun = events.findIndex(({ kind }) => kind === 'note')
    const opened = await checkCrashes(events, 9, begun, async (place, stage) => {
      const after = await Log.open<unknown>(place, options)
      try {
        expect(stage === 2 ? [startOffset] : [0, startOffset]).toContain(after.startOffset)
        starts[after.startOffset === 0 ? 'old' : 'raised']++
        expect(await offsets(after)).toEqual(range(after.startOffset, 60))
        expect(after.getSync(after.startOffset)?.value).toEqual({ i: after.startOffset, text: 'x'.repeat(30) })
        // The epoch was raised by the reboot in mode flush; the position is still what retention goes by.
        await after.retain({ maxBytes: 0 })
        expect(after.startOffset).toBe(startOffset)
        await after.chunks.seal()
        await after.chunks.list()
        expect(segmentsOf(after)[0].base).toBe(startOffset)
        for (const name of fs.readdirSync(path.join(after.directory, 'segments')))
          if (/^\d/.test(name)) expect(Number.parseInt(name, 10)).toBeGreaterThanOrEqual(startOffset)
        for (const name of fs.readdirSync(path.join(after.directory, 'chunks'))) expect(parseChunkFile(name)?.last ?? -1).toBeGreaterThanOrEqual(startOffset)
      } finally {
        await after.close()
      }
    })
    console.log(`retention, ${backend}: ${opened} different images, ${starts.old} with the old start`)
    expect(starts.old).toBeGreaterThan(1)
    expect(starts.raised).toBeGreaterThan(5)
  })

  it('every call of every kind fails once: what is told gone is gone, nothing else, and the next pass finishes', async () => {
    const testing = testingOf(backend)
    let failures = 0
    for (const kind of ['open', 'write', 'datasync', 'unlink', 'list', 'syncDirectory', 'close', 'read'] as const) {
      for (let nth = 1; ; nth++) {
        const log = await filled(backend, 60)
        await (await log.consumer('c')).acknowledge(40)
        testing.resetCounts()
        testing.fault(kind, nth, 5, false, 0)
        const refused = await log.retain({ maxBytes: 0 }).then(
          () => false,
          () => true,
        )
        const calls = testing.counts()[kind] ?? 0
        testing.clearFaults()
        if (refused) failures++
        const again = await log.retain({ maxBytes: 0 })
        await expectRecords(log, again.startOffset)
        await log.close()
        const reopened = await Log.open(log.directory, { ...OPTIONS, backend })
        await expectRecords(reopened, again.startOffset)
        expect(segmentsOf(reopened)[0].base).toBe(again.startOffset)
        await reopened.close()
        fs.rmSync(path.dirname(log.directory), { recursive: true, force: true })
        if (calls < nth) break
      }
    }
    expect(failures).toBeGreaterThan(8)
  })
})

it('beyond 10^6 offsets segments and their names are in order', async () => {
  const [backend] = backends
  const log = await Log.open(freshPath(), { backend, durability: 'none', segmentBytes: 2 * 1024 * 1024, maxBatchBytes: 512 * 1024, cache: false })
  const batch = range(0, 20_000).map(() => bytes('1'))
  while (log.endOffset < 1_060_000) {
    await log.appendBatch(batch)
    await log.drain()
  }
  await log.sync()
  const bases = segmentsOf(log).map(({ base }) => base)
  const [below, above] = [bases.filter((base) => base < 1_000_000).at(-1) ?? -1, bases.find((base) => base >= 1_000_000) ?? -1]
  expect(below).toBeGreaterThan(900_000)
  const consumer = await log.consumer('c')
  await consumer.acknowledge(above - 1)
  expect(await log.retain({ before: above })).toMatchObject({ startOffset: below, heldBy: { offset: above - 1 } })
  await consumer.acknowledge(above)
  expect(await log.retain({ before: above })).toMatchObject({ startOffset: above, heldBy: undefined })
  expect((await log.get(above))?.offset).toBe(above)
  await log.close()
  const again = await Log.open(log.directory, { backend })
  expect(segmentsOf(again).map(({ base }) => base)).toEqual(bases.filter((base) => base >= above))
  expect(again.startOffset).toBe(above)
  await again.close()
})

describe.runIf(backends.includes('native') && environmentOf('native').kernels.can.compress)('retention and archives', () => {
  const backend = 'native'
  const archiveNames = (log: { directory: string }) =>
    fs
      .readdirSync(path.join(log.directory, 'archive'))
      .filter((name) => name.endsWith('.zst'))
      .sort()

  async function archived(count = 120): Promise<Log> {
    const log = await filled(backend, count)
    const archive = await openArchive(log, { automatic: false })
    await archive.run()
    await archive.close()
    return log
  }

  it('`archive`: files of archived segments go, the start stays, and everything reads the same', async () => {
    const log = await archived()
    const all = segmentsOf(log)
    const result = await log.retain({ before: all[3].base, archive: 'archive' })
    expect(result).toMatchObject({
      startOffset: 0,
      removedSegments: 3,
      removedBytes: all.slice(0, 3).reduce((sum, { bytes }) => sum + bytes, 0),
      heldBy: undefined,
    })
    expect(segmentsOf(log).map(({ base }) => base)).toEqual(all.slice(3).map(({ base }) => base))
    await expectRecords(log, 0)
    expect(await log.retain({ before: all[3].base, archive: 'archive' })).toMatchObject({ removedSegments: 0, removedBytes: 0 })
    const reader = await Log.openReader(log.directory, { backend })
    expect(await offsets(reader)).toEqual(range(0, 120))
    // The lag of a consumer is measured in archived segments too.
    await (await log.consumer('c')).acknowledge(all[1].base + 1)
    const [{ lagBytes }] = await reader.consumers.list()
    expect(lagBytes).toBeGreaterThan(all.slice(2, -1).reduce((sum, { bytes }) => sum + bytes - 300, 0))
    await reader.close()
    await log.close()
    const again = await Log.open(log.directory, { ...OPTIONS, backend, recovery: 'strict' })
    await expectRecords(again, 0)
    await again.consumers.delete('c')
    const names = archiveNames(again)
    const freed = names.slice(0, 4).reduce((sum, name) => sum + fs.statSync(path.join(again.directory, 'archive', name)).size, 0)
    expect(await again.retain({ before: all[4].base })).toMatchObject({ startOffset: all[4].base, removedSegments: 4, removedBytes: all[3].bytes + freed })
    expect(archiveNames(again)).toEqual(names.slice(4))
    await again.close()
  })

  it('`keep`: the start rises, archives stay as history until a policy deletes them too', async () => {
    const log = await archived()
    const all = segmentsOf(log)
    const names = archiveNames(log)
    expect(await log.retain({ before: all[3].base, archive: 'keep' })).toMatchObject({ startOffset: all[3].base, removedSegments: 3, heldBy: undefined })
    await expectRecords(log, all[3].base)
    expect(archiveNames(log)).toEqual(names)
    expect(partsOf(log).manifest.state.history?.map(({ base }) => base)).toEqual(all.slice(0, 3).map(({ base }) => base))
    await log.close()
    const again = await Log.open(log.directory, { ...OPTIONS, backend })
    await expectRecords(again, all[3].base)
    expect(await again.retain({ before: all[2].base })).toMatchObject({ startOffset: all[3].base, removedSegments: 0 })
    expect(archiveNames(again)).toEqual(names.slice(2))
    expect(partsOf(again).manifest.state.history?.map(({ base }) => base)).toEqual([all[2].base])
    await again.close()
  })

  it('T18, T19: an archive that is missing or no good keeps its segment, the others go, and the error names it', async () => {
    for (const mode of ['archive', 'keep'] as const) {
      const log = await archived()
      const all = segmentsOf(log)
      const names = archiveNames(log)
      fs.truncateSync(path.join(log.directory, 'archive', names[1]), 100)
      const refused = await errorOf(() => log.retain({ before: all[4].base, archive: mode }))
      expect(refused).toMatchObject({ code: 'ERR_SEALOG_ARCHIVE', file: path.join(log.directory, 'archive', names[1]) })
      expect(segmentsOf(log).map(({ base }) => base)).toEqual([1, ...range(4, all.length)].map((i) => all[i].base))
      await expectRecords(log, mode === 'keep' ? all[4].base : 0)
      // A directory that is gone: nothing goes.
      fs.rmSync(path.join(log.directory, 'archive'), { recursive: true })
      const before = segmentsOf(log)
      expect(await codeOf(() => log.retain({ maxBytes: 0, archive: mode }))).toBe('ERR_SEALOG_ARCHIVE')
      expect(segmentsOf(log)).toEqual(before)
      await log.close()
    }
  })

  it('archives of removed segments that a crash left behind go with the next pass; others are not touched', async () => {
    const log = await archived()
    const all = segmentsOf(log)
    const names = archiveNames(log)
    const folder = path.join(log.directory, 'archive')
    const foreign = `${'9'.padStart(20, '0')}-${'10'.padStart(20, '0')}.zst`
    const [copy] = names.map((name) => fs.readFileSync(path.join(folder, name)))
    await log.retain({ before: all[2].base })
    fs.writeFileSync(path.join(folder, names[0]), copy)
    fs.writeFileSync(path.join(folder, foreign), Buffer.alloc(500))
    await log.close()
    const again = await Log.open(log.directory, { ...OPTIONS, backend })
    await again.retain({})
    expect(archiveNames(again)).toEqual([foreign, ...names.slice(2)].sort())
    await again.close()
  })
})
