import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { importVelesDb, type Key, Store, type VelesImportProgress } from '../../lib/store/index.js'
import { VelesLog } from '../../lib/store/veles-log.js'
import { backends, environmentOf } from '../support/backends.js'
import { freshPath, makeDirectory } from '../support/directories.js'
import { codeOf, range } from '../support/logs.js'
import { entriesOf, openJson, withStore } from './stores.js'

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const u64 = (value: number | bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
const withCrc = (bytes: Buffer): Buffer => Buffer.concat([bytes, u32(crc32(bytes))])
const storeRecord = (id: number | bigint, payload: string): Buffer =>
  withCrc(Buffer.concat([Buffer.of(0xc3), u64(id), u32(Buffer.byteLength(payload)), Buffer.from(payload)]))
const deleteRecord = (id: number | bigint): Buffer => withCrc(Buffer.concat([Buffer.of(0xc4), u64(id)]))
const oldStore = (id: number, payload: string): Buffer => Buffer.concat([Buffer.of(1), u64(id), u32(Buffer.byteLength(payload)), Buffer.from(payload)])
const oldDelete = (id: number): Buffer => Buffer.concat([Buffer.of(2), u64(id)])
const snapshotOf = (logEnd: number | bigint, entries: number, count: number | bigint = entries): Buffer =>
  withCrc(Buffer.concat([Buffer.from('VSNP\x01'), u64(logEnd), u64(count), Buffer.alloc(16 * entries, 7)]))

function collection(log: Buffer, snapshot?: Buffer): string {
  const directory = makeDirectory('veles')
  writeFileSync(path.join(directory, 'payloads.log'), log)
  if (snapshot !== undefined) writeFileSync(path.join(directory, 'payloads.snapshot'), snapshot)
  return directory
}

describe.each(backends)('import of VelesDB (%s)', (backend) => {
  const { runner } = environmentOf(backend)

  const load = (log: Buffer, snapshot?: Buffer) =>
    withStore<unknown, { result: Awaited<ReturnType<typeof importVelesDb>>; entries: [Key, unknown][] }>(
      freshPath('store'),
      backend,
      { durability: 'flush' },
      async (store) => ({ result: await importVelesDb(collection(log, snapshot), store), entries: await entriesOf(store) }),
    )

  /** What the reader makes of a file, without a store: `id`, or `-id` for a deletion, and positions of what was damaged. */
  async function scan(file: string, bytes: Buffer) {
    writeFileSync(file, bytes)
    const damaged: number[] = []
    const records: [number, string | undefined][] = []
    const log = await VelesLog.open(runner, file, (position) => damaged.push(position))
    if (log === undefined) throw new Error('no file')
    try {
      for await (const block of log.blocks())
        for (const { id, payload } of block) records.push([Number(id), payload === undefined ? undefined : Buffer.from(payload).toString()])
      return { records, damaged, torn: log.torn?.position }
    } finally {
      await log.close()
    }
  }

  test('records and snapshot byte for byte as VelesDB writes them', async () => {
    const stored = Buffer.from('c30100000000000000070000007b2261223a317d77d0dbcb', 'hex')
    const deleted = Buffer.from('c40100000000000000744688cf', 'hex')
    const empty = Buffer.from('56534e5001000000000000000000000000000000002cc456b8', 'hex')
    expect([storeRecord(1, '{"a":1}'), deleteRecord(1), snapshotOf(0, 0)]).toEqual([stored, deleted, empty])
    expect(await load(stored, empty)).toEqual({ result: { stored: 1, deleted: 0, skipped: [], skippedRecords: 0 }, entries: [[1, { a: 1 }]] })
    expect((await load(Buffer.concat([stored, deleted]), empty)).entries).toEqual([])
  })

  test('both generations of records, mixed; ids up to 2^64 − 1; the last change of an id counts', async () => {
    const log = Buffer.concat([
      oldStore(1, '"old"'),
      oldStore(2, '[2]'),
      oldDelete(2),
      storeRecord(1, '"new"'),
      storeRecord(3, 'null'),
      deleteRecord(9),
      oldStore(2, '"again"'),
      storeRecord(2n ** 64n - 1n, '{"é":"\\u00e9"}'),
      storeRecord(2n ** 53n, '1'),
      deleteRecord(3),
      storeRecord(0, ' {\n "a": 1 }'),
    ])
    const { result, entries } = await load(log)
    expect(result).toEqual({ stored: 8, deleted: 3, skipped: [], skippedRecords: 0 })
    expect(entries).toEqual([
      [0, { a: 1 }],
      [1, 'new'],
      [2, 'again'],
      [2n ** 53n, 1],
      [2n ** 64n - 1n, { é: 'é' }],
    ])
  })

  test('payloads that are no JSON are told of by position and change nothing; a store of bytes takes them', async () => {
    const log = Buffer.concat([storeRecord(1, '1'), storeRecord(1, '{"a":'), storeRecord(2, ''), oldStore(3, 'text'), storeRecord(4, '4')])
    const { result, entries } = await load(log)
    expect(result).toMatchObject({ stored: 2, deleted: 0, skippedRecords: 3, skipped: [{ position: 18 }, { position: 40 }, { position: 57 }] })
    for (const { why } of result.skipped) expect(why).toMatch(/not JSON/)
    expect(entries).toEqual([
      [1, 1],
      [4, 4],
    ])
    const store = await Store.open(freshPath('store'), { backend })
    try {
      expect(await importVelesDb(collection(log), store)).toMatchObject({ stored: 5, skippedRecords: 0 })
      expect(Buffer.from((await store.get(3)) ?? []).toString()).toBe('text')
    } finally {
      await store.close()
    }
  })

  const small = [storeRecord(1, '{"a":1}'), storeRecord(2, '"two"'), deleteRecord(1), storeRecord(3, '""'), storeRecord(2, '[2,2]'), deleteRecord(3)]
  const smallRecords = [
    [1, '{"a":1}'],
    [2, '"two"'],
    [1, undefined],
    [3, '""'],
    [2, '[2,2]'],
    [3, undefined],
  ] as const
  const starts = small.map((_, n) => Buffer.concat(small.slice(0, n)).length)

  test('cut at every byte: the whole records before the cut, and where the torn one begins', async () => {
    const file = path.join(makeDirectory('veles'), 'payloads.log')
    const whole = Buffer.concat(small)
    for (let length = 0; length <= whole.length; length++) {
      const complete = starts.filter((start, n) => start + small[n].length <= length).length
      const torn = length === (starts[complete] ?? whole.length) ? undefined : starts[complete]
      expect(await scan(file, whole.subarray(0, length)), `cut at ${length}`).toEqual({ records: smallRecords.slice(0, complete), damaged: [], torn })
    }
  })

  test('every byte changed: nothing but what was written is read, in order; the damaged record is left out, and told of', async () => {
    const file = path.join(makeDirectory('veles'), 'payloads.log')
    const whole = Buffer.concat(small)
    let passedOver = 0
    for (let at = 0; at < whole.length; at++) {
      const victim = starts.filter((start) => start <= at).length - 1
      for (const flip of [0x01, 0x80, 0xff, whole[at]]) {
        const bytes = Buffer.from(whole)
        bytes[at] ^= flip
        const found = await scan(file, bytes)
        const before = smallRecords.slice(0, victim)
        const what = `byte ${at} ^ ${flip}`
        if (flip === 0) {
          expect(found, what).toEqual({ records: smallRecords, damaged: [], torn: undefined })
        } else if (found.torn !== undefined) {
          expect(found, what).toEqual({ records: before, damaged: [], torn: starts[victim] })
        } else {
          passedOver++
          // A wrong length may lead exactly to the end of the file, so that what lies between counts as damaged too.
          const behind = found.records.length === victim ? [] : smallRecords.slice(victim + 1)
          expect(found, what).toEqual({ records: [...before, ...behind], damaged: [starts[victim]], torn: undefined })
        }
      }
    }
    expect(passedOver).toBeGreaterThan(whole.length)
  })

  test('lengths beyond the file, of 4 GiB, and behind a good head allocate nothing; zeros and garbage end the reading', async () => {
    const good = storeRecord(1, '1')
    const cases: readonly [Buffer, RegExp][] = [
      [Buffer.concat([Buffer.of(0xc3), u64(2), u32(0xffffffff), Buffer.alloc(100)]), /ends in the middle of a record of 4294967312 bytes/],
      [Buffer.concat([Buffer.of(1), u64(2), u32(101), Buffer.alloc(100)]), /ends in the middle of a record of 114 bytes/],
      [Buffer.alloc(4096), /no record begins with the byte 0/],
      [Buffer.from('garbage'), /no record begins with the byte 103/],
      [Buffer.concat([Buffer.of(0xc3), u64(2), u32(4), Buffer.alloc(8), Buffer.from('{"behind": 1}')]), /checksum is wrong, and no good record/],
    ]
    for (const [bad, why] of cases) {
      const { result, entries } = await load(Buffer.concat([good, bad]))
      expect(result).toMatchObject({ stored: 1, skippedRecords: 0, tornAt: { position: good.length, bytes: bad.length, why: expect.stringMatching(why) } })
      expect(entries).toEqual([[1, 1]])
    }
    expect((await load(Buffer.alloc(0))).result).toEqual({ stored: 0, deleted: 0, skipped: [], skippedRecords: 0 })
  })

  test('many damaged records in a row', async () => {
    const file = path.join(makeDirectory('veles'), 'payloads.log')
    const damage = (record: Buffer) => {
      const bytes = Buffer.from(record)
      bytes[bytes.length - 1] ^= 1
      return bytes
    }
    const records = range(0, 50).map((n) => storeRecord(n, String(n)))
    const { damaged, torn, records: read } = await scan(file, Buffer.concat(records.map((record, n) => (n % 25 === 0 ? record : damage(record)))))
    expect([read.length, damaged.length, torn]).toEqual([2, 48, undefined])
  })

  test('records across the blocks of reading, larger ones, and progress', async () => {
    const payload = (n: number) => JSON.stringify({ n, text: 'x'.repeat(n % 50 === 0 ? 1_500_000 : n * 7) })
    const records = range(0, 400).map((n) => (n % 3 === 0 ? oldStore(n, payload(n)) : storeRecord(n, payload(n))))
    const log = Buffer.concat(records)
    const told: VelesImportProgress[] = []
    const store = await openJson<{ n: number; text: string }>(freshPath('store'), backend, { durability: 'flush' })
    try {
      const directory = collection(log)
      expect(await importVelesDb(directory, store, { onProgress: (progress) => told.push(progress) })).toMatchObject({ stored: 400, skippedRecords: 0 })
      expect(store.stats().log.durableOffset).toBe(400)
      for await (const [key, value] of store.entries()) expect(JSON.stringify(value)).toBe(payload(Number(key)))
      expect(told.length).toBeGreaterThan(8)
      expect(told).toEqual([...told].sort((a, b) => a.bytes - b.bytes))
      expect(told.at(-1)).toEqual({ bytes: log.length, totalBytes: log.length, records: 400 })
      // Again: the same changes, the same store.
      await importVelesDb(directory, store)
      expect(store.size).toBe(400)
    } finally {
      await store.close()
    }
  })

  test('a snapshot is not needed; what is wrong with it is told, whatever counts it claims', async () => {
    const log = storeRecord(1, '1')
    const good = snapshotOf(log.length, 2)
    expect((await load(log, good)).result.snapshotDamage).toBeUndefined()
    const cases: readonly [Buffer, RegExp][] = [
      [Buffer.alloc(0), /too short/],
      [good.subarray(0, 24), /too short/],
      [good.subarray(0, good.length - 1), /2 entries and has room for 1.9375/],
      [snapshotOf(log.length, 2, 2n ** 60n), /1152921504606846976 entries and has room for 2/],
      [snapshotOf(log.length, 2, 2n ** 64n - 1n), /entries and has room for 2/],
      [snapshotOf(log.length + 1, 2), /was written when the log had 19 bytes; now it has 18/],
      [snapshotOf(2n ** 64n - 1n, 2), /now it has 18/],
    ]
    for (const [snapshot, why] of cases) {
      const { result, entries } = await load(log, snapshot)
      expect(result.snapshotDamage).toMatch(why)
      expect([result.stored, entries]).toEqual([1, [[1, 1]]])
    }
    await withStore(freshPath('store'), backend, { durability: 'none' }, async (store) => {
      const directory = collection(log)
      for (let at = 0; at < good.length; at++) {
        const bytes = Buffer.from(good)
        bytes[at] ^= 0x10
        writeFileSync(path.join(directory, 'payloads.snapshot'), bytes)
        expect((await importVelesDb(directory, store)).snapshotDamage, `byte ${at}`).toBeDefined()
      }
    })
  })

  test('bad arguments, and a directory without a payload log', async () => {
    const store = await openJson(freshPath('store'), backend)
    try {
      const empty = makeDirectory('veles')
      expect(await codeOf(() => importVelesDb(empty, store))).toBe('ERR_SEALOG_NOT_FOUND')
      mkdirSync(path.join(empty, 'payloads.log'))
      expect(await codeOf(() => importVelesDb(empty, store))).toMatch(/^ERR_SEALOG_/)
      expect(await codeOf(() => importVelesDb('', store))).toBe('ERR_SEALOG_ARGUMENT')
      expect(await codeOf(() => importVelesDb(empty, store, { progress: 1 } as object))).toBe('ERR_SEALOG_OPTION')
      await expect(
        importVelesDb(collection(storeRecord(1, '1')), store, {
          onProgress: () => {
            throw new Error('enough')
          },
        }),
      ).rejects.toThrow('enough')
    } finally {
      await store.close()
    }
  })
})
