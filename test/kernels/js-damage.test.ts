/** Every truncation and every flipped bit of a small segment: what walk, scan, find and readRecord say about it. */
import fs from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeFooter } from '../../lib/format/frames.js'
import * as k from '../../lib/kernels/kernels.js'
import { COMMIT_FRAME, HEADER, type Input, Rig, TOMBSTONE } from './js-harness.js'

interface Frame {
  readonly start: number
  readonly end: number
  readonly group: number
  /** −1: commit frame or footer. */
  readonly offset: number
}

const GROUPS: readonly (readonly Input[])[] = [
  [{ value: 'one', key: 'a', time: 5 }],
  [],
  [
    { value: 'two, which pads', more: true },
    { value: '', more: true },
    { value: 'x'.repeat(150), key: 'long' },
  ],
  [{ value: 'alone' }, { value: '', key: 'a', type: TOMBSTONE }, { value: '12345678', more: true }, { value: 'end' }],
]
const INPUTS = GROUPS.flat()

let rig: Rig
let fd: number
let seed: number
let state: Float64Array
let bytes: Buffer
const frames: Frame[] = []
/** Ends of groups, the header's end first. */
const ends: number[] = [HEADER]

const size = ({ value, key }: Input) => 24 + Math.ceil((value.length + (key === undefined ? 0 : 2 + key.length)) / 8) * 8
const batchFirsts = INPUTS.map((_, offset) => {
  let first = offset
  while (first > 0 && INPUTS[first - 1].more) first--
  return first
})

beforeAll(async () => {
  rig = new Rig()
  const segment = rig.segment('a')
  fd = segment.fd
  seed = segment.seed
  state = segment.state
  const log = rig.kernels.createLog(k.MODE_FLUSH, 0)
  rig.kernels.attach(log, state)
  let at = HEADER
  let offset = 0
  for (const [group, inputs] of GROUPS.entries()) {
    if (inputs.length > 0) rig.submit(log, inputs)
    expect(await rig.commit(log, inputs.length > 0 ? k.COMMIT_SYNCED : k.COMMIT_MARKED)).toBe(0)
    for (const input of inputs) {
      frames.push({ start: at, end: at + size(input), group, offset })
      at += size(input)
      offset++
    }
    frames.push({ start: at, end: at + COMMIT_FRAME, group, offset: -1 })
    at += COMMIT_FRAME
    ends.push(at)
  }
  const last = rig.state(log)
  const footer = encodeFooter(
    {
      firstOffset: 0,
      lastOffset: offset - 1,
      count: offset,
      minTime: 5,
      maxTime: 1000,
      fileBytes: at + 88,
      contentChain: last[k.STATE_CHAIN],
      linkChain: last[k.STATE_CHAIN],
      chunks: 0,
      nextOffset: offset,
      closedAt: 99,
    },
    seed,
    rig.kernels.crc32c,
  )
  fs.writeSync(fd, footer, 0, 88, at)
  frames.push({ start: at, end: at + 88, group: GROUPS.length, offset: -1 })
  bytes = fs.readFileSync(rig.file('a'))
  expect(bytes.length).toBe(at + 88)
})

afterAll(() => rig[Symbol.dispose]())

function find(from: number, end: number): Float64Array | undefined {
  const numbers = new Float64Array(k.FIND_LENGTH)
  numbers[k.FIND_SEED] = seed
  numbers[k.FIND_MAX_RECORD] = 2 ** 20
  const status = rig.kernels.requestSync(k.FILE_FIND_GROUP, fd, from, end, undefined, numbers)
  expect(status).toBeGreaterThanOrEqual(0)
  return status === 1 ? numbers : undefined
}

function expectState(walk: Float64Array, groups: number): void {
  const offset = GROUPS.slice(0, groups).flat().length
  expect([walk[k.STATE_POSITION], walk[k.STATE_NEXT_OFFSET], walk[k.STATE_RECORDS]]).toEqual([ends[groups], offset, offset])
  const marks = GROUPS.slice(0, groups).filter((inputs) => inputs.length === 0).length
  expect([walk[k.WALK_GROUPS], walk[k.WALK_MARKS]]).toEqual([groups - marks, marks])
}

