import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath, readFiles } from '../support/directories.js'
import { bytes, codeOf, offsets, range, readAll, text, until, withLog } from '../support/logs.js'
import { startProgram } from '../support/programs.js'

interface Line {
  readonly opened?: number
  readonly offset?: number
  readonly value?: string
  readonly below?: boolean
  readonly code?: string
}

const OPTIONS = { segmentBytes: 2048, maxBatchBytes: 1000 } as const
const pairs = backends.flatMap((writer) => backends.map((reader) => [writer, reader] as const))

describe.each(pairs)('readers elsewhere (%s writes, %s reads)', (writer, reader) => {
  it('another process follows through rolls, a restart of the writer and truncations, and sees every record once, in order', async () => {
    const directory = freshPath()
    let log = await Log.open(directory, { ...OPTIONS, backend: writer })
    await log.append(bytes('0'))
    const program = startProgram('follow.mjs', [reader, directory, 'last'])
    try {
      await until(() => program.lines<Line>().length > 1, 'the follower has seen the first record')
      for (let i = 1; i < 100; i++) await log.append(bytes(`${i}`))
      await until(() => program.lines<Line>().some((line) => line.value === '99'), 'the follower has seen record 99')
      await log.close()
      log = await Log.open(directory, { ...OPTIONS, backend: writer })
      for (let i = 100; i < 200; i++) await log.append(bytes(`${i}`))
      await until(() => program.lines<Line>().some((line) => line.value === '199'), 'the follower has seen record 199')
      // What it has read already may go.
      await log.truncateBefore(150)
      for (let i = 200; i < 250; i++) await log.append(bytes(`${i}`))
      await until(() => program.lines<Line>().some((line) => line.value === '249'), 'the follower has seen record 249')
      await log.truncateAfter(239)
      for (let i = 240; i < 260; i++) await log.append(bytes(`new ${i}`))
      await log.append(bytes('last'))
      const { status, stderr } = await program.ended
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    } finally {
      program.child.kill()
      await log.close()
    }
    const lines = program.lines<Line>()
    expect(lines.filter((line) => line.code !== undefined).map((line) => line.code)).toEqual(['ERR_SEALOG_EPOCH'])
    expect(lines.filter((line) => line.below === false)).toEqual([])
    const cut = lines.findIndex((line) => line.code === 'ERR_SEALOG_EPOCH')
    const seen = (part: Line[]) => part.filter((line) => line.offset !== undefined)
    expect(seen(lines.slice(0, cut)).map((line) => line.value)).toEqual(range(0, 250).map(String))
    expect(seen(lines.slice(cut)).at(-1)).toMatchObject({ offset: 260, value: 'last' })
    const after = seen(lines.slice(cut))
    expect(after.map((line) => line.value)).toEqual([
      ...range(0, 250).map(String).slice(after[0].offset, 240),
      ...range(Math.max(240, after[0].offset ?? 0), 260).map((i) => `new ${i}`),
      'last',
    ])
  })

  it('a worker of this process follows a writer in this thread', async () => {
    const directory = freshPath()
    await withLog(directory, { ...OPTIONS, backend: writer, durability: 'flush' }, async (log) => {
      await log.append(bytes('0'))
      const worker = new Worker(new URL('./programs/follow.mjs', import.meta.url), { argv: [reader, directory, 'last'], stdout: true })
      let output = ''
      worker.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk))
      const ended = once(worker, 'exit')
      for (let i = 1; i < 300; i++) log.enqueue(bytes(`${i}`))
      await until(() => output.includes('"299"'), 'the worker has seen record 299')
      await log.append(bytes('last'))
      expect((await ended)[0]).toBe(0)
      const values = output
        .split('\n')
        .slice(1, -1)
        .map((line) => (JSON.parse(line) as Line).value)
      expect(values).toEqual([...range(0, 300).map(String), 'last'])
    })
  })

  it('T6, G9: a reader never sees what the writer has not committed, and takes no lock', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { ...OPTIONS, backend: writer })
    await log.append(bytes('0'))
    const view = await Log.openReader(directory, { backend: reader })
    for (let i = 1; i < 60; i++) {
      const appended = log.append(randomBytes(40))
      await view.refresh()
      expect(view.committedOffset).toBeLessThanOrEqual(i + 1)
      await appended
      await view.refresh()
      expect(view.committedOffset).toBe(i + 1)
      expect(view.getSync(i)?.value.length).toBe(40)
    }
    expect(view.writerAlive).toBe(true)
    // Written, but its sync failed: it was never committed, so nobody may see it while the writer lives.
    const testing = testingOf(writer)
    testing.fault('datasync', 1, 5, false, 0)
    expect(await codeOf(() => log.append(bytes('lost')))).toBe('ERR_SEALOG_FAILED')
    testing.clearFaults()
    await view.refresh()
    expect([view.committedOffset, view.getSync(60)]).toEqual([60, undefined])
    expect(await offsets(view)).toEqual(range(0, 60))
    await view.close()
    expect(await codeOf(() => log.close())).toBe('ERR_SEALOG_FAILED')
  })

  it('the start may lie inside the only segment: a reader beside the writer finds it all the same', async () => {
    const directory = freshPath()
    await withLog(directory, { backend: writer }, async (log) => {
      await log.appendBatch(range(0, 10).map((i) => bytes(`${i}`)))
      for (let i = 10; i < 20; i++) await log.append(bytes(`${i}`))
      await log.truncateBefore(13)
      const view = await Log.openReader(directory, { backend: reader })
      expect([view.startOffset, view.committedOffset]).toEqual([13, 20])
      expect(await offsets(view)).toEqual(range(13, 20))
      await log.append(bytes('20'))
      expect(await offsets(view)).toEqual(range(13, 21))
      await view.close()
    })
  })

  it('opened without a writer it reads everything that recovery would keep, and writes nothing', async () => {
    const directory = freshPath()
    await withLog(directory, { ...OPTIONS, backend: writer }, async (log) => {
      for (let i = 0; i < 100; i++) await log.append(bytes(`${i}`))
    })
    const before = readFiles(directory)
    const view = await Log.openReader(directory, { backend: reader })
    expect((await readAll(view)).map((record) => text(record.value))).toEqual(range(0, 100).map(String))
    for (let i = 0; i < 100; i += 9) expect(text(view.getSync(i)?.value ?? bytes(''))).toBe(`${i}`)
    expect('append' in view).toBe(false)
    await view.close()
    expect(readFiles(directory)).toEqual(before)
    expect(await codeOf(() => view.get(0))).toBe('ERR_SEALOG_CLOSED')
  })
})
