/** The commit path of the twin: groups, modes, segments, marks. */
import fs from 'node:fs'
import { describe, expect, test } from 'vitest'
import * as k from '../../lib/kernels/kernels.js'
import { COMMIT_FRAME, HEADER, immediate, Rig, until } from './js-harness.js'

const size = (body: number) => 24 + Math.ceil(body / 8) * 8

describe('groups', () => {
  test('what is queued while a group is written goes into the next one', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    for (let i = 0; i < 10; i++) rig.submit(log, [{ value: `value ${i}` }])
    expect(await rig.commit(log, k.COMMIT_MODE)).toBe(0)
    const committed = rig.of(k.EVENT_COMMITTED)
    expect(committed.map(([, offset]) => offset)).toEqual([1, 10])
    expect(committed.reduce((sum, row) => sum + row[4], 0)).toBe(10 * size(7))
    expect(committed.reduce((sum, row) => sum + row[5], 0)).toBe(2)
    const end = fs.fstatSync(fd).size
    expect(committed[1][3]).toBe(end)
    expect(end).toBe(HEADER + 10 * size(7) + 2 * COMMIT_FRAME)
    const walk = rig.walk(fd, state, end)
    expect([walk[k.WALK_STOP], walk[k.WALK_GROUPS], walk[k.STATE_NEXT_OFFSET], walk[k.STATE_POSITION]]).toEqual([k.STOP_END, 2, 10, end])
    const now = rig.state(log)
    for (const field of [
      k.STATE_POSITION,
      k.STATE_CHAIN,
      k.STATE_NEXT_OFFSET,
      k.STATE_RECORDS,
      k.STATE_RUNNING_TIME,
      k.STATE_MIN_TIME,
      k.STATE_MAX_TIME,
      k.STATE_LAST_INDEXED,
    ]) {
      expect(now[field]).toBe(walk[field])
    }
  })

  test('however many logs there were: no handle is 0, which stands for none, and a freed one is not the next', () => {
    using rig = new Rig()
    let last = 0
    for (let i = 0; i < 2100; i++) {
      const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
      expect(log).toBeGreaterThan(0)
      expect(log).not.toBe(last)
      rig.kernels.destroyLog(log)
      last = log
    }
  })

  test('no group ends inside a batch, also when it spans submits', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    rig.submit(log, [
      { value: 'a', more: true },
      { value: 'b', more: true },
    ])
    expect(await rig.commit(log, k.COMMIT_SYNCED)).toBe(0)
    expect(fs.fstatSync(fd).size).toBe(HEADER)
    rig.submit(log, [{ value: 'c' }, { value: 'd', more: true }])
    expect(await rig.commit(log, k.COMMIT_MODE)).toBe(0)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)?.[1]).toBe(3)
    rig.submit(log, [{ value: 'e' }])
    await rig.commit(log, k.COMMIT_MODE)
    const { values, table, numbers } = rig.scan(fd, state[k.STATE_SEED], HEADER, fs.fstatSync(fd).size, { offset: 0 })
    expect(values).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect([0, 1, 2, 3, 4].map((row) => table[row * k.SCAN_COLUMNS + 3])).toEqual([0, 1, 2, 0, 1])
    expect(numbers[k.SCAN_BATCH_END]).toBe(5)
  })

  test('a group holds 8 MiB at most, a larger batch goes alone', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a', { bytes: 64 * 2 ** 20 })
    const log = rig.kernels.createLog(k.MODE_NONE, 2 ** 30)
    rig.kernels.attach(log, state)
    const large = new Uint8Array(1000 * 1000).fill(65)
    for (let i = 0; i < 10; i++) rig.kernels.submitLarge(log, 1, i, undefined, large)
    for (let i = 0; i < 10; i++) rig.kernels.submitLarge(log, 1 | ((i < 9 ? 2 : 0) << 8), i, Buffer.from('key'), large)
    rig.kernels.submitLarge(log, 1, 30, undefined, large)
    await rig.commit(log, k.COMMIT_MODE)
    const walk = rig.walk(fd, state, fs.fstatSync(fd).size)
    expect([walk[k.WALK_STOP], walk[k.WALK_GROUPS], walk[k.STATE_NEXT_OFFSET], walk[k.STATE_MAX_TIME]]).toEqual([k.STOP_END, 4, 21, 30])
    expect(rig.of(k.EVENT_COMMITTED).map((row) => row[1])).toEqual([8, 10, 20, 21])
    const numbers = rig.kernels.readRecord(fd, state[k.STATE_SEED], HEADER, fs.fstatSync(fd).size, 0, -1, 12, 0)
    expect(numbers).toBe(k.READ_LARGE)
    expect(rig.kernels.shared.out[k.OUT_FRAME_BYTES]).toBe(24 + 1000 * 1000 + 8)
  })

  test('rows of several logs alternate', async () => {
    using rig = new Rig()
    const logs = ['a', 'b'].map((name) => {
      const { fd, state } = rig.segment(name)
      const log = rig.kernels.createLog(k.MODE_FSYNC, 0)
      rig.kernels.attach(log, state)
      return { fd, state, log }
    })
    const { staging, rows } = rig.kernels.shared
    for (let i = 0; i < 100; i++) {
      staging.set(Buffer.from(String(i).padStart(3, '0')), i * 32 + 24)
      rows.set([logs[i & 1].log, 3, 1, i], i * k.STAGED_WIDTH)
    }
    rig.kernels.submit(100, 0)
    await Promise.all(logs.map(({ log }) => rig.commit(log, k.COMMIT_MODE)))
    logs.forEach(({ fd, state }, which) => {
      const { values } = rig.scan(fd, state[k.STATE_SEED], HEADER, fs.fstatSync(fd).size)
      expect(values).toEqual(Array.from({ length: 50 }, (_, i) => String(2 * i + which).padStart(3, '0')))
    })
  })

  test('index rows: the first record, then one per interval, before their COMMITTED row', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    rig.submit(
      log,
      Array.from({ length: 100 }, (_, i) => ({ value: 'x'.repeat(100), time: 1000 + i, more: i % 2 === 0 })),
    )
    await rig.commit(log, k.COMMIT_MODE)
    const entries = new Float64Array(100 * k.ENTRY_WIDTH)
    const walk = rig.walk(fd, state, fs.fstatSync(fd).size, 64 * 1024, entries)
    const rows = rig.of(k.EVENT_INDEX).map((row) => row.slice(1, 5))
    expect(rows.length).toBe(4)
    expect(rows.slice(0, 2)).toEqual([
      [0, HEADER, 0, -1],
      [32, HEADER + 32 * 128, 32, 1031],
    ])
    expect(walk[k.WALK_ENTRIES]).toBe(4)
    expect(Array.from(entries.subarray(0, 16))).toEqual(rows.flat())
    expect(rig.rows.findIndex((row) => row.kind === k.EVENT_COMMITTED)).toBeGreaterThan(rig.rows.findLastIndex((row) => row.kind === k.EVENT_INDEX))
  })

  test('chunks close at a batch end and are counted alike by walk', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a', { chunkBytes: 100 })
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    rig.submit(log, [
      { value: 'x'.repeat(99), key: 'k' },
      { value: 'y', more: true },
      { value: 'z'.repeat(200), more: true },
      { value: '' },
      { value: 'last', key: 'kk' },
    ])
    await rig.commit(log, k.COMMIT_MODE)
    const now = rig.state(log)
    expect([now[k.STATE_CHUNKS], now[k.STATE_CHUNK_PAYLOAD], now[k.STATE_CHUNK_RECORDS]]).toEqual([1, 4, 1])
    const walk = rig.walk(fd, state, fs.fstatSync(fd).size)
    expect([walk[k.STATE_CHUNKS], walk[k.STATE_CHUNK_PAYLOAD], walk[k.STATE_CHUNK_RECORDS]]).toEqual([1, 4, 1])
  })
})