test('undamaged, through windows of any size', () => {
  for (const work of [128, 136, 200, 256, 1024, 65536]) {
    const walk = rig.walk(fd, state, bytes.length, work)
    expect([walk[k.WALK_STOP], walk[k.WALK_STOP_POSITION]]).toEqual([k.STOP_FOOTER, bytes.length - 88])
    expectState(walk, GROUPS.length)
    expect([walk[k.WALK_LAST_EPOCH], walk[k.WALK_LAST_SYNCED], walk[k.STATE_RUNNING_TIME], walk[k.STATE_MIN_TIME]]).toEqual([1, 4, 1000, 5])
  }
  const scan = rig.scan(fd, seed, HEADER, bytes.length, { offset: 0 })
  expect(scan.values).toEqual(INPUTS.map(({ value }) => value))
  expect(scan.numbers[k.SCAN_STOP]).toBe(k.STOP_FOOTER)
})

describe('truncated at every byte', () => {
  const whole = (frame: Frame, end: number) => frame.end <= end

  test('walk, scan and find', () => {
    for (let end = HEADER; end < bytes.length; end++) {
      const left = frames.filter((frame) => whole(frame, end))
      const good = left.at(-1)?.end ?? HEADER
      const stop = good === end ? k.STOP_END : k.STOP_FRAMING
      const groups = ends.filter((each) => each <= end).length - 1
      for (const work of [128, 65536]) {
        const walk = rig.walk(fd, state, end, work)
        expect([walk[k.WALK_STOP], walk[k.WALK_STOP_POSITION]]).toEqual([stop, good])
        expectState(walk, groups)
      }
      const { numbers, values } = rig.scan(fd, seed, HEADER, end, { offset: 0 })
      expect([numbers[k.SCAN_STOP], numbers[k.SCAN_NEXT_POSITION]]).toEqual([stop, good])
      expect(values).toEqual(INPUTS.slice(0, left.filter(({ offset }) => offset >= 0).length).map(({ value }) => value))
      expect(find(ends[groups], end)).toBeUndefined()
    }
  })

  test('a file that is shorter than it should be', () => {
    fs.ftruncateSync(fd, 400)
    const walk = rig.walk(fd, state, bytes.length)
    expect(walk[k.WALK_STOP]).toBe(k.STOP_FRAMING)
    expect(rig.scan(fd, seed, HEADER, bytes.length).numbers[k.SCAN_STOP]).toBe(k.STOP_FRAMING)
    fs.writeSync(fd, bytes, 0, bytes.length, 0)
  })
})

