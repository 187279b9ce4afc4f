import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type CompactionResult, Store } from '../../lib/store/index.js'
import { backends } from '../support/backends.js'
import { parseLines, sealog, start, temporary } from './command.js'

interface Failed {
  readonly error: { readonly code: string; readonly message: string }
}

let place: ReturnType<typeof temporary>
let store: string
beforeEach(() => {
  place = temporary()
  store = join(place.path, 'store')
})
afterEach(() => place.remove())

const run = (args: readonly string[], input: string | Uint8Array = '') => sealog(['store', ...args], input)
const json = async (args: readonly string[], input: string | Uint8Array = ''): Promise<unknown> => {
  const { status, stdout, stderr } = await run([...args, '--json'], input)
  return status === 0
    ? JSON.parse(stdout)
    : { status, stdout: stdout === '' ? undefined : JSON.parse(stdout), error: stderr === '' ? undefined : (JSON.parse(stderr) as Failed).error.code }
}

/** What the command line has to work with: 300 names, some integers and bytes. */
async function fill(): Promise<void> {
  const opened = await Store.open(store, { codec: 'json', durability: 'flush' })
  try {
    await opened.putBatch(Array.from({ length: 300 }, (_, n) => ({ key: `name-${String(n).padStart(3, '0')}`, value: { n } })))
    await opened.putBatch([-7, 5, 2 ** 40, 2n ** 60n].map((key) => ({ key, value: String(key) })))
    await opened.put(Uint8Array.of(1, 255), null)
  } finally {
    await opened.close()
  }
}

test.each(backends)('put, get and delete with the %s backend', async (backend) => {
  const common = ['--backend', backend]
  expect(await json(['put', store, 'a', '{"from":"argument"}', '--durability', 'flush', ...common])).toEqual({ key: 'a', offset: 0 })
  expect((await run(['get', store, 'a', ...common])).stdout).toBe('{"from":"argument"}\n')
  expect(await json(['delete', store, 'a', ...common])).toEqual({ deleted: true })
  expect(await json(['delete', store, 'a', ...common])).toEqual({ deleted: false })
  expect(await json(['get', store, 'a'])).toEqual({ status: 1, stdout: { key: 'a', found: false }, error: undefined })
})

test('values from a file and from standard input, and those of earlier times', async () => {
  const file = join(place.path, 'value.json')
  writeFileSync(file, '{"from":\n"file"}')
  expect(await run(['put', store, 'a', '--file', file])).toMatchObject({ status: 0, stdout: '', stderr: '' })
  expect(await json(['put', store, 'a'], '"from standard input"')).toEqual({ key: 'a', offset: 1 })
  expect((await run(['get', store, 'a', '--at', '0'])).stdout).toBe('{"from":"file"}\n')
  expect(await json(['get', store, 'a'])).toEqual({ key: 'a', found: true, value: 'from standard input' })
  expect(await run(['get', store, 'b'])).toMatchObject({ status: 1, stdout: '', stderr: 'sealog: there is no such key\n' })
})

test('keys as text, as integers, as bytes', async () => {
  await fill()
  expect((await run(['get', store, '5', '--key-type', 'number'])).stdout).toBe('"5"\n')
  expect((await run(['get', store, String(2n ** 60n), '--key-type', 'number'])).stdout).toBe(`"${2n ** 60n}"\n`)
  expect((await run(['get', '--key-type', 'number', store, '--', '-7'])).stdout).toBe('"-7"\n')
  expect(await json(['get', store, '01FF', '--key-type', 'hex'])).toEqual({ keyHex: '01ff', found: true, value: null })
  expect(await json(['put', store, 'name-000', 'no json'])).toEqual({ status: 1, error: 'ERR_SEALOG_VALUE' })
  expect((await run(['get', store, 'name-000'])).stdout).toBe('{"n":0}\n')
})

test('a store of bytes: what goes in comes out', async () => {
  const bytes = Buffer.from([0, 255, 10, 13, 0xc3])
  const file = join(place.path, 'value')
  writeFileSync(file, bytes)
  expect((await run(['put', store, 'k', '--codec', 'bytes', '--file', file])).status).toBe(0)
  expect((await run(['put', store, 'text', 'plain text'])).status).toBe(0)
  expect((await run(['get', store, 'text'])).stdout).toBe('plain text')
  expect(await json(['get', store, 'k'])).toEqual({ key: 'k', found: true, base64: bytes.toString('base64') })
  expect(parseLines((await run(['list', store, '--values', '--limit', '1'])).stdout)).toEqual([{ key: 'k', base64: bytes.toString('base64') }])
  expect(await json(['put', store, 'k', '1', '--codec', 'json'])).toEqual({ status: 1, error: 'ERR_SEALOG_CODEC_MISMATCH' })
})

test('list: in order, ranges, values, and a reader that has seen enough', async () => {
  await fill()
  const list = async (...args: string[]) => parseLines<Record<string, unknown>>((await run(['list', store, ...args])).stdout)
  const all = await list()
  expect(all.slice(0, 5)).toEqual([{ key: -7 }, { key: 5 }, { key: 2 ** 40 }, { keyInteger: String(2n ** 60n) }, { key: 'name-000' }])
  expect([all.length, all.at(-1)]).toEqual([305, { keyHex: '01ff' }])
  expect(await list('--prefix', 'name-1', '--limit', '2', '--reverse', '--values')).toEqual([
    { key: 'name-199', value: { n: 199 } },
    { key: 'name-198', value: { n: 198 } },
  ])
  expect(await list('--gte', 'name-010', '--lt', 'name-012')).toEqual([{ key: 'name-010' }, { key: 'name-011' }])
  expect(await list('--gt', '5', '--lte', String(2 ** 40), '--key-type', 'number')).toEqual([{ key: 2 ** 40 }])
  const { child, result } = start(['store', 'list', store, '--values'])
  child.stdout?.once('data', () => child.stdout?.destroy())
  expect(await result).toMatchObject({ status: 0, stderr: '' })
})

