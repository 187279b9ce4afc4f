import { constants } from 'node:fs'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'

/** Space that is given back at a time. */
const PIECE_BYTES = 1024 * 1024

/**
 * Removes a file that nobody opens by name any more; none is fine. The last descriptor of a large file that goes gives all its space back in one step of the file
 * system, and every sync on the disk waits for that: it is cut off piece by piece instead, where nobody else reads it on or has linked it.
 */
export function* removeLargeFile(path: string): Procedure<void> {
  const fd = yield* io.openExisting(path, constants.O_RDWR)
  if (fd === undefined) return
  try {
    yield* io.unlink(path)
    if (yield* io.hasOtherUsers(fd)) return
    const { size } = yield* io.stat(fd, path)
    for (let left = size - PIECE_BYTES; left > 0; left -= PIECE_BYTES) yield* io.truncate(fd, left, path)
  } finally {
    yield* io.close(fd)
  }
}
