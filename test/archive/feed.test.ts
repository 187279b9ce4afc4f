/** The demo feed, 72,000 changes: archived, given up, read, restored. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { freshPath } from '../support/directories.js'
import { Random } from '../support/random.js'
import { archivers, digest, openBoth, roll, segmentHashes } from './archives.js'

describe.each(archivers)('the demo feed in archives (%s)', (backend) => {
  it('is the same, at a tenth of its size', async () => {
    const lines = gunzipSync(readFileSync(path.resolve('demo/changes.ndjson.gz')))
    const directory = freshPath('feed')
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 4 * 1024 * 1024 }, { blockBytes: 256 * 1024 })
    let records = 0
    for (let from = 0; from < lines.length; ) {
      const end = lines.indexOf(10, from)
      log.enqueue(lines.subarray(from, end < 0 ? lines.length : end))
      records++
      from = end < 0 ? lines.length : end + 1
      if (log.writableNeedDrain) await log.drain()
    }
    await log.flush()
    await roll(log)
    const before = await digest(log)
    const hashes = segmentHashes(directory)
    await archive.run()
    const { segmentBytes, archiveBytes } = archive.stats()
    await archive.release(log.endOffset)
    expect(await digest(log)).toBe(before)
    const random = new Random(3)
    for (let i = 0; i < 50; i++) {
      const offset = random.below(records)
      expect((await log.get(offset))?.offset).toBe(offset)
    }
    expect(await archive.restore(0, records)).toBe(archive.list().length)
    expect(segmentHashes(directory)).toEqual(hashes)
    await log.close()

    // Small blocks are where a dictionary helps.
    const ratios: number[] = []
    for (const train of [false, true]) {
      const place = freshPath('feed')
      const { log, archive } = await openBoth(place, backend, { segmentBytes: 4 * 1024 * 1024 }, { blockBytes: 16 * 1024 })
      for (let from = 0, n = 0; n < records; n++) {
        const end = lines.indexOf(10, from)
        log.enqueue(lines.subarray(from, end < 0 ? lines.length : end))
        from = end + 1
        if (log.writableNeedDrain) await log.drain()
      }
      await log.flush()
      await roll(log)
      if (train) await archive.train()
      await archive.run()
      ratios.push(archive.stats().archiveBytes / archive.stats().segmentBytes)
      await log.close()
    }
    console.log(
      `feed, ${backend}: ${records} records, ${(archiveBytes / segmentBytes).toFixed(4)} × its segments; 16 KiB blocks ${ratios.map((ratio) => ratio.toFixed(4)).join(', with dictionary ')}`,
    )
    expect(archiveBytes / segmentBytes).toBeLessThan(0.12)
    expect(ratios[1] / ratios[0]).toBeLessThan(0.92)
  }, 60_000)
})
