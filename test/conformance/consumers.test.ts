/** Named consumers: positions in files, any owner, damage, power loss at every step. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { CONSUMER_FILE_BYTES, CONSUMER_SLOT_BYTES, CONSUMER_SLOT_DISTANCE, decodeConsumer, encodeConsumerSlot } from '../../lib/format/consumer-file.js'
import { isConsumerName } from '../../lib/format/names.js'
import { Log } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { slowestConsumer } from '../../lib/log/consumer-files.js'
import { backends, environmentOf, testingOf } from '../support/backends.js'
import { freshPath, makeDirectory } from '../support/directories.js'
import { bytes, codeOf, errorOf, range, withLog } from '../support/logs.js'
import { startProgram } from '../support/programs.js'
import { Random } from '../support/random.js'
import { parseRecording } from '../support/recording.js'
import { Disk, type DiskImage, hashOf, materialize } from '../support/replay.js'

vi.setConfig({ testTimeout: 120_000 })

const OPTIONS = { durability: 'flush', segmentBytes: 1024, maxBatchBytes: 512, idleMarkMs: 3_600_000 } as const

const fileOf = (log: { directory: string }, name: string) => path.join(log.directory, 'consumers', name)

/** A log of `count` records that is open. */
async function filled(backend: Backend, count = 60, directory = freshPath()): Promise<Log> {
  const log = await Log.open(directory, { ...OPTIONS, backend })
  for (let i = 0; i < count; i++) await log.append(bytes(`record ${i} ${'.'.repeat((i * 7) % 40)}`))
  return log
}