describe('segments', () => {
  test('NEED_SEGMENT comes once, and the log goes on in the next segment', async () => {
    using rig = new Rig()
    const first = rig.segment('a', { bytes: 1024 })
    const log = rig.kernels.createLog(k.MODE_FSYNC, 0)
    rig.kernels.attach(log, first.state)
    for (let i = 0; i < 10; i++) rig.submit(log, [{ value: 'x'.repeat(100) }])
    const done = rig.commit(log, k.COMMIT_MODE)
    await until(() => rig.of(k.EVENT_NEED_SEGMENT).length > 0)
    await immediate()
    expect(rig.of(k.EVENT_NEED_SEGMENT)).toEqual([[log, 5, size(100) + COMMIT_FRAME, 0, 0, 0, 0]])
    expect(await rig.detach(log)).toBe(0)
    const end = rig.state(log)
    expect([end[k.STATE_NEXT_OFFSET], end[k.STATE_SYNCED_OFFSET]]).toEqual([5, 5])
    expect(end[k.STATE_POSITION] + 88).toBeLessThanOrEqual(1024)
    expect(rig.of(k.EVENT_NEED_SEGMENT).length).toBe(1)
    const second = rig.segment('b', { base: 5, chain: end[k.STATE_CHAIN] })
    rig.kernels.attach(log, second.state)
    expect(await done).toBe(0)
    const walk = rig.walk(second.fd, second.state, fs.fstatSync(second.fd).size)
    expect([walk[k.WALK_STOP], walk[k.STATE_NEXT_OFFSET], walk[k.WALK_LAST_SYNCED]]).toEqual([k.STOP_END, 10, 5])
  })

  test('records submitted before any segment is attached ask for one', async () => {
    using rig = new Rig()
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    expect(await rig.commit(log, k.COMMIT_MARKED)).toBe(0)
    rig.kernels.resume(log, 41)
    rig.submit(log, [{ value: 'early' }])
    await until(() => rig.of(k.EVENT_NEED_SEGMENT).length === 1)
    expect(rig.kernels.commitSync(log, k.COMMIT_MODE)).toBe(k.STATUS_NEED_SEGMENT)
    expect(() => rig.kernels.attach(log, rig.segment('b', { base: 40 }).state)).toThrow(/go on/)
    const { fd, state } = rig.segment('a', { base: 41 })
    rig.kernels.attach(log, state)
    expect(rig.kernels.commitSync(log, k.COMMIT_MODE)).toBe(0)
    expect(rig.of(k.EVENT_NEED_SEGMENT).length).toBe(1)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)?.slice(0, 2)).toEqual([log, 42])
    expect(rig.scan(fd, state[k.STATE_SEED], HEADER, fs.fstatSync(fd).size, { offset: 41 }).values).toEqual(['early'])
  })

  test('an empty segment takes a batch of any size', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a', { bytes: 512 })
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    rig.submit(log, [{ value: 'x'.repeat(2000) }])
    expect(await rig.commit(log, k.COMMIT_MODE)).toBe(0)
    expect(rig.walk(fd, state, fs.fstatSync(fd).size)[k.STATE_NEXT_OFFSET]).toBe(1)
  })

  test('detach leaves the queue as it is and asks again', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_NONE, 1000)
    rig.kernels.attach(log, state)
    rig.submit(log, [{ value: 'held' }])
    expect(await rig.detach(log)).toBe(0)
    expect(fs.fstatSync(fd).size).toBe(HEADER)
    expect(rig.of(k.EVENT_NEED_SEGMENT)).toEqual([])
    const done = rig.commit(log, k.COMMIT_MODE)
    await until(() => rig.of(k.EVENT_NEED_SEGMENT).length === 1)
    rig.kernels.attach(log, rig.state(log))
    expect(await done).toBe(0)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)?.[1]).toBe(1)
  })
})

