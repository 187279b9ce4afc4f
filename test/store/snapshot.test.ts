/** Snapshots are derived: with any of them, damaged, old, foreign or none, a store gives the same answers. */
import fs from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  chainSnapshotBlock,
  decodeSnapshotHeader,
  encodeSnapshotBlock,
  encodeSnapshotFooter,
  encodeSnapshotHeader,
  SNAPSHOT_HEADER_BYTES,
  type SnapshotHeader,
  snapshotBlockBytes,
  snapshotSeed,
} from '../../lib/format/snapshot-file.js'
import { Log, repair } from '../../lib/index.js'
import { encodeKey } from '../../lib/store/keys.js'
import { backends, environmentOf, testingOf } from '../support/backends.js'
import { copyDirectory, freshPath } from '../support/directories.js'
import { codeOf, errorOf, segmentPath, until } from '../support/logs.js'
import { entriesOf, openJson, readSnapshot, snapshotPath, withStore } from './stores.js'

/** Messages of SEALOG_SNAPSHOT since the test began. */
let warnings: string[] = []
const listen = (warning: Error & { code?: string }) => {
  if (warning.code === 'SEALOG_SNAPSHOT') warnings.push(warning.message)
}
beforeEach(() => {
  process.removeAllListeners('warning')
  process.on('warning', listen)
  warnings = []
})
afterEach(() => process.off('warning', listen))
/** Warnings are emitted on the next tick. */
const takeWarnings = async () => {
  await new Promise((resolve) => setImmediate(resolve))
  return warnings.splice(0)
}

