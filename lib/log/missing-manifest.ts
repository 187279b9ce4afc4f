import path from 'node:path'
import { LogError } from '../errors.js'
import { parseSegmentFile, SEGMENTS_DIRECTORY } from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'

/** Why there is no MANIFEST: no directory, no log, or segments without one. */
export function* missingManifest(directory: string): Procedure<LogError> {
  const names = (yield* io.list(path.join(directory, SEGMENTS_DIRECTORY))) ?? []
  if (names.some((name) => parseSegmentFile(name) !== undefined)) {
    return new LogError('ERR_SEALOG_MANIFEST', `MANIFEST is missing in ${directory} but there are segments`, { file: directory })
  }
  return new LogError('ERR_SEALOG_NOT_FOUND', `there is no log in ${directory}`, { file: directory })
}
