import { describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, errorOf, range, text, withLog } from '../support/logs.js'

/** True when the promise has not settled after everything that was already under way has run. */
async function pending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  promise.then(
    () => (settled = true),
    () => (settled = true),
  )
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  return !settled
}

describe.each(backends)('following (%s)', (backend) => {
  it('yields what is there and then what comes, across segments', async () => {
    await withLog(freshPath(), { backend, segmentBytes: 2048 }, async (log) => {
      for (let i = 0; i < 10; i++) await log.append(bytes(`${i}`))
      const seen: string[] = []
      const follower = (async () => {
        for await (const record of log.read({ follow: true })) {
          seen.push(text(record.value))
          if (record.offset === 299) break
        }
      })()
      for (let i = 10; i < 300; i++) {
        if (i % 50 === 0) await log.flush()
        log.enqueue(bytes(`${i}`))
      }
      await follower
      expect(seen).toEqual(range(0, 300).map(String))
    })
  })

  it('T6: a follower never sees a record before it is committed', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const follower = (async () => {
        for await (const record of log.read({ follow: true })) {
          expect(record.offset).toBeLessThan(log.committedOffset)
          expect(record.offset).toBeLessThan(log.durableOffset)
          if (record.offset === 199) return
        }
      })()
      for (let i = 0; i < 200; i++) {
        log.enqueue(bytes(`${i}`))
        if (i % 7 === 0) await log.committed()
      }
      await follower
    })
  })

  it('waits at the end without settling, and return() settles a waiting next() at once', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const iterator = log.read({ follow: true })
      const waiting = iterator.next()
      expect(await pending(waiting)).toBe(true)
      expect(await iterator.return?.()).toEqual({ done: true, value: undefined })
      expect(await waiting).toEqual({ done: true, value: undefined })
      expect((await iterator.next()).done).toBe(true)
      const batches = log.batches({ follow: true })
      const next = batches.next()
      expect(await pending(next)).toBe(true)
      await batches.return?.()
      expect((await next).done).toBe(true)
    })
  })

  it('throw() ends a waiting follower and rejects with what it was given', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const iterator = log.read({ follow: true })
      const waiting = iterator.next()
      expect(await pending(waiting)).toBe(true)
      const error = new Error('enough')
      await expect(iterator.throw?.(error)).rejects.toBe(error)
      expect((await waiting).done).toBe(true)
    })
  })

  it('a signal ends it with signal.reason, aborted before or while it waits', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const reason = new Error('reason')
      await expect(log.read({ follow: true, signal: AbortSignal.abort(reason) }).next()).rejects.toBe(reason)
      const controller = new AbortController()
      const waiting = log.read({ follow: true, signal: controller.signal }).next()
      expect(await pending(waiting)).toBe(true)
      controller.abort(reason)
      await expect(waiting).rejects.toBe(reason)
      // It also ends a plain read in the middle.
      await log.appendBatch([bytes('a'), bytes('b')])
      const stop = new AbortController()
      const iterator = log.batches({ maxBytes: 1, signal: stop.signal })
      await iterator.next()
      stop.abort(reason)
      await expect(iterator.next()).rejects.toBe(reason)
      expect((await iterator.next()).done).toBe(true)
    })
  })

  it('a signal aborted, or return() called, while it looks whether there is more ends it too', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      await log.append(bytes('only'))
      const reader = await Log.openReader(log.directory, { backend })
      const catchUp = reader.catchUp.bind(reader)
      const controller = new AbortController()
      reader.catchUp = async () => {
        await catchUp()
        controller.abort(new Error('enough'))
      }
      await expect(reader.read({ from: 1, follow: true, signal: controller.signal }).next()).rejects.toThrow('enough')
      const iterator = reader.read({ from: 1, follow: true })
      reader.catchUp = async () => {
        await catchUp()
        void iterator.return?.()
      }
      expect(await iterator.next()).toEqual({ done: true, value: undefined })
      await reader.close()
    })
  })

  it('to and limit end a follower as soon as they are reached', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const collect = async (options: { to?: number; limit?: number }) => {
        const seen: number[] = []
        for await (const record of log.read({ follow: true, ...options })) seen.push(record.offset)
        return seen
      }
      const both = Promise.all([collect({ to: 5 }), collect({ limit: 3 })])
      for (let i = 0; i < 8; i++) await log.append(bytes(`${i}`))
      expect(await both).toEqual([range(0, 5), range(0, 3)])
    })
  })

  it('close() of the log ends its followers', async () => {
    const log = await Log.open(freshPath(), { backend })
    const waiting = [log.read({ follow: true }).next(), log.batches({ follow: true, ref: false }).next()]
    expect(await pending(Promise.race(waiting))).toBe(true)
    await log.close()
    expect((await Promise.all(waiting)).map((step) => step.done)).toEqual([true, true])
  })

  it('many followers see every record once, in order', async () => {
    await withLog(freshPath(), { backend, durability: 'flush', segmentBytes: 4096 }, async (log) => {
      const followers = range(0, 16).map(async (i) => {
        const seen: number[] = []
        for await (const batch of log.batches({ follow: true, maxBytes: 64 + i * 100 })) {
          for (let row = 0; row < batch.length; row++) seen.push(batch.offset(row))
          if (batch.nextOffset >= 500) return seen
        }
        return seen
      })
      for (let i = 0; i < 500; i++) await log.append(bytes(`record ${i}`))
      for (const seen of await Promise.all(followers)) expect(seen).toEqual(range(0, 500))
    })
  })

  it('a follower whose position was truncated away gets ERR_SEALOG_OFFSET_TRUNCATED, one whose history was cut ERR_SEALOG_EPOCH', async () => {
    await withLog(freshPath(), { backend, segmentBytes: 1024 }, async (log) => {
      for (let i = 0; i < 60; i++) await log.append(bytes(`record ${i}`))
      const early = log.batches({ maxBytes: 1 })
      await early.next()
      await log.truncateBefore(40)
      expect(await errorOf(() => early.next())).toMatchObject({ code: 'ERR_SEALOG_OFFSET_TRUNCATED', startOffset: 40 })
      const late = log.read({ from: 60, follow: true })
      const waiting = errorOf(() => late.next())
      await log.truncateAfter(50)
      expect(await waiting).toMatchObject({ code: 'ERR_SEALOG_EPOCH', epoch: 2 })
      expect((await late.next()).done).toBe(true)
    })
  })
})
