/** First failures are final, short transfers are continued, and recordings hold what reached the system. */
import fs from 'node:fs'
import { constants } from 'node:os'
import { describe, expect, test } from 'vitest'
import * as k from '../../lib/kernels/kernels.js'
import { HEADER, immediate, Rig, until } from './js-harness.js'

const { EIO, ENOSPC } = constants.errno

describe('faults', () => {
  test.each([
    ['write', k.FAILED_WRITE, k.MODE_FSYNC],
    ['datasync', k.FAILED_SYNC, k.MODE_FSYNC],
    ['write', k.FAILED_WRITE, k.MODE_FLUSH],
  ] as const)('a failed %s poisons the log for ever (operation %i, mode %i)', async (kind, operation, mode) => {
    using rig = new Rig()
    const { state } = rig.segment('a')
    const log = rig.kernels.createLog(mode, 0)
    rig.kernels.attach(log, state)
    rig.submit(log, [{ value: 'good' }])
    await rig.commit(log, k.COMMIT_MODE)
    const { position } = { position: rig.state(log)[k.STATE_POSITION] }
    rig.kernels.testing.fault(kind, 1, ENOSPC, false, 0)
    rig.submit(log, [{ value: 'bad' }])
    rig.submit(log, [{ value: 'queued' }])
    expect(await rig.commit(log, k.COMMIT_MODE)).toBe(k.STATUS_FAILED)
    expect(rig.of(k.EVENT_FAILED).length).toBe(1)
    expect(rig.of(k.EVENT_FAILED)[0].slice(0, 3)).toEqual([log, ENOSPC, operation])
    expect(rig.of(k.EVENT_FAILED)[0][3]).toBeGreaterThanOrEqual(position)
    rig.kernels.testing.resetCounts()
    rig.submit(log, [{ value: 'after' }])
    expect(await rig.commit(log, k.COMMIT_MARKED)).toBe(k.STATUS_FAILED)
    expect(rig.kernels.commitSync(log, k.COMMIT_MODE)).toBe(k.STATUS_FAILED)
    expect(rig.kernels.testing.counts()).toEqual({})
    expect(rig.of(k.EVENT_COMMITTED).map((row) => row[1])).toEqual([1])
    expect(rig.state(log)[k.STATE_POSITION]).toBe(position)
    expect(await rig.detach(log)).toBe(0)
    rig.kernels.destroyLog(log)
  })

  test.each(['write', 'datasync'])('a failed %s on the calling thread', (kind) => {
    using rig = new Rig()
    const { state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_NONE, 10 ** 6)
    rig.kernels.attach(log, state)
    rig.kernels.testing.fault(kind, 1, EIO, false, 0)
    rig.submit(log, [{ value: 'bad' }])
    expect(rig.kernels.commitSync(log, k.COMMIT_SYNCED)).toBe(k.STATUS_FAILED)
    expect(rig.of(k.EVENT_FAILED).length).toBe(1)
  })

  test('a failed log leaves the others alone', async () => {
    using rig = new Rig()
    const [bad, good] = ['a', 'b'].map((name) => {
      const log = rig.kernels.createLog(k.MODE_FSYNC, 0)
      rig.kernels.attach(log, rig.segment(name).state)
      return log
    })
    rig.kernels.testing.fault('write', 1, EIO, false, 0)
    rig.submit(bad, [{ value: 'x' }])
    rig.submit(good, [{ value: 'y' }])
    expect(await Promise.all([rig.commit(bad, k.COMMIT_MODE), rig.commit(good, k.COMMIT_MODE)])).toEqual([k.STATUS_FAILED, 0])
  })

  test('short writes and reads are continued', async () => {
    using rig = new Rig()
    const { fd, seed, state } = rig.segment('a')
    const log = rig.kernels.createLog(k.MODE_FSYNC, 0)
    rig.kernels.attach(log, state)
    rig.kernels.testing.fault('write', 1, 0, true, 100)
    rig.kernels.testing.fault('read', 1, 0, true, 33)
    rig.submit(log, [{ value: 'x'.repeat(500) }])
    expect(await rig.commit(log, k.COMMIT_MODE)).toBe(0)
    rig.submit(log, [{ value: 'y'.repeat(500) }])
    expect(rig.kernels.commitSync(log, k.COMMIT_MODE)).toBe(0)
    const end = fs.fstatSync(fd).size
    // One more: the write that the synchronous commit left behind.
    expect(rig.kernels.testing.counts().write).toBe(2 * Math.ceil((24 + 504 + 56) / 100) + 1)
    expect(rig.walk(fd, state, end)[k.STATE_NEXT_OFFSET]).toBe(2)
    expect(rig.kernels.readRecord(fd, seed, HEADER, end, 0, -1, 1, 0)).toBe(k.READ_OK)
    expect(await rig.request(k.FILE_WRITE, fd, end, 0, Buffer.alloc(250, 1))).toBe(250)
    rig.kernels.testing.clearFaults()
    expect(fs.fstatSync(fd).size).toBe(end + 250)
  })

  test('the nth call fails, once or for ever; a failed close still closes', async () => {
    using rig = new Rig()
    const { testing } = rig.kernels
    testing.fault('stat', 2, EIO, false, 0)
    testing.fault('mkdir', 1, ENOSPC, true, 0)
    const numbers = new Float64Array(4)
    const stat = () => rig.request(k.FILE_STAT_PATH, 0, 0, 0, undefined, numbers, undefined, rig.directory)
    expect([await stat(), await stat(), await stat()]).toEqual([0, -EIO, 0])
    const mkdir = () => rig.request(k.FILE_MKDIR, 0, 0, 0o755, undefined, undefined, undefined, rig.file('sub'))
    expect([await mkdir(), await mkdir()]).toEqual([-ENOSPC, -ENOSPC])
    testing.clearFaults()
    expect(await mkdir()).toBe(0)
    testing.fault('close', 1, EIO, false, 0)
    const fd = fs.openSync(rig.file('x'), 'w+')
    expect(await rig.request(k.FILE_CLOSE, fd)).toBe(-EIO)
    expect(() => fs.fstatSync(fd)).toThrow()
    expect(testing.counts()).toEqual({ stat: 3, mkdir: 3, close: 1 })
  })
})

