import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERROR_CODES, isLogError, Log, LogError, type LogOptions } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath, listFiles, makeDirectory, readFiles } from '../support/directories.js'
import { bytes, codeOf, errorOf, readAll, segmentPath, withLog } from '../support/logs.js'

/** A file with `change` made to its bytes. */
function alter(file: string, change: (bytes: Buffer) => void): void {
  const content = readFileSync(file)
  change(content)
  writeFileSync(file, content)
}

/** Runs `use` without the powers of root, which nothing is forbidden to. */
async function unprivileged<R>(use: () => Promise<R>): Promise<R> {
  const user = process.geteuid?.()
  if (user === 0) process.seteuid?.(65_534)
  try {
    return await use()
  } finally {
    if (user === 0) process.seteuid?.(0)
  }
}

describe.each(backends)('what bad input gets (%s)', (backend) => {
  it.each<[string, unknown, string]>([
    ['durabilty', 'flush', 'ERR_SEALOG_OPTION'],
    ['durability', 'always', 'ERR_SEALOG_OPTION'],
    ['codec', 'xml', 'ERR_SEALOG_OPTION'],
    ['segmentBytes', 100, 'ERR_SEALOG_OPTION'],
    ['segmentBytes', '1 MiB', 'ERR_SEALOG_OPTION'],
    ['segmentBytes', 2 ** 60, 'ERR_SEALOG_OPTION'],
    ['chunkBytes', 0, 'ERR_SEALOG_OPTION'],
    ['seal', 'xml', 'ERR_SEALOG_OPTION'],
    ['seal', 'json', 'ERR_SEALOG_OPTION'],
    ['maxRecordBytes', 0, 'ERR_SEALOG_OPTION'],
    ['maxRecordBytes', 2 ** 31, 'ERR_SEALOG_OPTION'],
    ['maxBatchBytes', Number.NaN, 'ERR_SEALOG_OPTION'],
    ['indexIntervalBytes', 1, 'ERR_SEALOG_OPTION'],
    ['syncIntervalMs', -1, 'ERR_SEALOG_OPTION'],
    ['idleMarkMs', 0.5, 'ERR_SEALOG_OPTION'],
    ['recovery', 'salvage', 'ERR_SEALOG_OPTION'],
    ['create', 'yes', 'ERR_SEALOG_OPTION'],
    ['lock', 'none', 'ERR_SEALOG_OPTION'],
  ])('Log.open with %s = %s: a typed error that names the field, and no directory', async (field, value, code) => {
    const directory = freshPath()
    const error = await errorOf(() => Log.open(directory, { backend, [field]: value } as LogOptions))
    expect(error).toMatchObject({ code, field, value })
    expect(error.message).toContain(field)
    expect(listFiles(path.dirname(directory))).toEqual([])
  })

  it('limits that contradict each other are refused', async () => {
    expect(await errorOf(() => Log.open(freshPath(), { backend, maxRecordBytes: 200, maxBatchBytes: 100 }))).toMatchObject({
      code: 'ERR_SEALOG_OPTION',
      field: 'maxRecordBytes',
    })
    expect(await errorOf(() => Log.open(freshPath(), { backend, segmentBytes: 4096, maxBatchBytes: 8192 }))).toMatchObject({
      code: 'ERR_SEALOG_OPTION',
      field: 'maxBatchBytes',
    })
  })

  it.each([undefined, null, 5, '', 'a\0b', {}])('Log.open(%s) and Log.openReader refuse what is no path', async (directory) => {
    expect(await errorOf(() => Log.open(directory as string, { backend }))).toMatchObject({ code: 'ERR_SEALOG_ARGUMENT', field: 'directory', value: directory })
    expect(await errorOf(() => Log.openReader(directory as string, { backend }))).toMatchObject({
      code: 'ERR_SEALOG_ARGUMENT',
      field: 'directory',
      value: directory,
    })
  })

  it.each([null, 5, [], 'x'])('options %s are no options', async (options) => {
    expect(await codeOf(() => Log.open(freshPath(), options as never))).toBe('ERR_SEALOG_ARGUMENT')
    expect(await codeOf(() => Log.openReader(freshPath(), options as never))).toBe('ERR_SEALOG_ARGUMENT')
  })

  it('a directory that is a file, a missing directory, no permission: typed errors with the cause', async () => {
    const parent = makeDirectory()
    const file = path.join(parent, 'file')
    writeFileSync(file, 'text')
    const error = await errorOf(() => Log.open(file, { backend }))
    expect(error.code).toBe('ERR_SEALOG_IO')
    expect(error.cause).toMatchObject({ code: 'ENOTDIR' })
    expect(readFileSync(file, 'utf8')).toBe('text')
    expect((await errorOf(() => Log.open(path.join(file, 'below'), { backend }))).code).toBe('ERR_SEALOG_IO')
    expect(await codeOf(() => Log.open(path.join(parent, 'none'), { backend, create: false }))).toBe('ERR_SEALOG_NOT_FOUND')
    expect(await codeOf(() => Log.openReader(path.join(parent, 'none'), { backend }))).toBe('ERR_SEALOG_NOT_FOUND')
    expect(listFiles(parent)).toEqual(['file'])
  })

  it('no permission is ERR_SEALOG_IO with the cause', async () => {
    const directory = path.join(makeDirectory(), 'closed')
    mkdirSync(directory, { mode: 0o500 })
    const error = await unprivileged(() => errorOf(() => Log.open(directory, { backend })))
    expect(error).toMatchObject({ code: 'ERR_SEALOG_IO', cause: { code: 'EACCES' } })
    expect(listFiles(directory)).toEqual([])
  })

  it('a foreign or newer MANIFEST, and segments without one, are refused with nothing written', async () => {
    const directory = freshPath()
    await withLog(directory, { backend }, (log) => log.append(bytes('a')))
    const manifest = path.join(directory, 'MANIFEST')
    const good = readFileSync(manifest)
    const refused = async (content: Uint8Array, code: string) => {
      writeFileSync(manifest, content)
      const before = readFiles(directory)
      for (const open of [() => Log.open(directory, { backend }), () => Log.openReader(directory, { backend })]) expect(await codeOf(open)).toBe(code)
      const after = readFiles(directory)
      before.delete('LOCK')
      after.delete('LOCK')
      expect(after).toEqual(before)
    }
    await refused(Buffer.from('some other file that is long enough to hold a header of sixty-four bytes'), 'ERR_SEALOG_MANIFEST')
    await refused(Buffer.alloc(0), 'ERR_SEALOG_MANIFEST')
    await refused(good.subarray(0, 40), 'ERR_SEALOG_MANIFEST')
    writeFileSync(manifest, good)
    await withLog(directory, { backend }, async (log) => expect((await readAll(log)).length).toBe(1))
  })

  it('a segment of another log is ERR_SEALOG_FORMAT', async () => {
    const directories = [freshPath(), freshPath()]
    for (const directory of directories) await withLog(directory, { backend }, (log) => log.append(bytes('a')))
    writeFileSync(segmentPath(directories[0], 0), readFileSync(segmentPath(directories[1], 0)))
    expect(await errorOf(() => Log.open(directories[0], { backend }))).toMatchObject({ code: 'ERR_SEALOG_FORMAT', file: segmentPath(directories[0], 0) })
    expect(await codeOf(() => Log.openReader(directories[0], { backend }))).toBe('ERR_SEALOG_FORMAT')
    alter(segmentPath(directories[1], 0), (content) => content.write('NOTALOG!', 0))
    expect(isLogError(await errorOf(() => Log.open(directories[1], { backend })))).toBe(true)
  })

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1', null, 1n, {}])('the offset %s is ERR_SEALOG_ARGUMENT everywhere', async (value) => {
    const offset = value as number
    await withLog(freshPath(), { backend }, async (log) => {
      await log.append(bytes('a'))
      const calls: [string, () => unknown][] = [
        ['offset', () => log.getSync(offset)],
        ['offset', () => log.get(offset)],
        ['from', () => log.read({ from: offset })],
        ['to', () => log.batches({ to: offset })],
        ['offset', () => log.truncateBefore(offset)],
        ['offset', () => log.truncateAfter(offset)],
        ['offset', () => log.committed(offset)],
        ['offset', () => log.durable(offset)],
        ['expectedOffset', () => log.append(bytes('b'), { expectedOffset: offset })],
      ]
      for (const [field, call] of calls) {
        // `to: null` and the like must not pass as "not given".
        expect(await errorOf(call)).toMatchObject({ code: 'ERR_SEALOG_ARGUMENT', field, value })
      }
      expect(log.endOffset).toBe(1)
    })
  })

  it.each([undefined, null, 'text', 5, 5n, {}, [], new ArrayBuffer(4), new DataView(new ArrayBuffer(4)), new Uint16Array(2)])(
    'with codec bytes the value %s is ERR_SEALOG_VALUE and nothing is written',
    async (value) => {
      const directory = freshPath()
      await withLog(directory, { backend }, async (log) => {
        for (const call of [
          () => log.append(value as never),
          () => log.append(value as never, { key: 'k' }),
          () => log.appendBatch([bytes('a'), value as never]),
          () => log.appendRecords([{ value: value as never }]),
          () => log.enqueue(value as never),
          () => log.appendSync(value as never),
        ]) {
          expect(await errorOf(call)).toMatchObject({ code: 'ERR_SEALOG_VALUE', field: 'value' })
        }
        expect(log.endOffset).toBe(0)
      })
    },
  )

  it('a detached buffer, as value or key, is refused', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const value = new Uint8Array(8)
      structuredClone(value, { transfer: [value.buffer] })
      for (const call of [() => log.append(value), () => log.append(bytes('a'), { key: value }), () => log.appendBatch([value]), () => log.enqueue(value)]) {
        expect(await codeOf(call)).toBe('ERR_SEALOG_VALUE')
      }
      expect(log.endOffset).toBe(0)
      expect(await log.append(new Uint8Array(0))).toBe(0)
    })
  })

  it.each<[string, object]>([
    ['a misspelt option', { keys: 'k' }],
    ['a key that is a number', { key: 5 }],
    ['a key that is null', { key: null }],
    ['a timestamp that is a Date', { timestamp: new Date() }],
  ])('append with %s is refused with nothing written', async (_what, options) => {
    await withLog(freshPath(), { backend }, async (log) => {
      for (const call of [() => log.append(bytes('a'), options), () => log.enqueue(bytes('a'), options), () => log.appendSync(bytes('a'), options)]) {
        expect(['ERR_SEALOG_OPTION', 'ERR_SEALOG_ARGUMENT']).toContain(await codeOf(call))
      }
      expect(await codeOf(() => log.append(bytes('a'), null as never))).toBe('ERR_SEALOG_ARGUMENT')
      expect(log.endOffset).toBe(0)
    })
  })

  it.each<[string, unknown]>([
    ['null', null],
    ['bytes', bytes('a')],
    ['nothing in it', {}],
    ['a misspelt field', { value: bytes('a'), ky: 'k' }],
    ['a tombstone without key', { tombstone: true }],
    ['a tombstone with value', { key: 'k', tombstone: true, value: bytes('a') }],
    ['tombstone: false', { key: 'k', tombstone: false }],
    ['tombstone: 1', { key: 'k', tombstone: 1 }],
  ])('appendRecords with %s is refused with nothing written', async (_what, record) => {
    await withLog(freshPath(), { backend }, async (log) => {
      expect(['ERR_SEALOG_OPTION', 'ERR_SEALOG_ARGUMENT']).toContain(await codeOf(() => log.appendRecords([{ value: bytes('good') }, record as never])))
      expect(log.endOffset).toBe(0)
    })
  })

  it('appendBatch of what is not iterable, or throws while iterated, is refused with nothing written', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      for (const values of [null, undefined, 5, {}])
        await expect(log.appendBatch(values as never)).rejects.toMatchObject({ code: 'ERR_SEALOG_ARGUMENT', field: 'values' })
      const thrown = new Error('from the iterator')
      const values = (function* () {
        yield bytes('a')
        throw thrown
      })()
      await expect(log.appendBatch(values)).rejects.toBe(thrown)
      expect(log.endOffset).toBe(0)
    })
  })

  it.each<[string, object]>([
    ['a misspelt option', { form: 0 }],
    ['limit -1', { limit: -1 }],
    ['limit 1.5', { limit: 1.5 }],
    ['maxBytes 0', { maxBytes: 0 }],
  ])('read with %s is refused', async (_what, options) => {
    await withLog(freshPath(), { backend }, async (log) => {
      expect(['ERR_SEALOG_OPTION', 'ERR_SEALOG_ARGUMENT']).toContain(await codeOf(() => log.read(options)))
    })
  })

  it('a closed log refuses everything with ERR_SEALOG_CLOSED, and closing it again is nothing', async () => {
    const log = await Log.open(freshPath(), { backend })
    await log.append(bytes('a'))
    await log.close()
    const calls: (() => unknown)[] = [
      () => log.append(bytes('b')),
      () => log.appendBatch([bytes('b')]),
      () => log.appendRecords([{ value: bytes('b') }]),
      () => log.enqueue(bytes('b')),
      () => log.appendSync(bytes('b')),
      () => log.flush(),
      () => log.flushSync(),
      () => log.sync(),
      () => log.syncSync(),
      () => log.getSync(0),
      () => log.get(0),
      () => log.read(),
      () => log.batches(),
      () => log.offsetAt(0),
      () => log.truncateBefore(0),
      () => log.truncateAfter(0),
      () => log.reopen(),
    ]
    for (const call of calls) expect([String(call), await codeOf(call)]).toEqual([String(call), 'ERR_SEALOG_CLOSED'])
    await log.close()
    log.closeSync()
    expect(log.closed).toBe(true)
  })

  it('every error is a LogError with a code of the one table', async () => {
    const error = await errorOf(() => Log.open(freshPath(), { backend, create: false }))
    expect(error).toBeInstanceOf(LogError)
    expect(error).toBeInstanceOf(Error)
    expect(Object.keys(ERROR_CODES)).toContain(error.code)
  })
})
