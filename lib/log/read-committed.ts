import { constants } from 'node:fs'
import path from 'node:path'
import { decodeCommitted, type EndSlot } from '../format/committed-file.js'
import { COMMITTED_BYTES } from '../format/constants.js'
import { COMMITTED_FILE } from '../format/names.js'
import type { Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'

/** The slots of COMMITTED, beside the writer that replaces them; undefined what is not there. */
export function* readCommitted(
  directory: string,
  logSeed: number,
  kernels: Kernels,
): Procedure<{ committed: EndSlot | undefined; durable: EndSlot | undefined }> {
  for (let tries = 0; ; tries++) {
    const bytes = yield* io.readFile(path.join(directory, COMMITTED_FILE), constants.O_RDONLY, COMMITTED_BYTES)
    if (bytes === undefined) return { committed: undefined, durable: undefined }
    const slots = decodeCommitted(bytes, logSeed, kernels.crc32c)
    // The writer replaces the slot in place: a torn view is read again.
    if (slots.committed !== undefined || tries >= 3) return slots
  }
}