describe('levels', () => {
  test('holdBytes holds until so much is queued or somebody commits', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_NONE, 10 * size(8))
    rig.kernels.attach(log, state)
    for (let i = 0; i < 9; i++) rig.submit(log, [{ value: '12345678' }])
    await immediate()
    expect(fs.fstatSync(fd).size).toBe(HEADER)
    rig.submit(log, [{ value: '12345678' }])
    await until(() => rig.of(k.EVENT_COMMITTED).length === 1)
    rig.submit(log, [{ value: '12345678' }])
    await rig.commit(log, k.COMMIT_WRITTEN)
    expect(rig.of(k.EVENT_COMMITTED).map((row) => row[1])).toEqual([10, 11])
  })

  test('flush: a sync moves the durable offset and says so', async () => {
    using rig = new Rig()
    const { state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    rig.submit(log, [{ value: 'a' }])
    await rig.commit(log, k.COMMIT_MODE)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)?.slice(1, 3)).toEqual([1, 0])
    await rig.commit(log, k.COMMIT_SYNCED)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)).toEqual([log, 1, 1, HEADER + size(1) + COMMIT_FRAME, 0, 0, 1])
    await rig.commit(log, k.COMMIT_SYNCED)
    expect(rig.kernels.testing.counts().datasync).toBe(1)
    expect(rig.state(log)[k.STATE_SYNCED_OFFSET]).toBe(1)
  })

  test('what the engine does not know to be durable is synced when asked for', async () => {
    using rig = new Rig()
    const { state } = rig.segment('a', { base: 10, synced: 4 })
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    expect(await rig.commit(log, k.COMMIT_MODE)).toBe(0)
    expect(rig.kernels.testing.counts().datasync).toBeUndefined()
    expect(await rig.commit(log, k.COMMIT_SYNCED)).toBe(0)
    expect(rig.kernels.testing.counts().datasync).toBe(1)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)?.slice(1, 3)).toEqual([10, 10])
  })

  test.each([k.MODE_FSYNC, k.MODE_FLUSH])('a mark is written once, synced, and followed by groups (mode %i)', async (mode) => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a')
    const log = rig.kernels.createLog(mode, 0)
    rig.kernels.attach(log, state)
    expect(await rig.commit(log, k.COMMIT_MARKED)).toBe(0)
    expect(fs.fstatSync(fd).size).toBe(HEADER)
    rig.submit(log, [{ value: 'a', time: 77 }])
    await Promise.all([rig.commit(log, k.COMMIT_MARKED), rig.commit(log, k.COMMIT_MARKED)])
    const end = HEADER + size(1) + 2 * COMMIT_FRAME
    expect(fs.fstatSync(fd).size).toBe(end)
    expect(rig.kernels.testing.counts().datasync).toBe(2)
    expect(rig.kernels.commitSync(log, k.COMMIT_MARKED)).toBe(0)
    expect(fs.fstatSync(fd).size).toBe(end)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)?.slice(1, 4)).toEqual([1, 1, end])
    rig.submit(log, [{ value: 'b', time: 5 }])
    expect(rig.kernels.commitSync(log, k.COMMIT_MARKED)).toBe(0)
    const walk = rig.walk(fd, state, fs.fstatSync(fd).size)
    expect([walk[k.WALK_STOP], walk[k.WALK_GROUPS], walk[k.WALK_MARKS], walk[k.WALK_LAST_SYNCED], walk[k.STATE_MARKED]]).toEqual([k.STOP_END, 2, 2, 2, 1])
    expect(walk[k.STATE_RUNNING_TIME]).toBe(77)
  })

  test('marks go in under constant load', async () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a', { bytes: 2 ** 30 })
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    let marks = 0
    const load = (async () => {
      while (marks < 20) {
        rig.submit(log, [{ value: 'load' }])
        await immediate()
      }
    })()
    for (; marks < 20; marks++) expect(await rig.commit(log, k.COMMIT_MARKED)).toBe(0)
    await load
    await rig.commit(log, k.COMMIT_MODE)
    const walk = rig.walk(fd, state, fs.fstatSync(fd).size)
    expect(walk[k.WALK_STOP]).toBe(k.STOP_END)
    expect(walk[k.WALK_MARKS]).toBe(20)
  })

  test('COMMITTED holds both ends', async () => {
    using rig = new Rig()
    const committedFd = fs.openSync(rig.file('COMMITTED'), 'w+')
    const { state } = rig.segment('a', { committedFd })
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.kernels.attach(log, state)
    const ends = () => {
      const bytes = fs.readFileSync(rig.file('COMMITTED'))
      expect(bytes.length).toBe(128)
      for (const at of [0, 64]) expect(bytes.readUInt32LE(at + 12)).toBe(rig.kernels.crc32c(bytes.subarray(at, at + 12), 0))
      return [bytes.readUInt32LE(0), bytes.readUInt32LE(64), bytes.readUInt32LE(8)]
    }
    rig.submit(log, [{ value: 'a' }, { value: 'b' }])
    await rig.commit(log, k.COMMIT_MODE)
    expect(ends()).toEqual([2, 0, 1])
    rig.submit(log, [{ value: 'c' }])
    rig.kernels.commitSync(log, k.COMMIT_SYNCED)
    expect(ends()).toEqual([3, 3, 1])
  })
})

