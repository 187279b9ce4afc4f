/** Synchronous calls of the twin while libuv still works for the log: what comes back late must not act on a state that has moved on. */
import fs from 'node:fs'
import { constants } from 'node:os'
import { describe, expect, test } from 'vitest'
import * as k from '../../lib/kernels/kernels.js'
import { HEADER, immediate, Rig, until } from './js-harness.js'
import { HeldIo } from './js-held-io.js'

const { EIO } = constants.errno

function setUp(rig: Rig, mode: number, committed = false) {
  const committedFd = committed ? fs.openSync(rig.file('COMMITTED'), 'w+') : -1
  const { fd, seed, state } = rig.segment('a', { committedFd })
  const log = rig.kernels.createLog(mode, 0)
  rig.kernels.attach(log, state)
  return { fd, seed, state, log, committedFd }
}

const verify = (rig: Rig, fd: number, state: Float64Array) => {
  const walk = rig.walk(fd, state, fs.fstatSync(fd).size)
  expect(walk[k.WALK_STOP]).toBe(k.STOP_END)
  return walk
}

describe('commitSync', () => {
  test.each(['happens late', 'fails late'])('the write under way is made again; it %s', async (fate) => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const { fd, state, log } = setUp(rig, k.MODE_FSYNC)
    io.hold('write')
    rig.submit(log, [{ value: 'first' }])
    const first = rig.commit(log, k.COMMIT_MODE)
    rig.submit(log, [{ value: 'second' }])
    io.log.length = 0
    expect(rig.kernels.commitSync(log, k.COMMIT_MODE)).toBe(0)
    expect(io.log).toEqual(['write now', 'write now', 'datasync now'])
    expect(await first).toBe(0)
    expect(rig.of(k.EVENT_COMMITTED)).toEqual([[log, 2, 2, fs.fstatSync(fd).size, 64, 2, 1]])
    const bytes = fs.readFileSync(rig.file('a'))

    // More goes through the same memory before the first write comes back.
    for (let i = 0; i < 100; i++) {
      rig.submit(log, [{ value: `later ${i}` }])
      rig.kernels.commitSync(log, k.COMMIT_WRITTEN)
    }
    if (fate === 'happens late') io.release()
    else io.answer(-EIO)
    io.release()
    await rig.commit(log, k.COMMIT_MODE)
    expect(rig.of(k.EVENT_FAILED)).toEqual([])
    expect(fs.readFileSync(rig.file('a')).subarray(0, bytes.length).equals(bytes)).toBe(true)
    expect(verify(rig, fd, state)[k.STATE_NEXT_OFFSET]).toBe(102)
  })

  test('records held for it are written once', () => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const { fd, state, log } = setUp(rig, k.MODE_FSYNC)
    rig.submit(log, [{ value: 'held' }], log)
    expect(io.log).toEqual([])
    expect(rig.kernels.commitSync(log, k.COMMIT_MODE)).toBe(0)
    expect(io.log).toEqual(['write now', 'datasync now'])
    expect(verify(rig, fd, state)[k.STATE_NEXT_OFFSET]).toBe(1)
  })

  test('fsync: the sync under way does not count, its group is written once more', async () => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const { fd, state, log } = setUp(rig, k.MODE_FSYNC)
    io.hold('datasync')
    rig.submit(log, [{ value: 'first' }])
    const first = rig.commit(log, k.COMMIT_MODE)
    await until(() => io.held.length === 1)
    rig.submit(log, [{ value: 'second' }])
    io.log.length = 0
    expect(rig.kernels.commitSync(log, k.COMMIT_SYNCED)).toBe(0)
    expect(io.log).toEqual(['write now', 'write now', 'datasync now'])
    expect(await first).toBe(0)
    io.answer(-EIO)
    await immediate()
    io.release()
    rig.submit(log, [{ value: 'third' }])
    expect(await rig.commit(log, k.COMMIT_MODE)).toBe(0)
    expect(rig.of(k.EVENT_COMMITTED).map((row) => row.slice(1, 3))).toEqual([
      [2, 2],
      [3, 3],
    ])
    verify(rig, fd, state)
  })

  test('flush: a background sync whose bytes are gone still poisons when it fails', async () => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const { log } = setUp(rig, k.MODE_FLUSH)
    rig.submit(log, [{ value: 'first' }])
    await rig.commit(log, k.COMMIT_MODE)
    io.hold('datasync')
    const synced = rig.commit(log, k.COMMIT_SYNCED)
    expect(rig.kernels.commitSync(log, k.COMMIT_SYNCED)).toBe(0)
    expect(await synced).toBe(0)
    io.answer(-EIO)
    expect(rig.of(k.EVENT_FAILED).map((row) => row.slice(0, 3))).toEqual([[log, EIO, k.FAILED_SYNC]])
    expect(rig.kernels.commitSync(log, k.COMMIT_SYNCED)).toBe(k.STATUS_FAILED)
  })

  test('COMMITTED never ends on an older value', async () => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const { log } = setUp(rig, k.MODE_FLUSH, true)
    rig.submit(log, [{ value: 'a' }])
    await rig.commit(log, k.COMMIT_MODE)
    rig.submit(log, [{ value: 'b' }])
    await until(() => io.log.filter((each) => each === 'write later').length === 3)
    io.hold('write')
    await until(() => io.held.length === 1)
    rig.submit(log, [{ value: 'c' }])
    rig.kernels.commitSync(log, k.COMMIT_WRITTEN)
    const end = () => fs.readFileSync(rig.file('COMMITTED')).readUInt32LE(0)
    expect(end()).toBe(3)
    io.release()
    await until(() => io.log.filter((each) => each === 'write later').length >= 5)
    await immediate()
    await until(() => end() === 3)
    expect(rig.of(k.EVENT_COMMITTED).map((row) => row[1])).toEqual([1, 3])
  })

  test('after commitSync of level WRITTEN the sync of mode fsync follows by itself', async () => {
    using rig = new Rig()
    const { log } = setUp(rig, k.MODE_FSYNC)
    rig.submit(log, [{ value: 'a' }])
    expect(rig.kernels.commitSync(log, k.COMMIT_WRITTEN)).toBe(0)
    expect(rig.of(k.EVENT_COMMITTED).map((row) => row.slice(1, 3))).toEqual([[0, 0]])
    await until(() => rig.of(k.EVENT_COMMITTED).at(-1)?.[1] === 1)
  })

  test('NEED_SEGMENT leaves nothing unsynced behind', () => {
    using rig = new Rig()
    const { state } = rig.segment('a', { bytes: 600 })
    const log = rig.kernels.createLog(k.MODE_FSYNC, 0)
    rig.kernels.attach(log, state)
    rig.submit(
      log,
      Array.from({ length: 6 }, () => ({ value: 'x'.repeat(100) })),
    )
    expect(rig.kernels.commitSync(log, k.COMMIT_MODE)).toBe(k.STATUS_NEED_SEGMENT)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)?.slice(1, 3)).toEqual([2, 2])
    expect(rig.of(k.EVENT_NEED_SEGMENT).map((row) => row[1])).toEqual([2])
    rig.kernels.detachSync(log)
    const next = rig.segment('b', { base: 2, chain: rig.state(log)[k.STATE_CHAIN] })
    rig.kernels.attach(log, next.state)
    expect(rig.kernels.commitSync(log, k.COMMIT_MODE)).toBe(0)
    expect(rig.of(k.EVENT_COMMITTED).at(-1)?.slice(1, 3)).toEqual([6, 6])
  })

  test('rows of a synchronous call made within wake arrive before it returns, and the outer rows stay', async () => {
    using rig = new Rig()
    const { log } = setUp(rig, k.MODE_FLUSH)
    const { events } = rig.kernels.shared
    rig.submit(log, [{ value: 'a' }])
    let seen = -1
    rig.onRow = (row) => {
      if (row.kind !== k.EVENT_COMMITTED || seen >= 0) return
      seen = 0
      const before = events.slice()
      rig.submit(log, [{ value: 'b' }])
      rig.kernels.commitSync(log, k.COMMIT_MODE)
      seen = rig.of(k.EVENT_COMMITTED).at(-1)?.[1] ?? -1
      expect(Array.from(events)).toEqual(Array.from(before))
    }
    await rig.commit(log, k.COMMIT_MODE)
    expect(seen).toBe(2)
  })
})

