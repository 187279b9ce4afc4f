import { appendFileSync, closeSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { backends } from '../support/backends.js'
import { parseLines, sealog, temporary } from './command.js'

interface Verified {
  readonly ok: boolean
  readonly records: number
  readonly endOffset: number
  readonly problems: ReadonlyArray<{ readonly file: string; readonly position: number; readonly firstOffset: number }>
}

let place: ReturnType<typeof temporary>
let log: string
beforeEach(async () => {
  place = temporary()
  log = join(place.path, 'log')
})
afterEach(() => place.remove())

/** Two runs make two groups at least, so that what is damaged in the first is proven durable by the second. */
async function write(backend: string): Promise<void> {
  const lines = (from: number) => Array.from({ length: 50 }, (_, n) => `{"n":${from + n}}\n`).join('')
  for (const from of [0, 50, 100]) await sealog(['append', log, '--backend', backend], lines(from))
}

/** Turns one bit in the middle of the record that holds `text`. → file and position of the bit */
function damage(text: string): { readonly file: string; readonly position: number } {
  const [file] = readdirSync(join(log, 'segments')).filter((name) => name.endsWith('.log'))
  const fd = openSync(join(log, 'segments', file), 'r+')
  const bytes = Buffer.alloc(1024 * 1024)
  const position = bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0)).indexOf(text)
  writeSync(fd, Buffer.from([bytes[position] ^ 1]), 0, 1, position)
  closeSync(fd)
  return { file, position }
}

describe.each(backends)('maintenance with the %s backend', (backend) => {
  const verify = () => sealog(['verify', log, '--json', '--backend', backend])

  test('verify of a good log', async () => {
    await write(backend)
    const { status, stdout } = await verify()
    expect(status).toBe(0)
    expect(JSON.parse(stdout) as Verified).toMatchObject({ ok: true, records: 150, endOffset: 150, problems: [] })
    expect((await sealog(['verify', log, '--backend', backend])).stdout).toMatch(/^ok: 150 records in 1 segments?/)
  })

  test('verify names file, position and offsets of damage, with exit code 1', async () => {
    await write(backend)
    const { file, position } = damage('{"n":20}')
    const { status, stdout } = await verify()
    expect(status).toBe(1)
    const { ok, problems } = JSON.parse(stdout) as Verified
    expect(ok).toBe(false)
    expect(problems[0].file).toContain(file)
    expect(problems[0].firstOffset).toBeLessThanOrEqual(20)
    // the frame starts 24 bytes before its body
    expect(problems[0].position).toBeLessThanOrEqual(position)
    const readable = await sealog(['verify', log, '--backend', backend])
    expect(readable.status).toBe(1)
    expect(readable.stdout).toContain(file)
  })

  test('an unfinished write at the end is told, but is no damage', async () => {
    await write(backend)
    const [file] = readdirSync(join(log, 'segments')).filter((name) => name.endsWith('.log'))
    const size = statSync(join(log, 'segments', file)).size
    appendFileSync(join(log, 'segments', file), Buffer.alloc(100, 7))
    const { status, stdout } = await verify()
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, records: 150, problems: [], tornTail: { position: size } })
    expect((await sealog(['verify', log, '--backend', backend])).stdout).toContain(`${file} at ${size}: an unfinished write`)
  })

  test('a damaged log is refused for writing, and repair to a point in time makes it usable', async () => {
    await write(backend)
    damage('{"n":70}')
    const refused = await sealog(['append', log, '--json', '--backend', backend], '1\n')
    expect(refused.status).toBe(1)
    expect((JSON.parse(refused.stderr) as { error: { code: string } }).error.code).toBe('ERR_SEALOG_CORRUPT')

    const repaired = await sealog(['repair', log, '--policy', 'point-in-time', '--json', '--backend', backend])
    expect(repaired.stderr).toBe('')
    expect(repaired.status).toBe(0)
    const { endOffset } = JSON.parse(repaired.stdout) as { endOffset: number }
    expect(endOffset).toBe(50)
    expect((await verify()).status).toBe(0)
    expect((await sealog(['append', log, '--backend', backend], '{"after":1}\n')).status).toBe(0)
    expect(parseLines<{ offset: number }>((await sealog(['cat', log, '--from', '49'])).stdout).map(({ offset }) => offset)).toEqual([49, 50])
  })

  test('salvage keeps both sides and says what is lost', async () => {
    await write(backend)
    damage('{"n":70}')
    const { status, stdout } = await sealog(['repair', log, '--policy', 'salvage', '--json', '--backend', backend])
    expect(status).toBe(0)
    const { lost, endOffset } = JSON.parse(stdout) as { lost: Array<{ from: number; to: number }>; endOffset: number }
    expect(lost.some(({ from, to }) => from <= 70 && 70 < to)).toBe(true)
    expect(endOffset).toBe(150)
    expect((await verify()).status).toBe(0)
    expect((await sealog(['cat', log, '--from', '100', '--limit', '1'])).stdout).toContain('"value":{"n":100}')
  })
})