describe('every flipped bit', () => {
  const flip = (bit: number) => {
    const byte = Uint8Array.of(bytes[bit >> 3] ^ (1 << (bit & 7)))
    fs.writeSync(fd, byte, 0, 1, bit >> 3)
    return () => fs.writeSync(fd, bytes, bit >> 3, 1, bit >> 3)
  }

  test('walk and scan stop in front of the damaged frame, find leads behind it', () => {
    for (const frame of frames) {
      for (let bit = frame.start * 8; bit < frame.end * 8; bit++) {
        const mend = flip(bit)
        const walk = rig.walk(fd, state, bytes.length)
        expect([k.STOP_CHECKSUM, k.STOP_FRAMING]).toContain(walk[k.WALK_STOP])
        expect(walk[k.WALK_STOP_POSITION]).toBe(frame.start)
        expectState(walk, frame.group)
        if (bit % 5 === 0) expect(Array.from(rig.walk(fd, state, bytes.length, 128))).toEqual(Array.from(walk))
        const { numbers } = rig.scan(fd, seed, HEADER, bytes.length, { offset: 0 })
        expect([numbers[k.SCAN_STOP], numbers[k.SCAN_NEXT_POSITION]]).toEqual([walk[k.WALK_STOP], frame.start])
        if (bit % 3 === 0) {
          const found = find(frame.start, bytes.length)
          if (frame.group + 1 >= GROUPS.length) expect(found).toBeUndefined()
          else {
            expect(found?.[k.FIND_GROUP_START]).toBe(ends[frame.group + 1])
            expect(found?.[k.FIND_COMMIT_POSITION]).toBe(ends[frame.group + 2] - COMMIT_FRAME)
            expect(found?.[k.FIND_RECORDS]).toBe(GROUPS[frame.group + 1].length)
            const first = GROUPS.slice(0, frame.group + 1).flat().length
            expect(found?.[k.FIND_FIRST_OFFSET]).toBe(first)
            expect(found?.[k.FIND_END_OFFSET]).toBe(first + GROUPS[frame.group + 1].length)
          }
        }
        mend()
      }
    }
  })

  test('readRecord never gives a wrong record', () => {
    const { out, copyOut } = rig.kernels.shared
    let good = 0
    const read = (offset: number) => rig.kernels.readRecord(fd, seed, HEADER, ends[GROUPS.length], 0, -1, offset, 0)
    for (const frame of frames) {
      for (let bit = frame.start * 8; bit < frame.end * 8; bit += frame.offset < 0 ? 7 : 1) {
        const mend = flip(bit)
        for (const target of [Math.max(0, frame.offset), Math.min(INPUTS.length - 1, frame.offset + 1), 0, 3, 7]) {
          const status = read(target)
          if (target === frame.offset) expect(status).not.toBe(k.READ_OK)
          if (target < frame.offset) expect(status).toBe(k.READ_OK)
          if (status !== k.READ_OK) continue
          good++
          const input = INPUTS[target]
          const start = out[k.OUT_VALUE_START]
          expect(Buffer.from(copyOut.subarray(start, start + out[k.OUT_VALUE_LENGTH])).toString()).toBe(input.value)
          expect(out[k.OUT_BATCH_FIRST]).toBe(batchFirsts[target])
          const keyStart = out[k.OUT_KEY_START]
          expect(out[k.OUT_KEY_LENGTH]).toBe(input.key?.length ?? -1)
          if (input.key !== undefined) expect(Buffer.from(copyOut.subarray(keyStart, keyStart + input.key.length)).toString()).toBe(input.key)
          expect([out[k.OUT_TYPE], out[k.OUT_TIMESTAMP]]).toEqual([input.type ?? 1, input.time ?? 1000])
        }
        mend()
      }
    }
    expect(good).toBeGreaterThan(1000)
  })
})

