import { readdirSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { decodeMulti } from '@msgpack/msgpack'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { Log } from '../../lib/index.js'
import { backends, environmentOf } from '../support/backends.js'
import { parseLines, sealog, temporary } from './command.js'

let place: ReturnType<typeof temporary>
let log: string
beforeEach(() => {
  place = temporary()
  log = join(place.path, 'log')
})
afterEach(() => place.remove())

const COUNT = 200
const jsonOf = (n: number) => ({ n, text: 'x'.repeat(20) })

async function write(backend: 'native' | 'js', archived = false): Promise<void> {
  const written = await Log.open(log, { codec: 'json', seal: false, segmentBytes: 2048, maxBatchBytes: 1000, durability: 'flush', backend })
  for (let n = 0; n < COUNT; n++) await written.append(jsonOf(n), { key: `key ${n}` })
  await written.sync()
  const consumer = await written.consumer('slow', { maxLagBytes: 1_000_000 })
  await consumer.acknowledge(100)
  if (archived) await (await openArchive(written, { automatic: false })).run()
  await written.close()
}

const json = async <T>(...args: string[]): Promise<T> => {
  const { status, stdout, stderr } = await sealog([...args, '--json'])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return JSON.parse(stdout) as T
}

const files = () => readdirSync(join(log, 'segments')).filter((name) => name.endsWith('.log'))

describe.each(backends)('retain and consumers with the %s backend', (backend) => {
  test('retain tells what it would do, does it, and stops where a consumer is', async () => {
    await write(backend)
    const before = files()
    const planned = await json<{ startOffset: number; removedSegments: number }>('retain', log, '--max-bytes', '4KiB', '--dry-run', '--backend', backend)
    expect(planned).toMatchObject({ dryRun: true, heldBy: { reason: 'consumer', consumer: 'slow', offset: 100 } })
    expect(files()).toEqual(before)
    const { status, stdout } = await sealog(['retain', log, '--max-bytes', '4KiB', '--backend', backend])
    expect(status).toBe(0)
    expect(stdout).toMatch(
      new RegExp(`^${planned.removedSegments} segments .* removed; the log begins at offset ${planned.startOffset}\nkept from offset 100 on: consumer slow`),
    )
    expect(files()).toEqual(before.slice(planned.removedSegments))
    expect(await json('retain', log, '--max-age', '7d', '--backend', backend)).toMatchObject({ removedSegments: 0 })
    const all = await json<{ startOffset: number }>('retain', log, '--max-age', '0s', '--ignore-consumers', '--backend', backend)
    expect(all.startOffset).toBeGreaterThan(150)
    expect(parseLines<{ offset: number }>((await sealog(['cat', log, '--limit', '1'])).stdout)[0].offset).toBe(all.startOffset)
  })

  test('consumers are listed, reset and deleted, beside a writer', async () => {
    await write(backend)
    const writer = await Log.open(log, { backend })
    try {
      const { consumers } = await json<{ consumers: object[] }>('consumers', log, '--backend', backend)
      expect(consumers).toMatchObject([{ name: 'slow', offset: 100, lagRecords: 100, maxLagBytes: 1_000_000 }])
      expect((await sealog(['consumers', log, '--backend', backend])).stdout).toMatch(/^consumer .*\nslow +100 +100 /)
      expect(await json('consumers', log, 'reset', 'slow', '7', '--backend', backend)).toMatchObject({ consumers: [{ offset: 7 }] })
      truncateSync(join(log, 'consumers', 'slow'), 3)
      expect((await sealog(['consumers', log, '--backend', backend])).stdout).toContain('damaged (ERR_SEALOG_CONSUMER)')
      await sealog(['consumers', log, 'reset', 'slow', '8', '--backend', backend])
      expect((await writer.consumer('slow')).offset).toBe(8)
      expect(await json('consumers', log, 'delete', 'slow', '--backend', backend)).toMatchObject({ consumers: [] })
      expect((await sealog(['retain', log, '--max-bytes', '1', '--backend', backend])).status).toBe(3)
    } finally {
      await writer.close()
    }
  })
})

test.each([
  ['retain', 'log', '--max-bytes', '-1'],
  ['retain', 'log', '--max-bytes', '1 furlong'],
  ['retain', 'log', '--max-age', '1y'],
  ['retain', 'log', '--archive', 'move'],
  ['consumers', 'log', 'sing'],
  ['consumers', 'log', 'reset', 'name', '-1'],
  ['archive', 'melt', 'log'],
  ['archive', 'export', 'log', '--format', 'xml'],
])('a wrong command line is exit code 2: %j', async (...args) => {
  const { status, stdout, stderr } = await sealog(args, '', { cwd: place.path })
  expect(status).toBe(2)
  expect(stdout).toBe('')
  expect(stderr).not.toBe('')
})

test.each([['retain'], ['consumers'], ['archive', 'list'], ['archive', 'run']])('%j of a directory without a log is exit code 4', async (...verb: string[]) => {
  expect((await sealog([...verb, join(place.path, 'none')])).status).toBe(4)
})

describe.runIf(backends.includes('native') && environmentOf('native').kernels.can.compress)('archive', () => {
  test('list, info, verify, export, restore and run', async () => {
    await write('native')
    expect((await sealog(['archive', 'list', log])).stdout).toBe('no archives\n')
    const { archived } = await json<{ archived: number }>('archive', 'run', log, '--level', '5')
    expect(archived).toBe(files().length - 1)
    expect(await json('archive', 'run', log)).toMatchObject({ archived: 0 })
    const { archives } = await json<{ archives: Array<{ base: number; end: number; bytes: number; local: boolean }> }>('archive', 'list', log)
    expect(archives).toHaveLength(archived)
    expect((await sealog(['archive', 'list', log])).stdout.split('\n')).toHaveLength(archived + 2)
    expect(await json('archive', 'info', log, '--offset', '50')).toMatchObject({ level: 5, base: archives.find(({ end }) => end > 50)?.base })
    expect(await json('archive', 'info', log)).toMatchObject({
      archives: archived,
      released: 0,
      pending: 0,
      archiveBytes: archives.reduce((sum, { bytes }) => sum + bytes, 0),
    })
    expect(await json('archive', 'verify', log)).toMatchObject({ ok: true, archives: archived })

    const contents = files().map((name) => readFileSync(join(log, 'segments', name)))
    await json('retain', log, '--max-bytes', '0', '--archive', 'archive', '--ignore-consumers')
    expect(files()).toHaveLength(1)
    const restored = await json<{ restored: number }>('archive', 'restore', log, '--to', '30')
    expect(restored.restored).toBe(archives.filter(({ base }) => base < 30).length)
    expect((await sealog(['archive', 'restore', log])).stdout).toMatch(/segments restored\n$/)
    expect(files().map((name) => readFileSync(join(log, 'segments', name)))).toEqual(contents)

    // What lies in front of the log is exported too.
    const { startOffset } = await json<{ startOffset: number }>('retain', log, '--before', '60', '--archive', 'keep')
    expect(startOffset).toBeGreaterThan(30)
    const end = archives.at(-1)?.end ?? 0
    const lines = parseLines<{ offset: number; key: string; value: unknown }>((await sealog(['archive', 'export', log, '--from', '7'])).stdout)
    expect(lines.map(({ offset, key, value }) => [offset, key, value])).toEqual(
      Array.from({ length: end - 7 }, (_, i) => [i + 7, `key ${i + 7}`, jsonOf(i + 7)]),
    )
    const output = join(place.path, 'out.msgpack')
    const exported = await sealog(['archive', 'export', log, '--format', 'msgpack', '--to', '100', '-o', output])
    expect(exported).toMatchObject({ status: 0, stdout: '', stderr: `100 records exported to ${output}\n` })
    const maps = [...decodeMulti(readFileSync(output))] as Array<{ offset: number; timestamp: number; key: Uint8Array; value: unknown }>
    expect(maps.map(({ offset, key, value }) => [offset, Buffer.from(key).toString(), value])).toEqual(
      Array.from({ length: 100 }, (_, n) => [n, `key ${n}`, jsonOf(n)]),
    )
    expect((await sealog(['archive', 'export', log, '-o', output])).status).toBe(1)

    // One that is damaged is named, and nothing of it is exported.
    const [first] = readdirSync(join(log, 'archive')).sort()
    truncateSync(join(log, 'archive', first), 400)
    const damaged = await sealog(['archive', 'verify', log])
    expect(damaged.status).toBe(1)
    expect(damaged.stdout).toContain(first)
    const refused = await sealog(['archive', 'export', log, '--json'])
    expect(refused).toMatchObject({ status: 1, stdout: '' })
    expect((JSON.parse(refused.stderr) as { error: { code: string } }).error.code).toBe('ERR_SEALOG_ARCHIVE')
  })

  test('train tells whether a dictionary is used', async () => {
    await write('native', true)
    expect(await json('archive', 'train', log)).toHaveProperty('gain')
    expect((await sealog(['archive', 'train', log])).stdout).toMatch(/a sample became .* % smaller/)
  })
})
