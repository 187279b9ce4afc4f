/** Sealed chunks: their bytes, their boundaries, when they come and when they go. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { parseChunkFile } from '../../lib/format/names.js'
import { type ChunkInfo, Log, type LogOptions } from '../../lib/index.js'
import { type Backend, FILE_RENAME } from '../../lib/kernels/kernels.js'
import { sealChunk } from '../../lib/sealing/seal-chunk.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { codeOf, readAll, segmentPath, until } from '../support/logs.js'

const folder = (directory: string) => path.join(directory, 'chunks')
const files = (directory: string): string[] => (fs.existsSync(folder(directory)) ? fs.readdirSync(folder(directory)).sort() : [])
const openFiles = (directory: string): string[] =>
  fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const file = fs.readlinkSync(`/proc/self/fd/${fd}`)
      return file.startsWith(folder(directory)) ? [file] : []
    } catch {
      return []
    }
  })
const contents = (directory: string): string[] => files(directory).filter((name) => /\.(json|ndjson|raw)$/.test(name))

function jsonLog(backend: Backend, directory: string, options: LogOptions = {}): Promise<Log<unknown>> {
  return Log.open<unknown>(directory, { chunkBytes: 1000, ...options, backend, codec: 'json' })
}

/** Every record from the log's first to the last that is sealed is in exactly one chunk, at the position its index tells. */
async function checkChunks(log: Log<unknown>, chunks: readonly ChunkInfo[]): Promise<void> {
  const records = await readAll(log)
  let next = records[0]?.offset ?? 0
  for (const chunk of chunks) {
    expect(chunk.first).toBe(next)
    next = chunk.last + 1
    const mine = records.filter((record) => record.offset >= chunk.first && record.offset <= chunk.last)
    const elements = mine.map((record) => JSON.stringify(record.value))
    const content = fs.readFileSync(chunk.path, 'utf8')
    expect(content).toBe(chunk.form === 'json' ? `[${elements.join(',')}]` : elements.map((element) => `${element}\n`).join(''))
    expect(chunk.bytes).toBe(Buffer.byteLength(content))
    const open = await log.chunks.open(chunk.first)
    if (open === undefined) throw new Error(`chunk ${chunk.sequence} cannot be opened`)
    expect(open.records).toBe(mine.length)
    for (const [i, record] of mine.entries()) {
      const position = await open.position(record.offset)
      expect(Buffer.from(content).toString('utf8', position, position + Buffer.byteLength(elements[i]))).toBe(elements[i])
    }
    open.close()
  }
}