describe('good checksums, bad frames', () => {
  const patched = (at: number, change: (frame: Buffer) => void): Float64Array => {
    const frame = frames.find(({ start }) => start === at)
    if (frame === undefined) throw new Error('no frame starts there')
    const copy = Buffer.from(bytes.subarray(frame.start, frame.end))
    change(copy)
    copy.writeUInt32LE(rig.kernels.crc32c(copy.subarray(4, 24 + copy.readUInt32LE(4)), seed), 0)
    fs.writeSync(fd, copy, 0, copy.length, frame.start)
    const walk = rig.walk(fd, state, bytes.length)
    fs.writeSync(fd, bytes, frame.start, copy.length, frame.start)
    expect(walk[k.WALK_STOP_POSITION]).toBe(at)
    return walk
  }
  const record = (offset: number) => frames.find((frame) => frame.offset === offset)?.start ?? -1
  const commit = (group: number) => ends[group + 1] - COMMIT_FRAME

  test('unknown types and flags are newer, never damage', () => {
    for (const [at, type, flags] of [
      [record(0), 5, 0],
      [record(0), 0, 1],
      [record(0), 1, 8],
      [record(0), 1, 0x80 | 1],
      [record(0), 1, 4 | 1],
      [commit(0), 3, 1],
      [ends[4], 4, 2],
    ]) {
      const walk = patched(at, (frame) => frame.set([type, flags], 22))
      expect([walk[k.WALK_STOP], walk[k.WALK_NEWER]]).toEqual([k.STOP_NEWER, type | (flags << 8)])
    }
  })

  test('what cannot be', () => {
    const stop = (at: number, change: (frame: Buffer) => void) => patched(at, change)[k.WALK_STOP]
    expect(stop(record(0), (frame) => frame.writeUInt16LE(5, 24))).toBe(k.STOP_FRAMING)
    expect(stop(record(4), (frame) => frame.set([2, 0], 22))).toBe(k.STOP_FRAMING)
    expect(stop(record(0), (frame) => frame.writeUInt8(1, 8))).toBe(k.STOP_ORDER)
    expect(stop(record(0), (frame) => frame.writeUInt16LE(0x4000, 14))).toBe(k.STOP_ORDER)
    expect(stop(record(1), (frame) => frame.writeUInt8(7, 8))).toBe(k.STOP_ORDER)
    expect(stop(commit(0), (frame) => frame.writeUInt8(2, 8))).toBe(k.STOP_ORDER)
    expect(stop(commit(0), (frame) => frame.writeUInt8(136, 24))).toBe(k.STOP_ORDER)
    expect(stop(commit(0), (frame) => frame.writeUInt8(9, 32))).toBe(k.STOP_ORDER)
    expect(stop(commit(0), (frame) => frame.writeUInt8(2, 40))).toBe(k.STOP_ORDER)
    expect(stop(commit(0), (frame) => frame.writeUInt8(0, 44))).toBe(k.STOP_ORDER)
    expect(stop(commit(0), (frame) => frame.writeUInt8(1, 48))).toBe(k.STOP_ORDER)
    expect(stop(commit(0), (frame) => frame.writeUInt8(frame[52] ^ 1, 52))).toBe(k.STOP_ORDER)
    expect(stop(commit(1), (frame) => frame.writeUInt8(frame[52] ^ 1, 52))).toBe(k.STOP_ORDER)
    expect(stop(ends[4], (frame) => frame.writeUInt8(7, 8))).toBe(k.STOP_ORDER)
  })

  test('a batch that goes on in front of a commit frame', () => {
    const frame = frames.find(({ offset }) => offset === 0)
    if (frame === undefined) throw new Error('no frame')
    const copy = Buffer.from(bytes.subarray(frame.start, frame.end))
    copy[23] |= 2
    copy.writeUInt32LE(rig.kernels.crc32c(copy.subarray(4, 24 + copy.readUInt32LE(4)), seed), 0)
    fs.writeSync(fd, copy, 0, copy.length, frame.start)
    const walk = rig.walk(fd, state, bytes.length)
    const scan = rig.scan(fd, seed, HEADER, bytes.length, { offset: 0 })
    fs.writeSync(fd, bytes, frame.start, copy.length, frame.start)
    expect([walk[k.WALK_STOP], walk[k.WALK_STOP_POSITION]]).toEqual([k.STOP_ORDER, frame.end])
    expect([scan.numbers[k.SCAN_STOP], scan.numbers[k.SCAN_BATCH_END], scan.numbers[k.SCAN_NEXT_BATCH_FIRST]]).toEqual([k.STOP_ORDER, 0, 0])
  })

  test('zeros at the end', () => {
    const end = ends[4]
    fs.ftruncateSync(fd, end)
    fs.ftruncateSync(fd, end + 64)
    const walk = rig.walk(fd, state, end + 64)
    expect([walk[k.WALK_STOP], walk[k.WALK_STOP_POSITION]]).toEqual([k.STOP_ZERO, end])
    expect(rig.walk(fd, state, end + 16)[k.WALK_STOP]).toBe(k.STOP_FRAMING)
    fs.writeSync(fd, bytes, 0, bytes.length, 0)
  })
})

describe('scan', () => {
  test('a frame cut by the buffer is left for the next call; the first one must fit', () => {
    for (let room = 16; room < 300; room += 4) {
      const values: string[] = []
      let position = HEADER
      let offset = 0
      let batchFirst = -1
      let large = 0
      for (;;) {
        const scan = rig.scan(fd, seed, position, bytes.length, { size: large || room, offset, batchFirst })
        values.push(...scan.values)
        position = scan.numbers[k.SCAN_NEXT_POSITION]
        offset = scan.numbers[k.SCAN_NEXT_OFFSET]
        batchFirst = scan.numbers[k.SCAN_NEXT_BATCH_FIRST]
        const stop = scan.numbers[k.SCAN_STOP]
        if (stop === k.STOP_FOOTER) break
        expect([k.STOP_END, k.STOP_LARGE]).toContain(stop)
        const needed = scan.numbers[k.SCAN_NEEDED]
        if (stop === k.STOP_LARGE) expect(needed).toBeGreaterThan(large || room)
        large = stop === k.STOP_LARGE ? needed : 0
      }
      expect(values).toEqual(INPUTS.map(({ value }) => value))
    }
  })

  test('lists from an offset on, as many as the table takes, and says where batches end', () => {
    const { numbers, values, table } = rig.scan(fd, seed, HEADER, bytes.length, { from: 2, rows: 5 })
    expect(values).toEqual(INPUTS.slice(2, 7).map(({ value }) => value))
    expect(numbers[k.SCAN_STOP]).toBe(k.STOP_TABLE_FULL)
    expect([numbers[k.SCAN_NEXT_OFFSET], numbers[k.SCAN_BATCH_END], numbers[k.SCAN_NEXT_BATCH_FIRST]]).toEqual([7, 4, 6])
    expect([0, 1, 2].map((row) => table[row * k.SCAN_COLUMNS + 3])).toEqual([1, 2, 0])
    const rest = rig.scan(fd, seed, numbers[k.SCAN_NEXT_POSITION], bytes.length, { offset: 7, batchFirst: 6 })
    expect(rest.values).toEqual(['end'])
    expect(rest.table[3]).toBe(1)
  })
})

