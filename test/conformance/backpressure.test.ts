import { describe, expect, it } from 'vitest'
import { configure, Log } from '../../lib/index.js'
import { freshPath } from '../support/directories.js'
import { bytes, errorOf, offsets, range } from '../support/logs.js'

const QUEUE_BYTES = 256 * 1024
configure({ queueBytes: QUEUE_BYTES, maxOpenFiles: 8, readerThreads: 2 })
const { backends } = await import('../support/backends.js')

describe.each(backends)('T26, G12: bounds of the environment (%s)', (backend) => {
  it('refuses with ERR_SEALOG_QUEUE_FULL far beyond the mark, with nothing accepted; drain() makes room', async () => {
    const log = await Log.open(freshPath(), { backend })
    let accepted = 0
    const full = await errorOf(() => {
      for (;;) {
        log.enqueue(new Uint8Array(1000))
        accepted++
      }
    })
    expect(full.code).toBe('ERR_SEALOG_QUEUE_FULL')
    expect(accepted).toBe(Math.floor(QUEUE_BYTES / 1024))
    expect([log.endOffset, log.writableNeedDrain]).toEqual([accepted, true])
    expect((await errorOf(() => log.append(new Uint8Array(1000)))).code).toBe('ERR_SEALOG_QUEUE_FULL')
    expect((await errorOf(() => log.appendBatch([new Uint8Array(500), new Uint8Array(500)]))).code).toBe('ERR_SEALOG_QUEUE_FULL')
    await log.drain()
    expect(log.writableNeedDrain).toBe(false)
    expect(await log.append(bytes('room'))).toBe(accepted)
    await log.close()
  })

  it.each(['fsync', 'flush', 'none'] as const)('a producer that drains keeps order and stays within the bound in mode %s', async (durability) => {
    const log = await Log.open(freshPath(), { backend, durability })
    let most = 0
    for (let i = 0; i < 3000; i++) {
      if (log.writableNeedDrain) await log.drain()
      expect(log.enqueue(new Uint8Array(900))).toBe(i)
      most = Math.max(most, log.stats().environmentQueuedBytes)
    }
    await log.flush()
    expect(most).toBeLessThan(QUEUE_BYTES / 2)
    expect(log.stats().environmentQueuedBytes).toBe(0)
    expect(await offsets(log)).toEqual(range(0, 3000))
    await log.close()
  })

  it('many logs share one budget', async () => {
    const logs = await Promise.all(range(0, 10).map(() => Log.open(freshPath(), { backend })))
    let accepted = 0
    const full = await errorOf(() => {
      for (let i = 0; ; i++) {
        logs[i % 10].enqueue(new Uint8Array(1000))
        accepted++
      }
    })
    expect([full.code, accepted]).toEqual(['ERR_SEALOG_QUEUE_FULL', Math.floor(QUEUE_BYTES / 1024)])
    await Promise.all(logs.map((log) => log.drain()))
    await Promise.all(logs.map((log) => log.close()))
  })

  it('holds at most about maxOpenFiles segments open, however many are read', async () => {
    const log = await Log.open(freshPath(), { backend, durability: 'flush', segmentBytes: 1024, maxBatchBytes: 600 })
    for (let i = 0; i < 60; i++) await log.append(new Uint8Array(500).fill(i))
    expect(log.stats().segments).toBeGreaterThan(25)
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 60; i++) expect(log.getSync((i * 17) % 60)?.value[0]).toBe((i * 17) % 60)
      await offsets(log)
    }
    expect(log.stats().openFiles).toBeLessThanOrEqual(9)
    await log.close()
  })

  it('configure() a second time is ERR_SEALOG_CONFIGURED', async () => {
    expect((await errorOf(() => configure({}))).code).toBe('ERR_SEALOG_CONFIGURED')
  })
})
