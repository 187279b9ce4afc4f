/** Whatever fails: the segment is kept, the error is typed, the others go on, and the next pass does what is left. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import fs from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { Log, repair } from '../../lib/index.js'
import { backends, testingOf } from '../support/backends.js'
import { copyDirectory, freshPath } from '../support/directories.js'
import { codeOf, errorOf, offsets, range, segmentPath, text, until } from '../support/logs.js'
import { archiveNames, archivers, digest, OPTIONS, openBoth, roll, segmentHashes } from './archives.js'

vi.setConfig({ testTimeout: 120_000 })
const warnings: string[] = []
process.removeAllListeners('warning')
process.on('warning', (warning: Error & { code?: string }) => {
  warnings.push(`${warning.code}`)
})

async function append(log: Log, records: number): Promise<void> {
  for (let i = 0; i < records; i++) log.enqueue(Buffer.from(`record ${log.endOffset} ${'x'.repeat(60)}`))
  await log.flush()
  await roll(log)
}

function listen<Message>(name: string): { readonly messages: Message[]; stop(): void } {
  const messages: Message[] = []
  const listener = (message: unknown) => messages.push(message as Message)
  subscribe(name, listener)
  return { messages, stop: () => unsubscribe(name, listener) }
}

it.each(backends.filter((backend) => !archivers.includes(backend)))('%s cannot compress: refused, and so are reads of archives', async (backend) => {
  const directory = freshPath()
  if (archivers.length > 0) {
    const { log, archive } = await openBoth(directory, archivers[0])
    await append(log, 60)
    await archive.run()
    await archive.release(log.endOffset)
    await log.close()
  }
  const log = await Log.open(directory, { ...OPTIONS, backend })
  expect(await codeOf(() => openArchive(log))).toBe('ERR_SEALOG_UNSUPPORTED')
  if (archivers.length > 0) expect(await codeOf(() => log.get(3))).toBe('ERR_SEALOG_UNSUPPORTED')
  await log.append(Buffer.from('appends go on'))
  await log.close()
})

describe.each(archivers)('archives that fail (%s)', (backend) => {
  const testing = testingOf(backend)
  afterEach(() => testing.clearFaults())

  it('1 of 5 segments is damaged: it is set aside, the others go, also after a restart', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 4096 })
    while (archive.stats().pending < 5) await append(log, 30)
    const { closed } = log.commitDriver().parts.manifest.state
    const file = segmentPath(directory, closed[2].base)
    const bytes = fs.readFileSync(file)
    bytes[300] ^= 1
    fs.writeFileSync(file, bytes)
    const events = listen<{ base: number; error: Error }>('sealog:archive:quarantine')
    warnings.length = 0
    expect(await archive.run()).toBe(closed.length - 1)
    expect(events.messages.map(({ base }) => base)).toEqual([closed[2].base])
    events.stop()
    expect(archive.stats()).toMatchObject({ pending: 0, quarantined: 1, failures: 0 })
    await until(() => warnings.includes('SEALOG_SEGMENT_QUARANTINED'), 'the warning')
    await archive.release(log.endOffset)
    expect(fs.readFileSync(file).equals(bytes)).toBe(true)
    expect(archive.list().map(({ base }) => base)).toEqual(closed.filter((_, i) => i !== 2).map(({ base }) => base))
    await log.close()
    const again = await openBoth(directory, backend)
    expect(await again.archive.run()).toBe(0)
    expect(again.archive.stats()).toMatchObject({ pending: 0, quarantined: 1 })
    await again.log.close()
  })

  it('a wrong or empty directory: nothing is given up', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend)
    while (archive.stats().pending < 5) await append(log, 30)
    await archive.run()
    const hashes = segmentHashes(directory)
    const folder = path.join(directory, 'archive')
    fs.renameSync(folder, `${folder}.away`)
    expect(await codeOf(() => archive.release(log.endOffset))).toBe('ERR_SEALOG_ARCHIVE')
    fs.mkdirSync(folder)
    expect(await codeOf(() => archive.release(log.endOffset))).toBe('ERR_SEALOG_ARCHIVE')
    expect((await archive.verify()).problems).toHaveLength(archive.list().length)
    // Nor do other ways give up what cannot be read again.
    expect(await codeOf(() => log.retain({ maxBytes: 1, archive: 'archive' }))).toBe('ERR_SEALOG_ARCHIVE')
    fs.rmdirSync(folder)
    fs.renameSync(`${folder}.away`, folder)
    expect(segmentHashes(directory)).toEqual(hashes)
    // One that is damaged keeps its segment, and no other.
    const entries = archive.list()
    const bytes = fs.readFileSync(entries[1].file)
    bytes[bytes.length >> 1] ^= 4
    fs.writeFileSync(entries[1].file, bytes)
    expect((await errorOf(() => archive.release(log.endOffset))).message).toContain(entries[1].file)
    expect(archive.list().map(({ local }) => local)).toEqual(entries.map((_, i) => i === 1))
    expect(await offsets(log)).toEqual(range(0, log.endOffset))
    await log.close()
  })

  it('the archives of another log are refused, whatever lies under a name is not overwritten', async () => {
    const first = await openBoth(freshPath(), backend)
    await append(first.log, 30)
    await first.archive.run()
    await first.log.close()
    const directory = freshPath()
    const log = await Log.open(directory, { ...OPTIONS, backend, archive: { directory: path.join(first.log.directory, 'archive') } })
    expect(await codeOf(() => openArchive(log))).toBe('ERR_SEALOG_ARCHIVE')
    await log.close()

    const own = await openBoth(directory, backend)
    await append(own.log, 30)
    fs.mkdirSync(path.join(directory, 'archive'))
    const [{ base, end }] = own.log.commitDriver().parts.manifest.state.closed
    const name = path.join(directory, 'archive', `${String(base).padStart(20, '0')}-${String(end - 1).padStart(20, '0')}.zst`)
    fs.writeFileSync(name, 'something else')
    expect((await errorOf(() => own.archive.run())).message).toContain('not overwritten')
    expect(fs.readFileSync(name, 'utf8')).toBe('something else')
    fs.copyFileSync(path.join(first.log.directory, 'archive', path.basename(name)), name)
    expect((await errorOf(() => own.archive.run())).message).toContain('another log')
    fs.rmSync(name)
    expect(await own.archive.run()).toBeGreaterThan(0)
    await own.log.close()
  })

  it('a complete archive that MANIFEST does not know yet is taken over, a damaged one made again', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend)
    await append(log, 60)
    const before = copyDirectory(directory)
    await archive.run()
    await log.close()
    fs.cpSync(path.join(directory, 'archive'), path.join(before, 'archive'), { recursive: true })
    fs.rmSync(path.join(before, 'LOCK'))
    const names = archiveNames(before)
    const damaged = fs.readFileSync(path.join(before, 'archive', names[1]))
    damaged[400] ^= 1
    fs.writeFileSync(path.join(before, 'archive', names[1]), damaged)
    const inode = fs.statSync(path.join(before, 'archive', names[0])).ino
    const again = await openBoth(before, backend)
    expect(await again.archive.run()).toBe(names.length)
    expect(await again.archive.verify()).toMatchObject({ ok: true, archives: names.length })
    expect(fs.statSync(path.join(before, 'archive', names[0])).ino).toBe(inode)
    await again.log.close()
  })

  it('every call of every kind fails once: the next pass finishes, nothing is lost', async () => {
    const { EIO, ENOSPC, EROFS } = constants.errno
    let failures = 0
    for (const kind of ['open', 'read', 'write', 'sync', 'rename', 'mkdir', 'syncDirectory', 'stat', 'unlink', 'datasync'] as const) {
      for (let nth = 1; ; nth++) {
        const directory = freshPath()
        const { log, archive } = await openBoth(directory, backend, {}, { parallelism: 1 })
        await append(log, 45)
        const before = await digest(log)
        testing.resetCounts()
        testing.fault(kind, nth, kind === 'write' ? ENOSPC : kind === 'open' ? EROFS : EIO, false, 0)
        const steps = [() => archive.run(), () => archive.release(log.endOffset), () => archive.restore(0, log.endOffset), () => archive.release(log.endOffset)]
        for (const step of steps) await step().catch(() => failures++)
        const calls = testing.counts()[kind] ?? 0
        testing.clearFaults()
        expect(log.failure).toBeUndefined()
        expect(await digest(log)).toBe(before)
        await archive.run()
        await archive.release(log.endOffset)
        expect(archive.stats()).toMatchObject({ pending: 0, quarantined: 0, released: archive.list().length })
        expect(await archive.verify()).toMatchObject({ ok: true })
        await append(log, 5)
        await log.close()
        expect(archiveNames(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
        const again = await Log.open(directory, { ...OPTIONS, backend })
        expect(await offsets(again)).toEqual(range(0, 50))
        await again.close()
        fs.rmSync(path.dirname(directory), { recursive: true, force: true })
        if (calls < nth) break
      }
    }
    expect(failures).toBeGreaterThan(40)
  })

  it('a full disk: told in stats and events, tried again, and appends go on', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, {}, { automatic: true })
    const errors = listen<{ error: Error; retryInMs: number }>('sealog:archive:error')
    fs.mkdirSync(path.join(directory, 'archive'))
    // The archive alone: nothing else is renamed while no segment is begun.
    await log.append(Buffer.from('first'))
    testing.fault('rename', 2, constants.errno.ENOSPC, true, 0)
    await roll(log)
    await until(() => errors.messages.length > 0, 'the failure')
    expect(archive.stats()).toMatchObject({ pending: 1, failures: 1, lastError: { code: 'ERR_SEALOG_NO_SPACE' } })
    expect(errors.messages[0].retryInMs).toBe(1000)
    await log.append(Buffer.from('appends go on'))
    testing.clearFaults()
    await until(() => archive.stats().pending === 0, 'the retry')
    expect(archive.stats().lastError).toBeUndefined()
    errors.stop()
    await log.close()
  })

  it('killed with 50 segments pending: none is lost, none done twice', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 1024 })
    while (archive.stats().pending < 60) await append(log, 40)
    const pending = archive.stats().pending
    const before = await digest(log)
    let killed = ''
    const done = listen<{ base: number }>('sealog:archive:done')
    const running = archive.run()
    await until(() => done.messages.length >= 8, 'some are archived')
    killed = copyDirectory(directory)
    await running
    expect(done.messages).toHaveLength(pending)
    await log.close()
    fs.rmSync(path.join(killed, 'LOCK'))
    const again = await openBoth(killed, backend, { segmentBytes: 1024 })
    const known = again.archive.list().map(({ base }) => base)
    expect(known.length).toBeGreaterThanOrEqual(8)
    done.messages.length = 0
    await again.archive.run()
    const repeated = done.messages.map(({ base }) => base)
    expect(repeated.filter((base) => known.includes(base))).toEqual([])
    expect(known.length + repeated.length).toBe(pending)
    expect(new Set([...known, ...repeated]).size).toBe(pending)
    await again.archive.release(again.log.endOffset)
    expect(await digest(again.log)).toBe(before)
    done.stop()
    await again.log.close()
  })

  it('MANIFEST lost: repair finds the archives, and leaves out what is damaged or foreign', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend)
    while (archive.stats().pending < 4) await append(log, 30)
    await archive.run()
    await archive.release(archive.list()[2].end)
    const before = await digest(log)
    const [{ file }] = archive.list()
    await log.close()
    fs.rmSync(path.join(directory, 'MANIFEST'))
    const copy = copyDirectory(directory)
    const { actions } = await repair(directory, { policy: 'salvage', manifest: true, backend })
    expect(actions[0]).toMatch(/rebuilt MANIFEST from \d segments and 3 archives/)
    const again = await openBoth(directory, backend)
    expect(await digest(again.log)).toBe(before)
    expect(again.archive.list().map(({ local }) => local)).toEqual([false, false, false])
    // What has both is archived once more: its archive is there, complete, and taken over.
    await again.archive.run()
    expect(await again.archive.verify()).toMatchObject({ ok: true })
    await again.log.close()

    const first = path.join(copy, 'archive', path.basename(file))
    const bytes = fs.readFileSync(first)
    bytes[bytes.length >> 1] ^= 1
    fs.writeFileSync(first, bytes)
    const told = (await repair(copy, { policy: 'salvage', manifest: true, backend })).actions
    expect(told[0]).toContain(first)
    const rest = await Log.open(copy, { ...OPTIONS, backend })
    expect(rest.startOffset).toBe(30)
    expect(await offsets(rest)).toEqual(range(30, rest.endOffset))
    await rest.close()
  })

  it('closing gives up what is being archived, and leaves nothing of it', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 256 * 1024 }, { bytesPerSecond: 4096 })
    for (let i = 0; i < 200; i++) log.enqueue(Buffer.from(`record ${i} ${'x'.repeat(500)}`))
    await log.flush()
    await roll(log)
    const running = archive.run().catch((error) => error.code)
    await until(() => archiveNames(directory).some((name) => name.endsWith('.tmp')), 'it is under way')
    await log.append(Buffer.from('appends go on'))
    await archive.close()
    expect(await running).toBe('ERR_SEALOG_CLOSED')
    expect(archiveNames(directory)).toEqual([])
    const fast = await openArchive(log, { automatic: false })
    expect(await fast.run()).toBe(1)
    expect(text((await log.get(5))?.value ?? new Uint8Array())).toMatch(/^record 5 /)
    await log.close()
  })
})