describe('scattered reads', () => {
  test('readMany', async () => {
    const rows = new Float64Array(4 * k.MANY_WIDTH)
    const wanted = [7, 0, 3, 99]
    wanted.forEach((offset, row) => {
      const start = frames.find((frame) => frame.offset === offset)?.start ?? HEADER
      rows.set([fd, seed, offset === 3 ? HEADER : start, ends[4], offset, offset === 7 ? 6 : -1], row * k.MANY_WIDTH)
    })
    const into = new Uint8Array(4096)
    expect(await rig.request(k.FILE_READ_MANY, 0, 4, 0, into, rows)).toBe(0)
    const results = wanted.map((_, row) => Array.from(rows.subarray(row * k.MANY_WIDTH + 5, (row + 1) * k.MANY_WIDTH)))
    expect(results.map(([batchFirst, status]) => [batchFirst, status])).toEqual([
      [6, k.READ_OK],
      [0, k.READ_OK],
      [1, k.READ_OK],
      [-1, k.READ_NOT_FOUND],
    ])
    let used = 0
    for (const [row, offset] of [7, 0, 3].entries()) {
      const [, , start, length, frame] = results[row]
      expect(Buffer.from(into.subarray(start, start + length)).toString()).toBe(INPUTS[offset].value)
      expect(Buffer.from(into).readUInt32LE(frame + 8)).toBe(offset)
      // Frames lie one behind the other, though the third one was reached through others.
      expect(frame).toBe(used)
      used = start + length + ((8 - ((start + length) % 8)) % 8)
    }
    const tight = new Uint8Array(200)
    expect(await rig.request(k.FILE_READ_MANY, 0, 4, 0, tight, rows)).toBe(0)
    expect(rows[2 * k.MANY_WIDTH + 6]).toBe(k.READ_NO_ROOM)
  })

  test('readRecord far behind its entry, and records that are cut by the first read', async () => {
    using other = new Rig()
    const segment = other.segment('b')
    const log = other.kernels.createLog(k.MODE_FLUSH, 0)
    other.kernels.attach(log, segment.state)
    const values = Array.from({ length: 40 }, (_, i) => String.fromCharCode(65 + (i % 26)).repeat(700 + i * 13))
    other.submit(
      log,
      values.map((value, i) => ({ value, more: i % 3 !== 2 && i !== 39 })),
    )
    other.kernels.submitLarge(log, 1, 1, undefined, new Uint8Array(100_000).fill(66))
    expect(await other.commit(log, k.COMMIT_MODE)).toBe(0)
    const end = fs.fstatSync(segment.fd).size
    const { out, copyOut } = other.kernels.shared
    for (let offset = 0; offset < 41; offset++) {
      expect(other.kernels.readRecord(segment.fd, segment.seed, HEADER, end, 0, -1, offset, 0)).toBe(k.READ_OK)
      const start = out[k.OUT_VALUE_START]
      const value = Buffer.from(copyOut.subarray(start, start + out[k.OUT_VALUE_LENGTH])).toString()
      expect(value === (values[offset] ?? 'B'.repeat(100_000))).toBe(true)
      expect(out[k.OUT_BATCH_FIRST]).toBe(offset === 40 ? 40 : offset - (offset % 3))
    }
    expect(other.kernels.readRecord(segment.fd, segment.seed, HEADER, end, 0, -1, 41, 0)).toBe(k.READ_NOT_FOUND)
    expect(other.kernels.readRecord(segment.fd, segment.seed, HEADER, end, 1, -1, 5, 0)).toBe(k.READ_NOT_FOUND)
  })
})
