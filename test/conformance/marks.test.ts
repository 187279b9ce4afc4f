import { readFileSync, truncateSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { groupsOf } from '../support/images.js'
import { bytes, segmentPath } from '../support/logs.js'

/** Groups of the first segment that hold no record. */
function marks(directory: string): number {
  const { groups } = groupsOf(readFileSync(segmentPath(directory, 0)))
  return groups.filter((group) => group.firstOffset === group.nextOffset).length
}

describe.each(backends)('marks (%s)', (backend) => {
  it.each(['close', 'closeSync'] as const)('%s leaves the end marked, and not twice', async (close) => {
    const directory = freshPath()
    for (let i = 1; i <= 3; i++) {
      const log = await Log.open(directory, { backend })
      await log.append(bytes(`record ${i}`))
      await log[close]()
      expect(marks(directory)).toBe(i)
    }
    const log = await Log.open(directory, { backend })
    await log[close]()
    expect(marks(directory)).toBe(3)
  })

  it.each(['close', 'closeSync'] as const)('%s of a log that was recovered and not appended to leaves the mark that the end lacks', async (close) => {
    const directory = freshPath()
    let log = await Log.open(directory, { backend })
    await log.append(bytes('record'))
    await log.close()
    const file = path.join(segmentPath(directory, 0))
    truncateSync(file, (groupsOf(readFileSync(file)).groups[0] as { end: number }).end)
    expect(marks(directory)).toBe(0)
    log = await Log.open(directory, { backend })
    await log[close]()
    expect(marks(directory)).toBe(1)
  })

  it('truncateAfter and close leave the mark behind the shortened group', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend })
    await log.appendBatch([bytes('a'), bytes('b')])
    await Promise.all([log.append(bytes('c')), log.append(bytes('d'))])
    await log.truncateAfter(2)
    await log.close()
    expect(marks(directory)).toBe(1)
  })
})
