/** Full disks and limits of the process: a typed error, nothing acknowledged is lost, and the log goes on when there is room. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Log } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends } from '../support/backends.js'
import { readRecords } from '../support/crash-history.js'
import { makeDirectory } from '../support/directories.js'
import { codeOf, errorOf, segmentPath } from '../support/logs.js'

const CHILD = path.join(import.meta.dirname, 'limits-child.mjs')
const mounted: string[] = []

/** A tmpfs of 1 MiB; undefined where this process may not mount. */
function mountSmallDisk(): string | undefined {
  if (process.platform !== 'linux') return undefined
  const directory = makeDirectory('small')
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory]).status !== 0) return undefined
  mounted.push(directory)
  return directory
}

const canMount = mountSmallDisk() !== undefined
if (!canMount) console.warn('SKIPPED: full disk: this process may not mount a tmpfs')

afterAll(() => {
  for (const directory of mounted) spawnSync('umount', ['-l', directory])
})

/** Takes all the space but `left` bytes; returns the file to remove. */
function fill(disk: string, left: number): string {
  const file = path.join(disk, 'filler')
  const { bavail, bsize } = fs.statfsSync(disk)
  fs.writeFileSync(file, Buffer.alloc(Math.max(0, Number(bavail) * Number(bsize) - left)))
  return file
}

interface Report {
  readonly acknowledged: number
  readonly opened: number
  readonly offset: number
  readonly readable: boolean
  readonly failure: { readonly code: string; readonly cause: string }
}

function runLimited(limit: string, what: string, directory: string, backend: Backend): Report {
  const command = `ulimit ${limit}; exec "$0" "$@"`
  const { stdout, stderr, status } = spawnSync('bash', ['-c', command, process.execPath, CHILD, what, directory, backend], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  if (status !== 0) throw new Error(`the child ended with ${status}: ${stderr}`)
  return JSON.parse(stdout) as Report
}

describe.each(backends)('limits, %s', (backend) => {
  test.runIf(canMount)('G7: a full disk refuses, stays readable, and goes on when there is space', async () => {
    const disk = mountSmallDisk() as string
    const directory = path.join(disk, 'log')
    const log = await Log.open(directory, { backend, segmentBytes: 64 * 1024 })
    const filler = fill(disk, 200 * 1024)
    let acknowledged = 0
    const error = await errorOf(async () => {
      for (;;) acknowledged = (await log.append(Buffer.alloc(1000, acknowledged))) + 1
    })
    // Where space cannot be reserved a write meets the full disk, and that is final until reopen().
    if (log.stats().preallocated) expect([error.code, log.failure]).toEqual(['ERR_SEALOG_NO_SPACE', undefined])
    else expect(['ERR_SEALOG_NO_SPACE', 'ERR_SEALOG_FAILED']).toContain(error.code)
    expect(acknowledged).toBeGreaterThan(50)
    expect(log.committedOffset).toBe(acknowledged)
    expect(
      readRecords(log)
        .slice(0, acknowledged)
        .map((record) => record.value[0]),
    ).toEqual(Array.from({ length: acknowledged }, (_, i) => i & 255))
    fs.rmSync(filler)
    await log.reopen()
    const offset = await log.append(Buffer.from('there is space'))
    expect(offset).toBeGreaterThanOrEqual(acknowledged)
    await log.close()
    const again = await Log.open(directory, { backend })
    expect(again.endOffset).toBe(offset + 1)
    expect(
      readRecords(again)
        .slice(0, acknowledged)
        .map((record) => record.value[0]),
    ).toEqual(Array.from({ length: acknowledged }, (_, i) => i & 255))
    await again.close()
  })

  test.runIf(canMount)('G5, G7: a torn tail that cannot be saved opens read-only and is repaired when there is space', async () => {
    const disk = mountSmallDisk() as string
    const directory = path.join(makeDirectory('torn'), 'log')
    const log = await Log.open(directory, { backend, durability: 'flush', idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000 })
    for (let i = 0; i < 3; i++) await log.append(Buffer.alloc(100_000, 1 + i))
    const copy = path.join(disk, 'copy')
    fs.cpSync(directory, copy, { recursive: true })
    await log.close()
    // The last group was torn: one sector of it never arrived.
    const fd = fs.openSync(segmentPath(copy, 0), 'r+')
    fs.writeSync(fd, Buffer.alloc(512), 0, 512, 250_000)
    fs.closeSync(fd)
    const filler = fill(disk, 8192)

    const torn = await Log.open(copy, { backend })
    expect(torn.readOnlyReason?.code).toBe('ERR_SEALOG_NO_SPACE_TO_REPAIR')
    expect(readRecords(torn).map((record) => record.value[0])).toEqual([1, 2])
    expect(await codeOf(() => torn.append(Buffer.from('no')))).toBe('ERR_SEALOG_READ_ONLY')
    fs.rmSync(filler)
    await torn.reopen()
    expect(torn.readOnlyReason).toBe(undefined)
    expect(await torn.append(Buffer.from('repaired'))).toBe(2)
    await torn.close()
    expect(fs.readdirSync(copy).some((name) => name.includes('.torn-'))).toBe(true)
  })

  test('G7: RLIMIT_FSIZE refuses what is too long and loses nothing', async () => {
    const directory = path.join(makeDirectory('limit'), 'log')
    // 256 KiB
    const { acknowledged, failure, readable } = runLimited('-f 256', 'fileSize', directory, backend)
    expect(failure.cause).toBe('EFBIG')
    expect(['ERR_SEALOG_NO_SPACE', 'ERR_SEALOG_FAILED']).toContain(failure.code)
    expect(readable).toBe(true)
    expect(acknowledged).toBeGreaterThan(100)
    const log = await Log.open(directory, { backend })
    expect(
      readRecords(log)
        .slice(0, acknowledged)
        .map((record) => record.value[0]),
    ).toEqual(Array.from({ length: acknowledged }, (_, i) => i & 255))
    await log.close()
  })

  test('G12: RLIMIT_NOFILE refuses to open more, and opens again when some are closed', async () => {
    const { opened, failure, offset } = runLimited('-n 80', 'openFiles', makeDirectory('limit'), backend)
    expect(failure).toEqual({ code: 'ERR_SEALOG_IO', cause: 'EMFILE' })
    expect(opened).toBeGreaterThan(5)
    expect(offset).toBe(0)
  })
})
