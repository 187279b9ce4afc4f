/** Answers belong to one history of the log: nothing from before a cut under a token from after it, nor the other way round. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createHandler, createShapeHandler, formatOffsetToken } from '../../lib/http/index.js'
import { type BatchOptions, Log, type LogView, repair } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { segmentPath } from '../support/logs.js'
import { send, servedViews, unexpected, withServedLog, withServer } from './serving.js'

afterEach(() => expect(unexpected.splice(0)).toEqual([]))

const options = { codec: 'json', chunkBytes: 1000 } as const

async function fill(log: Log<unknown>, name: string, to: number): Promise<void> {
  while (log.endOffset < to) await log.append({ [name]: log.endOffset, text: 'x'.repeat(50) })
}

/** What another process does between two steps of a reader: cuts the log behind offset 20 and writes other records. */
async function rewrite(log: Log<unknown>): Promise<void> {
  await log.truncateAfter(20)
  await fill(log, 'new', 100)
  await log.chunks.seal()
}

/** Has `meanwhile` happen when `view` is about to read records. */
function beforeReading(view: LogView<unknown>, meanwhile: () => Promise<void>): void {
  const batches = view.batches.bind(view)
  view.batches = async function* (wanted?: BatchOptions) {
    await meanwhile()
    yield* batches(wanted)
  }
}

describe.each(servedViews)('after a cut ($backend, $kind)', (views) => {
  it('chunks from before it are served no more', async () => {
    const seal = async (log: Log<unknown>) => {
      await fill(log, 'old', 100)
      await log.chunks.seal()
    }
    await withServedLog(views, options, {}, seal, async ({ url, token, log }) => {
      for (const offset of [0, 21, 50]) expect((await send(`${url}/?offset=${token(offset)}`)).status).toBe(200)
      await rewrite(log)
      for (const offset of [21, 50]) {
        const { status, text } = await send(`${url}/?offset=${token(offset)}`)
        expect(status).toBe(200)
        expect(JSON.parse(text)[0]).toMatchObject({ new: offset })
      }
    })
  })
})

describe.each(backends)('a cut while a reader serves (%s)', (backend) => {
  async function withReader(seal: 'json' | false, use: (log: Log<unknown>, reader: LogView<unknown>) => Promise<void>): Promise<void> {
    const directory = freshPath()
    const log = await Log.open<unknown>(directory, { ...options, seal, backend })
    await fill(log, 'old', 100)
    const reader = await Log.openReader<unknown>(directory, { backend })
    try {
      await use(log, reader)
    } finally {
      await reader.close()
      await log.close()
    }
  }

  it('records that came after it are not served under its old tokens', async () => {
    await withReader(false, async (log, reader) => {
      const old = formatOffsetToken({ epoch: log.epoch, offset: 10 })
      beforeReading(reader, async () => {
        if (log.epoch === reader.epoch) await rewrite(log)
      })
      await withServer(createHandler(reader, { maxAnswerBytes: 3000 }), async ({ url }) => {
        expect((await send(`${url}/?offset=${old}`)).status).toBe(410)
      })
    })
  })

  it('nor chunks that were sealed after it', async () => {
    await withReader('json', async (log, reader) => {
      const old = formatOffsetToken({ epoch: log.epoch, offset: 25 })
      const open = reader.chunks.open.bind(reader.chunks)
      reader.chunks.open = async (offset) => {
        await rewrite(log)
        return open(offset)
      }
      await withServer(createHandler(reader), async ({ url }) => {
        expect((await send(`${url}/?offset=${old}`)).status).toBe(410)
      })
    })
  })

  it('nor as part of a shape', async () => {
    await withReader(false, async (log, reader) => {
      const handler = createShapeHandler(reader, { maxRecords: 30 })
      await withServer(handler, async ({ url }) => {
        const first = await send(`${url}/?offset=-1`)
        const { 'electric-handle': handle, 'electric-offset': offset } = first.headers
        beforeReading(reader, async () => {
          if (log.epoch === reader.epoch) await rewrite(log)
        })
        expect((await send(`${url}/?offset=${offset}&handle=${handle}`)).status).toBe(409)
      })
    })
  })

  it('an offset that repair gave up is 410, sealed or not', async () => {
    const directory = freshPath()
    await (await salvaged(directory, backend)).close()
    for (const seal of [false, true]) {
      const log = await Log.open<unknown>(directory, { ...options, backend })
      if (seal) expect((await log.chunks.seal()).some(({ first, last }) => first < 20 && last > 20)).toBe(true)
      await withServer(createHandler(log), async ({ url }) => {
        const { status, text } = await send(`${url}/?offset=${formatOffsetToken({ epoch: log.epoch, offset: 20 })}`)
        expect(status).toBe(410)
        expect(JSON.parse(text).error.code).toBe('ERR_SEALOG_LOST')
      })
      await log.close()
    }
  })
})

/** A log that lost the record 20. */
async function salvaged(directory: string, backend: Backend): Promise<Log<unknown>> {
  const log = await Log.open<unknown>(directory, { ...options, backend })
  await fill(log, 'i', 60)
  await log.chunks.seal()
  await log.close()
  const file = segmentPath(directory, 0)
  const bytes = readFileSync(file)
  bytes[bytes.indexOf('{"i":20,') + 20] ^= 1
  writeFileSync(file, bytes)
  expect((await repair(path.resolve(directory), { policy: 'salvage', backend })).lost).toEqual([{ from: 20, to: 21 }])
  return Log.open<unknown>(directory, { ...options, backend })
}
