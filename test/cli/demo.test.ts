import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hasTerminal, onTerminal, sealog, start, temporary, until } from './command.js'

let place: ReturnType<typeof temporary>
beforeEach(() => {
  place = temporary()
})
afterEach(() => place.remove())

const demo = (...args: string[]) => sealog(['demo', ...args], '', { cwd: place.path, env: { ...process.env, INIT_CWD: place.path } })
const change = (tx: number, key: string) => JSON.stringify({ headers: { operation: 'insert', tx }, key, value: { key } })

describe('the demo', () => {
  test('loads the bundled feed, verifies every record, follows from a second process, and can be run again', async () => {
    const first = await demo()
    expect(first.stderr).not.toContain('sealog:')
    expect(first.status).toBe(0)
    expect(first.stdout).toContain('72,422 records in 13,487 transactions')
    expect(first.stdout).toMatch(/records\/s, .* groups, .* syncs/)
    expect(first.stdout).toContain('verified 72,422 records')
    expect(first.stdout).toMatch(/\[\d+\] offset 72426: /)
    expect(first.stdout).toMatch(/^0 +0 to \d+ +[\d,]+ +1\d\.\d MB +json /m)
    expect(first.stdout).toMatch(/^\d chunks, 72,427 records, /m)
    expect(first.stdout).toContain('The data is in ./data/demo')
    expect(first.stdout).toContain('npx sealog serve data/demo')

    const again = await demo(join(place.path, 'none.ndjson'))
    expect(again.status).toBe(2)
    writeFileSync(join(place.path, 'own.ndjson'), `${change(1, 'a')}\n${change(1, 'b')}\n${change(2, 'a')}\n{"free":"form"}\n{"free":"form"}\n`)
    const own = await demo('own.ndjson', '--once')
    expect(own.status).toBe(0)
    expect(own.stdout).toContain('of an earlier run')
    expect(own.stdout).toContain('verified 5 records in 4 transactions')
    const { stdout } = await sealog(['stat', join(place.path, 'data', 'demo'), '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ startOffset: 0, endOffset: 10, codec: 'json' })
    const listed = await sealog(['chunks', join(place.path, 'data', 'demo'), '--json'])
    expect(JSON.parse(listed.stdout)).toMatchObject({ chunks: [{ first: 0, last: 9, records: 10 }] })
  })

  test.runIf(hasTerminal)('on a terminal it serves the log at a free port and appends what is typed, until Ctrl-C', async () => {
    writeFileSync(join(place.path, 'own.ndjson'), `${change(1, 'a')}\n${change(2, 'b')}\n{"free":"form"}\n`)
    // the port it would like to have is taken, here or by somebody else
    const other = createServer()
    await new Promise<void>((resolve) => other.once('error', () => resolve()).listen(4437, '127.0.0.1', resolve))
    const { child, result, stdout } = onTerminal(['demo', 'own.ndjson'], { cwd: place.path, env: { ...process.env, INIT_CWD: place.path } })
    try {
      await until(() => stdout().includes('Ctrl-C ends'), 'the demo to serve')
      const commands = [...stdout().matchAll(/curl -\w '(http:[^']+)'/g)].map(([, url]) => url)
      expect(commands).toHaveLength(3)
      const [start, middle, live] = commands
      expect(Number(new URL(start).port)).toBeGreaterThan(4437)
      expect(await (await fetch(start)).json()).toHaveLength(8)
      expect(await (await fetch(middle)).json()).toHaveLength(4)
      const stream = (await fetch(live)).body?.getReader()
      child.stdin?.write('hello\n')
      let events = ''
      while (!events.includes('hello')) {
        const piece = await stream?.read()
        expect(piece?.done).toBe(false)
        events += Buffer.from(piece?.value ?? []).toString()
      }
      expect(events).toContain('{"typed":"hello"}')
      await until(() => stdout().includes('  offset 8'), 'the answer to what was typed')
      child.stdin?.write('\x03')
      expect((await result).status).toBe(0)
    } finally {
      child.kill('SIGKILL')
      await new Promise((resolve) => other.close(resolve))
    }
    expect((await sealog(['tail', '-n', '1', '--raw', join(place.path, 'data', 'demo')])).stdout).toBe('{"typed":"hello"}\n')
  })

  test('takes a gzipped file, and names a bad line of it', async () => {
    writeFileSync(join(place.path, 'own.ndjson.gz'), gzipSync(`${change(1, 'a')}\n${change(2, 'b')}\nnot json\n`))
    const { status, stderr } = await demo('own.ndjson.gz')
    expect(status).toBe(1)
    expect(stderr).toContain('line 3: ')
  })

  test('does not take away a log that another process writes to', async () => {
    const directory = join(place.path, 'data', 'demo')
    const writer = start(['append', directory])
    writer.child.stdin?.write('1\n')
    try {
      let ready = false
      void (async () => {
        for (;;) {
          if ((await sealog(['cat', directory])).stdout !== '') break
        }
        ready = true
      })()
      await until(() => ready, 'the writer to have the log')
      const { status, stderr } = await demo()
      expect(status).toBe(3)
      expect(stderr).toContain(`${writer.child.pid}`)
    } finally {
      writer.child.stdin?.end()
      await writer.result
    }
    expect((await sealog(['cat', directory])).stdout).toContain('"value":1')
  })
})