describe('handles', () => {
  test('a freed handle is not mistaken for its successor; every call gets its DONE row', async () => {
    using rig = new Rig()
    const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
    rig.submit(log, [{ value: 'a' }])
    expect(() => rig.kernels.destroyLog(log)).toThrow(/queued/)
    const done = rig.commit(log, k.COMMIT_MODE)
    rig.kernels.resume(log, 0)
    expect(await done).toBe(k.STATUS_REJECTED)
    rig.kernels.destroyLog(log)
    const next = rig.kernels.createLog(k.MODE_FLUSH, 0)
    expect(next).not.toBe(log)
    expect(() => rig.kernels.commitSync(log, k.COMMIT_MODE)).toThrow(RangeError)
    expect(rig.kernels.commitSync(next, k.COMMIT_MODE)).toBe(0)
  })

  test('stop writes what was submitted and tells nobody', () => {
    using rig = new Rig()
    const { fd, state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_NONE, 10 ** 6)
    rig.kernels.attach(log, state)
    rig.submit(log, [{ value: 'a' }])
    rig.kernels.stop()
    rig.kernels.stop()
    expect(rig.walk(fd, state, fs.fstatSync(fd).size)[k.STATE_NEXT_OFFSET]).toBe(1)
    expect(rig.rows).toEqual([])
  })
})
