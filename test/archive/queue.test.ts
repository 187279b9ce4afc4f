/** The queue of segments that wait: its bound, and how appends fare meanwhile. */
import { describe, expect, it } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { Log } from '../../lib/index.js'
import { environmentOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { codeOf, until } from '../support/logs.js'
import { archivers, OPTIONS, openBoth, roll } from './archives.js'

const warnings: string[] = []
process.removeAllListeners('warning')
process.on('warning', (warning: Error & { code?: string }) => {
  warnings.push(`${warning.code}`)
})

async function fillSegments(log: Log, segments: number): Promise<void> {
  for (let i = 0; i < segments; i++) {
    await log.append(Buffer.from(`record ${i}`))
    await roll(log)
  }
}

describe.each(archivers)('queue of the archive (%s)', (backend) => {
  it('block: appends are asked to wait until it is short enough', async () => {
    const { log, archive } = await openBoth(freshPath(), backend, {}, { queueSize: 3, queuePolicy: 'block' })
    await fillSegments(log, 3)
    expect(log.writableNeedDrain).toBe(false)
    await fillSegments(log, 2)
    expect(log.writableNeedDrain).toBe(true)
    let drained = false
    const waiting = log.drain().then(() => {
      drained = true
    })
    await log.append(Buffer.from('who does not wait is not refused'))
    expect(drained).toBe(false)
    await archive.run()
    await waiting
    expect(log.writableNeedDrain).toBe(false)
    await fillSegments(log, 5)
    const given = log.drain()
    await archive.close()
    // Nobody is left who would shorten it.
    await given
    expect(log.writableNeedDrain).toBe(false)
    await log.close()
  })

  it('warn: once for each time that it is too long', async () => {
    const { log, archive } = await openBoth(freshPath(), backend, {}, { queueSize: 2 })
    const count = () => warnings.filter((code) => code === 'SEALOG_ARCHIVE_QUEUE').length
    await fillSegments(log, 5)
    await until(() => count() === 1, 'the warning')
    expect(log.writableNeedDrain).toBe(false)
    await archive.run()
    await fillSegments(log, 3)
    await until(() => count() === 2, 'the second warning')
    await log.close()
  })

  it('memory does not depend on the size of segments', async () => {
    const { log, archive } = await openBoth(
      freshPath(),
      backend,
      { segmentBytes: 64 * 1024 * 1024, maxBatchBytes: 16 * 1024 * 1024 },
      { blockBytes: 256 * 1024 },
    )
    const value = Buffer.alloc(100_000)
    const fill = async () => {
      for (let i = 0; i < 600; i++) {
        for (let at = 0; at < value.length; at += 1000) value.writeUInt32LE((i * 2654435761 + at * 40503) >>> 0, at)
        log.enqueue(value)
        if (log.writableNeedDrain) await log.drain()
      }
      await log.flush()
      await roll(log)
    }
    await fill()
    await archive.run()
    for (let i = 0; i < 3; i++) await fill()
    const before = process.memoryUsage.rss()
    let most = before
    const sampling = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss())
    }, 5)
    expect(await archive.run()).toBe(3)
    clearInterval(sampling)
    // Three at a time, 180 MB: a tenth of it would be two segments' worth of blocks for each.
    console.log(`archiving 3 segments of 60 MB, ${backend}: ${Math.round((most - before) / 2 ** 20)} MiB more`)
    expect(most - before).toBeLessThan(64 * 1024 * 1024)
    await log.close()
  }, 60_000)

  it('options are checked', async () => {
    const log = await Log.open(freshPath(), { ...OPTIONS, backend })
    for (const options of [{ level: 0 }, { level: 23 }, { parallelism: 0 }, { queuePolicy: 'drop' }, { bytesPerSecond: 0 }, { blockBytes: 1 }, { speed: 1 }]) {
      expect(await codeOf(() => openArchive(log, options as object))).toBe('ERR_SEALOG_OPTION')
    }
    const archive = await openArchive(log, { level: 22, automatic: false })
    expect(await codeOf(() => archive.restore(-1, 4))).toBe('ERR_SEALOG_ARGUMENT')
    expect(await codeOf(() => archive.release(0.5))).toBe('ERR_SEALOG_ARGUMENT')
    expect(await archive.info(0)).toBeUndefined()
    expect(archive.list()).toEqual([])
    expect(await archive.run()).toBe(0)
    await archive.close()
    expect(await codeOf(() => archive.verify())).toBe('ERR_SEALOG_CLOSED')
    expect(environmentOf(backend).kernels.can.compress).toBe(true)
    await log.close()
  })
})
