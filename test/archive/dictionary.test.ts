/** Dictionaries: made of the log's own records, used only where they gain, on disk before an archive names them, and missed by name. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { dictionaryFile } from '../../lib/format/names.js'
import { Log } from '../../lib/index.js'
import { environmentOf } from '../support/backends.js'
import { copyDirectory, freshPath } from '../support/directories.js'
import { codeOf, errorOf, segmentPath } from '../support/logs.js'
import { Random } from '../support/random.js'
import { archiveNames, archivers, digest, OPTIONS, openBoth, roll, segmentHashes } from './archives.js'

const WORDS = 'insert update delete public accounts orders customer_id created_at updated_at balance currency status pending shipped'.split(' ')

/** Rows of a change feed: each unlike the one before, all alike. */
async function appendRows(log: Log, rows: number, random: Random): Promise<void> {
  for (let i = 0; i < rows; i++) {
    const row = { operation: random.pick(WORDS), table: random.pick(WORDS), values: Object.fromEntries(WORDS.map((word) => [word, random.below(100_000)])) }
    log.enqueue(Buffer.from(JSON.stringify(row)))
  }
  await log.flush()
  await roll(log)
}

describe.each(archivers)('dictionaries (%s)', (backend) => {
  it('make archives of alike records smaller, and are needed to read them', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 64 * 1024 })
    await appendRows(log, 1000, new Random(1))
    const before = await digest(log)
    const trained = await archive.train()
    expect(trained.gain).toBeGreaterThan(0.08)
    const id = trained.dictionary ?? 0
    expect(archiveNames(directory)).toEqual([dictionaryFile(id)])
    await archive.run()
    expect(new Set(archive.list().map(({ dictionary }) => dictionary))).toEqual(new Set([id]))
    expect((await archive.info(0))?.header).toMatchObject({ dictionary: id, level: 3, base: 0 })
    await archive.release(log.endOffset)
    expect(await digest(log)).toBe(before)
    expect(await archive.verify()).toMatchObject({ ok: true })
    await log.close()

    const file = path.join('archive', dictionaryFile(id))
    const content = fs.readFileSync(path.join(directory, file))
    const damages: ReadonlyArray<readonly [string, (place: string) => void]> = [
      ['missing', (place) => fs.rmSync(place)],
      [
        'damaged',
        (place) =>
          fs.writeFileSync(
            place,
            content.map((byte, at) => (at === 200 ? byte ^ 1 : byte)),
          ),
      ],
      [
        'damaged',
        (place) =>
          fs.writeFileSync(
            place,
            content.map((byte, at) => (at === 20 ? byte ^ 1 : byte)),
          ),
      ],
      ['damaged', (place) => fs.truncateSync(place, content.length - 1)],
    ]
    for (const [word, damage] of damages) {
      const copy = copyDirectory(directory)
      damage(path.join(copy, file))
      const again = await Log.open(copy, { ...OPTIONS, backend })
      const error = await errorOf(() => again.get(5))
      expect(error).toMatchObject({ code: 'ERR_SEALOG_ARCHIVE', file: path.join(copy, file) })
      expect(error.message).toContain(word)
      const report = await (await openArchive(again, { automatic: false })).verify()
      expect(report.problems).toHaveLength(report.archives)
      await again.append(Buffer.from('appends go on'))
      await again.close()
      fs.writeFileSync(path.join(copy, file), content)
      const mended = await Log.open(copy, { ...OPTIONS, backend })
      expect((await mended.get(5))?.offset).toBe(5)
      await mended.close()
    }
  })

  it('are not used where they gain nothing, and archives with and without are read side by side', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 64 * 1024 })
    const random = new Random(2)
    for (let i = 0; i < 200; i++) log.enqueue(random.bytes(500))
    await log.flush()
    await roll(log)
    const trained = await archive.train()
    expect(trained.dictionary).toBeUndefined()
    expect(trained.gain).toBeLessThan(0.03)
    expect(archiveNames(directory)).toEqual([])
    await archive.run()
    await archive.close()
    await appendRows(log, 1500, random)
    // From here on without being asked, and with the same one by the next session.
    const second = await openArchive(log, { automatic: false, blockBytes: 4096, dictionary: true })
    await second.run()
    const ids = second.list().map(({ dictionary }) => dictionary)
    expect(ids[0]).toBe(0)
    expect(ids.at(-1)).not.toBe(0)
    await log.close()
    const third = await openBoth(directory, backend, { segmentBytes: 64 * 1024 }, { dictionary: true })
    await appendRows(third.log, 300, random)
    const before = await digest(third.log)
    await third.archive.run()
    expect(third.archive.list().at(-1)?.dictionary).toBe(ids.at(-1))
    await third.archive.release(third.log.endOffset)
    expect(await digest(third.log)).toBe(before)
    await third.log.close()
  })

  it('one that is gone from the disk: no file is given up for what needs it, and archives to come get another', async () => {
    const directory = freshPath()
    const options = { segmentBytes: 64 * 1024 }
    const { log, archive } = await openBoth(directory, backend, options)
    await appendRows(log, 1000, new Random(1))
    const first = (await archive.train()).dictionary ?? 0
    await archive.run()
    fs.rmSync(path.join(directory, 'archive', dictionaryFile(first)))
    const segments = segmentHashes(directory)
    expect(await codeOf(() => archive.release(log.endOffset))).toBe('ERR_SEALOG_ARCHIVE')
    expect(await codeOf(() => log.retain({ before: log.endOffset, archive: 'archive' }))).toBe('ERR_SEALOG_ARCHIVE')
    expect(segmentHashes(directory)).toEqual(segments)
    await log.close()
    const again = await openBoth(directory, backend, options, { dictionary: true })
    await appendRows(again.log, 1000, new Random(2))
    await again.archive.run()
    const [last] = again.archive.list().slice(-1)
    expect(last.dictionary).not.toBe(0)
    expect(archiveNames(directory)).toContain(dictionaryFile(last.dictionary))
    await again.log.close()
  })

  it('a damaged segment among those that samples are of is the only one that is set aside', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 64 * 1024 }, { dictionary: true })
    await appendRows(log, 1000, new Random(1))
    const { closed } = log.commitDriver().parts.manifest.state
    for (const { base } of [closed[1], closed[closed.length - 1]]) {
      const file = segmentPath(directory, base)
      fs.writeFileSync(
        file,
        fs.readFileSync(file).map((byte, at) => (at > 300 && at % 1000 === 0 ? byte ^ 1 : byte)),
      )
    }
    expect(await archive.run()).toBe(closed.length - 2)
    expect(archive.stats()).toMatchObject({ pending: 0, quarantined: 2, failures: 0 })
    await log.close()
  })

  it('are let go when another takes their place, and with the log', async () => {
    const { kernels } = environmentOf(backend)
    const made = vi.spyOn(kernels, 'createDictionary')
    const gone = vi.spyOn(kernels, 'destroyDictionary')
    const { log, archive } = await openBoth(freshPath(), backend, { segmentBytes: 64 * 1024 })
    for (let i = 0; i < 3; i++) {
      await appendRows(log, 500, new Random(i))
      await Promise.all([archive.train(), archive.train(), archive.run()])
    }
    await log.close()
    // What reads keep is shared by all logs: one for each dictionary that an archive names, for at most 16.
    const read = new Set(archive.list().map(({ dictionary }) => dictionary))
    read.delete(0)
    expect(made.mock.calls.length).toBeGreaterThan(6)
    expect(made.mock.calls.length - gone.mock.calls.length).toBeLessThanOrEqual(read.size)
    vi.restoreAllMocks()
  })
})