test('compact removes what nobody can ask for', async () => {
  const opened = await Store.open<number>(store, { codec: 'json', segmentBytes: 4096, maxRecordBytes: 1024, maxBatchBytes: 1024, compaction: false })
  for (let i = 0; i < 500; i++) void opened.put(`k${i % 5}`, i)
  await opened.flush()
  await opened.close()
  const { segments, bytesBefore, bytesAfter } = (await json(['compact', store, '--keep-chunks', '0'])) as CompactionResult
  expect(segments).toBeGreaterThan(3)
  expect(bytesAfter).toBeLessThan(bytesBefore)
  expect((await run(['compact', store, '--keep-chunks', '0'])).stdout).toMatch(/^0 segments rewritten, 0 records removed, /)
  expect(await json(['get', store, 'k3'])).toMatchObject({ value: 498 })
})

test('stats and snapshot', async () => {
  await fill()
  expect(await json(['snapshot', store])).toMatchObject({ endOffset: 305, entries: 305 })
  expect(await json(['stats', store])).toMatchObject({ keys: 305, bytesSinceSnapshot: 0, snapshot: { endOffset: 305 }, log: { endOffset: 305 } })
  expect((await run(['snapshot', store])).stdout).toMatch(/^305 keys of the records below offset 305, /)
  expect((await run(['stats', store])).stdout).toMatch(/^keys +305\n/)
})

function stored(id: number, payload: string): Buffer {
  const head = Buffer.alloc(13)
  head[0] = 0xc3
  head.writeBigUInt64LE(BigInt(id), 1)
  head.writeUInt32LE(payload.length, 9)
  const bytes = Buffer.concat([head, Buffer.from(payload), Buffer.alloc(4)])
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4)
  return bytes
}

test('import of a VelesDB collection; what is left out is listed, with exit code 1', async () => {
  const source = join(place.path, 'collection')
  mkdirSync(source)
  const log = Buffer.concat([stored(1, '{"a":1}'), stored(2, '[]'), stored(1, '"new"')])
  writeFileSync(join(source, 'payloads.log'), log)
  expect(await json(['import', store, source])).toMatchObject({ stored: 3, deleted: 0, skipped: [], keys: 2 })
  expect((await run(['get', store, '1', '--key-type', 'number'])).stdout).toBe('"new"\n')
  expect((await run(['import', store, source])).stdout).toBe('3 values stored, 0 deleted; the store has 2 keys\n')
  writeFileSync(join(source, 'payloads.log'), Buffer.concat([stored(3, 'text'), log.subarray(0, -1)]))
  const { status, stdout } = await run(['import', store, source])
  expect(status).toBe(1)
  expect(stdout).toMatch(/^left out at 0: .*JSON.*\nleft out from 64 to the end, 21 B: .*\n2 values stored, 0 deleted; the store has 2 keys\n$/)
  expect(await json(['import', join(place.path, 'other'), place.path])).toEqual({ status: 4, error: 'ERR_SEALOG_NOT_FOUND' })
})

test.each([
  ['get', ['k']],
  ['list', []],
  ['snapshot', []],
])('store %s of a directory without a store is exit code 4; --help explains it', async (verb, args) => {
  expect(await json([verb, store, ...args])).toEqual({ status: 4, error: 'ERR_SEALOG_NOT_FOUND' })
  const { status, stdout } = await run([verb, '--help'])
  expect(status).toBe(0)
  expect(stdout).toContain(`Usage: sealog store ${verb} [options] <dir>`)
  for (const option of ['--json', '--backend <name>']) expect(stdout).toContain(option)
})

test.each(
  [
    [],
    ['nonsense', 'dir'],
    ['get', 'dir'],
    ['get', 'dir', 'k', '--key-type', 'float'],
    ['get', 'dir', '1.5', '--key-type', 'number'],
    ['get', 'dir', '0g', '--key-type', 'hex'],
    ['put', 'dir', 'k', '1', '--file', 'f'],
    ['list', 'dir', '--limit', '-1'],
  ].map((args) => [args]),
)('a wrong command line is exit code 2: store %j', async (args) => {
  const { status, stdout, stderr } = await sealog(['store', ...args], '', { cwd: place.path })
  expect([status, stdout]).toEqual([2, ''])
  expect(stderr).not.toBe('')
})

test('a key that is none, and a range that is none, are exit code 2; a log of other content is refused', async () => {
  await fill()
  expect(await json(['get', store, ''])).toEqual({ status: 2, error: 'ERR_SEALOG_ARGUMENT' })
  expect(await json(['list', store, '--prefix', '5', '--key-type', 'number'])).toEqual({ status: 2, error: 'ERR_SEALOG_ARGUMENT' })
  const log = join(place.path, 'log')
  await sealog(['append', log], '1\n')
  expect(await json(['put', log, 'k', '1'])).toEqual({ status: 1, error: 'ERR_SEALOG_FORMAT' })
})
