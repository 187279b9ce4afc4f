import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Log } from '../../lib/index.js'
import { sealog, temporary } from './command.js'

let place: ReturnType<typeof temporary>
let directory: string
beforeEach(() => {
  place = temporary()
  directory = join(place.path, 'log')
})
afterEach(() => place.remove())

interface Listed {
  readonly sequence: number
  readonly first: number
  readonly last: number
  readonly records: number
  readonly bytes: number
  readonly crc: string
  readonly form: string
  readonly path: string
  readonly siblings: ReadonlyArray<{ readonly encoding: string; readonly bytes: number }>
}

async function list(...options: string[]): Promise<Listed[]> {
  const { status, stdout, stderr } = await sealog(['chunks', directory, '--json', ...options])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return (JSON.parse(stdout) as { chunks: Listed[] }).chunks
}

test('lists nothing, then seals and lists, then lists beside a live writer', async () => {
  await sealog(['append', directory], '1\n22\n333\n')
  expect(await list()).toEqual([])
  expect((await sealog(['chunks', directory])).stdout).toContain('--seal')
  const path = expect.stringMatching(/chunks.000000\.0\.2\.[0-9a-f]{8}\.json$/)
  const first = {
    sequence: 0,
    first: 0,
    last: 2,
    records: 3,
    bytes: '[1,22,333]'.length,
    form: 'json',
    siblings: [],
    path,
    crc: expect.stringMatching(/^[0-9a-f]{8}$/),
  }
  expect(await list('--seal')).toEqual([first])
  expect(await list('--seal')).toEqual([first])

  const writer = await Log.open<unknown>(directory, { create: false })
  try {
    await writer.append(4444)
    expect(await list()).toEqual([first])
    const refused = await sealog(['chunks', directory, '--seal'])
    expect(refused.status).toBe(3)
    expect(refused.stderr).toContain(`${process.pid}`)
  } finally {
    await writer.close()
  }
  const two = await list('--seal')
  expect(two.map(({ sequence, first, last }) => [sequence, first, last])).toEqual([
    [0, 0, 2],
    [1, 3, 3],
  ])
})

test('tells forms and compressed siblings, and leaves out what is no whole chunk', async () => {
  const log = await Log.open<Uint8Array>(directory, { seal: 'raw', chunkEncodings: ['gzip'], chunkBytes: 1000 })
  for (let i = 0; i < 30; i++) await log.append(new Uint8Array(100))
  await log.chunks.seal()
  await log.close()
  const chunks = await list()
  expect(chunks.map(({ records, bytes, form }) => ({ records, bytes, form }))).toEqual(Array(3).fill({ records: 10, bytes: 1000, form: 'raw' }))
  for (const { siblings } of chunks) expect(siblings).toEqual([{ encoding: 'gzip', bytes: expect.any(Number) }])
  const { stdout } = await sealog(['chunks', directory])
  expect(stdout).toMatch(/^chunk +offsets +records +size +form +compressed +file$/m)
  expect(stdout).toMatch(/^1 +10 to 19 +10 +1\.0 kB +raw +gzip \d+ B +000001\.10\.19\./m)
  expect(stdout).toContain('3 chunks, 30 records, 3.0 kB')

  rmSync(chunks[1].path.replace(/raw$/, 'idx'))
  expect((await list()).map(({ sequence }) => sequence)).toEqual([0, 2])
  expect((await list('--seal')).map(({ sequence }) => sequence)).toEqual([0, 1, 2])
})

test('a log that seals nothing', async () => {
  await sealog(['append', directory, '--binary'], Buffer.from([1, 0, 0, 0, 65]))
  expect(await list('--seal')).toEqual([])
  expect((await sealog(['chunks', directory, '--seal'])).stdout).toContain('nothing to seal')
})
