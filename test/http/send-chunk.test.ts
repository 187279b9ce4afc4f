/** `sendChunk`: whole chunks, parts of them from an element on, ranges and conditions. */
import { closeSync, openSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { parseRange } from '../../lib/http/range.js'
import { type SendChunkOptions, sendChunk } from '../../lib/http/send-chunk.js'
import { newTransferCounters } from '../../lib/http/transfer.js'
import type { ChunkForm } from '../../lib/options.js'
import type { OpenChunk } from '../../lib/sealing/chunk.js'
import { backends, environmentOf } from '../support/backends.js'
import { makeDirectory } from '../support/directories.js'
import { eventually, get, withServer } from './transfer-support.js'

/** A chunk of `records` elements with offsets from 100 on, in files of this test. */
class TestChunk {
  readonly content: Buffer
  readonly gzip: Buffer
  readonly positions: number[] = []
  readonly form: ChunkForm
  closed = 0
  siblingsClosed = 0
  readonly #path = path.join(makeDirectory('chunk'), 'chunk')
  readonly #siblings: boolean

  constructor(form: ChunkForm, records: number, siblings = false) {
    this.form = form
    this.#siblings = siblings
    const elements = Array.from({ length: records }, (_, i) => JSON.stringify({ i, text: 'x'.repeat(i % 200) }))
    const [open, separator, close] = form === 'json' ? ['[', ',', ']'] : form === 'ndjson' ? ['', '\n', '\n'] : ['', '', '']
    let position = open.length
    for (const element of elements) {
      this.positions.push(position)
      position += element.length + separator.length
    }
    this.content = Buffer.from(open + elements.join(separator) + close)
    this.gzip = gzipSync(this.content)
    writeFileSync(this.#path, this.content)
    writeFileSync(`${this.#path}.gz`, this.gzip)
  }

  open(): OpenChunk {
    const fd = openSync(this.#path, 'r')
    return {
      sequence: 3,
      first: 100,
      last: 99 + this.positions.length,
      bytes: this.content.length,
      crc: '0badf00d',
      form: this.form,
      path: this.#path,
      records: this.positions.length,
      fd,
      siblings: this.#siblings ? [{ encoding: 'gzip', bytes: this.gzip.length, crc: 'c0ffee00', path: `${this.#path}.gz` }] : [],
      position: async (offset) => this.positions[offset - 100],
      openSibling: async () => {
        const siblingFd = openSync(`${this.#path}.gz`, 'r')
        const close = () => {
          closeSync(siblingFd)
          this.siblingsClosed++
        }
        return { fd: siblingFd, bytes: this.gzip.length, crc: 'c0ffee00', close }
      },
      close: () => {
        closeSync(fd)
        this.closed++
      },
    }
  }
}

describe.each(backends)('sendChunk on %s', (backend) => {
  const serve = async (
    chunk: TestChunk,
    options: SendChunkOptions,
    use: (ask: (headers?: Record<string, string>, method?: string) => ReturnType<typeof get>) => Promise<void>,
  ) => {
    const counters = newTransferCounters()
    let asked = 0
    const log = { directory: '/log', environment: environmentOf(backend) }
    await withServer(
      (req, res) => void sendChunk(req, res, chunk.open(), { log, counters, ...options }),
      (port) =>
        use((headers, method) => {
          asked++
          return get(port, '/', { headers, method })
        }),
    )
    await eventually(() => chunk.closed >= asked)
    expect(chunk.closed).toBe(asked)
    return counters
  }

  it.each(['json', 'ndjson', 'raw'] as const)('serves a whole chunk of form %s, and 304 to who has it', async (form) => {
    for (const records of [1, 10, 20_000]) {
      const chunk = new TestChunk(form, records)
      const mine = { 'X-Mine': 'yes', 'Content-Type': 'text/plain', 'Content-Length': 1, 'x-none': undefined }
      const counters = await serve(chunk, { headers: mine }, async (ask) => {
        const { status, headers, body } = await ask()
        expect(status).toBe(200)
        expect(body.equals(chunk.content)).toBe(true)
        expect(headers).toMatchObject({
          'content-type': 'text/plain',
          'x-mine': 'yes',
          'cache-control': 'public, max-age=31536000, immutable, no-transform',
          'content-length': String(chunk.content.length),
          'accept-ranges': 'bytes',
          etag: `"0badf00d-${chunk.content.length}"`,
        })
        expect(headers.vary).toBeUndefined()
        const unchanged = await ask({ 'if-none-match': `"other", W/${headers.etag}` })
        expect(unchanged.status).toBe(304)
        expect(unchanged.headers.etag).toBe(headers.etag)
        expect(unchanged.body.length).toBe(0)
        const head = await ask({}, 'HEAD')
        expect(head.headers['content-length']).toBe(String(chunk.content.length))
        const refused = await ask({}, 'POST')
        expect(refused.status).toBe(405)
        expect(JSON.parse(refused.body.toString()).error.code).toBe('ERR_SEALOG_UNSUPPORTED')
      })
      const way = records < 20_000 ? 'buffer' : backend === 'native' ? 'sendfile' : 'stream'
      expect(counters).toMatchObject({ [way]: 1, broken: 0 })
    }
  })

  it('starts at the element of any offset, of json with a bracket, under a tag of its own', async () => {
    for (const form of ['json', 'ndjson'] as const) {
      const chunk = new TestChunk(form, 5_000)
      const tags = new Set<string | undefined>()
      const froms = [100, 101, 2_600, 5_098, 5_099]
      for (const from of froms) {
        await serve(chunk, { from }, async (ask) => {
          const { body, headers } = await ask()
          const elements =
            form === 'json'
              ? JSON.parse(body.toString())
              : body
                  .toString()
                  .trim()
                  .split('\n')
                  .map((line) => JSON.parse(line))
          expect(elements.map(({ i }: { i: number }) => i)).toEqual(Array.from({ length: 5_100 - from }, (_, i) => from - 100 + i))
          tags.add(headers.etag)
        })
        chunk.closed = 0
      }
      expect(tags.size).toBe(froms.length)
    }
  })

  it('answers every byte range with those bytes, of parts with a bracket as well', async () => {
    const chunk = new TestChunk('json', 5_000)
    for (const from of [undefined, 2_000]) {
      const all = from === undefined ? chunk.content : Buffer.concat([Buffer.from('['), chunk.content.subarray(chunk.positions[from - 100])])
      chunk.closed = 0
      await serve(chunk, { from }, async (ask) => {
        const ends: [string, number, number][] = [
          ['0-0', 0, 1],
          ['0-', 0, all.length],
          ['1-4', 1, 5],
          ['7-', 7, all.length],
          ['-5', all.length - 5, all.length],
          [`0-${all.length * 2}`, 0, all.length],
          [`1000-${300_000}`, 1000, Math.min(300_001, all.length)],
        ]
        for (const [range, start, end] of ends) {
          const { status, headers, body } = await ask({ range: `bytes=${range}` })
          expect(status).toBe(206)
          expect(headers['content-range']).toBe(`bytes ${start}-${end - 1}/${all.length}`)
          expect(body.equals(all.subarray(start, end)), range).toBe(true)
        }
        const beyond = await ask({ range: `bytes=${all.length}-` })
        expect(beyond.status).toBe(416)
        expect(JSON.parse(beyond.body.toString()).error.code).toBe('ERR_SEALOG_ARGUMENT')
        expect(beyond.headers['content-range']).toBe(`bytes */${all.length}`)
        const { etag = '' } = (await ask()).headers
        expect((await ask({ range: 'bytes=0-1', 'if-range': etag })).status).toBe(206)
        const refused: Record<string, string>[] = [
          { 'if-range': '"other"' },
          { 'if-range': `W/${etag}` },
          { range: 'bytes=0-1,5-6' },
          { range: 'lines=1-2' },
          { range: 'bytes=5-2' },
        ]
        for (const headers of refused) {
          const { status, body } = await ask({ range: 'bytes=0-1', ...headers })
          expect(status).toBe(200)
          expect(body.equals(all)).toBe(true)
        }
        expect((await ask({ range: 'bytes=0-1' }, 'HEAD')).status).toBe(200)
      })
    }
    chunk.closed = 0
    await serve(chunk, { range: false }, async (ask) => {
      const { status, headers } = await ask({ range: 'bytes=0-1' })
      expect(status).toBe(200)
      expect(headers['accept-ranges']).toBeUndefined()
    })
  })

  it('sends a sibling to who accepts its encoding, whole chunks only', async () => {
    const chunk = new TestChunk('json', 5_000, true)
    await serve(chunk, {}, async (ask) => {
      for (const accept of ['gzip', 'br, gzip;q=0.5', '*']) {
        const { body, headers } = await ask({ 'accept-encoding': accept })
        expect(headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding', etag: `"c0ffee00-${chunk.gzip.length}-gzip"` })
        expect(body.equals(chunk.gzip)).toBe(true)
      }
      for (const accept of ['br', 'gzip;q=0', 'identity']) {
        const { body, headers } = await ask({ 'accept-encoding': accept })
        expect(headers['content-encoding']).toBeUndefined()
        expect(headers.vary).toBe('Accept-Encoding')
        expect(body.equals(chunk.content)).toBe(true)
      }
    })
    expect(chunk.siblingsClosed).toBe(3)
    chunk.closed = 0
    await serve(chunk, { from: 200 }, async (ask) => {
      const { headers } = await ask({ 'accept-encoding': 'gzip' })
      expect(headers['content-encoding']).toBeUndefined()
      expect(headers.vary).toBeUndefined()
    })
  })

  it('refuses offsets that are not in the chunk, and closes it', async () => {
    const chunk = new TestChunk('json', 10)
    await withServer(
      (req, res) => {
        sendChunk(req, res, chunk.open(), { from: Number(req.headers['x-from']) }).catch((error) => res.end(error.code))
      },
      async (port) => {
        for (const from of ['99', '110', '100.5', 'NaN']) {
          expect((await get(port, '/', { headers: { 'x-from': from } })).body.toString()).toBe('ERR_SEALOG_ARGUMENT')
        }
      },
    )
    expect(chunk.closed).toBe(4)
  })
})

describe('parseRange', () => {
  it.each([
    ['bytes=0-0', 10, { start: 0, end: 1 }],
    ['BYTES=2-', 10, { start: 2, end: 10 }],
    ['bytes= 2-3 ', 10, { start: 2, end: 4 }],
    ['bytes=-3', 10, { start: 7, end: 10 }],
    ['bytes=-30', 10, { start: 0, end: 10 }],
    ['bytes=9-99999999999999999999', 10, { start: 9, end: 10 }],
    ['bytes=10-', 10, 'unsatisfiable'],
    ['bytes=-0', 10, 'unsatisfiable'],
    ['bytes=0-', 0, 'unsatisfiable'],
    ['bytes=-5', 0, 'unsatisfiable'],
    ['bytes=-', 10, undefined],
    ['bytes=3-2', 10, undefined],
    ['bytes=1-2,4-5', 10, undefined],
    ['bytes=a-b', 10, undefined],
    ['bytes 1-2', 10, undefined],
    [undefined, 10, undefined],
  ])('%s of %d bytes', (header, length, expected) => {
    expect(parseRange(header, length)).toEqual(expected)
  })
})
