/** `get` reads on the loop thread what is in the page cache, and nothing else: what may have to wait for a disk goes to a thread. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Log } from '../../lib/index.js'
import { READ_OK, READ_RESIDENT } from '../../lib/kernels/kernels.js'
import { EAGAIN } from '../../lib/kernels/system-error.js'
import { backends, environmentOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { range } from '../support/logs.js'

const OPTIONS = { durability: 'flush', cache: false } as const
const content = (i: number) => Buffer.alloc(100 + (i % 40), `${i} `)

describe.each(backends)('get without a wait (%s)', (backend) => {
  afterEach(() => vi.restoreAllMocks())

  async function open(): Promise<Log> {
    const log = await Log.open(freshPath(), { ...OPTIONS, backend })
    await log.appendBatch(range(0, 2000).map(content))
    // Opens the segment for reading, where that has not been done.
    log.getSync(0)
    return log
  }

  const check = (record: { readonly offset: number; readonly value: Uint8Array } | undefined, offset: number) => {
    expect(record?.offset).toBe(offset)
    expect(content(offset).equals(record?.value as Uint8Array)).toBe(true)
  }

  it('asks a thread exactly when the record is not in memory', async () => {
    await using log = await open()
    const { kernels } = environmentOf(backend)
    const reads = vi.spyOn(kernels, 'readRecord')
    const requests = vi.spyOn(kernels, 'request')
    for (let i = 0; i < 2000; i += 37) check(await log.get(i), i)
    expect(reads.mock.calls.every((call) => (call[7] & READ_RESIDENT) !== 0)).toBe(true)
    const found = reads.mock.results.filter(({ value }) => value === READ_OK).length
    expect(found + requests.mock.calls.length).toBe(range(0, 2000).filter((i) => i % 37 === 0).length)
    if (backend === 'js') expect(found).toBe(0)
  })

  it('what is not in memory is read by a thread', async () => {
    await using log = await open()
    const { kernels } = environmentOf(backend)
    const reads = vi.spyOn(kernels, 'readRecord').mockReturnValue(-EAGAIN)
    const requests = vi.spyOn(kernels, 'request')
    for (const offset of [0, 7, 1999]) check(await log.get(offset), offset)
    const some = await log.getMany([5, 1500, 6])
    for (const [i, offset] of [5, 1500, 6].entries()) check(some[i], offset)
    expect(reads).toHaveBeenCalledTimes(6)
    expect(requests.mock.calls.length).toBeGreaterThanOrEqual(4)
  })

  it('many offsets go to a thread at once', async () => {
    await using log = await open()
    const reads = vi.spyOn(environmentOf(backend).kernels, 'readRecord')
    const records = await log.getMany(range(0, 2000))
    for (const [i, record] of records.entries()) check(record, i)
    expect(reads).not.toHaveBeenCalled()
  })
})
