import type { IncomingMessage } from 'node:http'
import type { ChunkEncoding, OpenChunk } from '../sealing/chunk.js'
import { chooseEncoding } from './headers.js'
import type { FileBody } from './transfer.js'

export interface ChosenSibling {
  readonly fd: number
  readonly bytes: number
  readonly crc: string
  readonly encoding: ChunkEncoding
  close(): void
}

/** The bytes of a chunk, or of its sibling, from a position on. */
export function bodyOf(chunk: OpenChunk, sibling: ChosenSibling | undefined, position: number, prefix: string): FileBody {
  return {
    fd: sibling?.fd ?? chunk.fd,
    position,
    length: (sibling?.bytes ?? chunk.bytes) - position,
    prefix,
    key: `${sibling?.encoding ?? ''}:${sibling?.crc ?? chunk.crc}:${chunk.path}`,
  }
}

/** The pre-compressed sibling of a chunk that suits the client best: of those it likes equally, the smallest. */
export async function openSibling(req: IncomingMessage, chunk: OpenChunk): Promise<ChosenSibling | undefined> {
  const available = [...chunk.siblings].sort((a, b) => a.bytes - b.bytes).map(({ encoding }) => encoding)
  const header = req.headers['accept-encoding']
  const encoding = chooseEncoding(typeof header === 'string' ? header : undefined, available)
  const sibling = encoding === undefined ? undefined : await chunk.openSibling(encoding)
  return encoding === undefined || sibling === undefined ? undefined : { ...sibling, encoding, close: () => sibling.close() }
}
