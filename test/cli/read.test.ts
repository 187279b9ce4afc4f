import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Store } from '../../lib/store/index.js'
import { backends } from '../support/backends.js'
import { type Command, lengthPrefixed, MAIN, parseLines, sealog, start, temporary, until } from './command.js'

interface Listed {
  readonly offset: number
  readonly timestamp: number
  readonly key?: string
  readonly value?: unknown
  readonly base64?: string
}

let place: ReturnType<typeof temporary>
let log: string
const running: Command[] = []
beforeEach(() => {
  place = temporary()
  log = join(place.path, 'log')
})
afterEach(async () => {
  for (const { child, result } of running.splice(0)) {
    child.kill('SIGKILL')
    await result
  }
  place.remove()
})

const startAndEnd = (args: readonly string[]): Command => {
  const command = start(args)
  running.push(command)
  return command
}
const numbers = (count: number) => Array.from({ length: count }, (_, n) => `${JSON.stringify({ id: `k${n}`, n })}\n`).join('')
const offsets = (text: string) => parseLines<Listed>(text).map(({ offset }) => offset)

describe.each(backends)('reading with the %s backend', (backend) => {
  const append = (input: string | Uint8Array, ...args: string[]) => sealog(['append', log, '--backend', backend, ...args], input)
  const cat = (...args: string[]) => sealog(['cat', log, '--backend', backend, ...args])
  const tail = (...args: string[]) => sealog(['tail', log, '--backend', backend, ...args])

  test('cat prints every record with offset, timestamp and key', async () => {
    const before = Date.now()
    await append(numbers(3), '--key', '/id')
    const { status, stdout } = await cat()
    expect(status).toBe(0)
    const records = parseLines<Listed>(stdout)
    expect(records.map(({ offset, key, value }) => ({ offset, key, value }))).toEqual(
      [0, 1, 2].map((n) => ({ offset: n, key: `k${n}`, value: { id: `k${n}`, n } })),
    )
    for (const { timestamp } of records) expect(timestamp).toBeGreaterThanOrEqual(before)
  })

  test('JSON text comes out as it went in: no digit is lost', async () => {
    const text = '{"big":123456789012345678901234567890,"exact":1.10,"a":1,"a":2}'
    await append(`${text}\n`)
    expect((await cat()).stdout).toContain(`"value":${text}}`)
    expect((await cat('--raw')).stdout).toBe(`${text}\n`)
  })

  test('ranges: from is inclusive, to is exclusive, limit counts', async () => {
    await append(numbers(20))
    expect(offsets((await cat('--from', '5', '--to', '8')).stdout)).toEqual([5, 6, 7])
    expect(offsets((await cat('--from', '18')).stdout)).toEqual([18, 19])
    expect(offsets((await cat('--limit', '2')).stdout)).toEqual([0, 1])
    expect(offsets((await cat('--from', '5', '--to', '9', '--limit', '1')).stdout)).toEqual([5])
    expect(offsets((await cat('--limit', '0')).stdout)).toEqual([])
    expect(offsets((await cat('--from', '20')).stdout)).toEqual([])
  })

  test('binary out is binary in', async () => {
    const records = [Buffer.from('a'), Buffer.alloc(0), Buffer.alloc(200_000, 3)]
    const input = lengthPrefixed(records)
    await append(input, '--binary')
    const child = spawn(process.execPath, [MAIN, 'cat', log, '--binary', '--backend', backend])
    const chunks: Buffer[] = []
    for await (const chunk of child.stdout) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).equals(input)).toBe(true)
  })

  test('tail prints the last records', async () => {
    await append(numbers(30))
    expect(offsets((await tail()).stdout)).toEqual([20, 21, 22, 23, 24, 25, 26, 27, 28, 29])
    expect(offsets((await tail('-n', '2')).stdout)).toEqual([28, 29])
    expect(offsets((await tail('-n', '100')).stdout)).toHaveLength(30)
    expect(offsets((await tail('-n', '0')).stdout)).toEqual([])
  })

  test('tail -f shows what a live writer appends, and ends when interrupted', async () => {
    await append(numbers(3))
    const writer = startAndEnd(['append', log, '--backend', backend])
    const follower = startAndEnd(['tail', log, '-f', '-n', '1', '--backend', backend])
    await until(() => follower.stdout() !== '', 'the last record of before')
    writer.child.stdin?.write('"live 1"\n')
    await until(() => follower.stdout().includes('live 1'), 'the first live record')
    writer.child.stdin?.write('"live 2"\n"live 3"\n')
    await until(() => follower.stdout().includes('live 3'), 'the third live record')
    expect(offsets(follower.stdout())).toEqual([2, 3, 4, 5])
    follower.child.kill('SIGINT')
    expect((await follower.result).status).toBe(130)
    writer.child.stdin?.end()
    expect((await writer.result).status).toBe(0)
  })

  test('cat, tail, stat and verify work beside a live writer', async () => {
    const writer = startAndEnd(['append', log, '--backend', backend])
    writer.child.stdin?.write(numbers(10))
    let listed: number[] = []
    for (let attempt = 0; listed.length < 10 && attempt < 200; attempt++) listed = offsets((await cat()).stdout)
    expect(listed).toHaveLength(10)
    expect(offsets((await tail('-n', '1')).stdout)).toEqual([9])
    for (const verb of ['stat', 'verify']) {
      const { status, stdout } = await sealog([verb, log, '--json', '--backend', backend])
      expect(status).toBe(0)
      expect(JSON.parse(stdout)).toMatchObject({ endOffset: 10 })
    }
    expect(writer.child.exitCode).toBe(null)
    writer.child.stdin?.end()
    expect((await writer.result).status).toBe(0)
  })

  test('a closed pipe ends cat quietly', async () => {
    await append(numbers(50_000), '--durability', 'flush')
    const child = spawn(process.execPath, [MAIN, 'cat', log, '--backend', backend])
    let stderr = ''
    child.stderr.on('data', (text) => {
      stderr += text
    })
    child.stdout.once('data', () => child.stdout.destroy())
    const status = await new Promise((resolve) => child.on('close', resolve))
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })

  test('stat tells range, settings and size', async () => {
    await append(numbers(10))
    const { status, stdout } = await sealog(['stat', log, '--json', '--backend', backend])
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ startOffset: 0, endOffset: 10, codec: 'json', segments: 1 })
    const readable = await sealog(['stat', log, '--backend', backend])
    expect(readable.stdout).toMatch(/^offsets +0 to 9; the next is 10$/m)
  })

  test('stat of a log that was compacted counts no records that are gone', async () => {
    const store = await Store.open(log, { backend, codec: 'json', segmentBytes: 1024, maxRecordBytes: 512, maxBatchBytes: 512, durability: 'flush' })
    for (let i = 0; i < 100; i++) await store.put('key', i)
    await store.compact({ keepCompleteChunks: 0 })
    await store.close()
    const { stdout } = await sealog(['stat', log, '--backend', backend])
    expect(stdout).toMatch(/^count +at most 100$/m)
    expect(stdout).toMatch(/^first +\d{4}-/m)
  })
})