describe.each(backends)('sealing (%s)', (backend) => {
  it('a chunk closes after the batch that crosses its size, and is sealed in the background', async () => {
    const log = await jsonLog(backend, freshPath())
    const values = Array.from({ length: 60 }, (_, i) => ({ i, text: 'x'.repeat(40) }))
    for (const value of values) await log.append(value)
    let payload = 0
    const ends: number[] = []
    for (const [offset, value] of values.entries()) {
      payload += JSON.stringify(value).length
      if (payload < 1000) continue
      ends.push(offset)
      payload = 0
    }
    await until(() => log.stats().sealing.sealedChunks === ends.length, 'the closed chunks are sealed')
    const chunks = await log.chunks.list()
    expect(chunks.map((chunk) => chunk.last)).toEqual(ends)
    expect(chunks.map((chunk) => chunk.sequence)).toEqual(ends.map((_, i) => i))
    await checkChunks(log, chunks)
    expect(files(log.directory).filter((name) => parseChunkFile(name) === undefined)).toEqual([])
    expect(log.stats().sealing.sealedChunks).toBe(chunks.length)
    await log.close()
  })

  it('seal() rolls the segment and seals all there is; again it changes nothing', async () => {
    const log = await jsonLog(backend, freshPath())
    expect(await log.chunks.seal()).toEqual([])
    for (let i = 0; i < 50; i++) await log.append({ i })
    const chunks = await log.chunks.seal()
    expect(chunks.at(-1)?.last).toBe(49)
    await checkChunks(log, chunks)
    const before = files(log.directory)
    expect(await log.chunks.seal()).toEqual(chunks)
    expect(files(log.directory)).toEqual(before)
    await log.append('more')
    const more = await log.chunks.seal()
    expect(more.at(-1)).toMatchObject({ first: 50, last: 50, sequence: chunks.length })
    await checkChunks(log, more)
    await log.close()
  })

  it.each(['json', 'ndjson'] as const)('%s: empty values, UTF-8 of every length, tombstones, a batch across the limit', async (seal) => {
    const log = await jsonLog(backend, freshPath(), { seal })
    await log.appendRecords([{ value: '' }, { key: 'k', value: 'ä€😀\u0000"\\' }, { key: 'k', tombstone: true }, { value: null }, { value: [] }])
    for (let i = 0; i < 20; i++) await log.append('😀'.repeat(i))
    const first = log.endOffset
    await log.appendBatch(Array.from({ length: 30 }, (_, i) => ({ batch: i, filler: 'y'.repeat(80) })))
    const chunks = await log.chunks.seal()
    expect(chunks.some((chunk) => chunk.first <= first && chunk.last >= first + 29)).toBe(true)
    await checkChunks(log, chunks)
    await log.close()
  })

  it('raw: the values one behind the other', async () => {
    const log = await Log.open(freshPath(), { backend, seal: 'raw', chunkBytes: 500 })
    const values = Array.from({ length: 100 }, (_, i) => Buffer.alloc(i % 23, i))
    for (const value of values) log.enqueue(value)
    const chunks = await log.chunks.seal()
    expect(Buffer.concat(chunks.map((chunk) => fs.readFileSync(chunk.path))).equals(Buffer.concat(values))).toBe(true)
    const chunk = await log.chunks.open(50)
    if (chunk === undefined) throw new Error('offset 50 is not sealed')
    const position = await chunk.position(50)
    expect(
      fs
        .readFileSync(chunk.path)
        .subarray(position, position + values[50].length)
        .equals(values[50]),
    ).toBe(true)
    chunk.close()
    await log.close()
  })

  it('only what is durable is sealed', async () => {
    const log = await jsonLog(backend, freshPath(), { durability: 'flush', syncIntervalMs: 3_600_000 })
    for (let i = 0; i < 100; i++) log.enqueue({ i, text: 'z'.repeat(50) })
    await log.flush()
    expect(log.durableOffset).toBe(0)
    expect(await log.chunks.list()).toEqual([])
    await log.sync()
    await until(() => contents(log.directory).length >= 5, 'the chunks are sealed after the sync')
    await checkChunks(log, await log.chunks.list())
    await log.close()
  })

  it('what a session leaves unsealed is sealed by the next, and unfinished files are swept', async () => {
    const directory = freshPath()
    let log = await jsonLog(backend, directory, { segmentBytes: 4096 })
    for (let i = 0; i < 200; i++) await log.append({ i, text: 'w'.repeat(50) })
    const chunks = await log.chunks.seal()
    await log.close()
    const all = files(directory)
    for (const name of all.filter((_, i) => i % 3 === 0)) fs.unlinkSync(path.join(folder(directory), name))
    fs.writeFileSync(path.join(folder(directory), '7.tmp'), 'half of a chunk')
    fs.writeFileSync(path.join(folder(directory), '000003.0.1.00000000.json'), 'of another time')
    log = await jsonLog(backend, directory)
    await until(() => files(directory).join() === all.join(), 'everything is sealed again')
    expect(await log.chunks.seal()).toEqual(chunks)
    await checkChunks(log, chunks)
    await log.close()
    fs.rmSync(folder(directory), { recursive: true })
    log = await jsonLog(backend, directory)
    await until(() => files(directory).join() === all.join(), 'everything is sealed once more')
    await log.close()
  })

  it('a damaged chunk is found when it is first opened, removed and sealed again', async () => {
    const directory = freshPath()
    let log = await jsonLog(backend, directory)
    for (let i = 0; i < 100; i++) await log.append({ i, text: 'v'.repeat(50) })
    const chunks = await log.chunks.seal()
    await log.close()
    const damage = [chunks[1].path, chunks[2].path.replace(/json$/, 'idx'), chunks[3].path]
    for (const file of damage.slice(0, 2)) {
      const bytes = fs.readFileSync(file)
      bytes[bytes.length >> 1] ^= 1
      fs.writeFileSync(file, bytes)
    }
    fs.truncateSync(damage[2], 10)
    log = await jsonLog(backend, directory)
    for (const chunk of chunks.slice(1, 4)) expect(await log.chunks.open(chunk.first)).toBeUndefined()
    await until(() => contents(directory).length === chunks.length, 'the damaged chunks are sealed again')
    await until(() => log.stats().sealing.sealedChunks === 3, 'three chunks were sealed anew')
    await checkChunks(log, await log.chunks.list())
    await log.close()
  })

  it('a damaged record stops the seal with an event, is tried again, and no short file appears (T43)', async () => {
    const directory = freshPath()
    let log = await jsonLog(backend, directory)
    for (let i = 0; i < 60; i++) await log.append({ i, text: 'u'.repeat(50) })
    await log.chunks.seal()
    await log.close()
    fs.rmSync(folder(directory), { recursive: true })
    const segment = segmentPath(directory, 0)
    const bytes = fs.readFileSync(segment)
    const at = bytes.indexOf('{"i":30,')
    bytes[at + 20] ^= 1
    fs.writeFileSync(segment, bytes)
    log = await jsonLog(backend, directory)
    await until(() => log.stats().sealing.sealFailures > 0, 'the failure is counted')
    const offset = (await log.chunks.list()).reduce((end, chunk) => Math.max(end, chunk.last + 1), 0)
    expect(offset).toBeLessThanOrEqual(30)
    expect(offset).toBeGreaterThan(0)
    expect(await codeOf(() => log.chunks.seal())).toBe('ERR_SEALOG_CHECKSUM')
    expect(files(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
    bytes[at + 20] ^= 1
    fs.writeFileSync(segment, bytes)
    expect((await log.chunks.seal()).at(-1)?.last).toBe(59)
    await log.close()
  })

  it('truncateAfter removes the chunks of what is cut; what follows is sealed anew', async () => {
    const log = await jsonLog(backend, freshPath())
    for (let i = 0; i < 100; i++) await log.append({ old: i, text: 't'.repeat(50) })
    const before = await log.chunks.seal()
    await log.truncateAfter(40)
    const kept = await log.chunks.list()
    expect(kept).toEqual(before.filter((chunk) => chunk.last <= 40))
    for (let i = 41; i < 100; i++) await log.append({ new: i, text: 's'.repeat(50) })
    await checkChunks(log, await log.chunks.seal())
    await log.close()
  })

  it('truncateBefore removes the chunks of removed segments; open ones stay readable', async () => {
    const log = await jsonLog(backend, freshPath(), { segmentBytes: 4096 })
    for (let i = 0; i < 200; i++) await log.append({ i, text: 'r'.repeat(50) })
    const before = await log.chunks.seal()
    const open = await log.chunks.open(5)
    const start = await log.truncateBefore(120)
    const after = await log.chunks.list()
    expect(after.length).toBeLessThan(before.length)
    expect(after.every((chunk) => chunk.last >= start - 100)).toBe(true)
    expect(contents(log.directory).length).toBe(after.length)
    expect(await log.chunks.open(5)).toBeUndefined()
    if (open === undefined) throw new Error('chunk 0 was not open')
    expect(fs.fstatSync(open.fd).size).toBe(open.bytes)
    open.close()
    await log.close()
  })

  it('readers elsewhere see chunks as the writer seals them, and remove none', async () => {
    const directory = freshPath()
    const log = await jsonLog(backend, directory)
    for (let i = 0; i < 50; i++) await log.append({ i, text: 'q'.repeat(50) })
    const reader = await Log.openReader(directory, { backend })
    expect(await reader.chunks.open(0)).toBeDefined()
    const chunks = await log.chunks.seal()
    expect((await reader.chunks.open(0))?.crc).toBe(chunks[0].crc)
    fs.writeFileSync(chunks[1].path, 'x'.repeat(chunks[1].bytes))
    expect(await reader.chunks.open(chunks[1].first)).toBeUndefined()
    expect(contents(directory).length).toBe(chunks.length)
    // Gone, not damaged: no warning, and the records are there.
    const warned = vi.spyOn(process, 'emitWarning')
    await log.truncateAfter(10)
    expect(await reader.chunks.open(chunks.at(-1)?.first ?? 0)).toBeUndefined()
    expect(warned).not.toHaveBeenCalled()
    warned.mockRestore()
    await reader.close()
    await log.close()
  })

  it('gzip siblings hold the same bytes; those that are missing are made after a restart', async () => {
    const { gunzipSync } = await import('node:zlib')
    const directory = freshPath()
    let log = await jsonLog(backend, directory)
    for (let i = 0; i < 50; i++) await log.append({ i, text: 'p'.repeat(50) })
    await log.chunks.seal()
    await log.close()
    log = await jsonLog(backend, directory, { chunkEncodings: ['gzip'] })
    const chunks = await log.chunks.seal()
    expect(files(directory).filter((name) => name.endsWith('.json.gz')).length).toBe(chunks.length)
    const open = await log.chunks.open(0)
    const sibling = await open?.openSibling('gzip')
    if (open === undefined || sibling === undefined) throw new Error('there is no sibling')
    expect(open.siblings.map(({ encoding }) => encoding)).toEqual(['gzip'])
    expect(gunzipSync(fs.readFileSync(open.siblings[0].path)).equals(fs.readFileSync(open.path))).toBe(true)
    expect(fs.fstatSync(sibling.fd).size).toBe(sibling.bytes)
    sibling.close()
    open.close()
    await log.close()
  })

  it('a closed log keeps no chunk open, and leaves the folder to who has the log now', async () => {
    const directory = freshPath()
    const append = async (log: Log<unknown>) => {
      for (let i = 0; i < 50; i++) await log.append({ i, text: 'm'.repeat(50) })
    }
    await (await jsonLog(backend, directory)).close()
    let log = await jsonLog(backend, directory)
    await log.append('one')
    await log.close()
    const before = await jsonLog(backend, directory)
    await before.close()
    log = await jsonLog(backend, directory)
    await append(log)
    const chunks = await log.chunks.seal()
    expect(await codeOf(() => before.chunks.list())).toBe('ERR_SEALOG_CLOSED')
    expect(await codeOf(() => before.chunks.open(0))).toBe('ERR_SEALOG_CLOSED')
    expect(contents(directory).length).toBe(chunks.length)
    const reader = await Log.openReader(directory, { backend })
    for (const view of [reader, log]) (await view.chunks.open(0))?.close()
    expect(openFiles(directory).length).toBeGreaterThan(0)
    await reader.close()
    await log.close()
    await until(() => openFiles(directory).length === 0, 'the descriptors are closed')
    expect(reader.chunks.openNow(0)).toBeUndefined()
    expect(await codeOf(() => reader.chunks.open(0))).toBe('ERR_SEALOG_CLOSED')
  })

  it('chunks of a later state are not those of a log that was put back to an earlier one', async () => {
    const directory = freshPath()
    let log = await jsonLog(backend, directory)
    await log.append('first')
    await log.close()
    const earlier = `${directory}-earlier`
    fs.cpSync(directory, earlier, { recursive: true })
    log = await jsonLog(backend, directory)
    for (let i = 0; i < 50; i++) await log.append({ later: i, text: 'l'.repeat(50) })
    await log.chunks.seal()
    await log.close()
    fs.cpSync(folder(directory), folder(earlier), { recursive: true })
    log = await jsonLog(backend, earlier)
    for (let i = 0; i < 40; i++) log.enqueue(i)
    await checkChunks(log, await log.chunks.seal())
    await log.close()
  })

  it('a chunk whose segment goes while it is put in place goes too', async () => {
    const log = await jsonLog(backend, freshPath(), { seal: 'ndjson' })
    await log.append('in a segment')
    await log.chunks.seal()
    const segment = log.segments.all[0]
    const { header } = segment
    if (header === undefined) throw new Error('the segment is not open')
    const { directory, durableOffset, environment } = log
    const before = files(directory)
    const procedure = sealChunk({ directory, segment, header, form: 'raw', sequence: 7, from: 0, durableOffset }, environment.kernels)
    let step = procedure.next(0)
    while (!step.done) {
      const request = step.value
      if (request.operation === FILE_RENAME) segment.retired = true
      step = procedure.next(environment.runner.perform(request))
    }
    expect(step.value).toBe('empty')
    expect(files(directory)).toEqual(before)
    await log.close()
  })

  it('codec bytes is sealed only when asked for; a log without a form never makes the folder', async () => {
    const log = await Log.open(freshPath(), { backend, chunkBytes: 10 })
    for (let i = 0; i < 20; i++) await log.append(Buffer.from('some bytes'))
    expect(await log.chunks.seal()).toEqual([])
    expect(fs.existsSync(folder(log.directory))).toBe(false)
    await log.close()
    expect(await codeOf(() => Log.open(freshPath(), { backend, seal: 'json' }))).toBe('ERR_SEALOG_OPTION')
    expect(await codeOf(() => Log.open(freshPath(), { backend, chunkEncodings: ['br' as 'gzip'] }))).toBe('ERR_SEALOG_OPTION')
    expect(await codeOf(() => log.chunks.seal())).toBe('ERR_SEALOG_CLOSED')
  })
})

describe.runIf(backends.length === 2)('sealing by either backend', () => {
  it('makes the same files', async () => {
    const names: string[][] = []
    for (const backend of backends) {
      const log = await jsonLog(backend, freshPath(), { seal: 'ndjson' })
      for (let i = 0; i < 300; i++) await log.append({ i, text: 'o'.repeat(i % 60) })
      await log.chunks.seal()
      names.push(contents(log.directory))
      await log.close()
    }
    expect(names[0]).toEqual(names[1])
  })
})
