/** maxRecordBytes may be raised for an existing log; what is appended then is readable, although headers of older segments know the lower bound. */
import { truncateSync, unlinkSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { segmentPath, withLog } from '../support/logs.js'

const LARGE = 200_000

async function appendLarge(directory: string, options: Parameters<typeof Log.open>[1], offset: number): Promise<void> {
  for (const step of ['append', 'reopen']) {
    await withLog(directory, { ...options, maxRecordBytes: 300_000 }, async (log) => {
      if (step === 'append') expect(await log.append(new Uint8Array(LARGE))).toBe(offset)
      expect(log.endOffset).toBe(offset + 1)
      expect((await log.get(offset))?.value.length).toBe(LARGE)
    })
  }
}

describe.each(backends)('a raised maxRecordBytes, %s', (backend) => {
  test.each([0, 3])('takes effect behind %i records of the lower limit', async (count) => {
    const directory = freshPath()
    await withLog(directory, { backend, maxRecordBytes: 100 }, async (log) => {
      for (let i = 0; i < count; i++) await log.append(new Uint8Array(50))
    })
    await appendLarge(directory, { backend }, count)
  })

  test('takes effect where the unclosed segment holds no record', async () => {
    const directory = freshPath()
    await withLog(directory, { backend, maxRecordBytes: 100 }, (log) => log.append(new Uint8Array(50)))
    // As after a crash between the making of a segment and its first group.
    truncateSync(segmentPath(directory, 0), 128)
    unlinkSync(path.join(directory, 'COMMITTED'))
    await appendLarge(directory, { backend }, 0)
  })
})
