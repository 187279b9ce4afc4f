import { once } from 'node:events'
import { threadId, Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { LockedError, Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, errorOf, until } from '../support/logs.js'
import { runProgram, startProgram } from '../support/programs.js'

interface Tried {
  readonly code?: string
  readonly pid: number
  readonly thread: number
  readonly end?: number
}

const pairs = backends.flatMap((holder) => backends.map((other) => [holder, other] as const))

describe.each(pairs)('G10, T52: one writer (%s holds, %s comes)', (holder, other) => {
  it('another process is refused with pid and thread of the holder, and gets the log when the holder has closed', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend: holder })
    await log.append(bytes('a'))
    const refused = await runProgram<Tried>('try-open.mjs', [other, directory])
    expect(refused).toMatchObject({ code: 'ERR_SEALOG_LOCKED', pid: process.pid, thread: threadId })
    // Being refused has changed nothing.
    await log.append(bytes('b'))
    await log.close()
    expect(await runProgram<Tried>('try-open.mjs', [other, directory])).toMatchObject({ end: 2 })
  })

  it('the same thread is refused a second time', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend: holder })
    const error = await errorOf(() => Log.open(directory, { backend: other }))
    expect(error).toBeInstanceOf(LockedError)
    expect(error).toMatchObject({ code: 'ERR_SEALOG_LOCKED', pid: process.pid, thread: threadId })
    await log.append(bytes('a'))
    log.closeSync()
    const again = await Log.open(directory, { backend: other })
    expect(again.endOffset).toBe(1)
    await again.close()
  })

  it('another worker of the same process is refused', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend: holder })
    const worker = new Worker(new URL('./programs/try-open.mjs', import.meta.url), { argv: [other, directory], stdout: true })
    let output = ''
    worker.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    await once(worker, 'exit')
    expect(JSON.parse(output)).toMatchObject({ code: 'ERR_SEALOG_LOCKED', pid: process.pid, thread: threadId })
    await log.close()
  })

  it('a holder in another process is named; when it is killed the log is free at once', async () => {
    const directory = freshPath()
    const program = startProgram('try-open.mjs', [holder, directory, 'hold'])
    await until(() => program.lines<Tried>().length > 0, 'the other process holds the log')
    const held = program.lines<Tried>()[0]
    expect(held).toMatchObject({ pid: program.child.pid, thread: 0 })
    expect(await errorOf(() => Log.open(directory, { backend: other }))).toMatchObject({ code: 'ERR_SEALOG_LOCKED', pid: program.child.pid, thread: 0 })
    program.child.kill('SIGKILL')
    await program.ended
    const log = await Log.open(directory, { backend: other })
    await log.append(bytes('free'))
    await log.close()
  })

  it('a log is found by any path: a symbolic or relative one is the same log', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend: holder })
    expect((await errorOf(() => Log.open(`${directory}/../log/.`, { backend: other }))).code).toBe('ERR_SEALOG_LOCKED')
    await log.close()
  })

  it('of ten that race for one directory exactly one wins', async () => {
    const directory = freshPath()
    for (let round = 0; round < 3; round++) {
      const outcomes = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => Log.open(directory, { backend: i % 2 === 0 ? holder : other })))
      const open = outcomes.filter((outcome) => outcome.status === 'fulfilled').map((outcome) => outcome.value)
      // Two of different backends may see each other and both step back; two winners there never are.
      expect(open.length).toBeLessThanOrEqual(1)
      if (holder === other) expect(open.length).toBe(1)
      for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason.code).toBe('ERR_SEALOG_LOCKED')
      await Promise.all(open.map((log) => log.close()))
    }
  })
})