interface Entry {
  readonly kind: number
  readonly fd: number
  readonly result: number
  readonly a: number
  readonly b: number
  readonly path: string
  readonly path2: string
  readonly data: Buffer
}

function parse(recording: Uint8Array): Entry[] {
  const bytes = Buffer.from(recording)
  const entries: Entry[] = []
  for (let at = 0; at < bytes.length; ) {
    const total = bytes.readUInt32LE(at)
    const entry = bytes.subarray(at, at + total)
    expect(entry.subarray(5, 8)).toEqual(Buffer.alloc(3))
    const pathEnd = 36 + entry.readUInt32LE(32)
    const path2End = pathEnd + 4 + entry.readUInt32LE(pathEnd)
    entries.push({
      kind: entry.readUInt8(4),
      fd: entry.readInt32LE(8),
      result: entry.readInt32LE(12),
      a: entry.readDoubleLE(16),
      b: entry.readDoubleLE(24),
      path: entry.toString('utf8', 36, pathEnd),
      path2: entry.toString('utf8', pathEnd + 4, path2End),
      data: entry.subarray(path2End),
    })
    at += total
  }
  return entries
}

describe('recording', () => {
  test('round trip: replaying it gives the same files', async () => {
    using rig = new Rig()
    const { testing } = rig.kernels
    testing.record(true)
    const path = rig.file('ü.log')
    const fd = await rig.request(k.FILE_OPEN, 0, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644, undefined, undefined, undefined, path)
    const { state } = rig.segment('a')
    state[k.STATE_FD] = fd
    const log = rig.kernels.createLog(k.MODE_FSYNC, 0)
    rig.kernels.attach(log, state)
    testing.note(1)
    testing.fault('write', 2, 0, false, 10)
    for (let i = 0; i < 3; i++) {
      rig.submit(log, [{ value: `value ${i}` }])
      await rig.commit(log, k.COMMIT_MODE)
    }
    rig.submit(log, [{ value: 'now' }])
    rig.kernels.commitSync(log, k.COMMIT_MARKED)
    await rig.detach(log)
    const size = fs.fstatSync(fd).size
    await rig.request(k.FILE_TRUNCATE, fd, size + 100)
    testing.fault('sync', 1, EIO, false, 0)
    expect(await rig.request(k.FILE_SYNC, fd)).toBe(-EIO)
    await rig.request(k.FILE_CLOSE, fd)
    await rig.request(k.FILE_MKDIR, 0, 0, 0o755, undefined, undefined, undefined, rig.file('d'))
    expect(await rig.request(k.FILE_UNLINK, 0, 0, 0, undefined, undefined, undefined, rig.file('nothing'))).toBeLessThan(0)
    await rig.request(k.FILE_RENAME, 0, 0, 0, undefined, undefined, undefined, path, rig.file('d/b'))
    await rig.request(k.FILE_SYNC_DIRECTORY, 0, 0, 0, undefined, undefined, undefined, rig.file('d'))
    const entries = parse(testing.takeRecording())
    expect(testing.takeRecording().length).toBe(0)
    testing.record(false)

    const image = Buffer.alloc(size + 100)
    for (const { kind, a, data } of entries) if (kind === 3) data.copy(image, a)
    // The header was written without the kernels.
    expect(image.subarray(HEADER).equals(fs.readFileSync(rig.file('d/b')).subarray(HEADER))).toBe(true)
    expect(entries[0]).toMatchObject({ kind: 1, fd, result: fd, path, a: fs.constants.O_RDWR | fs.constants.O_CREAT })
    expect(entries.map(({ kind }) => kind)).toEqual([1, 13, 3, 4, 5, 3, 3, 4, 5, 3, 4, 5, 3, 3, 4, 5, 3, 4, 5, 6, 2, 10, 8, 11, 12])
    expect(entries.find(({ kind }) => kind === 13)).toMatchObject({ a: 1 })
    expect(entries.find(({ kind }) => kind === 6)).toMatchObject({ fd, a: size + 100 })
    expect(entries.find(({ kind }) => kind === 8)).toMatchObject({ path, path2: rig.file('d/b') })
    expect(entries.filter(({ kind }) => kind === 3)[1].data.length).toBe(10)
  })

  test('a write is recorded before it is made, a sync with begin and end', async () => {
    using rig = new Rig()
    const { fd } = rig.segment('a')
    const { testing } = rig.kernels
    testing.record(true)
    rig.kernels.request(rig.ticket(), k.FILE_WRITE, fd, 500, 0, Buffer.from('abc'))
    rig.kernels.request(rig.ticket(), k.FILE_DATASYNC, fd, 0, 0)
    expect(parse(testing.takeRecording())).toMatchObject([
      { kind: 3, fd, a: 500, data: Buffer.from('abc') },
      { kind: 4, fd },
    ])
    await until(() => rig.of(k.EVENT_DONE).length === 2)
    await immediate()
    expect(parse(testing.takeRecording())).toMatchObject([{ kind: 5, fd, result: 0 }])
  })
})
