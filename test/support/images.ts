import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { getU64 } from '../../lib/format/bytes.js'
import { COMMIT_FRAME_BYTES, FRAME_COMMIT, FRAME_FOOTER, frameBytes, SEGMENT_HEADER_BYTES } from '../../lib/format/constants.js'
import { freshPath, readFiles } from './directories.js'

/** The files of a log, by relative path. */
export type Image = ReadonlyMap<string, Uint8Array>

/** A directory that is brought back to an image again and again; only what differs is touched. */
export class Workplace {
  readonly directory = freshPath('work')
  readonly #folders = new Set<string>()

  restore(image: Image): void {
    for (const name of image.keys()) {
      const folder = path.join(this.directory, path.dirname(name))
      if (this.#folders.has(folder)) continue
      mkdirSync(folder, { recursive: true })
      this.#folders.add(folder)
    }
    for (const folder of this.#folders) {
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        const file = path.join(folder, entry.name)
        if (entry.isFile() && !image.has(path.relative(this.directory, file))) rmSync(file)
      }
    }
    for (const [name, content] of image) writeFileSync(path.join(this.directory, name), content)
  }

  read(name: string): Buffer {
    return readFileSync(path.join(this.directory, name))
  }

  files(): Map<string, Buffer> {
    return readFiles(this.directory)
  }
}

/** The image with one file changed, left out or added. */
export function withFile(image: Image, name: string, content: Uint8Array | undefined): Image {
  const changed = new Map(image)
  if (content === undefined) changed.delete(name)
  else changed.set(name, content)
  return changed
}

export function withBitFlipped(image: Image, name: string, bit: number): Image {
  const content = Uint8Array.from(image.get(name) as Uint8Array)
  content[bit >> 3] ^= 1 << (bit & 7)
  return withFile(image, name, content)
}

/** A group of a good segment, marks included. */
export interface Group {
  readonly start: number
  readonly end: number
  readonly firstOffset: number
  readonly nextOffset: number
}

/** The groups of a good segment, by frame lengths alone; `end` is where the footer or nothing begins. */
export function groupsOf(segment: Uint8Array): { groups: Group[]; end: number } {
  const view = new DataView(segment.buffer, segment.byteOffset, segment.byteLength)
  const groups: Group[] = []
  let start = SEGMENT_HEADER_BYTES
  let firstOffset = getU64(view, 40)
  let at = start
  while (at + COMMIT_FRAME_BYTES <= segment.length) {
    const type = view.getUint8(at + 22)
    if (type === 0 || type === FRAME_FOOTER) break
    const next = at + frameBytes(view.getUint32(at + 4, true))
    if (type === FRAME_COMMIT) {
      const nextOffset = getU64(view, at + 8)
      groups.push({ start, end: next, firstOffset, nextOffset })
      start = next
      firstOffset = nextOffset
    }
    at = next
  }
  return { groups, end: start }
}
