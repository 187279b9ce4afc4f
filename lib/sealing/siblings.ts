import { constants } from 'node:fs'
import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { LogError } from '../errors.js'
import { toHex } from '../format/bytes.js'
import type { Kernels } from '../kernels/kernels.js'
import * as io from '../kernels/requests.js'
import type { TaskRunner } from '../kernels/task.js'
import type { ChunkEncoding } from './chunk.js'
import { chunksFolder } from './chunk-directory.js'
import type { ChunkFile } from './chunk-file.js'

const PIECE_BYTES = 256 * 1024

/** Node has zstd from 22.15 on. */
type Zlib = typeof zlib & { readonly createZstdCompress?: () => Transform }

function compressor(encoding: ChunkEncoding): Transform | undefined {
  return encoding === 'gzip' ? zlib.createGzip() : (zlib as Zlib).createZstdCompress?.()
}

/** Refuses what this Node cannot make. Throws ERR_SEALOG_UNSUPPORTED. */
export function checkEncodings(encodings: readonly ChunkEncoding[]): void {
  if (encodings.includes('zstd') && (zlib as Zlib).createZstdCompress === undefined)
    throw new LogError('ERR_SEALOG_UNSUPPORTED', `zstd siblings of chunks need Node 22.15 or newer; this is ${process.version}`, { field: 'chunkEncodings' })
}

/** Writes a compressed sibling of a chunk's content, streaming, and gives the chunk that knows of it. Compression is Node's own. */
export async function makeSibling(chunk: ChunkFile, encoding: ChunkEncoding, kernels: Kernels, runner: TaskRunner): Promise<ChunkFile> {
  const transform = compressor(encoding)
  if (transform === undefined) return chunk
  const temporary = `${chunk.path}.${encoding}.tmp`
  const source = await runner.run(io.open(chunk.path, constants.O_RDONLY))
  let target: number | undefined
  try {
    target = await runner.run(io.open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC))
    const fed = feed(source, chunk.path, transform, runner)
    fed.catch((error: Error) => transform.destroy(error))
    let crc = 0
    let position = 0
    for await (const piece of transform as AsyncIterable<Uint8Array>) {
      crc = kernels.crc32c(piece, crc)
      await runner.run(io.write(target, position, piece, temporary))
      position += piece.length
    }
    await fed
    const next = chunk.withSibling(encoding, toHex(crc))
    await runner.run(io.sync(target, temporary))
    await runner.run(io.rename(temporary, next.siblingPath(encoding, toHex(crc))))
    await runner.run(io.syncDirectory(chunksFolder(chunk.directory)))
    return next
  } catch (error) {
    await runner.run(io.unlink(temporary))
    throw error
  } finally {
    transform.destroy()
    if (target !== undefined) await runner.run(io.close(target))
    await runner.run(io.close(source))
  }
}

async function feed(fd: number, file: string, transform: Transform, runner: TaskRunner): Promise<void> {
  for (let position = 0; ; ) {
    const piece = new Uint8Array(PIECE_BYTES)
    const length = await runner.run(io.read(fd, position, piece, file))
    if (length === 0) break
    position += length
    if (!transform.write(piece.subarray(0, length))) await new Promise((resolve) => transform.once('drain', resolve).once('close', resolve))
    if (transform.destroyed) return
  }
  transform.end()
}