describe.each(backends)('snapshots (%s)', (backend) => {
  const { crc32c } = environmentOf(backend).kernels
  const fill = (directory: string, count = 40) =>
    withStore(directory, backend, {}, async (store) => {
      await store.putBatch(Array.from({ length: count }, (_, i) => ({ key: i % 3 === 0 ? i : `key ${i}`, value: i })))
      await store.delete(3)
      await store.snapshot()
      await store.put('after', 'the snapshot')
      await store.put(6, 'newer')
      await store.delete('key 4')
    })
  const answers = (directory: string) => withStore(directory, backend, {}, (store) => entriesOf(store))
  const copied = (from: string) => copyDirectory(from)

  it('holds the keys up to a commit; open replays what came after it', async () => {
    const directory = freshPath()
    await fill(directory)
    const expected = await answers(directory)
    expect(expected).toHaveLength(39)
    const progress: number[] = []
    await withStore(directory, backend, { onProgress: ({ offset }) => progress.push(offset) }, async (store) => {
      expect(store.stats().snapshot).toEqual({ endOffset: 41, entries: 39, bytes: readSnapshot(directory).length })
      expect(store.stats().bytesSinceSnapshot).toBeGreaterThan(0)
      expect(await entriesOf(store)).toEqual(expected)
      expect(store.getSync(6)).toBe('newer')
    })
    expect(progress).toEqual([44])
    fs.rmSync(snapshotPath(directory))
    expect(await answers(directory)).toEqual(expected)
    expect(await takeWarnings()).toEqual([])
  })

  it('damaged in any byte, cut or lengthened anywhere: ignored with a warning, the answers are the same', async () => {
    const directory = freshPath()
    await fill(directory, 6)
    const good = readSnapshot(directory)
    const expected = await answers(directory)
    const variants: Buffer[] = []
    for (let at = 0; at < good.length; at++) {
      const changed = Buffer.from(good)
      changed[at] ^= 1 << (at % 8)
      variants.push(changed)
    }
    for (let length = 0; length < good.length; length += 7) variants.push(good.subarray(0, length))
    variants.push(Buffer.concat([good, Buffer.from([0])]), Buffer.alloc(good.length))
    await takeWarnings()
    for (const variant of variants) {
      fs.writeFileSync(snapshotPath(directory), variant)
      expect(await answers(directory)).toEqual(expected)
      expect(await takeWarnings()).toHaveLength(1)
    }
    fs.writeFileSync(snapshotPath(directory), good)
    expect(await answers(directory)).toEqual(expected)
    expect(await takeWarnings()).toEqual([])
  })

  it('a count or size that cannot be is refused before anything is allocated', async () => {
    const directory = freshPath()
    await fill(directory, 6)
    const good = readSnapshot(directory)
    const expected = await answers(directory)
    const header = decodeSnapshotHeader(good.subarray(0, SNAPSHOT_HEADER_BYTES), crc32c) as SnapshotHeader
    const forged = (change: Partial<SnapshotHeader>) =>
      Buffer.concat([encodeSnapshotHeader({ ...header, ...change }, crc32c), good.subarray(SNAPSHOT_HEADER_BYTES)])
    const blockOf = (size: number, count: number) => {
      const bytes = Buffer.from(good)
      bytes.writeUInt32LE(size, SNAPSHOT_HEADER_BYTES)
      bytes.writeUInt32LE(count, SNAPSHOT_HEADER_BYTES + 4)
      return bytes
    }
    const newer = Buffer.from(good.subarray(0, SNAPSHOT_HEADER_BYTES))
    newer.writeUInt16LE(2, 8)
    newer.writeUInt32LE(crc32c(newer.subarray(0, 92), 0), 92)
    const cases: [Buffer, RegExp][] = [
      [forged({ entries: 2 ** 40, end: 2 ** 41 }), /damaged/],
      [forged({ end: header.end + 100 }), /reaches to offset/],
      [forged({ epoch: 7 }), /epoch 7/],
      [forged({ logId: new Uint8Array(16) }), /another log/],
      [forged({ proof: header.proof ^ 1 }), /other records/],
      [forged({ lost: 5 }), /repaired/],
      [blockOf(2 ** 31, 4), /damaged/],
      [blockOf(100, 2 ** 31), /damaged/],
      [Buffer.concat([newer, good.subarray(SNAPSHOT_HEADER_BYTES)]), /newer version/],
    ]
    await takeWarnings()
    for (const [bytes, message] of cases) {
      fs.writeFileSync(snapshotPath(directory), bytes)
      expect(await answers(directory)).toEqual(expected)
      expect((await takeWarnings()).join()).toMatch(message)
    }
  })

  it('T9: an old snapshot with the newer log, a new snapshot with an older log or another one', async () => {
    const directory = freshPath()
    await fill(directory)
    const old = readSnapshot(directory)
    const oldLog = copied(directory)
    const oldAnswers = await answers(directory)
    await withStore(directory, backend, {}, async (store) => {
      await store.clear()
      await store.put('only', 1)
      await store.snapshot()
      await store.put('and', 2)
    })
    const expected = await answers(directory)
    const newer = readSnapshot(directory)
    fs.writeFileSync(snapshotPath(directory), old)
    expect(await answers(directory)).toEqual(expected)
    expect(await takeWarnings()).toEqual([])

    fs.writeFileSync(snapshotPath(oldLog), newer)
    expect(await answers(oldLog)).toEqual(oldAnswers)
    expect((await takeWarnings()).join()).toMatch(/reaches to offset/)

    // The older log has grown past the snapshot's end, with other records.
    await withStore(oldLog, backend, {}, (store) => store.putBatch(Array.from({ length: 50 }, (_, i) => ({ key: `other ${i}`, value: i }))))
    const grown = await answers(oldLog)
    fs.writeFileSync(snapshotPath(oldLog), newer)
    expect(await answers(oldLog)).toEqual(grown)
    expect((await takeWarnings()).join()).toMatch(/other records/)

    const another = freshPath()
    await fill(another)
    const anothers = await answers(another)
    fs.writeFileSync(snapshotPath(another), newer)
    expect(await answers(another)).toEqual(anothers)
    expect((await takeWarnings()).join()).toMatch(/another log/)
  })

  it('a snapshot of an older epoch is ignored; one from before truncateBefore leaves out what is gone', async () => {
    const directory = freshPath()
    await withStore(directory, backend, { segmentBytes: 1024 }, async (store) => {
      for (let i = 0; i < 60; i++) await store.put(i, i)
      await store.snapshot()
      await store.put('last', 1)
    })
    const cut = copied(directory)
    let log = await Log.open(cut, { backend })
    const start = await log.truncateBefore(20)
    expect(start).toBeGreaterThan(0)
    await log.close()
    expect((await answers(cut)).map(([key]) => key)).toEqual([...Array.from({ length: 60 - start }, (_, i) => i + start), 'last'])
    expect(await takeWarnings()).toEqual([])

    log = await Log.open(directory, { backend })
    await log.truncateAfter(30)
    await log.close()
    expect((await answers(directory)).map(([key]) => key)).toEqual(Array.from({ length: 31 }, (_, i) => i))
    expect((await takeWarnings()).join()).toMatch(/epoch/)
  })

  it('a repaired log gives the same answers with the snapshot from before and without', async () => {
    const directory = freshPath()
    await withStore(directory, backend, { segmentBytes: 1024 }, async (store) => {
      for (let i = 0; i < 60; i++) await store.put(i % 20, i)
      await store.snapshot()
    })
    const log = await Log.openReader(directory, { backend })
    const base = log.segments.all[1].base
    await log.close()
    const file = segmentPath(directory, base)
    const content = fs.readFileSync(file)
    content[400] ^= 1
    fs.writeFileSync(file, content)
    await repair(directory, { policy: 'salvage' })
    const without = copied(directory)
    fs.rmSync(snapshotPath(without))
    expect(await answers(directory)).toEqual(await answers(without))
    expect((await takeWarnings()).join()).toMatch(/repaired/)
    await withStore(directory, backend, {}, (store) => store.snapshot())
    expect((await takeWarnings()).join()).toMatch(/repaired/)
    expect(await answers(directory)).toEqual(await answers(without))
    expect(await takeWarnings()).toEqual([])
  })

  it('an index that is not that of its log is a typed error, never another value', async () => {
    const directory = freshPath()
    await withStore(directory, backend, {}, async (store) => {
      await store.put('a', 1)
      await store.put('b', 2)
      await store.delete('b')
      await store.snapshot()
    })
    const good = readSnapshot(directory)
    const header = decodeSnapshotHeader(good.subarray(0, SNAPSHOT_HEADER_BYTES), crc32c) as SnapshotHeader
    const forge = (entries: [string, number][]) => {
      const start = encodeSnapshotHeader({ ...header, entries: entries.length }, crc32c)
      const seed = snapshotSeed(start)
      const keys = Buffer.concat(entries.map(([key]) => encodeKey(key)))
      const table = new Float64Array(entries.flatMap(([, offset], i) => [2 * (i + 1), offset]))
      const block = { count: entries.length, keys, table }
      const bytes = new Uint8Array(snapshotBlockBytes(block))
      encodeSnapshotBlock(block, bytes, seed, crc32c)
      fs.writeFileSync(
        snapshotPath(directory),
        Buffer.concat([start, bytes, encodeSnapshotFooter(entries.length, chainSnapshotBlock(seed, bytes, crc32c), seed, crc32c)]),
      )
    }
    forge([
      ['a', 1],
      ['b', 2],
      ['c', 0],
    ])
    await withStore(directory, backend, {}, async (store) => {
      expect(store.size).toBe(3)
      for (const key of ['a', 'b', 'c']) expect(await codeOf(() => store.get(key))).toBe('ERR_SEALOG_CORRUPT')
      expect(await codeOf(() => entriesOf(store))).toBe('ERR_SEALOG_CORRUPT')
    })
    forge([['a', 3]])
    expect(await answers(directory)).toEqual([['a', 1]])
    expect((await takeWarnings()).join()).toMatch(/damaged/)
  })

  it('is taken in the background after snapshotBytes of growth, and then after as much as it has itself', async () => {
    const directory = freshPath()
    const store = await openJson(directory, backend, { durability: 'flush', snapshotBytes: 20_000 })
    const grow = async (bytes: number) => {
      for (const end = store.stats().log.endOffset; store.stats().bytesSinceSnapshot < bytes && store.stats().log.endOffset < end + 5000; )
        await store.put(`a rather long key, so that the snapshot has some size ${store.committedOffset}`, 1)
    }
    await grow(15_000)
    expect([store.stats().snapshot, store.stats().snapshotRunning]).toEqual([undefined, false])
    await until(() => {
      if (store.stats().snapshot === undefined) void store.put(`k ${store.committedOffset}`, 1)
      return store.stats().snapshot !== undefined
    }, 'a snapshot')
    const first = store.stats().snapshot
    expect(first?.endOffset).toBeLessThanOrEqual(store.committedOffset)
    // What it covers was made durable first.
    expect(store.stats().log.durableOffset).toBeGreaterThanOrEqual(first?.endOffset ?? Number.NaN)
    await store.close()
    await withStore(directory, backend, { snapshotBytes: false }, async (again) => {
      expect(again.stats().snapshot).toEqual(first)
      const large = 'x'.repeat(50_000)
      for (let i = 0; i < 4; i++) await again.put('large', large)
      expect([again.stats().snapshot, again.stats().snapshotRunning]).toEqual([first, false])
    })
  })

  it('shows one moment, though written while the store changes; a second call waits for the first', async () => {
    const directory = freshPath()
    const store = await openJson<number>(directory, backend)
    await store.putBatch(Array.from({ length: 20_000 }, (_, i) => ({ key: i, value: 0 })))
    const [first, second] = [store.snapshot(), store.snapshot()]
    const writes = [store.clear(), ...Array.from({ length: 500 }, (_, i) => store.put(i * 7, 1))]
    const info = await first
    expect(info).toMatchObject({ endOffset: 20_000, entries: 20_000 })
    const snapshot = readSnapshot(directory)
    await Promise.all(writes)
    expect((await second).endOffset).toBeGreaterThanOrEqual(20_000)
    const expected = await entriesOf(store)
    await store.close()
    fs.writeFileSync(snapshotPath(directory), snapshot)
    expect(await answers(directory)).toEqual(expected)
    expect(await takeWarnings()).toEqual([])
  })

  it('what fails is told and leaves the last snapshot; close gives up the one under way', async () => {
    const testing = testingOf(backend)
    const directory = freshPath()
    await fill(directory)
    const before = readSnapshot(directory)
    const { EIO, ENOSPC } = constants.errno
    for (const [kind, errno] of [
      ['open', EIO],
      ['write', ENOSPC],
      ['sync', EIO],
      ['rename', EIO],
    ] as const) {
      const store = await openJson(directory, backend)
      testing.fault(kind, 1, errno, false, 0)
      expect((await errorOf(() => store.snapshot())).code).toMatch(/ERR_SEALOG_(IO|NO_SPACE)/)
      testing.clearFaults()
      expect(store.stats().snapshotFailures).toBe(1)
      expect(readSnapshot(directory)).toEqual(before)
      expect(fs.existsSync(`${snapshotPath(directory)}.tmp`)).toBe(false)
      await store.close()
    }
    const store = await openJson(directory, backend)
    const given = codeOf(() => store.snapshot())
    await store.close()
    expect(await given).toBe('ERR_SEALOG_CLOSED')
    expect(readSnapshot(directory)).toEqual(before)

    const background = await openJson(directory, backend, { snapshotBytes: 1 })
    testing.fault('rename', 1, EIO, false, 0)
    await background.put('k', 'x'.repeat(before.length))
    await until(() => background.stats().snapshotFailures === 1, 'the failure')
    testing.clearFaults()
    expect((await takeWarnings()).join()).toMatch(/not written/)
    await background.close()
  })

  it('an empty index; a long replay is followed by a snapshot', async () => {
    const directory = freshPath()
    await withStore(directory, backend, {}, async (store) => {
      expect(await store.snapshot()).toMatchObject({ endOffset: 0, entries: 0 })
      await store.put('a', 'x'.repeat(1000))
      await store.clear()
      expect(await store.snapshot()).toMatchObject({ endOffset: 2, entries: 0 })
    })
    expect(await answers(directory)).toEqual([])
    fs.rmSync(snapshotPath(directory))
    await withStore(directory, backend, { snapshotBytes: 500 }, (store) => until(() => store.stats().snapshot?.endOffset === 2, 'a snapshot'))
    expect(await answers(directory)).toEqual([])
    expect(await takeWarnings()).toEqual([])
  })

  it('lies beside the log, which does not mind it', async () => {
    const directory = freshPath()
    await fill(directory)
    expect(fs.readdirSync(directory)).toContain(path.basename(snapshotPath(directory)))
    const log = await Log.open(directory, { backend })
    expect(log.endOffset).toBe(44)
    await log.close()
  })
})