describe.each(backends)('consumers (%s)', (backend) => {
  const { crc32c } = environmentOf(backend).kernels

  it('begin at the start, go forward, and are found again, in every way a log is open', async () => {
    const log = await filled(backend)
    await log.truncateBefore(5)
    const consumer = await log.consumer('feed.1')
    expect(consumer.offset).toBe(5)
    await consumer.acknowledge(20)
    expect(consumer.offset).toBe(20)
    expect((await log.consumer('feed.1')).offset).toBe(20)
    const reader = await Log.openReader(log.directory, { backend })
    const elsewhere = await reader.consumer('feed.1', { maxLagBytes: 1000 })
    expect([elsewhere.offset, elsewhere.maxLagBytes]).toEqual([20, 1000])
    await elsewhere.acknowledge(33)
    await reader.close()
    await log.close()
    await withLog(log.directory, { ...OPTIONS, backend }, async (again) => {
      const found = await again.consumer('feed.1')
      expect([found.offset, found.maxLagBytes]).toEqual([33, 1000])
      expect((await again.consumer('feed.1', { maxLagBytes: Number.POSITIVE_INFINITY })).maxLagBytes).toBeUndefined()
      expect((await again.consumer('feed.1')).maxLagBytes).toBeUndefined()
    })
  })

  it('positions are monotonic and within the log; reset goes anywhere in it', async () => {
    const log = await filled(backend)
    const consumer = await log.consumer('c')
    await consumer.acknowledge(30)
    await consumer.acknowledge(30)
    expect(await errorOf(() => consumer.acknowledge(29))).toMatchObject({ code: 'ERR_SEALOG_ARGUMENT', field: 'offset' })
    expect(await errorOf(() => consumer.acknowledge(61))).toMatchObject({ code: 'ERR_SEALOG_OFFSET_RANGE', offset: 61, endOffset: 60 })
    expect(await codeOf(() => consumer.acknowledge(-1))).toBe('ERR_SEALOG_ARGUMENT')
    expect(await codeOf(() => consumer.acknowledge(1.5))).toBe('ERR_SEALOG_ARGUMENT')
    await consumer.acknowledge(60)
    await log.truncateBefore(10)
    expect(await codeOf(() => consumer.reset(9))).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
    expect(await codeOf(() => consumer.reset(61))).toBe('ERR_SEALOG_OFFSET_RANGE')
    await consumer.reset(10)
    expect(consumer.offset).toBe(10)
    await consumer.acknowledge(11)
    await consumer.close()
    expect(await codeOf(() => consumer.acknowledge(12))).toBe('ERR_SEALOG_CLOSED')
    await log.close()
    expect(await codeOf(() => log.consumer('c'))).toBe('ERR_SEALOG_CLOSED')
  })

  it('many acknowledgements at once share a few writes, and each is durable when it resolves', async () => {
    const log = await filled(backend)
    const consumer = await log.consumer('c')
    const testing = testingOf(backend)
    testing.resetCounts()
    const positions: number[] = []
    await Promise.all(range(1, 61).map((offset) => consumer.acknowledge(offset).then(() => positions.push(consumer.offset - offset))))
    expect(positions.length).toBe(60)
    expect(Math.min(...positions)).toBeGreaterThanOrEqual(0)
    expect(testing.counts().datasync).toBeLessThanOrEqual(3)
    expect((await log.consumer('c')).offset).toBe(60)
    await log.close()
  })

  it('names: what is allowed, and nothing that leads elsewhere', async () => {
    const log = await filled(backend, 1)
    for (const name of ['', '.', '..', '.hidden', 'a/b', '../x', 'a b', 'ä', 'a\0', 'x'.repeat(129), 7 as unknown as string])
      expect(await codeOf(() => log.consumer(name))).toBe('ERR_SEALOG_ARGUMENT')
    for (const name of ['a', 'A-1_b.c', '-', '..x'.slice(2), 'x'.repeat(128), 'a.tmp']) {
      expect(isConsumerName(name)).toBe(true)
      await log.consumer(name)
    }
    expect(await codeOf(() => log.consumer('a', { maxLag: 1 } as object))).toBe('ERR_SEALOG_OPTION')
    expect(await codeOf(() => log.consumer('a', { maxLagBytes: 0 }))).toBe('ERR_SEALOG_OPTION')
    expect((await log.consumers.list()).map(({ name }) => name)).toEqual(['-', 'A-1_b.c', 'a', 'a.tmp', 'x', 'x'.repeat(128)])
    expect(fs.readdirSync(path.join(log.directory, 'consumers')).filter((name) => name.startsWith('.'))).toEqual([])
    await log.close()
  })

  it('list tells positions, lag in records and bytes, and the time', async () => {
    const log = await filled(backend)
    const before = Date.now()
    await (await log.consumer('none')).acknowledge(60)
    await (await log.consumer('some', { maxLagBytes: 77 })).acknowledge(41)
    await log.consumer('all')
    const [all, none, some] = await log.consumers.list()
    expect([all.lagRecords, none.lagRecords, some.lagRecords]).toEqual([60, 0, 19])
    const frames = log.segments.all.reduce((sum, segment) => sum + segment.endPosition - 128, 0)
    expect([all.lagBytes, none.lagBytes]).toEqual([frames, 0])
    // Commit frames are among the bytes; a record is found to within an interval of the index.
    const record = frames / 60
    expect(some.lagBytes).toBeGreaterThan(19 * record * 0.8)
    expect(some.lagBytes).toBeLessThan(19 * record + 4096)
    expect(some).toMatchObject({ offset: 41, epoch: 1, maxLagBytes: 77, error: undefined })
    expect(some.acknowledgedAt).toBeGreaterThanOrEqual(before)
    await log.close()
  })

  it('records that were cut: the position is no good until it is reset', async () => {
    const log = await filled(backend)
    const consumer = await log.consumer('c')
    await consumer.acknowledge(50)
    await log.truncateAfter(39)
    expect(await errorOf(() => consumer.offset)).toMatchObject({ code: 'ERR_SEALOG_EPOCH', offset: 50, endOffset: 40, epoch: 2 })
    expect(await codeOf(() => consumer.acknowledge(40))).toBe('ERR_SEALOG_EPOCH')
    const again = await log.consumer('c')
    expect(await codeOf(() => again.offset)).toBe('ERR_SEALOG_EPOCH')
    await again.reset(40)
    await log.append(bytes('new'))
    await again.acknowledge(41)
    expect((await log.consumer('c')).offset).toBe(41)
    await log.close()
  })

  it('records that were cut: retention keeps what takes their place for those who have never seen it', async () => {
    const log = await filled(backend)
    await (await log.consumer('behind')).acknowledge(30)
    await (await log.consumer('beyond')).acknowledge(50)
    await log.truncateAfter(39)
    const positions = async () => (await log.consumers.list()).map(({ name, offset, epoch }) => [name, offset, epoch])
    expect(await positions()).toEqual([
      ['behind', 30, 1],
      ['beyond', 40, 1],
    ])
    await (await log.consumer('behind')).reset(40)
    for (let i = 0; i < 60; i++) await log.append(bytes(`new ${i}`))
    await log.commitDriver().roll()
    await log.append(bytes('last'))
    expect(await log.retain({ before: log.endOffset })).toMatchObject({ heldBy: { reason: 'consumer', consumer: 'behind' } })
    expect(log.startOffset).toBeLessThanOrEqual(40)
    const beyond = await log.consumer('beyond')
    expect(await errorOf(() => beyond.offset)).toMatchObject({ code: 'ERR_SEALOG_EPOCH', offset: 40 })
    await beyond.reset(40)
    await log.close()
  })

  it('many open one that is not there yet at the same time, through several views: it is made', async () => {
    const log = await filled(backend)
    const reader = await Log.openReader(log.directory, { backend })
    const opened = await Promise.all([log, log, reader, reader].map((view) => view.consumer('new')))
    expect(opened.map(({ offset }) => offset)).toEqual([0, 0, 0, 0])
    expect((await log.consumers.list()).map(({ name }) => name)).toEqual(['new'])
    expect(fs.readdirSync(path.join(log.directory, 'consumers'))).toEqual(['new'])
    await reader.close()
    await log.close()
  })

  it('deleted, or changed by somebody else: the owner is told', async () => {
    const log = await filled(backend)
    const consumer = await log.consumer('c')
    await consumer.acknowledge(10)
    await log.consumers.reset('c', 4)
    expect(await errorOf(() => consumer.acknowledge(11))).toMatchObject({ code: 'ERR_SEALOG_CONFLICT', offset: 4 })
    const next = await log.consumer('c')
    await next.acknowledge(11)
    expect(await log.consumers.delete('c')).toBe(true)
    expect(await log.consumers.delete('c')).toBe(false)
    expect(await codeOf(() => next.acknowledge(12))).toBe('ERR_SEALOG_CONSUMER')
    expect(await codeOf(() => log.consumers.reset('c', 4))).toBe('ERR_SEALOG_CONSUMER')
    expect(await log.consumers.list()).toEqual([])
    const fresh = await log.consumer('c')
    expect(fresh.offset).toBe(0)
    await fresh.delete()
    expect(fs.existsSync(fileOf(log, 'c'))).toBe(false)
    await log.close()
  })

  it('another process owns one, without the lock, beside the writer', async () => {
    const log = await filled(backend)
    const program = startProgram('consume.mjs', [backend, log.directory, 'elsewhere', '60'])
    const { status, stderr } = await program.ended
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect((await log.consumers.list())[0]).toMatchObject({ name: 'elsewhere', offset: 60, lagRecords: 0, lagBytes: 0 })
    await log.close()
  })

  it('a file cut at any byte, or with any byte changed, gives the position or the one before, never one ahead', async () => {
    const log = await filled(backend, 10)
    const consumer = await log.consumer('c')
    await consumer.acknowledge(3)
    await consumer.acknowledge(7)
    const whole = fs.readFileSync(fileOf(log, 'c'))
    expect(whole.length).toBe(CONSUMER_FILE_BYTES)
    const seen = new Set<number | string>()
    const judge = (content: Uint8Array) => {
      const found = decodeConsumer(content, log.logSeed, crc32c)
      seen.add(typeof found === 'string' ? found : found.slot.offset)
    }
    for (let length = 0; length <= whole.length; length++) judge(whole.subarray(0, length))
    expect([...seen].sort()).toEqual([7, 'damaged'])
    seen.clear()
    for (const at of [...range(0, CONSUMER_SLOT_BYTES), ...range(CONSUMER_SLOT_DISTANCE, CONSUMER_FILE_BYTES)])
      for (let bit = 0; bit < 8; bit++) judge(whole.map((byte, i) => (i === at ? byte ^ (1 << bit) : byte)))
    expect([...seen].sort()).toEqual([3, 7])
    // A slot that is being written: every prefix of the new one over the old one.
    seen.clear()
    const slot = encodeConsumerSlot({ sequence: 4, offset: 9, epoch: 1, time: 1, maxLagBytes: undefined }, log.logSeed, crc32c)
    for (let length = 0; length <= slot.length; length++) {
      const torn = Uint8Array.from(whole)
      torn.set(slot.subarray(0, length), CONSUMER_SLOT_DISTANCE)
      judge(torn)
    }
    expect([...seen].sort()).toEqual([7, 9])
    // Files of other logs and of newer versions are told apart.
    expect(decodeConsumer(whole, log.logSeed + 1, crc32c)).toBe('damaged')
    const newer = Uint8Array.from(whole)
    newer[8] = 2
    new DataView(newer.buffer).setUint32(60, crc32c(newer.subarray(0, 60), log.logSeed), true)
    expect(decodeConsumer(newer, log.logSeed, crc32c)).toBe('newer')
    await log.close()
  })

  it('both slots damaged: a typed error, and reset makes the file anew', async () => {
    const log = await filled(backend)
    await (await log.consumer('bad')).acknowledge(9)
    await (await log.consumer('good')).acknowledge(5)
    fs.writeFileSync(fileOf(log, 'bad'), Buffer.alloc(CONSUMER_FILE_BYTES, 1))
    expect(await errorOf(() => log.consumer('bad'))).toMatchObject({ code: 'ERR_SEALOG_CONSUMER', file: fileOf(log, 'bad') })
    const [bad] = await log.consumers.list()
    expect(bad).toMatchObject({ name: 'bad', offset: undefined, lagRecords: 60, error: { code: 'ERR_SEALOG_CONSUMER' } })
    const slowest = () => log.environment.runner.run(slowestConsumer(log))
    expect(await slowest()).toMatchObject({ name: 'bad', offset: 0, error: { code: 'ERR_SEALOG_CONSUMER' } })
    await log.consumers.reset('bad', 12)
    expect((await log.consumer('bad')).offset).toBe(12)
    expect(await slowest()).toEqual({ name: 'good', offset: 5, error: undefined })
    await log.close()
  })

  it('a write or sync that fails is told; the next one writes the same slot again', async () => {
    const log = await filled(backend)
    const consumer = await log.consumer('c')
    await consumer.acknowledge(10)
    const testing = testingOf(backend)
    for (const kind of ['open', 'read', 'write', 'datasync'] as const) {
      const before = consumer.offset
      testing.fault(kind, 1, 5, false, 0)
      expect(await codeOf(() => consumer.acknowledge(before + 1))).toBe('ERR_SEALOG_IO')
      testing.clearFaults()
      expect(consumer.offset).toBe(before)
      await consumer.acknowledge(before + 2)
      expect((await log.consumer('c')).offset).toBe(before + 2)
    }
    await log.close()
  })

  it('killed, or without power, at every step: what was acknowledged last, or what was being acknowledged', async () => {
    const directory = makeDirectory('consumers')
    const testing = testingOf(backend)
    const log = await filled(backend, 60, path.join(directory, 'log'))
    await log.close()
    const first = fs.readdirSync(directory, { recursive: true }) as string[]
    const image: DiskImage = new Map(
      first.sort().map((name) => {
        const place = path.join(directory, name)
        if (fs.statSync(place).isDirectory()) return [name, undefined]
        const data = fs.readFileSync(place)
        return [name, { data, size: data.length }]
      }),
    )
    testing.record(true)
    const reader = await Log.openReader(log.directory, { backend })
    const consumer = await reader.consumer('c')
    testing.note(0)
    for (const offset of [4, 9, 15]) {
      await consumer.acknowledge(offset)
      testing.note(offset)
    }
    const reopened = await reader.consumer('c')
    await reopened.acknowledge(30)
    testing.note(30)
    await reader.close()
    const events = parseRecording(testing.takeRecording(), directory)
    testing.record(false)

    const random = new Random(3)
    const disk = Disk.of(image)
    const seen = new Set<string>()
    let acknowledged = -1
    const positions = new Set<number | undefined>()
    for (const [at, event] of events.entries()) {
      if (event.kind === 'note') acknowledged = event.number
      else disk.apply(event)
      for (const crashed of [disk.live(), ...disk.crashes(random, 8)]) {
        const hash = hashOf(crashed)
        const key = `${hash} ${acknowledged}`
        if (seen.has(key)) continue
        seen.add(key)
        const scratch = makeDirectory('image')
        materialize(crashed, scratch)
        const after = await Log.openReader(path.join(scratch, 'log'), { backend })
        const [found] = await after.consumers.list()
        const why = `event ${at} (${event.kind}), acknowledged ${acknowledged}`
        if (acknowledged >= 0) {
          expect(found?.error, why).toBeUndefined()
          expect([acknowledged, [0, 4, 9, 15, 30][[0, 4, 9, 15, 30].indexOf(acknowledged) + 1]], why).toContain(found?.offset)
        } else if (found !== undefined) expect(found, why).toMatchObject({ offset: 0, error: undefined })
        positions.add(found?.offset)
        await (await after.consumer('c')).acknowledge(60)
        expect((await after.consumer('c')).offset).toBe(60)
        await after.close()
        fs.rmSync(scratch, { recursive: true, force: true })
      }
    }
    expect([...positions]).toEqual([undefined, 0, 4, 9, 15, 30])
    expect(seen.size).toBeGreaterThan(12)
  })
})