describe('detachSync', () => {
  test.each([k.MODE_FSYNC, k.MODE_FLUSH])('finishes what is under way (mode %i)', async (mode) => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const { fd, state, log } = setUp(rig, mode)
    io.hold('write')
    rig.submit(log, [{ value: 'a' }])
    const done = rig.commit(log, k.COMMIT_MODE)
    const detached = rig.detach(log)
    rig.kernels.detachSync(log)
    expect(await done).toBe(0)
    expect(await detached).toBe(0)
    expect(rig.state(log)[k.STATE_NEXT_OFFSET]).toBe(1)
    // The descriptor is closed only when the write that was left behind has returned: nobody else gets its number meanwhile.
    expect(rig.kernels.requestSync(k.FILE_CLOSE, fd, 0, 0)).toBe(0)
    expect(fs.fstatSync(fd).size).toBeGreaterThan(HEADER)
    io.release()
    await until(() => {
      try {
        fs.fstatSync(fd)
        return false
      } catch {
        return true
      }
    })
    const again = fs.openSync(rig.file('a'), 'r')
    expect(verify(rig, again, state)[k.STATE_NEXT_OFFSET]).toBe(1)
  })

  test('COMMITTED is not written any more once the segment is gone', async () => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const { log, committedFd } = setUp(rig, k.MODE_FLUSH, true)
    rig.submit(log, [{ value: 'a' }])
    await rig.commit(log, k.COMMIT_MODE)
    rig.kernels.detachSync(log)
    rig.kernels.requestSync(k.FILE_CLOSE, committedFd, 0, 0)
    const other = fs.openSync(rig.file('other'), 'w+')
    expect(other).toBe(committedFd)
    expect(rig.kernels.commitSync(log, k.COMMIT_MARKED)).toBe(0)
    await immediate()
    expect(fs.fstatSync(other).size).toBe(0)
  })
})

describe('stop', () => {
  test('beside a write under way', async () => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const { fd, state, log } = setUp(rig, k.MODE_FSYNC)
    io.hold('write')
    rig.submit(log, [{ value: 'a' }])
    rig.submit(log, [{ value: 'b' }])
    rig.kernels.stop()
    expect(verify(rig, fd, state)[k.STATE_NEXT_OFFSET]).toBe(2)
    io.release()
    await immediate()
    expect(rig.rows).toEqual([])
  })
})
