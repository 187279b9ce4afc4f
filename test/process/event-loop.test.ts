import { execFileSync } from 'node:child_process'
import { closeSync, constants, open, openSync, stat } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath, makeDirectory } from '../support/directories.js'
import { bytes, range, readAll } from '../support/logs.js'

/** Holds every thread of libuv's pool in a system call that does not return: opening a FIFO that nobody writes to. */
function holdPool(): { stuck: () => Promise<boolean>; release: () => Promise<void> } {
  const directory = makeDirectory('fifos')
  const fifos = range(0, Number(process.env.UV_THREADPOOL_SIZE ?? 4) * 2).map((i) => path.join(directory, `fifo-${i}`))
  execFileSync('mkfifo', fifos)
  let answered = false
  const opened = fifos.map(
    (fifo) =>
      new Promise<void>((resolve, reject) => {
        open(fifo, 'r', (error, fd) => {
          if (error !== null) return reject(error)
          closeSync(fd)
          resolve()
        })
      }),
  )
  stat(directory, () => (answered = true))
  return {
    stuck: async () => {
      for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
      return !answered
    },
    release: async () => {
      const ends = fifos.map((fifo) => openSync(fifo, constants.O_RDWR))
      await Promise.all(opened)
      for (const fd of ends) closeSync(fd)
    },
  }
}

describe('G15, T21: the event loop and libuv', () => {
  const native = backends.includes('native')
  if (!native) console.warn('SKIPPED: the native backend cannot be loaded, see above')

  it.runIf(native)('on native nothing goes through the pool of libuv: append, get, read, roll, open and close work while it is full', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend: 'native', segmentBytes: 4096 })
    await log.append(bytes('warm'))
    const pool = holdPool()
    for (let i = 0; i < 100; i++) await log.append(bytes(`record ${i}`))
    expect(log.stats().segments).toBeGreaterThan(1)
    expect((await log.get(50))?.offset).toBe(50)
    expect((await readAll(log)).length).toBe(101)
    await log.truncateBefore(60)
    await log.truncateAfter(80)
    await log.sync()
    await log.close()
    const again = await Log.open(directory, { backend: 'native' })
    const reader = await Log.openReader(directory, { backend: 'native' })
    expect((await readAll(reader)).length).toBe(again.endOffset - again.startOffset)
    await reader.close()
    await again.close()
    // All of this happened while a mere fs.stat of Node got no answer.
    expect(await pool.stuck()).toBe(true)
    await pool.release()
  })
})
