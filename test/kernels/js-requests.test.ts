/** File requests of the twin, asynchronous, synchronous, and finished synchronously half-way. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { constants } from 'node:os'
import { describe, expect, test } from 'vitest'
import * as k from '../../lib/kernels/kernels.js'
import { immediate, Rig, until } from './js-harness.js'
import { HeldIo } from './js-held-io.js'

const { EEXIST, EINVAL, ENOENT, ENOSYS, EOPNOTSUPP } = constants.errno
const { O_CREAT, O_EXCL, O_RDWR } = fs.constants

type Call = (
  operation: number,
  fd: number,
  a?: number,
  b?: number,
  bytes?: Uint8Array,
  numbers?: Float64Array,
  table?: undefined,
  path?: string,
  path2?: string,
) => Promise<number>

describe.each(['asynchronous', 'synchronous'])('%s', (form) => {
  const callOf =
    (rig: Rig): Call =>
    async (operation, fd, a = 0, b = 0, bytes, numbers, table, path, path2) =>
      form === 'asynchronous'
        ? rig.request(operation, fd, a, b, bytes, numbers, table, path, path2)
        : rig.kernels.requestSync(operation, fd, a, b, bytes, numbers, table, path, path2)

  test('files', async () => {
    using rig = new Rig()
    const call = callOf(rig)
    const path = rig.file('x')
    const numbers = new Float64Array(4)
    const at = (file: string) => [undefined, undefined, undefined, file] as const
    expect(await call(k.FILE_OPEN, 0, O_RDWR, 0o644, ...at(path))).toBe(-ENOENT)
    const fd = await call(k.FILE_OPEN, 0, O_RDWR | O_CREAT | O_EXCL, 0o644, ...at(path))
    expect(fd).toBeGreaterThan(2)
    expect(await call(k.FILE_OPEN, 0, O_RDWR | O_CREAT | O_EXCL, 0o644, ...at(path))).toBe(-EEXIST)
    expect(await call(k.FILE_WRITE, fd, 10, 0, Buffer.from('hello'))).toBe(5)
    const bytes = new Uint8Array(100)
    expect(await call(k.FILE_READ, fd, 8, 0, bytes)).toBe(7)
    expect(Buffer.from(bytes.subarray(0, 7)).toString()).toBe('\0\0hello')
    expect(await call(k.FILE_READ, fd, 100, 0, bytes)).toBe(0)
    expect(await call(k.FILE_DATASYNC, fd)).toBe(0)
    expect(await call(k.FILE_SYNC, fd)).toBe(0)
    expect(await call(k.FILE_TRUNCATE, fd, 12)).toBe(0)
    const stat = fs.fstatSync(fd)
    expect(await call(k.FILE_STAT, fd, 0, 0, undefined, numbers)).toBe(0)
    expect(Array.from(numbers)).toEqual([12, (stat.dev >> 8) & 0xfff, (stat.dev & 0xff) | ((stat.dev >> 12) & 0xfff00), stat.ino])
    numbers.fill(0)
    expect(await call(k.FILE_STAT_PATH, 0, 0, 0, undefined, numbers, undefined, path)).toBe(0)
    expect([numbers[0], numbers[3]]).toEqual([12, stat.ino])
    expect(await call(k.FILE_ALLOCATE, fd, 0, 100)).toBe(-EOPNOTSUPP)
    expect(await call(k.FILE_EVICT, fd)).toBe(0)
    expect(await call(k.FILE_HAS_OTHER_USERS, fd)).toBe(1)
    expect(await call(k.FILE_LOCK, fd)).toBe(-ENOSYS)
    expect(await call(k.FILE_PROBE_SOCKET, 0, 0, 0, ...at('x'))).toBe(-ENOSYS)
    expect(await call(999, fd)).toBe(-EINVAL)
    expect(await call(k.FILE_MKDIR, 0, 0, 0o755, ...at(rig.file('d')))).toBe(0)
    expect(await call(k.FILE_MKDIR, 0, 0, 0o755, ...at(rig.file('d')))).toBe(-EEXIST)
    expect(await call(k.FILE_RENAME, 0, 0, 0, ...at(path), rig.file('y'))).toBe(0)
    expect(await call(k.FILE_SYNC_DIRECTORY, 0, 0, 0, ...at(rig.directory))).toBe(0)
    expect(await call(k.FILE_UNLINK, 0, 0, 0, ...at(path))).toBe(-ENOENT)
    expect(await call(k.FILE_CLOSE, fd)).toBe(0)
    expect(() => fs.fstatSync(fd)).toThrow()
  })

  test('zeros', async () => {
    using rig = new Rig()
    const call = callOf(rig)
    const fd = fs.openSync(rig.file('z'), 'w+')
    fs.writeSync(fd, Buffer.from([1]), 0, 1, 300_000)
    const numbers = new Float64Array(1)
    const zeros = async (from: number, to: number) => {
      expect(await call(k.FILE_ZEROS, fd, from, to, undefined, numbers)).toBe(0)
      return numbers[0]
    }
    expect(await zeros(0, 1000)).toBe(1000)
    expect(await zeros(5, 400_000)).toBe(300_000)
    expect(await zeros(300_001, 400_000)).toBe(400_000)
  })
})

test('names of a directory', async () => {
  using rig = new Rig()
  fs.writeFileSync(rig.file('a'), '')
  fs.writeFileSync(rig.file('ü'), '')
  expect(rig.kernels.requestSync(k.FILE_LIST, 0, 0, 0, undefined, undefined, undefined, rig.directory)).toBe(0)
  expect(rig.kernels.takeText(0).split('\0').sort()).toEqual(['', 'a', 'ü'])
  const ticket = rig.ticket()
  rig.kernels.request(ticket, k.FILE_LIST, 0, 0, 0, undefined, undefined, undefined, rig.directory)
  await until(() => rig.of(k.EVENT_DONE).length === 1)
  expect(rig.kernels.takeText(ticket)).toContain('ü\0')
  expect(rig.kernels.takeText(ticket)).toBe('')
})

describe('finishSync', () => {
  test('runs a pending request again; its row never comes', async () => {
    const io = new HeldIo()
    using rig = new Rig(io)
    const fd = fs.openSync(rig.file('x'), 'w+')
    io.hold('write', 'open')
    const ticket = rig.ticket()
    const bytes = Buffer.from('one')
    rig.kernels.request(ticket, k.FILE_WRITE, fd, 0, 0, bytes)
    expect(rig.kernels.finishSync(ticket)).toBe(3)
    bytes.write('two')
    expect(rig.kernels.requestSync(k.FILE_WRITE, fd, 3, 0, bytes)).toBe(3)

    const opening = rig.ticket()
    rig.kernels.request(opening, k.FILE_OPEN, 0, O_RDWR, 0, undefined, undefined, undefined, rig.file('x'))
    const opened = rig.kernels.finishSync(opening)
    expect(opened).toBeGreaterThan(2)
    const before = fs.readdirSync('/proc/self/fd').length
    io.release()
    await until(() => io.log.includes('close now'))
    await immediate()
    expect(fs.readFileSync(rig.file('x'), 'utf8')).toBe('onetwo')
    // The descriptor that came late was closed again.
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before)
    expect(rig.of(k.EVENT_DONE)).toEqual([])
    expect(() => rig.kernels.finishSync(ticket)).toThrow(RangeError)
  })

  test('requests that cannot be repeated have happened when they return, their row comes later', async () => {
    using rig = new Rig()
    fs.writeFileSync(rig.file('x'), '')
    const rename = rig.ticket()
    rig.kernels.request(rename, k.FILE_RENAME, 0, 0, 0, undefined, undefined, undefined, rig.file('x'), rig.file('y'))
    expect(fs.existsSync(rig.file('y'))).toBe(true)
    const exclusive = rig.ticket()
    rig.kernels.request(exclusive, k.FILE_OPEN, 0, O_RDWR | O_CREAT | O_EXCL, 0o600, undefined, undefined, undefined, rig.file('z'))
    expect(rig.of(k.EVENT_DONE)).toEqual([])
    expect(rig.kernels.finishSync(exclusive)).toBeGreaterThan(2)
    await immediate()
    expect(rig.of(k.EVENT_DONE).map((row) => row[0])).toEqual([rename])
  })

  test('a close under way is not repeated', async () => {
    const io = new HeldIo()
    using rig = new Rig(io)
    io.hold('close')
    const fd = fs.openSync(rig.file('x'), 'w+')
    const ticket = rig.ticket()
    rig.kernels.request(ticket, k.FILE_CLOSE, fd, 0, 0)
    expect(rig.kernels.finishSync(ticket)).toBe(0)
    expect(io.log).toEqual(['close later'])
    io.release()
    await until(() => !fs.existsSync(`/proc/self/fd/${fd}`))
  })
})

test('close and truncation wait for asynchronous calls on the descriptor', async () => {
  const io = new HeldIo()
  using rig = new Rig(io)
  const fd = fs.openSync(rig.file('x'), 'w+')
  io.hold('write')
  const written = rig.request(k.FILE_WRITE, fd, 0, 0, Buffer.from('0123456789'))
  const truncated = rig.request(k.FILE_TRUNCATE, fd, 4)
  const closed = rig.request(k.FILE_CLOSE, fd)
  await immediate()
  expect(io.log).toEqual(['write later'])
  io.release()
  expect(await Promise.all([written, truncated, closed])).toEqual([10, 0, 0])
  expect(fs.readFileSync(rig.file('x'), 'utf8')).toBe('0123')
})

test('ref keeps the process alive, unref lets it go', () => {
  const script = (body: string) =>
    spawnSync(process.execPath, ['--input-type=module', '-e', `import timers from 'node:timers'; const handle = setInterval(() => {}, 2 ** 31 - 1); ${body}`], {
      timeout: 1000,
    })
  // What ref relies on: a timer of this length is taken as it is.
  expect(script('setTimeout(() => process.exit(7), 300)').status).toBe(7)
  using rig = new Rig()
  const handles = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = handles()
  rig.kernels.ref()
  rig.kernels.ref()
  expect(handles()).toBe(before + 1)
  rig.kernels.unref()
  expect(handles()).toBe(before)
})
