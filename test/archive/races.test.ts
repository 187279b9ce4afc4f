/** Archives while their log ends, is cut, or has another directory than it should: nothing is told to MANIFEST, and nothing removed, that is not the log's any more. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { Log, repair } from '../../lib/index.js'
import { freshPath } from '../support/directories.js'
import { codeOf, offsets, range, until } from '../support/logs.js'
import { Random } from '../support/random.js'
import { archiveNames, archivers, digest, OPTIONS, openBoth, roll, segmentHashes } from './archives.js'

async function append(log: Log, segments: number): Promise<void> {
  for (let i = 0; i < segments; i++) {
    for (let j = 0; j < 30; j++) log.enqueue(Buffer.from(`record ${log.endOffset} ${'x'.repeat(60)}`))
    await log.flush()
    await roll(log)
  }
}

/** Runs what is waiting, but nothing that the disk has to answer first. */
async function turns(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve()
}

describe.each(archivers)('archives and the life of their log (%s)', (backend) => {
  it.each(['release', 'restore'] as const)('closeSync during %s: the lock is gone, and so is the right to change anything', async (move) => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend)
    await append(log, 3)
    await archive.run()
    if (move === 'restore') await archive.release(log.endOffset)
    const before = await digest(log)
    const moving = codeOf(() => (move === 'release' ? archive.release(30) : archive.restore(0, log.endOffset)))
    await turns()
    log.closeSync()
    const manifest = fs.readFileSync(path.join(directory, 'MANIFEST'))
    const segments = segmentHashes(directory)
    expect(await moving).toBe('ERR_SEALOG_CLOSED')
    expect(fs.readFileSync(path.join(directory, 'MANIFEST')).equals(manifest)).toBe(true)
    expect(segmentHashes(directory)).toEqual(segments)
    const again = await Log.open(directory, { ...OPTIONS, backend })
    expect(await digest(again)).toBe(before)
    await again.close()
  })

  it('closeSync during seal: no segment is begun any more', async () => {
    const directory = freshPath()
    const log = await Log.open<unknown>(directory, { ...OPTIONS, backend, codec: 'json', chunkBytes: 300 })
    for (let i = 0; i < 20; i++) await log.append({ i })
    const sealing = codeOf(() => log.chunks.seal())
    await turns()
    log.closeSync()
    const before = [...segmentHashes(directory).keys()]
    const manifest = fs.readFileSync(path.join(directory, 'MANIFEST'))
    expect(await sealing).toBe('ERR_SEALOG_CLOSED')
    expect([...segmentHashes(directory).keys()]).toEqual(before)
    expect(fs.readFileSync(path.join(directory, 'MANIFEST')).equals(manifest)).toBe(true)
  })

  it('an archive that is missing stops neither sealing nor the list of consumers, nor retention', async () => {
    const directory = freshPath()
    const options = { ...OPTIONS, backend, codec: 'json', chunkBytes: 300 } as const
    const log = await Log.open<unknown>(directory, options)
    const archive = await openArchive(log, { automatic: false })
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 10; j++) await log.append({ j })
      await roll(log as Log)
    }
    await archive.run()
    await archive.release(log.endOffset)
    await (await log.consumer('c', { maxLagBytes: 1_000_000 })).acknowledge(5)
    await log.close()
    fs.rmSync(archive.list()[0].file)
    const again = await Log.open<unknown>(directory, options)
    await again.append({ new: true })
    expect((await again.chunks.seal()).at(-1)?.last).toBe(40)
    expect(await again.consumers.list()).toMatchObject([{ name: 'c', offset: 5, lagRecords: 36 }])
    expect(await again.retain({ before: 40 })).toMatchObject({ heldBy: { reason: 'consumer', offset: 5 } })
    await again.close()
  })

  it('closing does not wait for what a rate limit would take', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 4 * 1024 * 1024 }, { level: 15, blockBytes: 1024 * 1024, bytesPerSecond: 1000 })
    const random = new Random(3)
    for (let i = 0; i < 3000; i++) log.enqueue(Buffer.from(Array.from({ length: 1000 }, () => random.below(256))))
    await log.flush()
    await roll(log)
    const running = codeOf(() => archive.run())
    // The header is written: a block is being compressed.
    const size = () => archiveNames(directory).reduce((sum, name) => sum + fs.statSync(path.join(directory, 'archive', name)).size, 0)
    await until(() => size() > 0, 'it is under way')
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
    await log.close()
    expect(await running).toBe('ERR_SEALOG_CLOSED')
  }, 20_000)

  it("another log's archives of the same names are not removed", async () => {
    const [one, other] = [await openBoth(freshPath(), backend), await openBoth(freshPath(), backend)]
    for (const { log, archive } of [one, other]) {
      await append(log, 4)
      await archive.run()
    }
    await other.archive.release(other.log.endOffset)
    await one.log.close()
    const { log: owner, archive } = other
    const names = archiveNames(owner.directory)
    const wrong = await Log.open(one.log.directory, { ...OPTIONS, backend, archive: { directory: archive.directory } })
    await wrong.retain({ before: 30 })
    await wrong.truncateBefore(60)
    await wrong.truncateAfter(70)
    expect([wrong.startOffset, wrong.endOffset]).toEqual([60, 71])
    await wrong.close()
    expect(archiveNames(owner.directory)).toEqual(names)
    expect(await archive.verify()).toMatchObject({ ok: true, archives: 4 })
    await owner.close()
  })

  it('MANIFEST lost: archives that do not lead up to the log become its history again', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend)
    await append(log, 6)
    await archive.run()
    await log.retain({ before: 60, archive: 'keep' })
    await log.truncateBefore(100)
    await log.close()
    fs.rmSync(path.join(directory, 'MANIFEST'))
    await repair(directory, { policy: 'salvage', manifest: true, backend })
    const again = await openBoth(directory, backend)
    expect(await offsets(again.log)).toEqual(range(90, 180))
    expect(again.archive.list().map(({ base, history }) => [base, history])).toEqual([
      [0, true],
      [30, true],
    ])
    await again.log.retain({ before: 0, archive: 'keep' })
    expect(await again.archive.verify()).toMatchObject({ ok: true, archives: 2 })
    await again.log.close()
  })
})
