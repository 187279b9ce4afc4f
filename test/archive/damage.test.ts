/** Every byte cut and every bit flipped in a small archive, and forged ones: an exact error, or the very same data. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  ARCHIVE_HEADER_BYTES,
  ARCHIVE_TRAILER_BYTES,
  type ArchiveBlock,
  type ArchiveHeader,
  decodeArchiveHeader,
  decodeArchiveIndex,
  decodeArchiveTrailer,
  encodeArchiveHeader,
  encodeArchiveIndex,
  encodeArchiveTrailer,
} from '../../lib/format/archive-file.js'
import { LogError } from '../../lib/index.js'
import { archivedSegment } from '../../lib/log/closed-segment.js'
import type { Environment } from '../../lib/log/environment.js'
import type { ClosedSegment } from '../../lib/log/manifest.js'
import { readArchived } from '../../lib/log/read-archived.js'
import { BlockRequest } from '../../lib/log/read-block.js'
import { verifyArchive } from '../../lib/segment/archived-verify.js'
import { environmentOf } from '../support/backends.js'
import { freshPath, makeDirectory } from '../support/directories.js'
import { archivers, openBoth, roll } from './archives.js'

interface Sample {
  readonly bytes: Buffer
  readonly facts: ClosedSegment
  readonly logId: Uint8Array
  readonly values: readonly string[]
}

describe.each(archivers)('damaged archives (%s)', (backend) => {
  const environment: Environment = environmentOf(backend)
  const { crc32c } = environment.kernels
  const directory = makeDirectory('damaged')

  async function sample(records: number): Promise<Sample> {
    const place = freshPath()
    const { log, archive } = await openBoth(place, backend, { segmentBytes: 256 * 1024 })
    const values = Array.from({ length: records }, (_, i) => `record ${i} ${'x'.repeat((i * 37) % 300)}`)
    await log.appendBatch(values.slice(0, 2).map((value) => Buffer.from(value)))
    for (const value of values.slice(2)) log.enqueue(Buffer.from(value))
    await log.flush()
    await roll(log)
    await archive.run()
    const [facts] = log.commitDriver().parts.manifest.state.closed
    const { logId } = log
    await log.close()
    return { bytes: fs.readFileSync(path.join(place, 'archive', facts.archive?.file ?? '')), facts, logId, values }
  }

  /** What reading all of it gives, without and with knowledge of the CRC of the file. */
  function outcome({ facts, logId }: Sample, bytes: Uint8Array): { readonly read: string[] | LogError; readonly verified: number | LogError } {
    const file = facts.archive?.file ?? ''
    fs.writeFileSync(path.join(directory, file), bytes)
    const segment = archivedSegment('', facts, directory)
    if (segment?.archive === undefined) throw new Error('no archive')
    const { archive } = segment
    const caught = <R>(run: () => R): R | LogError => {
      try {
        return run()
      } catch (error) {
        if (error instanceof LogError) return error
        throw error
      }
    }
    const read = caught(() => {
      environment.runner.runSync(segment.open(environment.kernels, logId))
      const request = new BlockRequest('bytes', 64 * 1024, 64)
      const found: string[] = []
      for (let offset = facts.base; offset < facts.end; ) {
        environment.runner.runSync(readArchived(segment, archive, offset, request, environment.archivedBlocks))
        const { result } = request
        if (result === undefined) break
        for (let i = 0; i < result.length; i++) found.push(Buffer.from(result.bytes(i)).toString())
        offset = result.nextOffset
      }
      return found
    })
    const verified = caught(
      () =>
        environment.runner.runSync(verifyArchive(segment, archive, environment.archivedBlocks, environment.kernels, logId, facts.archive?.crc)).footer.count,
    )
    environment.runner.runSync(segment.release())
    return { read, verified }
  }

  it('every byte cut, every bit flipped', async () => {
    const small = await sample(8)
    expect(outcome(small, small.bytes)).toEqual({ read: small.values, verified: 8 })
    for (let length = 0; length < small.bytes.length; length++) {
      const { read, verified } = outcome(small, small.bytes.subarray(0, length))
      expect([length, (read as LogError).code, (verified as LogError).code]).toEqual([length, 'ERR_SEALOG_ARCHIVE', 'ERR_SEALOG_ARCHIVE'])
      expect((read as LogError).message).toContain(small.facts.archive?.file)
    }
    let equal = 0
    for (let bit = 0; bit < small.bytes.length * 8; bit++) {
      const flipped = Buffer.from(small.bytes)
      flipped[bit >> 3] ^= 1 << (bit & 7)
      const { read, verified } = outcome(small, flipped)
      // The whole file is covered by its CRC, also where a block does not need the bit.
      expect([bit, (verified as LogError).code]).toEqual([bit, 'ERR_SEALOG_ARCHIVE'])
      if (read instanceof LogError) expect([bit, read.code]).toEqual([bit, 'ERR_SEALOG_ARCHIVE'])
      else {
        expect([bit, read]).toEqual([bit, small.values])
        equal++
      }
    }
    expect(equal).toBeLessThan(64)
  })

  it('in a larger one, damage of a block costs this block only', async () => {
    const large = await sample(400)
    const random = (i: number) => (i * 2654435761) % large.bytes.length
    for (let i = 0; i < 300; i++) {
      const flipped = Buffer.from(large.bytes)
      flipped[random(i)] ^= 1 << (i % 8)
      const { read, verified } = outcome(large, flipped)
      expect((verified as LogError).code).toBe('ERR_SEALOG_ARCHIVE')
      if (read instanceof LogError) expect(read.code).toBe('ERR_SEALOG_ARCHIVE')
      else expect(read).toEqual(large.values)
    }
  })

  /** The archive with another header or index, checksums and all. */
  function forge({ bytes }: Sample, header: Partial<ArchiveHeader>, change: (blocks: ArchiveBlock[]) => ArchiveBlock[] = (blocks) => blocks): Buffer {
    const before = decodeArchiveHeader(bytes.subarray(0, ARCHIVE_HEADER_BYTES), crc32c) as ArchiveHeader
    const trailer = decodeArchiveTrailer(bytes.subarray(-ARCHIVE_TRAILER_BYTES), bytes.length, crc32c)
    if (trailer === undefined) throw new Error('no trailer')
    const index = bytes.subarray(trailer.indexPosition, trailer.indexPosition + trailer.indexBytes)
    const blocks = change([...(decodeArchiveIndex(index, before, trailer, crc32c) ?? [])])
    const next = encodeArchiveIndex(blocks, crc32c)
    return Buffer.concat([
      encodeArchiveHeader({ ...before, ...header }, crc32c),
      bytes.subarray(ARCHIVE_HEADER_BYTES, trailer.indexPosition),
      next,
      encodeArchiveTrailer({ ...trailer, indexBytes: next.length, blocks: blocks.length }, crc32c),
    ])
  }

  it('forged headers and indexes: nothing is believed that the rest does not bear out, and no memory taken for it', async () => {
    const large = await sample(100)
    expect(outcome(large, forge(large, {}))).toEqual({ read: large.values, verified: 100 })
    const shifted = (blocks: ArchiveBlock[]) =>
      blocks.map((block, i) =>
        i === 0 ? { ...block, bytes: block.bytes + 8 } : i === 1 ? { ...block, position: block.position + 8, bytes: block.bytes - 8 } : block,
      )
    const swapped = (blocks: ArchiveBlock[]) => [blocks[0], { ...blocks[1], offset: blocks[1].offset + 1 }, ...blocks.slice(2)]
    const huge = (blocks: ArchiveBlock[]) => blocks.map((block, i) => (i === blocks.length - 1 ? { ...block, bytes: 2 ** 50 } : block))
    for (const [header, change] of [
      [{}, shifted],
      [{}, swapped],
      [{}, huge],
      [{}, (blocks: ArchiveBlock[]) => blocks.slice(1)],
      [{ segmentBytes: 2 ** 50 }, huge],
      [{ base: 1 }, undefined],
      [{ generation: 1 }, undefined],
      [{ end: 99 }, undefined],
      [{ dictionary: 77 }, undefined],
      [{ logId: new Uint8Array(16) }, undefined],
    ] as const) {
      const { read, verified } = outcome(large, forge(large, header, change))
      expect([header, (verified as LogError).code]).toEqual([header, 'ERR_SEALOG_ARCHIVE'])
      // A wrong offset in the index does no harm to a read that does not begin there.
      if (read instanceof LogError) expect([header, read.code]).toEqual([header, 'ERR_SEALOG_ARCHIVE'])
      else expect([change, read]).toEqual([swapped, large.values])
    }
    for (const header of [{ count: 99 }, { firstOffset: 1 }, { segmentCrc: 1 }]) {
      expect((outcome(large, forge(large, header)).verified as LogError).code).toBe('ERR_SEALOG_ARCHIVE')
    }
  })

  it.each([
    ['version', 20, 2, 'version 2'],
    ['features', 124, 4, 'features 4'],
    ['compression', 112, 9, 'compression 9'],
  ])('an unknown %s is refused by name', async (_, at, value, name) => {
    const small = await sample(3)
    const bytes = Buffer.from(small.bytes)
    bytes[at] = value
    bytes.writeUInt32LE(crc32c(bytes.subarray(20, ARCHIVE_HEADER_BYTES), 0), 16)
    const error = outcome(small, bytes).read as LogError
    expect(error.code).toBe('ERR_SEALOG_FORMAT_NEWER')
    expect(error.message).toContain(name)
  })
})
