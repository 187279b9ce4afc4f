/** Files that compaction has replaced go piece by piece, but never under somebody who reads them on. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { removeLargeFile } from '../../lib/log/remove-file.js'
import { backends, freshEnvironment } from '../support/backends.js'
import { makeDirectory } from '../support/directories.js'
import { parseRecording } from '../support/recording.js'

const BYTES = 3.5 * 1024 * 1024

describe.each(backends)('%s', (backend) => {
  const { runner, kernels } = freshEnvironment(backend)
  const makeFile = () => {
    const file = path.join(makeDirectory(), 'large')
    fs.writeFileSync(file, Buffer.alloc(BYTES, 7))
    return file
  }

  it('gives the space back in pieces when nobody else has the file', async () => {
    const file = makeFile()
    const { testing } = kernels
    testing.record(true)
    await runner.run(removeLargeFile(file))
    testing.record(false)
    const truncations = parseRecording(testing.takeRecording(), path.dirname(file)).filter(({ kind }) => kind === 'truncate')
    expect(fs.existsSync(file)).toBe(false)
    expect(truncations).toHaveLength(backend === 'native' && process.platform === 'linux' ? 3 : 0)
  })

  it('leaves the bytes to a reader that has it open', async () => {
    const file = makeFile()
    const reader = fs.openSync(file, 'r')
    await runner.run(removeLargeFile(file))
    expect(fs.existsSync(file)).toBe(false)
    expect(fs.fstatSync(reader).size).toBe(BYTES)
    fs.closeSync(reader)
  })

  it('leaves the bytes to another name of the file', async () => {
    const file = makeFile()
    fs.linkSync(file, `${file}.backup`)
    await runner.run(removeLargeFile(file))
    expect(fs.existsSync(file)).toBe(false)
    expect(fs.statSync(`${file}.backup`).size).toBe(BYTES)
  })

  it('takes a file that is not there for removed', async () => {
    await runner.run(removeLargeFile(path.join(makeDirectory(), 'none')))
  })
})
