import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { backends } from '../support/backends.js'
import { lengthPrefixed, parseLines, sealog, start, temporary } from './command.js'

interface Listed {
  readonly offset: number
  readonly key?: string
  readonly value?: unknown
  readonly base64?: string
}
interface Appended {
  readonly appended: number
  readonly firstOffset: number
  readonly endOffset: number
  readonly bytes: number
}
interface Failed {
  readonly error: {
    readonly code: string
    readonly message: string
    readonly line?: number
    readonly record?: number
    readonly pid?: number
  }
}

let place: ReturnType<typeof temporary>
let log: string
beforeEach(() => {
  place = temporary()
  log = join(place.path, 'log')
})
afterEach(() => place.remove())

const list = async () => parseLines<Listed>((await sealog(['cat', log])).stdout)

describe.each(backends)('append with the %s backend', (backend) => {
  const append = (input: string | Uint8Array, ...args: string[]) => sealog(['append', log, '--json', '--backend', backend, ...args], input)

  test('lines become records, in order; empty lines and a missing last line feed are no records', async () => {
    const { status, stdout } = await append('{"a":1}\n\n[2]\r\n"three"\n4')
    expect(status).toBe(0)
    expect(JSON.parse(stdout) as Appended).toMatchObject({ appended: 4, firstOffset: 0, endOffset: 4, bytes: 18 })
    expect((await list()).map(({ offset, value }) => [offset, value])).toEqual([
      [0, { a: 1 }],
      [1, [2]],
      [2, 'three'],
      [3, 4],
    ])
  })

  test('a second run continues', async () => {
    await append('1\n2\n')
    expect(JSON.parse((await append('3\n')).stdout) as Appended).toMatchObject({ appended: 1, firstOffset: 2, endOffset: 3 })
    expect((await list()).map(({ value }) => value)).toEqual([1, 2, 3])
  })

  test('no input is no error', async () => {
    const { status, stdout } = await append('')
    expect(status).toBe(0)
    expect(JSON.parse(stdout) as Appended).toMatchObject({ appended: 0, endOffset: 0 })
  })

  test('a bad line is named; what came before it stays, nothing of it or behind it is written', async () => {
    const { status, stderr, stdout } = await append('{"ok":1}\n{"ok":2}\n{"bad":\n{"ok":4}\n')
    expect(status).toBe(1)
    const { error } = JSON.parse(stderr) as Failed
    expect(error).toMatchObject({ code: 'ERR_SEALOG_VALUE', line: 3 })
    expect(error.message).toMatch(/^line 3: /)
    expect(JSON.parse(stdout) as Appended).toMatchObject({ appended: 2, endOffset: 2 })
    expect((await list()).map(({ value }) => value)).toEqual([{ ok: 1 }, { ok: 2 }])
  })

  test('bytes that are no UTF-8 are no JSON', async () => {
    const { status, stderr } = await append(Buffer.concat([Buffer.from('1\n"'), Buffer.from([0xff, 0xfe]), Buffer.from('"\n')]))
    expect(status).toBe(1)
    expect((JSON.parse(stderr) as Failed).error).toMatchObject({ code: 'ERR_SEALOG_VALUE', line: 2 })
  })

  test('a key by JSON pointer', async () => {
    await append('{"a":{"b/c":["x","k0"]}}\n{"a":{"b/c":["x",7]}}\n', '--key', '/a/b~1c/1')
    expect((await list()).map(({ key }) => key)).toEqual(['k0', '7'])
  })

  test('a line without the key is a bad line', async () => {
    const { status, stderr } = await append('{"id":"a"}\n{"ID":"b"}\n', '--key', '/id')
    expect(status).toBe(1)
    expect((JSON.parse(stderr) as Failed).error).toMatchObject({ code: 'ERR_SEALOG_VALUE', line: 2 })
    expect(await list()).toHaveLength(1)
  })

  test('binary input', async () => {
    const records = [Buffer.from('one'), Buffer.alloc(0), Buffer.from([0, 255, 10]), Buffer.alloc(300_000, 7)]
    const { status } = await append(lengthPrefixed(records), '--binary')
    expect(status).toBe(0)
    expect((await list()).map(({ base64 }) => Buffer.from(base64 ?? '', 'base64'))).toEqual(records)
  })

  test('binary input that ends in the middle of a record', async () => {
    const { status, stderr } = await append(Buffer.concat([lengthPrefixed([Buffer.from('one')]), Buffer.from([9, 0, 0, 0, 1])]), '--binary')
    expect(status).toBe(1)
    expect((JSON.parse(stderr) as Failed).error).toMatchObject({ code: 'ERR_SEALOG_VALUE', record: 2 })
    expect(await list()).toHaveLength(1)
  })

  test('binary input with an impossible length allocates nothing', async () => {
    const { status, stderr } = await append(Buffer.from([255, 255, 255, 255, 1]), '--binary')
    expect(status).toBe(1)
    expect((JSON.parse(stderr) as Failed).error).toMatchObject({ code: 'ERR_SEALOG_VALUE', record: 1 })
  })

  test('an existing log keeps its codec; another one is refused', async () => {
    await append(lengthPrefixed([Buffer.from('raw')]), '--binary')
    expect((await append('not json\n')).status).toBe(0)
    const { status, stderr } = await append('1\n', '--codec', 'json')
    expect(status).toBe(1)
    expect((JSON.parse(stderr) as Failed).error.code).toBe('ERR_SEALOG_CODEC_MISMATCH')
  })

  test.each(['fsync', 'flush', 'none'])('durability %s', async (durability) => {
    const lines = Array.from({ length: 1000 }, (_, n) => JSON.stringify({ n }))
    const { status } = await append(lines.join('\n'), '--durability', durability)
    expect(status).toBe(0)
    expect(await list()).toHaveLength(1000)
  })

  test('a second writer is refused with exit code 3 and the pid of the first', async () => {
    const first = start(['append', log, '--backend', backend])
    first.child.stdin?.write('1\n')
    for (let attempt = 0; (await list()).length === 0 && attempt < 200; attempt++);
    const second = await append('2\n')
    expect(second.status).toBe(3)
    expect((JSON.parse(second.stderr) as Failed).error).toMatchObject({ code: 'ERR_SEALOG_LOCKED', pid: first.child.pid })
    first.child.stdin?.end()
    expect((await first.result).status).toBe(0)
  })

  test('memory stays bounded, whatever the size of the input', async () => {
    const report = join(place.path, 'report.cjs')
    writeFileSync(report, "process.on('exit', () => require('fs').writeSync(2, 'maxRSS ' + process.resourceUsage().maxRSS))")
    const { child, result } = start(['append', log, '--backend', backend, '--durability', 'flush'], { nodeArgs: ['--require', report] })
    const chunk = `${JSON.stringify({ text: 'x'.repeat(1000) })}\n`.repeat(1000)
    for (let sent = 0; sent < 300; sent++) if (!child.stdin?.write(chunk)) await new Promise((resolve) => child.stdin?.once('drain', resolve))
    child.stdin?.end()
    const { status, stdout, stderr } = await result
    expect(status).toBe(0)
    expect(stdout).toMatch(/^300,000 records \(offsets 0 to 299,999\)/)
    // 300 MB went through: Node itself, 64 MiB of queue at most, buffers of the input
    expect(Number(/maxRSS (\d+)/.exec(stderr)?.[1])).toBeLessThan(220 * 1024)
  })

  test('an interruption ends the run in order: what was read is durable', async () => {
    const { child, result } = start(['append', log, '--json', '--backend', backend])
    child.stdin?.write('1\n2\n')
    let seen = 0
    for (let attempt = 0; seen < 2 && attempt < 100; attempt++) seen = (await list()).length
    expect(seen).toBe(2)
    child.kill('SIGINT')
    const { status, stdout } = await result
    expect(status).toBe(130)
    expect(JSON.parse(stdout) as Appended).toMatchObject({ appended: 2, endOffset: 2 })
  })
})
